package rootfs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
)

const (
	// headCost is what keeping a head or a part takes beside its bytes.
	headCost = 64
	// leastHead is how much is kept of a program where [PoolOptions.Keep] says what more.
	leastHead = 4 << 10
)

// Head returns the first n bytes of the regular file at path, fewer where the file ends.
// The path is as for [FS.Lstat], whose errors it has too. Something else than a
// regular file is fs.ErrInvalid. More than 8 MiB is a [BudgetError].
//
// The first 64 KiB of programs, scripts and /etc/passwd are kept as they stream past, or
// the first 4 KiB or 1 KiB where there are very many. More of them, and anything of
// other files, may mean to fetch the layer again from its start up to the file. So
// ask for 4 KiB first.
func (f *FS) Head(ctx context.Context, path string, n int) ([]byte, error) {
	at, err := f.find(ctx, path, false)
	if err != nil {
		return nil, err
	}
	l := at.layer
	if l == nil || !at.inode.mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	want := int(min(int64(n), at.inode.size))
	if want > maxRead {
		return nil, &BudgetError{Layer: l.Descriptor.Digest, Limit: fmt.Sprintf("more than %d MiB of one file", maxRead>>20)}
	}
	c, i := at.content, at.node
	head, current := c.headOf(i)
	if current && len(head) < want {
		// The stream is at it, unless it goes on before it is our turn.
		if err := c.begin(ctx, l); err != nil {
			return nil, err
		}
		head, err = c.readHere(ctx, l, i, want)
		c.end()
		if err != nil {
			return nil, err
		}
		if head == nil {
			head, _ = c.headOf(i)
		}
	}
	if len(head) >= want {
		return bytes.Clone(head[:max(want, 0)]), nil
	}
	if c.claimed.Load() {
		head, err = c.readClaimed(ctx, l, i, want)
		return head, interrupted(ctx, err)
	}
	head, err = c.readAgain(ctx, l, i, at.inode.ordinal, want)
	return head, interrupted(ctx, err)
}

// Kept are the parts of a regular file that are kept: [PoolOptions.Keep].
type Kept struct {
	head   []byte
	pieces []piece
}

// From returns what is kept from an offset on, in one piece: none where nothing is.
func (k Kept) From(offset int64) []byte {
	longest := []byte(nil)
	for _, p := range append([]piece{{0, k.head}}, k.pieces...) {
		if at := offset - p.offset; at >= 0 && at < int64(len(p.raw)) && int64(len(p.raw))-at > int64(len(longest)) {
			longest = p.raw[at:]
		}
	}
	return longest
}

