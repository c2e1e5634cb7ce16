package rootfs

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// readAhead is how much is asked of a source at once, so also how much may be fetched
// beyond what an answer needs. Registries send over TLS in records of up to 16 KiB.
const readAhead = 32 << 10

// stream is one pass over a layer's bytes, from the first on.
type stream struct {
	content *content
	// reader is on whose behalf it is read.
	reader *layer
	// again says that it is a second pass, which may take all of the budget.
	again bool
	// claimed says that it starts where a table of contents says that a file does.
	claimed bool
	ctx     context.Context
	cancel  context.CancelFunc

	body    io.ReadCloser
	read    int64 // of body
	hash    hash.Hash
	readErr error // why body could not be read on

	unpacked *unpacked
	tar      *tar.Reader
	rest     []byte // for what nobody wants
}

// open opens the layer's bytes, on behalf of l. The stream outlives the question that ctx
// belongs to.
func (c *content) open(ctx context.Context, l *layer, again bool) (*stream, error) {
	d := l.Descriptor
	if err := store.ValidDigest(d.Digest); err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	s := &stream{content: c, reader: l, again: again, hash: d.Digest.Algorithm().Hash()}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.during(ctx)()
	var err error
	if s.body, err = l.Open(s.ctx, 0); err != nil {
		s.cancel()
		return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	if s.unpacked, err = s.unpack(); err != nil {
		_ = s.close() // why it cannot be read says more
		return nil, s.failure(err)
	}
	s.tar = tar.NewReader(s.unpacked)
	return s, nil
}

// during ties the stream to the context of a question until the function that it
// returns is called.
func (s *stream) during(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, s.cancel)
	return func() { stop() }
}

func (s *stream) close() error {
	if s.unpacked != nil {
		s.unpacked.close()
	}
	err := s.body.Close()
	s.cancel()
	return err
}

// Read reads compressed bytes, and counts them.
func (s *stream) Read(p []byte) (int, error) {
	if s.readErr != nil {
		return 0, s.readErr
	}
	n, err := s.fetch(p)
	s.readErr = err
	return n, err
}

func (s *stream) fetch(p []byte) (int, error) {
	f, k := s.reader.fs, s.content.key
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	allowance := f.bounds.fetch
	if !s.again {
		allowance = s.reader.allowance()
	}
	if allowance > 0 {
		left := allowance - f.fetched.Load()
		if left <= 0 {
			return 0, &BudgetError{Layer: k.digest, Limit: fmt.Sprintf("the budget of %d bytes ended at byte %d of %d", f.bounds.fetch, s.read, k.size), spent: true, own: true}
		}
		p = p[:min(int64(len(p)), left)]
	}
	n, err := s.body.Read(p)
	f.fetched.Add(int64(n))
	s.read += int64(n)
	if s.claimed {
		return n, err
	}
	s.hash.Write(p[:n]) // never fails
	switch {
	case s.read > k.size, err == io.EOF && s.read < k.size:
		return n, fmt.Errorf("%w: %d bytes came, and the descriptor says %d", store.ErrCorrupt, s.read, k.size)
	case err == io.EOF:
		if got := digest.NewDigest(k.digest.Algorithm(), s.hash); got != k.digest {
			return n, fmt.Errorf("%w: it is %s", store.ErrCorrupt, got)
		}
	}
	return n, err
}

// failure is what to say when err came out of the decompressor or the tar reader. What
// the source said comes before what they made of it.
func (s *stream) failure(err error) error {
	if s.readErr != nil && s.readErr != io.EOF {
		err = s.readErr
	}
	var budget *BudgetError
	var refused *refusal
	switch { // these name the layer
	case errors.As(err, &budget):
		return budget
	case errors.As(err, &refused):
		return refused
	}
	return fmt.Errorf("layer %s: %w", s.content.digest, err)
}

// skip goes to the end of the entry that the stream is at, unless a position of the layer's
// bytes comes first. It tells whether it did.
func (s *stream) skip(position int64) (reached bool, err error) {
	if position == whole {
		return false, nil
	}
	if s.rest == nil {
		s.rest = make([]byte, readAhead)
	}
	for {
		if s.read >= position {
			return true, nil
		}
		_, err := s.tar.Read(s.rest)
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, s.failure(fmt.Errorf("reading tar: %w", err))
		}
	}
}

// next returns the next entry, or io.EOF where the layer ends and is what its digests
// promise.
func (s *stream) next() (*tar.Header, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, s.failure(err)
	}
	h, err := s.tar.Next()
	switch {
	case err == nil, errors.Is(err, tar.ErrInsecurePath):
		return h, nil
	case err != io.EOF:
		return nil, s.failure(fmt.Errorf("reading tar: %w", err))
	}
	// Engines read on after the archive's end, and so does whoever verifies.
	if _, err := io.Copy(io.Discard, s.unpacked); err != nil {
		return nil, s.failure(err)
	}
	if _, err := io.Copy(io.Discard, bufio.NewReaderSize(s, readAhead)); err != nil {
		return nil, s.failure(err)
	}
	if err := s.unpacked.verify(); err != nil {
		return nil, s.failure(err)
	}
	return nil, io.EOF
}

// fill fills p with what comes next of the entry that the stream is at, which must
// have so much.
func (s *stream) fill(p []byte) (int, error) {
	n, err := io.ReadFull(s.tar, p)
	if err != nil {
		err = s.failure(fmt.Errorf("reading tar: %w", err))
	}
	return n, err
}
