package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// unpacked is a layer's uncompressed stream.
type unpacked struct {
	stream *stream
	r      io.Reader
	close  func()
	n      int64
	hash   hash.Hash // nil where there is nothing to verify
}

// unpack finds out how the stream is compressed. Like containerd
// (archive/compression.DetectCompression) it goes by the first bytes and not by the
// media type.
func (s *stream) unpack() (*unpacked, error) {
	u := &unpacked{stream: s, close: func() {}}
	if d := s.content.diffID; d != "" && d.Validate() == nil {
		u.hash = d.Algorithm().Hash()
	} else if s.content.fed {
		u.hash = digest.Canonical.Hash()
	}
	buffered := bufio.NewReaderSize(s, readAhead)
	start, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b, 0x08}): // RFC 1952, 2.3.1
		r, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		u.r = r
	case isZstd(start):
		// One goroutine, which is ours, and no larger window than is needed.
		r, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		u.r, u.close = r, r.Close
	default:
		u.r = buffered
	}
	return u, nil
}

// isZstd recognises a frame, or a frame to be skipped, with which zstd:chunked may
// start (RFC 8878, 3.1).
func isZstd(start []byte) bool {
	return bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(start) == 4 && start[0]&0xf0 == 0x50 && bytes.Equal(start[1:], []byte{0x2a, 0x4d, 0x18})
}

// Read reads uncompressed bytes, as many as the compressed ones may stand for.
func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	if u.hash != nil {
		u.hash.Write(p[:n]) // never fails
	}
	bounds := u.stream.content.pool.bounds
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		err = u.over(fmt.Sprintf("a zstd window of more than %d MiB", maxWindow>>20))
	case u.n > bounds.unpacked+maxRatio*u.stream.read:
		err = u.over(fmt.Sprintf("%d bytes unpack to more than %d, and to more than %d times as many", u.stream.read, bounds.unpacked, maxRatio))
	}
	return n, err
}

func (u *unpacked) over(limit string) error {
	return &BudgetError{Layer: u.stream.content.digest, Limit: limit}
}

// verify compares what was unpacked, which must be all, with the config's digest.
func (u *unpacked) verify() error {
	want := u.stream.content.diffID
	switch {
	case u.hash == nil:
		return nil
	case u.stream.content.fed:
		u.stream.content.diffID = digest.NewDigest(digest.Canonical, u.hash)
		return nil
	}
	if got := digest.NewDigest(want.Algorithm(), u.hash); got != want {
		return &refusal{"/", fmt.Sprintf("unpacks to %s, and the config's diff_ids say %s (wrong diff id)", got, want)}
	}
	return nil
}
