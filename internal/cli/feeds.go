package cli

import (
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/rootfs"
	"berth/store"
)

// feeds let a proof look at layers while they are copied, so that nothing is fetched for
// it that passes by anyway.
//
// All of them are announced before the copy begins: a proof waits for a layer that is
// announced, and reads by itself what turns out to be mounted or there already.
type feeds struct {
	pool *rootfs.Pool

	mu     sync.Mutex
	layers map[digest.Digest]*feed
}

// feed is one layer.
type feed struct {
	*rootfs.Feed
	taken bool // by the copy of a blob, which closes it
	// legs are those that have not come to the end of the layer yet.
	legs map[int]bool
}

// announce makes feeds for the layers of what the subjects of each leg select.
func announce(pool *rootfs.Pool, legs [][]*check.Subject) *feeds {
	f := &feeds{pool: pool, layers: map[digest.Digest]*feed{}}
	for i, subjects := range legs {
		for _, s := range subjects {
			if s.Selected == nil || s.Selected.Err != nil {
				continue
			}
			for _, d := range s.Selected.Layers {
				if f.layers[d.Digest] == nil {
					f.layers[d.Digest] = &feed{Feed: pool.Feed(d), legs: map[int]bool{}}
				}
				f.layers[d.Digest].legs[i] = true
			}
		}
	}
	return f
}

// of is what the copy of a blob is to write to, from its first byte on; nil where nobody
// wants to know.
func (f *feeds) of(d store.Descriptor) io.WriteCloser {
	f.mu.Lock()
	defer f.mu.Unlock()
	layer := f.layers[d.Digest]
	switch {
	case layer == nil:
		return nil
	case layer.taken: // and if that ended early, there is room for another
		return f.pool.Feed(d)
	}
	layer.taken = true
	return layer.Feed
}

// done says that a leg does not copy a layer, or not any more.
func (f *feeds) done(leg int, d digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if layer := f.layers[d]; layer != nil {
		f.leave(leg, layer)
	}
}

// end says that a leg copies nothing any more.
func (f *feeds) end(leg int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, layer := range f.layers {
		f.leave(leg, layer)
	}
}

// leave closes a feed that nobody will take. f.mu is held.
func (f *feeds) leave(leg int, layer *feed) {
	delete(layer.legs, leg)
	if len(layer.legs) == 0 && !layer.taken {
		layer.taken = true
		_ = layer.Close() // it never fails
	}
}
