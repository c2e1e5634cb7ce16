package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// Cache keeps what layers had beyond a run. Only what was read to its end and is what its digests
// say gets in: names, types, modes, owners, sizes, links, and the heads of programs. It is for
// many goroutines at once.
type Cache interface {
	// Get returns what was put under a name, or nil where there is nothing, for whatever
	// reason. The name has letters, digits and dashes. What comes back is verified.
	Get(name string) []byte
	// Put keeps data under a name, where it can.
	Put(name string, data []byte)
}

// The format of what is put into a [Cache]:
//
//	magic · zstd frame · SHA-256 of both
//
// and in the frame, all numbers as varints: the digest, DiffID and size of the layer, the
// entries without the root, the path that it has twice, and the heads with their parts. Another
// format has another magic.
const cacheMagic = "berth layer 2\n"

const (
	// maxCached bounds what a cache gives for one layer, and maxCachedFrame what that
	// unpacks to: names and heads at their bounds.
	maxCached      = 32 << 20
	maxCachedFrame = maxTables + maxHeads + 8<<20
)

// errForeign says that what a cache gave was not written by us for this layer.
var errForeign = errors.New("not what was written for this layer")

// cacheName is the name of a layer in a cache.
func (k key) cacheName() string {
	also := digest.FromString(fmt.Sprintf("%s %d", k.diffID, k.size)).Encoded()
	return fmt.Sprintf("%s-%s-%s", k.digest.Algorithm(), k.digest.Encoded(), also[:16])
}

// cacheable tells whether reading the layer to its end verifies it.
func (k key) cacheable() bool {
	return k.digest.Validate() == nil && k.diffID.Validate() == nil
}

// load takes the layer from the cache, if that has it. The caller has the turn.
func (c *content) load() {
	if c.asked || c.pool.cache == nil || c.pool.fresh || !c.cacheable() {
		return
	}
	c.asked = true
	raw := c.pool.cache.Get(c.cacheName())
	if raw == nil {
		return
	}
	old := c.tables.Load()
	made, err := c.decode(raw)
	if err != nil {
		c.tables.Store(old) // it is as if there were none, and will be replaced
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table, c.kept, c.parts, c.repeated = made.table, made.kept, made.parts, made.repeated
	c.heads.Store(made.heads.Load())
	c.pool.forget(c.key)
	c.done.Store(true)
}

// save puts the layer, which was read to its end, into the cache.
func (c *content) save() {
	if c.pool.cache == nil || !c.cacheable() {
		return
	}
	c.pool.cache.Put(c.cacheName(), c.encode())
}

// maxRest bounds what [FS.Remember] reads of a layer.
const maxRest = 16 << 20

// Remember reads layers to their ends of which at most a quarter is left, and 16 MiB, so that the
// cache of the pool gets them: that is fetched once, and saves all of the layer from then
// on. What it finds out is told by the answers
// that follow, and by [FS.Refused]. It does nothing with a budget, or without a cache.
func (f *FS) Remember(ctx context.Context) {
	if f.pool.cache == nil || f.bounds.fetch > 0 {
		return
	}
	for _, l := range f.layers {
		if c := l.content.Load(); c.begin(ctx, l) == nil {
			near := c.stream != nil
			if near {
				rest := c.size - c.stream.read
				near = rest <= readAhead || rest <= min(c.size/4, maxRest)
			}
			c.end()
			if near {
				_, _ = l.seek(ctx, nil, true, whole)
			}
		}
	}
}

// frames pack and unpack what is in a cache. Both are for any number of goroutines.
var (
	framePacker, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	frameUnpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxCachedFrame), zstd.WithDecoderMaxWindow(8<<20))
)

