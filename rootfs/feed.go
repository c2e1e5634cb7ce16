package rootfs

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// maxBacklog is how many bytes of a feed may wait to be looked at. A feed that falls behind
// further gives up: what it is a copy of must not wait for it.
const maxBacklog = 4 << 20

// errFeed says that a feed has not brought the whole layer.
var errFeed = errors.New("the feed of the layer ended early")

// Feed is a layer's bytes on their way to somewhere else, which a [Pool] looks at as they pass:
// see [Pool.Feed].
type Feed struct {
	pool    *Pool
	content *content
	// ended is closed when nothing more comes of it; whole is true then if the layer was
	// looked at to its end, and is what its digest says.
	ended chan struct{}
	whole bool

	mu      sync.Mutex
	more    sync.Cond
	backlog [][]byte
	waiting int // bytes in backlog
	// closed says that no more is written, failed that not all of it was taken.
	closed, failed bool
}

// passing is what tells fed layers apart.
type passing struct {
	digest digest.Digest
	size   int64
}

// Feed returns a writer that takes a layer's compressed bytes, all of them from the first on, as
// they pass through a copy. What file systems of the pool then want to know of the layer costs
// no fetch; who asks meanwhile waits for the feed to end. The config need not be known: whoever
// asks has to have the DiffID that the bytes have.
//
// A Write never fails and never waits: where looking at the bytes takes longer than copying them,
// or the layer is over a bound or not what its digest says, the feed gives up, and who asks reads
// for himself. The caller must Close it, also when the copy failed; Close does not wait either.
// A second feed of the same layer does nothing.
func (p *Pool) Feed(d store.Descriptor) *Feed {
	f := &Feed{pool: p, ended: make(chan struct{})}
	f.more.L = &f.mu
	k := passing{d.Digest, d.Size}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, also := p.feeds[k]; also || store.ValidDigest(d.Digest) != nil || p.fed() > maxIdle {
		f.closed, f.failed = true, true
		close(f.ended)
		return f
	}
	p.feeds[k] = f
	f.content = newContent(p, key{digest: d.Digest, size: d.Size})
	f.content.fed = true
	go f.read(d)
	return f
}

// fed is how much memory the layers take that were fed. The caller has the mutex.
func (p *Pool) fed() int64 {
	sum := int64(0)
	for _, f := range p.feeds {
		sum += f.content.tables.Load() + f.content.heads.Load()
	}
	return sum
}

// Write implements io.Writer. It keeps nothing of b.
func (f *Feed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed || f.failed:
	case f.waiting+len(b) > maxBacklog:
		f.fail()
	default:
		f.backlog = append(f.backlog, append([]byte(nil), b...))
		f.waiting += len(b)
		f.more.Signal()
	}
	return len(b), nil
}

// Close implements io.Closer: no more is written.
func (f *Feed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.more.Signal()
	return nil
}

// fail ends the taking. The caller has the mutex.
func (f *Feed) fail() {
	f.failed, f.backlog, f.waiting = true, nil, 0
	f.more.Signal()
}

// Read gives what was written, for the layer's stream.
func (f *Feed) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.backlog) == 0 {
		switch {
		case f.failed:
			return 0, errFeed
		case f.closed:
			return 0, io.EOF
		}
		f.more.Wait()
	}
	n := copy(p, f.backlog[0])
	f.waiting -= n
	if f.backlog[0] = f.backlog[0][n:]; len(f.backlog[0]) == 0 {
		f.backlog = f.backlog[1:]
	}
	return n, nil
}

// read looks at the layer from its first byte to its last.
func (f *Feed) read(d store.Descriptor) {
	defer close(f.ended)
	c := f.content
	view := &layer{
		Layer: &Layer{Descriptor: d, Open: func(context.Context, int64) (io.ReadCloser, error) { return io.NopCloser(f), nil }},
		fs:    &FS{pool: f.pool, bounds: f.pool.bounds},
	}
	view.content.Store(c)
	view.fs.layers = []*layer{view}
	view.fs.headSize.Store(maxHead)
	c.reader = view
	more, err := true, error(nil)
	for more && err == nil {
		more, err = c.next(context.Background(), whole)
	}
	f.mu.Lock()
	f.whole = err == nil
	f.fail() // nothing more is wanted
	f.mu.Unlock()
	if !f.whole {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		delete(f.pool.feeds, passing{d.Digest, d.Size})
	}
}

// adopt waits for a feed of the layer, where there is one, and takes what it brought. The caller
// has the turn.
func (c *content) adopt(ctx context.Context) error {
	c.pool.mu.Lock()
	f := c.pool.feeds[passing{c.digest, c.size}]
	c.pool.mu.Unlock()
	if f == nil {
		return nil
	}
	select {
	case <-f.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !f.whole || f.content.diffID != c.diffID {
		return nil
	}
	c.pool.forget(c.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table, c.kept, c.parts, c.repeated = f.content.table, f.content.kept, f.content.parts, f.content.repeated
	c.tables.Store(f.content.tables.Load())
	c.heads.Store(f.content.heads.Load())
	c.done.Store(true)
	return nil
}

// forget removes a feed that has ended, because the layer is known.
func (p *Pool) forget(k key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.feeds[passing{k.digest, k.size}]; f != nil {
		select {
		case <-f.ended:
			delete(p.feeds, passing{k.digest, k.size})
		default:
		}
	}
}
