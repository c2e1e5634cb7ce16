package rootfs

import (
	"hash/maphash"
	"io/fs"
	"slices"
	"strings"
)

// table is the tree that a layer unpacks to, as far as it was read: the entries by
// folder and name. It holds hundreds of thousands of entries without a pointer or
// an allocation for each.
type table struct {
	seed    maphash.Seed
	entries [][]entry // in chunks, so that growing copies little
	length  uint32
	buckets []uint32 // heads of the chains of entry.next, by hash
	text    [][]byte // names and link targets, in chunks
}

// entry is a file, folder, link, device or whiteout. The first is the layer's root.
type entry struct {
	size         int64
	parent, next uint32
	// same is the entry that a hard link is another name of.
	same uint32
	// ordinal is which of the layer's tar headers it is.
	ordinal  uint32
	mode     fs.FileMode
	uid, gid uint32
	name     text
	// target is what a symbolic link says.
	target text
	flags  flags
}

type flags uint8

const (
	// implied is a folder that has had no entry of its own yet.
	implied flags = 1 << iota
	// whiteout hides what lower layers have.
	whiteout
	// opaque is a folder that is not merged with those below it.
	opaque
	// hard is another name of the entry in same.
	hard
	// twice is an entry that the layer has more than once.
	twice
)

// text is where a string is: the chunk in the upper 16 bits, the offset in the lower.
type text struct {
	at     uint32
	length uint16
}

const (
	root = 0
	// none is no entry.
	none = ^uint32(0)

	entryChunk = 1 << 10
	textChunk  = 1 << 16
	// entryCost is what an entry takes: itself, its buckets, and what growing leaves unused.
	entryCost = 56 + 16
)

func newTable(seed maphash.Seed) table {
	t := table{seed: seed, buckets: make([]uint32, 16)}
	for i := range t.buckets {
		t.buckets[i] = none
	}
	t.append(entry{parent: none, next: none, mode: fs.ModeDir | 0o755, flags: implied})
	return t
}

// at returns an entry. It is valid until the next is added.
func (t *table) at(i uint32) *entry { return &t.entries[i/entryChunk][i%entryChunk] }

// inode returns the entry that has the mode, size and target of i.
func (t *table) inode(i uint32) uint32 {
	if e := t.at(i); e.flags&hard != 0 {
		return e.same
	}
	return i
}

func (t *table) append(e entry) uint32 {
	if t.length%entryChunk == 0 {
		var chunk []entry
		if t.length > 0 { // many layers have few entries
			chunk = make([]entry, 0, entryChunk)
		}
		t.entries = append(t.entries, chunk)
	}
	chunk := &t.entries[t.length/entryChunk]
	*chunk = append(*chunk, e)
	t.length++
	return t.length - 1
}

// add adds name to the folder parent, which must not have it.
func (t *table) add(parent uint32, name string, e entry) uint32 {
	if int(t.length) > len(t.buckets) {
		t.grow()
	}
	bucket := t.bucket(parent, name)
	e.parent, e.name, e.next = parent, t.keep(name), t.buckets[bucket]
	i := t.append(e)
	t.buckets[bucket] = i
	return i
}

// child returns what the folder parent has under name, or none.
func (t *table) child(parent uint32, name string) uint32 {
	for i := t.buckets[t.bucket(parent, name)]; i != none; {
		e := t.at(i)
		if e.parent == parent && string(t.bytes(e.name)) == name {
			return i
		}
		i = e.next
	}
	return none
}

// path returns the absolute path of i.
func (t *table) path(i uint32) string {
	var parts []string
	for ; i != root; i = t.at(i).parent {
		parts = append(parts, string(t.bytes(t.at(i).name)))
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

func (t *table) bucket(parent uint32, name string) uint32 {
	// The seed is random, so that nobody can make names that share a bucket.
	h := maphash.String(t.seed, name) ^ uint64(parent)*0x9e3779b97f4a7c15
	return uint32(h^h>>32) & uint32(len(t.buckets)-1)
}

func (t *table) grow() {
	t.buckets = make([]uint32, 2*len(t.buckets))
	for i := range t.buckets {
		t.buckets[i] = none
	}
	for i := uint32(root) + 1; i < t.length; i++ {
		e := t.at(i)
		bucket := t.bucket(e.parent, string(t.bytes(e.name)))
		e.next, t.buckets[bucket] = t.buckets[bucket], i
	}
}

// keep stores s, which is at most maxPath long.
func (t *table) keep(s string) text {
	last := len(t.text) - 1
	if last < 0 || len(t.text[last])+len(s) > textChunk {
		t.text = append(t.text, nil)
		last++
	}
	at := len(t.text[last])
	t.text[last] = append(t.text[last], s...)
	return text{at: uint32(last)<<16 | uint32(at), length: uint16(len(s))}
}

func (t *table) bytes(s text) []byte {
	if s.length == 0 {
		return nil
	}
	offset := s.at & (textChunk - 1)
	return t.text[s.at>>16][offset : offset+uint32(s.length)]
}