func (c *content) encode() []byte {
	var w cacheWriter
	w.text(string(c.digest))
	w.text(string(c.diffID))
	w.number(uint64(c.size))
	t := &c.table
	w.number(uint64(t.length - 1))
	for i := uint32(root) + 1; i < t.length; i++ {
		e := t.at(i)
		w.text(string(t.bytes(e.name)))
		for _, n := range []uint64{uint64(e.parent), uint64(e.flags), uint64(e.mode), uint64(e.uid), uint64(e.gid), uint64(e.size), uint64(e.ordinal)} {
			w.number(n)
		}
		if e.flags&hard != 0 {
			w.number(uint64(e.same))
		}
		w.text(string(t.bytes(e.target)))
	}
	w.text(c.repeated)
	w.number(uint64(len(c.kept)))
	for _, i := range slices.Sorted(maps.Keys(c.kept)) {
		w.number(uint64(i))
		w.text(string(c.kept[i]))
		w.number(uint64(len(c.parts[i])))
		for _, p := range c.parts[i] {
			w.number(uint64(p.offset))
			w.text(string(p.raw))
		}
	}
	out := framePacker.EncodeAll(w.raw, []byte(cacheMagic))
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// decode reads what encode wrote. It trusts nothing: whatever cannot be is an error.
func (c *content) decode(raw []byte) (*content, error) {
	body := len(raw) - sha256.Size
	if len(raw) > maxCached || body < len(cacheMagic) || string(raw[:len(cacheMagic)]) != cacheMagic {
		return nil, errForeign
	}
	if sum := sha256.Sum256(raw[:body]); !bytes.Equal(sum[:], raw[body:]) {
		return nil, errForeign
	}
	frame, err := frameUnpacker.DecodeAll(raw[len(cacheMagic):body], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errForeign, err)
	}
	r := cacheReader{raw: frame}
	if r.text(len(frame)) != string(c.digest) || r.text(len(frame)) != string(c.diffID) || r.number(1<<62) != uint64(c.size) {
		return nil, errForeign
	}
	made := newContent(c.pool, c.key)
	t := &made.table
	n := r.number(maxTables / entryCost)
	for range n {
		if err := c.decodeEntry(&r, t); err != nil {
			return nil, err
		}
	}
	for i := range t.length {
		if e := t.at(i); e.flags&hard != 0 && (e.same >= t.length || t.at(e.same).flags&hard != 0 || t.at(e.same).mode.IsDir()) {
			return nil, errForeign
		}
	}
	made.repeated = r.text(maxPath)
	if err := made.decodeHeads(&r); err != nil {
		return nil, err
	}
	if r.bad || len(r.raw) > 0 {
		return nil, errForeign
	}
	return made, nil
}

// decodeHeads reads the heads and parts of files.
func (c *content) decodeHeads(r *cacheReader) error {
	t := &c.table
	c.kept, c.parts = map[uint32][]byte{}, map[uint32][]piece{}
	for range r.number(uint64(t.length)) {
		i, head := uint32(r.number(uint64(t.length-1))), r.text(maxRead)
		e := t.at(i)
		if _, also := c.kept[i]; also || !e.mode.IsRegular() || int64(len(head)) > e.size {
			return errForeign
		}
		c.kept[i] = []byte(head)
		c.heads.Add(int64(len(head)) + headCost)
		for range r.number(maxRead) {
			p := piece{int64(r.number(maxRead)), []byte(r.text(maxRead))}
			if r.bad || p.offset+int64(len(p.raw)) > e.size {
				return errForeign
			}
			c.parts[i] = append(c.parts[i], p)
			c.heads.Add(int64(len(p.raw)) + headCost)
		}
	}
	return nil
}

// decodeEntry reads the next entry into t.
func (c *content) decodeEntry(r *cacheReader, t *table) error {
	const all = implied | whiteout | opaque | hard | twice
	name := r.text(maxName)
	e := entry{parent: uint32(r.number(uint64(t.length - 1)))}
	e.flags = flags(r.number(uint64(all)))
	e.mode = fs.FileMode(r.number(1<<32 - 1))
	e.uid, e.gid = uint32(r.number(1<<32-1)), uint32(r.number(1<<32-1))
	e.size = int64(r.number(1<<63 - 1))
	e.ordinal = uint32(r.number(1<<32 - 1))
	if e.flags&hard != 0 {
		e.same = uint32(r.number(1<<32 - 1))
	}
	target := r.text(maxPath)
	if r.bad || name == "" || name == "." || name == ".." || strings.Contains(name, "/") || t.child(e.parent, name) != none {
		return errForeign
	}
	if err := c.account(name, target); err != nil {
		return err
	}
	e.target = t.keep(target)
	t.add(e.parent, name, e)
	return nil
}

// cacheWriter writes numbers, and texts with their lengths.
type cacheWriter struct{ raw []byte }

func (w *cacheWriter) number(n uint64) { w.raw = binary.AppendUvarint(w.raw, n) }

func (w *cacheWriter) text(s string) {
	w.number(uint64(len(s)))
	w.raw = append(w.raw, s...)
}

// cacheReader reads them. After something that cannot be, bad is true, and all is zero.
type cacheReader struct {
	raw []byte
	bad bool
}

// number reads a number that is at most limit.
func (r *cacheReader) number(limit uint64) uint64 {
	n, length := binary.Uvarint(r.raw)
	if length <= 0 || n > limit {
		r.raw, r.bad = nil, true
		return 0
	}
	r.raw = r.raw[length:]
	return n
}

// text reads a text of at most limit bytes.
func (r *cacheReader) text(limit int) string {
	n := int(r.number(uint64(limit)))
	if n > len(r.raw) {
		r.raw, r.bad = nil, true
		return ""
	}
	s := string(r.raw[:n])
	r.raw = r.raw[n:]
	return s
}
