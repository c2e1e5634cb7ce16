package rootfs

import (
	"context"
	"errors"
	"io"
)

// layer is a layer as far as it was read.
type layer struct {
	*Layer
	fs     *FS
	table  table
	lowest bool

	stream *stream
	// done says that it was read to its end, err why it cannot be read on.
	done bool
	err  error

	// at is the entry whose content the stream is in, or none, and content what was
	// read of it.
	at      uint32
	content []byte
	ordinal uint32
	heads   map[uint32][]byte

	// lastDir is the folder of the entry before, and lastParent its place as long as
	// no folder was pruned.
	lastDir            string
	lastParent         uint32
	pruned, lastPruned int
}

// next reads on to the next entry. It returns false at the end of the layer.
func (l *layer) next(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if l.done || l.err != nil {
		return false, l.err
	}
	if err := l.advance(ctx); err == io.EOF {
		l.done = true
	} else {
		l.err = interrupted(ctx, err)
	}
	if l.done || l.err != nil {
		_ = l.close() // nothing more is wanted of it
	}
	return !l.done && l.err == nil, l.err
}

// interrupted returns why ctx ended where it did, and err is what came of that.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (l *layer) advance(ctx context.Context) error {
	if l.stream == nil {
		var err error
		if l.stream, err = l.open(ctx, l.allowance()); err != nil {
			return err
		}
	}
	defer l.stream.during(ctx)()
	if err := l.leave(); err != nil {
		return err
	}
	h, err := l.stream.next()
	if err != nil {
		var refused *UnpackError
		if errors.As(err, &refused) {
			l.fs.refused = refused
		}
		return err
	}
	l.ordinal++
	l.at, err = l.unpack(h)
	return err
}

// allowance is how far the layer may go: to the end of the budget, or to half of
// what is left where there are layers below.
func (l *layer) allowance() int64 {
	budget := l.fs.bounds.fetch
	if budget == 0 || l.lowest {
		return budget
	}
	return l.fs.fetched + max((budget-l.fs.fetched)/2, 1)
}

// close closes the stream of a layer that is not read on.
func (l *layer) close() error {
	if l.stream == nil {
		return nil
	}
	err := l.stream.close()
	l.stream = nil
	return err
}
