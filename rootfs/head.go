package rootfs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
)

// memory is what an FS keeps of its layers.
type memory struct {
	tables, heads int64
	// headSize is how much of a file is kept at most.
	headSize int
}

// headCost is what keeping a head takes beside its bytes.
const headCost = 64

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
	if l == nil || !l.table.at(at.entry).mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	i := l.table.inode(at.entry)
	want := int(min(int64(n), l.table.at(i).size))
	if want > maxRead {
		return nil, &BudgetError{Layer: l.Descriptor.Digest, Limit: fmt.Sprintf("more than %d MiB of one file", maxRead>>20)}
	}
	if kept := l.heads[i]; len(kept) >= want {
		return bytes.Clone(kept[:max(want, 0)]), nil
	}
	if l.stream != nil && l.at == i {
		defer l.stream.during(ctx)()
		if err := l.readOn(want); err != nil {
			l.err = interrupted(ctx, err)
			_ = l.close() // nothing more is wanted of it
			return nil, l.err
		}
		return bytes.Clone(l.content[:min(want, len(l.content))]), nil
	}
	head, err := l.readAgain(ctx, i, want)
	return head, interrupted(ctx, err)
}

// readOn reads the content of the entry that the stream is at up to its byte n.
func (l *layer) readOn(n int) error {
	have := len(l.content)
	if have >= n {
		return nil
	}
	l.content = append(l.content, make([]byte, n-have)...)
	got, err := l.stream.content(l.content[have:])
	l.content = l.content[:have+got]
	return err
}

// leave keeps the head of the entry that the stream is at, if it may matter: if it
// can be executed, or looks as if it were meant to be.
func (l *layer) leave() error {
	i := l.at
	if i == none {
		return nil
	}
	l.at = none
	e := l.table.at(i)
	if !e.mode.IsRegular() || e.flags&hard != 0 || e.size == 0 {
		return nil
	}
	defer func() { l.content = l.content[:0] }()
	if e.mode&0o111 == 0 && !l.isAccounts(e) {
		if err := l.readOn(int(min(e.size, 4))); err != nil {
			return err
		}
		if !bytes.HasPrefix(l.content, []byte("\x7fELF")) && !bytes.HasPrefix(l.content, []byte("#!")) {
			return nil
		}
	}
	if err := l.readOn(int(min(e.size, int64(l.fs.memory.headSize)))); err != nil {
		return err
	}
	l.keepHead(i, l.content)
	return nil
}

// isAccounts tells whether e is /etc/passwd or /etc/group, in which runtimes look users up.
func (l *layer) isAccounts(e *entry) bool {
	switch string(l.table.bytes(e.name)) {
	case "passwd", "group":
		folder := l.table.at(e.parent)
		return folder.parent == root && string(l.table.bytes(folder.name)) == "etc"
	}
	return false
}

// keepHead keeps what memory allows of content.
func (l *layer) keepHead(i uint32, content []byte) {
	m := &l.fs.memory
	size := func() int64 { return int64(min(len(content), m.headSize)) + headCost }
	for m.headSize > 0 && m.heads+size() > l.fs.bounds.heads {
		l.fs.shrinkHeads()
	}
	if m.headSize == 0 {
		return
	}
	if l.heads == nil {
		l.heads = map[uint32][]byte{}
	}
	if old, ok := l.heads[i]; ok {
		m.heads -= int64(len(old)) + headCost
	}
	l.heads[i] = bytes.Clone(content[:size()-headCost])
	m.heads += size()
}

// shrinkHeads makes room by cutting all heads down: to what nearly all programs need,
// then to what most do. After that, no more are kept.
func (f *FS) shrinkHeads() {
	switch m := &f.memory; {
	case m.headSize > 4<<10:
		m.headSize = 4 << 10
	case m.headSize > 1<<10:
		m.headSize = 1 << 10
	default:
		m.headSize = 0
		return
	}
	f.memory.heads = 0
	for _, l := range f.layers {
		for i, head := range l.heads {
			if len(head) > f.memory.headSize {
				l.heads[i] = bytes.Clone(head[:f.memory.headSize])
			}
			f.memory.heads += int64(len(l.heads[i])) + headCost
		}
	}
}

// readAgain reads the first n bytes of entry i in a second pass over the layer.
func (l *layer) readAgain(ctx context.Context, i uint32, n int) ([]byte, error) {
	s, err := l.open(ctx, l.fs.bounds.fetch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }() // nothing more is wanted of it
	defer s.during(ctx)()
	for range l.table.at(i).ordinal {
		if _, err := s.next(); err == io.EOF {
			return nil, fmt.Errorf("layer %s: it is shorter than it was before: %w", l.Descriptor.Digest, io.ErrUnexpectedEOF)
		} else if err != nil {
			return nil, err
		}
	}
	content := make([]byte, n)
	if _, err := s.content(content); err != nil {
		return nil, err
	}
	l.keepHead(i, content)
	return content, nil
}
