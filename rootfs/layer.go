package rootfs

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
)

// layer is a layer as a file system sees it.
type layer struct {
	*Layer
	fs      *FS
	content atomic.Pointer[content]
	lowest  bool

	// err is why this file system cannot read it on, whatever others can.
	err error
	// allowed is the value of FS.fetched up to which it may be read; zero until it was
	// read for the first time.
	allowed int64
}

// whole is the position up to which a layer is read where nothing bounds it.
const whole = math.MaxInt64

// burst is how many entries are read at most before others may: they may be waiting for one of
// them.
const burst = 256

// seek looks for the path in the layer, and reads on until it is there, or cannot be, or
// the layer ends, or was read up to a position. An error comes with what was known before it.
func (l *layer) seek(ctx context.Context, parts []string, explicit bool, position int64) (cursor, error) {
	for {
		s := search{content: l.content.Load(), parts: parts, explicit: explicit}
		again, err := l.read(ctx, &s, position)
		if again && err == nil {
			continue
		}
		s.content.mu.RLock()
		defer s.content.mu.RUnlock()
		return s.result(), l.named(err)
	}
}

// read reads on as [layer.seek] does. It returns true where the search has to start again,
// because others wait or the content is another.
func (l *layer) read(ctx context.Context, s *search, position int64) (again bool, err error) {
	c := s.content
	c.mu.RLock()
	final, err := s.look()
	c.mu.RUnlock()
	switch {
	case final || err != nil:
		return false, err
	case l.err != nil || c.done.Load():
		return false, l.err
	}
	if err := c.begin(ctx, l); err != nil {
		return false, err
	}
	defer c.end()
	if c.abandoned.Load() {
		l.content.Store(l.fs.pool.swap(c))
		return true, nil
	}
	for range burst {
		if final, err := s.look(); final || err != nil {
			return false, err
		}
		more, err := c.next(ctx, position)
		if err != nil && c.abandoned.Load() {
			l.err = err
		}
		if err != nil {
			return false, err
		}
		if !more {
			_, err := s.look() // a cache may have brought all of it
			return false, err
		}
		if c.stream.read >= position {
			return false, nil
		}
		if c.waiting.Load() > 0 {
			break
		}
	}
	return true, nil
}

// recall takes the layer from the cache, if that has it and was not asked before.
func (l *layer) recall(ctx context.Context) error {
	c := l.content.Load()
	if c.pool.cache == nil || c.done.Load() {
		return nil
	}
	if err := c.begin(ctx, l); err != nil {
		return err
	}
	defer c.end()
	if c.stream == nil {
		c.load()
	}
	return nil
}

// named gives what was found out of a content the layer that it is here.
func (l *layer) named(err error) error {
	var refused *refusal
	if errors.As(err, &refused) {
		return &UnpackError{Layer: l.Layer, Path: refused.path, Reason: refused.reason}
	}
	return err
}

// allowance is how far the file system may go with this layer: to the end of the budget, or to
// half of what is left where there are layers below.
func (l *layer) allowance() int64 {
	budget := l.fs.bounds.fetch
	if budget == 0 || l.lowest {
		return budget
	}
	if l.allowed == 0 {
		fetched := l.fs.fetched.Load()
		l.allowed = fetched + max((budget-fetched)/2, 1)
	}
	return l.allowed
}
