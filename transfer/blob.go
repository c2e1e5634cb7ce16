package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

func (r *run) pushBlob(ctx context.Context, d store.Descriptor) error {
	r.tell(Event{Kind: BlobStarted, Descriptor: d})
	outcome, err := store.Present, error(nil)
	switch {
	case r.opts.Sent[d.Digest]:
		outcome = store.Copied
	case !r.held[d.Digest]:
		outcome, err = r.opts.Siblings.push(ctx, r.opts.Host, r.opts.Repository, store.Content{
			Descriptor: d,
			Open:       func(ctx context.Context, offset int64) (io.ReadCloser, error) { return r.open(ctx, d, offset) },
			MountFrom:  r.opts.mountFrom(d.Digest),
		}, r.dst.PushBlob)
	}
	r.leave(d.Digest)
	if err != nil {
		// What the source said is inside of what the destination says about it.
		if failed := (*CopyError)(nil); errors.As(err, &failed) {
			return failed
		}
		return &CopyError{End: Destination, Descriptor: d, Err: err}
	}
	r.mu.Lock()
	r.result.count(d, outcome)
	r.mu.Unlock()
	r.tell(Event{Kind: BlobDone, Descriptor: d, Outcome: outcome})
	return nil
}

// leave tells a source that several runs share that a blob is not asked for again.
func (r *run) leave(d digest.Digest) {
	if l, ok := r.src.(*lane); ok {
		l.leave(d)
	}
}

// open opens a blob at offset: from memory, where it was read when the image was
// opened, else from the source.
func (r *run) open(ctx context.Context, d store.Descriptor, offset int64) (io.ReadCloser, error) {
	var from io.ReadCloser
	if raw, ok := r.plan.configs[d.Digest]; ok {
		from = io.NopCloser(io.NewSectionReader(bytes.NewReader(raw), offset, int64(len(raw))-offset))
	} else {
		var err error
		if from, err = r.src.Blob(ctx, d, offset); err != nil {
			return nil, &CopyError{End: Source, Descriptor: d, Err: err}
		}
	}
	return &content{ReadCloser: from, run: r, desc: d, offset: offset}, nil
}

// content is a blob on its way. It tells how far it has been read, and marks
// failures as the source's, so that they can be told from the destination's
// wherever they surface.
type content struct {
	io.ReadCloser
	run    *run
	desc   store.Descriptor
	offset int64
	// feed looks at what is read; nil where nobody does.
	feed io.WriteCloser
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.offset == 0 && c.feed == nil && c.run.opts.Feed != nil {
		// Not before: content is opened that is not wanted in the end.
		c.feed = c.run.opts.Feed(c.desc)
	}
	if c.feed != nil {
		_, _ = c.feed.Write(p[:n]) // it does not fail
	}
	if n > 0 {
		c.offset += int64(n)
		c.run.tell(Event{Kind: BlobRead, Descriptor: c.desc, Offset: c.offset})
	}
	switch {
	case c.offset > c.desc.Size:
		err = fmt.Errorf("%w: there are more than its %d bytes", store.ErrCorrupt, c.desc.Size)
	case err == io.EOF && c.offset < c.desc.Size:
		err = fmt.Errorf("%w after %d of %d bytes", io.ErrUnexpectedEOF, c.offset, c.desc.Size)
	case err == nil || err == io.EOF:
		return n, err
	}
	return n, &CopyError{End: Source, Descriptor: c.desc, Err: err}
}

// Close implements io.Closer.
func (c *content) Close() error {
	if c.feed != nil {
		_ = c.feed.Close() // it does not fail
	}
	return c.ReadCloser.Close()
}

// blame finds out which end corrupted a blob. A destination that was sent wrong
// bytes and one that lost some say the same; the source's bytes tell. They are
// hashed only now, because hashing all that passes through would cost more CPU
// than the rest of a copy.
func (r *run) blame(ctx context.Context, err error) error {
	var failed *CopyError
	if !errors.As(err, &failed) || failed.End != Destination || !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	d := failed.Descriptor
	_, isManifest := r.plan.refers[d.Digest]
	_, inMemory := r.plan.configs[d.Digest]
	if isManifest || inMemory {
		return err // verified when the image was opened
	}
	from, readErr := r.src.Blob(ctx, d, 0)
	if readErr != nil {
		return err
	}
	defer from.Close()
	verifier := d.Digest.Verifier()
	if _, readErr := io.Copy(verifier, io.LimitReader(from, d.Size+1)); readErr != nil || verifier.Verified() {
		return err
	}
	return &CopyError{End: Source, Descriptor: d, Err: fmt.Errorf("it has other bytes, and the destination refused them: %w", failed.Err)}
}