// Kept returns what is kept of the regular file at path, without reading more of its layer than it
// takes to know that it is there. Path and errors are those of [FS.Head].
func (f *FS) Kept(ctx context.Context, path string) (Kept, error) {
	at, err := f.find(ctx, path, false)
	if err != nil {
		return Kept{}, err
	}
	if at.layer == nil || !at.inode.mode.IsRegular() {
		return Kept{}, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	head, _ := at.content.headOf(at.node)
	at.content.mu.RLock()
	defer at.content.mu.RUnlock()
	return Kept{head, at.content.parts[at.node]}, nil
}

// interrupted returns why ctx ended where it did, and err is what came of that.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// headOf returns what is kept of an entry, and whether the stream is in its content.
func (c *content) headOf(i uint32) ([]byte, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	head := c.kept[i]
	if again := c.again[i]; len(again) > len(head) {
		head = again
	}
	return head, c.at == i
}

// readHere reads the content of entry i up to its byte n if that is where the stream is, or
// else returns nil.
func (c *content) readHere(ctx context.Context, l *layer, i uint32, n int) ([]byte, error) {
	if c.stream == nil || c.at != i {
		return nil, nil
	}
	c.stream.reader = l
	defer c.stream.during(ctx)()
	if err := c.readOn(n); err != nil {
		if err = c.fail(ctx, err); c.abandoned.Load() {
			l.err = err
		}
		return nil, l.named(err)
	}
	return bytes.Clone(c.partial[:min(n, len(c.partial))]), nil
}

// readOn reads the content of the entry that the stream is at up to its byte n.
func (c *content) readOn(n int) error {
	have := len(c.partial)
	if have >= n {
		return nil
	}
	c.partial = append(c.partial, make([]byte, n-have)...)
	got, err := c.stream.fill(c.partial[have:])
	c.partial = c.partial[:have+got]
	return err
}

// leave keeps the head of the entry that the stream is at, if it may matter: if it
// can be executed, or looks as if it were meant to be.
func (c *content) leave() error {
	i := c.at
	if i == none {
		return nil
	}
	e := *c.table.at(i)
	if e.mode.IsRegular() && e.flags&hard == 0 && e.size > 0 {
		if err := c.keep(i, &e); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.partial = none, c.partial[:0]
	return nil
}

func (c *content) keep(i uint32, e *entry) error {
	if e.mode&0o111 == 0 && !c.isAccounts(e) && !(c.pool.keeper != nil && c.isInEtc(e)) {
		if err := c.readOn(int(min(e.size, 4))); err != nil {
			return err
		}
		if !bytes.HasPrefix(c.partial, []byte("\x7fELF")) && !bytes.HasPrefix(c.partial, []byte("#!")) {
			return nil
		}
	}
	if c.pool.keeper != nil {
		return c.keepParts(i, e)
	}
	if err := c.readOn(int(min(e.size, c.reader.fs.headSize.Load()))); err != nil {
		return err
	}
	c.keepHead(&c.kept, i, c.partial, c.reader.fs)
	return nil
}

// keepParts keeps what the pool's keeper asks for.
func (c *content) keepParts(i uint32, e *entry) error {
	if err := c.readOn(int(min(e.size, leastHead))); err != nil {
		return err
	}
	parts, need := c.pool.keeper(c.table.path(i), c.partial, e.size)
	for need = min(need, e.size); need > int64(len(c.partial)) && need <= maxRead; need = min(need, e.size) {
		release := c.takeLarge(need)
		if err := c.readOn(int(need)); err != nil {
			release()
			return err
		}
		parts, need = c.pool.keeper(c.table.path(i), c.partial, e.size)
		release()
	}
	head := int64(min(len(c.partial), leastHead))
	var pieces []piece
	for _, p := range parts {
		end := min(p.Offset+p.Length, int64(len(c.partial)))
		switch {
		case p.Offset < 0 || p.Length < 0 || p.Offset >= end || end <= head:
		case p.Offset == 0:
			head = max(head, end)
		default:
			pieces = append(pieces, piece{p.Offset, bytes.Clone(c.partial[p.Offset:end])})
		}
	}
	c.keepHead(&c.kept, i, c.partial[:head], c.reader.fs)
	c.keepPieces(i, pieces)
	if cap(c.partial) > maxHead {
		c.partial = nil // it is not left to the next
	}
	return nil
}

// takeLarge waits until it may have n bytes of a file in memory, and returns what ends that.
func (c *content) takeLarge(n int64) (release func()) {
	if n <= maxHead {
		return func() {}
	}
	c.pool.large <- struct{}{}
	return func() { <-c.pool.large }
}

// keepPieces keeps what the memory allows of pieces.
func (c *content) keepPieces(i uint32, pieces []piece) {
	sum := int64(0)
	for _, p := range pieces {
		sum += int64(len(p.raw)) + headCost
	}
	f := c.reader.fs
	if _, used := f.memory(); len(pieces) == 0 || used+sum > f.bounds.heads {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts == nil {
		c.parts = map[uint32][]piece{}
	}
	c.parts[i] = pieces
	c.heads.Add(sum)
}

// isInEtc tells whether e is in /etc itself.
func (c *content) isInEtc(e *entry) bool {
	folder := c.table.at(e.parent)
	return folder.parent == root && string(c.table.bytes(folder.name)) == "etc"
}

// isAccounts tells whether e is /etc/passwd or /etc/group, in which runtimes look users up.
func (c *content) isAccounts(e *entry) bool {
	switch string(c.table.bytes(e.name)) {
	case "passwd", "group":
		return c.isInEtc(e)
	}
	return false
}

// keepHead keeps in heads what the memory of f allows of a head.
func (c *content) keepHead(heads *map[uint32][]byte, i uint32, head []byte, f *FS) {
	// What a keeper asks for is kept as long as nothing has to be cut.
	limit := func() int64 {
		if at := f.headSize.Load(); at < maxHead || c.pool.keeper == nil {
			return at
		}
		return maxRead
	}
	size := func() int64 { return min(int64(len(head)), limit()) + headCost }
	for f.headSize.Load() > 0 {
		if _, used := f.memory(); used+size() <= f.bounds.heads {
			break
		}
		f.shrinkHeads()
	}
	if f.headSize.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if *heads == nil {
		*heads = map[uint32][]byte{}
	}
	if old, ok := (*heads)[i]; ok {
		c.heads.Add(-int64(len(old)) - headCost)
	}
	head = bytes.Clone(head[:min(int64(len(head)), limit())])
	(*heads)[i] = head
	c.heads.Add(int64(len(head)) + headCost)
}

// shrinkHeads makes room by cutting all heads down: to what nearly all programs need,
// then to what most do. After that, no more are kept.
func (f *FS) shrinkHeads() {
	switch size := f.headSize.Load(); {
	case size > 4<<10:
		f.headSize.Store(4 << 10)
	case size > 1<<10:
		f.headSize.Store(1 << 10)
	default:
		f.headSize.Store(0)
		return
	}
	for _, l := range f.layers {
		l.content.Load().shrinkHeads(int(f.headSize.Load()))
	}
}

func (c *content) shrinkHeads(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := int64(0)
	for _, pieces := range c.parts {
		for _, p := range pieces {
			sum += int64(len(p.raw)) + headCost
		}
	}
	for _, heads := range []map[uint32][]byte{c.kept, c.again} {
		for i, head := range heads {
			if len(head) > size {
				heads[i] = bytes.Clone(head[:size])
			}
			sum += int64(len(heads[i])) + headCost
		}
	}
	c.heads.Store(sum)
}

// readAgain reads the first n bytes of entry i, which is the given one of the tar, in a second
// pass over the layer, on behalf of l.
func (c *content) readAgain(ctx context.Context, l *layer, i, ordinal uint32, n int) ([]byte, error) {
	s, err := c.open(ctx, l, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }() // nothing more is wanted of it
	defer s.during(ctx)()
	for range ordinal {
		if _, err := s.next(); err == io.EOF {
			return nil, fmt.Errorf("layer %s: it is shorter than it was before: %w", c.digest, io.ErrUnexpectedEOF)
		} else if err != nil {
			return nil, l.named(err)
		}
	}
	head := make([]byte, n)
	if _, err := s.fill(head); err != nil {
		return nil, l.named(err)
	}
	c.keepHead(&c.again, i, head, l.fs)
	return head, nil
}
