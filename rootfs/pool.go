package rootfs

import (
	"hash/maphash"
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxIdle is how much memory the layers take that are kept in a [Pool] while no file
// system has them: a distribution's base takes some 3 MiB.
const maxIdle = 16 << 20

// Pool is what file systems of one repository share: a layer that several of them have is
// read once, and whoever asks first pays for it ([FS.Fetched]).
//
// A repository is the boundary, because who may read a layer in one may not be allowed to
// in another, and because one registry's bytes must not stand for another's. Layers are
// the same where digest, DiffID and size are.
//
// The answers are those that each file system would give alone, with one exception: a
// layer that one of them found out to be an [UnpackError] is that for all, also for one that
// had not read so far. A pool is for any number of goroutines; each FS is for one.
type Pool struct {
	bounds bounds
	seed   maphash.Seed
	cache  Cache
	fresh  bool
	keeper func(path string, head []byte, size int64) (parts []Part, need int64)
	// large is held while much of a file is in memory, so that not all who read side by side have
	// much at once.
	large chan struct{}

	mu       sync.Mutex
	contents map[key]*content
	// idle are the contents that are read to their end and that nobody has, the one that was
	// given back last at the end.
	idle []*content
	// refused is why layers are not unpacked, for as long as the pool lives.
	refused map[key]*refusal
	// feeds are the layers that pass by, and those that did until somebody wants them.
	feeds map[passing]*Feed
}

// PoolOptions is how a pool reads. Its zero value has no cache.
type PoolOptions struct {
	// Cache has the layers that were read to their ends before, and gets those that are now.
	Cache Cache
	// Fresh reads layers also where Cache has them.
	Fresh bool
	// Keep says which parts of a regular file will be asked for, beside its first 4 KiB, as the
	// file streams past: [FS.Head] and [FS.Kept] then have them. It is asked of programs, of
	// scripts, of ELF files whatever their mode, and of what is in /etc. head is the beginning of
	// the file, and path what the layer calls it. Where need is longer than head, it is asked
	// again with so much, up to 8 MiB; and not again where the file is larger or at its end. Nil
	// keeps the first 64 KiB of programs and scripts, and of /etc/passwd and /etc/group.
	Keep func(path string, head []byte, size int64) (parts []Part, need int64)
}

// Part is where a part of a file is.
type Part struct{ Offset, Length int64 }

// key is what makes two layers the same.
type key struct {
	digest, diffID digest.Digest
	size           int64
	// claim is the table of contents that may be believed, where there is a budget.
	claim claim
}

func (l *Layer) key() key {
	return key{digest: l.Descriptor.Digest, diffID: l.DiffID, size: l.Descriptor.Size}
}

// NewPool returns a pool without layers.
func NewPool(opts PoolOptions) *Pool { return newPool(opts, defaultBounds) }

func newPool(opts PoolOptions, b bounds) *Pool {
	return &Pool{
		bounds: b, cache: opts.Cache, fresh: opts.Fresh, keeper: opts.Keep, large: make(chan struct{}, 2),
		seed: maphash.MakeSeed(), contents: map[key]*content{}, refused: map[key]*refusal{}, feeds: map[passing]*Feed{},
	}
}

// New returns the file system of layers, lowest first, which shares what it reads. It reads
// nothing yet. Layers are kept at least until it is closed.
func (p *Pool) New(layers []Layer, opts Options) *FS {
	f := &FS{pool: p, bounds: p.bounds}
	f.bounds.fetch = opts.MaxFetch
	f.headSize.Store(maxHead)
	for i := len(layers) - 1; i >= 0; i-- {
		l := layers[i]
		f.total += l.Descriptor.Size
		view := &layer{Layer: &l, fs: f, lowest: i == 0}
		k := l.key()
		if opts.MaxFetch > 0 {
			k.claim = claimOf(l.Descriptor)
		}
		view.content.Store(p.take(k))
		f.layers = append(f.layers, view)
	}
	return f
}

// take returns the content of a layer, for the caller to have until [Pool.giveBack].
func (p *Pool) take(k key) *content {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.contents[k]
	if !ok || c.abandoned.Load() {
		c = newContent(p, k)
		c.refused.Store(p.refused[k])
		p.contents[k] = c
	}
	if c.users++; c.users == 1 {
		p.unlist(c)
	}
	return c
}

// giveBack takes back a content. It returns the failure to close its stream.
func (p *Pool) giveBack(c *content) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.users--; c.users > 0 {
		return nil
	}
	if !c.done.Load() || p.contents[c.key] != c {
		p.drop(c)
		return c.close() // nobody else has it
	}
	p.idle = append(p.idle, c)
	held := int64(0)
	for _, i := range p.idle {
		held += i.tables.Load() + i.heads.Load()
	}
	for held > maxIdle {
		oldest := p.idle[0]
		held -= oldest.tables.Load() + oldest.heads.Load()
		p.unlist(oldest)
		p.drop(oldest)
	}
	return nil
}

// swap gives another content for one that was abandoned.
func (p *Pool) swap(c *content) *content {
	next := p.take(c.key)
	_ = p.giveBack(c) // its stream is closed
	return next
}

// unlist takes a content off the idle ones.
func (p *Pool) unlist(c *content) {
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i:i], p.idle[i+1:]...)
			return
		}
	}
}

func (p *Pool) drop(c *content) {
	if p.contents[c.key] == c {
		delete(p.contents, c.key)
	}
}

// refuse notes for all that a layer is not unpacked.
func (p *Pool) refuse(c *content, r *refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[c.key] = r
	if other, ok := p.contents[c.key]; ok {
		other.refused.Store(r)
	}
	c.refused.Store(r)
}
