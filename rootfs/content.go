package rootfs

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// content is a layer as far as it was read, by whichever file system.
type content struct {
	key
	pool *Pool
	// users is how many have it, under the pool's mutex.
	users int

	// turn is held by who reads on. It is a channel, so that waiting for it ends with a
	// question's context; waiting counts those who do.
	turn    chan struct{}
	waiting atomic.Int32
	// abandoned says that it cannot be read on because of who was reading it: the budget or
	// the context of one file system ended. Others begin anew.
	abandoned atomic.Bool
	// done says that it was read to its end, and is what its digests promise.
	done atomic.Bool
	// refused is why no engine unpacks it, as far as anybody knows.
	refused atomic.Pointer[refusal]
	// tables and heads are how much memory it takes.
	tables, heads atomic.Int64

	// What follows is changed by who has the turn, and beside the stream only under mu: others
	// look at it while the turn waits for a network.
	mu     sync.RWMutex
	table  table
	stream *stream
	// err is why it cannot be read on, whoever asks.
	err error
	// at is the entry whose content the stream is in, or none, and partial what was
	// read of it.
	at      uint32
	partial []byte
	ordinal uint32
	// kept are the heads of entries. Those in again come from second passes, which nothing
	// verifies.
	kept, again map[uint32][]byte
	// parts are further pieces of entries, which no head has.
	parts map[uint32][]piece

	// fed says that it comes from a feed, which does not know the DiffID until the end.
	fed bool
	// tried says that the table of contents was, claimed that what is known comes from it, and
	// offsets where it says that the contents of files are.
	tried   bool
	claimed atomic.Bool
	offsets []located
	// asked says that the cache was.
	asked bool
	// repeated is the first path that it has twice, or empty.
	repeated string
	// reader is on whose behalf it is read: who has the turn.
	reader *layer
	// lastDir is the folder of the entry before, and lastParent its place as long as
	// no folder was pruned.
	lastDir            string
	lastParent         uint32
	pruned, lastPruned int
}

// piece is a part of a file, where it is not at its start.
type piece struct {
	offset int64
	raw    []byte
}

func newContent(p *Pool, k key) *content {
	return &content{key: k, pool: p, turn: make(chan struct{}, 1), table: newTable(p.seed), at: none, lastParent: none}
}

// begin waits for the turn to read on, on behalf of l.
func (c *content) begin(ctx context.Context, l *layer) error {
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	select {
	case c.turn <- struct{}{}:
		c.reader = l
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *content) end() {
	c.reader = nil
	<-c.turn
}

// next reads on to the next entry or to a position, for who has the turn. It returns false at
// the end of the layer.
func (c *content) next(ctx context.Context, position int64) (bool, error) {
	if c.done.Load() || c.err != nil {
		return false, c.err
	}
	if c.stream == nil && !c.fed {
		if err := c.adopt(ctx); err != nil {
			return false, err
		}
		if c.load(); !c.done.Load() {
			if err := c.readTOC(ctx); err != nil {
				return false, err
			}
		}
		if c.done.Load() {
			return false, nil
		}
	}
	err := c.advance(ctx, position)
	if err == nil {
		return true, nil
	}
	if err == io.EOF {
		c.save()
		c.done.Store(true)
		_ = c.close() // nothing more is wanted of it
		return false, nil
	}
	return false, c.fail(ctx, err)
}

// fail ends the reading. It returns what that is for the reader, and keeps what it is for all.
func (c *content) fail(ctx context.Context, err error) error {
	_ = c.close() // nothing more is wanted of it
	var budget *BudgetError
	var refused *refusal
	switch {
	case c.fed: // nobody else has it
	case ctx.Err() != nil:
		c.abandoned.Store(true)
		err = ctx.Err()
	case errors.As(err, &budget) && budget.own:
		c.abandoned.Store(true)
	case errors.As(err, &refused):
		c.pool.refuse(c, refused)
		c.err = err
	default:
		c.err = err
	}
	return err
}

func (c *content) advance(ctx context.Context, position int64) error {
	if c.stream == nil {
		var err error
		if c.stream, err = c.open(ctx, c.reader, false); err != nil {
			return err
		}
	}
	c.stream.reader = c.reader
	defer c.stream.during(ctx)()
	if err := c.leave(); err != nil {
		return err
	}
	if reached, err := c.stream.skip(position); reached || err != nil {
		return err
	}
	h, err := c.stream.next()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ordinal++
	c.at, err = c.unpack(h)
	return err
}

// close closes the stream, where there is one.
func (c *content) close() error {
	if c.stream == nil {
		return nil
	}
	err := c.stream.close()
	c.stream = nil
	return err
}
