package rootfs

import (
	"context"
	"sync"
)

const (
	// sideBySide is how many layers of an image are read at once. Two keep two processors
	// busy, and the others wait for a registry meanwhile.
	sideBySide = 4
	// tiny is the size up to which a layer is fetched beside the one above it whether or not it
	// will be needed: it costs less than what is read ahead of any layer, and saves a round
	// trip. Many layers are of this size: a script, a few folders, nothing at all.
	tiny = 16 << 10
	// aheadLeast is how far at least layers are read ahead that may not be needed, once a
	// whole layer above them did not have the answer.
	aheadLeast = 64 << 10
)

// ahead reads, beside the layer i, the layers below that the question for parts will need too
// where that layer has no answer. It returns when all of them have an answer, or are as
// far as they may be:
//
//   - To their ends where a layer below is known to have the path: then only what hides it
//     spares reading the rest.
//   - Otherwise to their share of what the layers above, which did not have the answer,
//     amount to: so at most as much again is fetched in vain, and nothing but [tiny] layers
//     while the highest was not read.
//
// With a budget nothing is read ahead. How far each layer is read depends on sizes alone, and
// on nobody's speed.
func (f *FS) ahead(ctx context.Context, i int, parts []string, explicit bool) {
	if f.bounds.fetch > 0 || f.layers[i].settled(parts, explicit) {
		return
	}
	// What a cache has is as if it were read.
	for _, l := range f.layers[i:] {
		if err := l.recall(ctx); err != nil {
			return
		}
	}
	if f.layers[i].settled(parts, explicit) {
		return
	}
	var above int64
	for _, l := range f.layers[:i] {
		above += l.Descriptor.Size
	}
	var next []*layer
	known := false
	for _, l := range f.layers[i+1:] {
		if c, final := l.peek(parts, explicit); final {
			known = c.ends != open
			if known {
				break
			}
			continue
		}
		next = append(next, l)
	}
	next = next[:min(len(next), sideBySide-1)]
	var group sync.WaitGroup
	for _, l := range next {
		position := int64(whole)
		switch {
		case known, l.Descriptor.Size <= tiny:
		case above == 0:
			continue
		default:
			position = max(above/(sideBySide-1), aheadLeast)
		}
		group.Go(func() {
			// What keeps it from being read is told when it is asked.
			_, _ = l.seek(ctx, parts, explicit, position)
		})
	}
	_, _ = f.layers[i].seek(ctx, parts, explicit, whole) // the same
	group.Wait()
}

// peek looks for the path without reading. It tells whether reading could change the
// answer.
func (l *layer) peek(parts []string, explicit bool) (c cursor, final bool) {
	s := search{content: l.content.Load(), parts: parts, explicit: explicit}
	s.content.mu.RLock()
	defer s.content.mu.RUnlock()
	final, err := s.look()
	return s.cursor, final || err != nil || l.err != nil || s.content.done.Load()
}

// settled tells whether the layer has an answer without reading.
func (l *layer) settled(parts []string, explicit bool) bool {
	_, final := l.peek(parts, explicit)
	return final
}
