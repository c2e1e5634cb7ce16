package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"berth/store"
)

// resumeProgress is worth a new request and its round trips. A connection that
// breaks again and again with less than that in between counts against
// Retry.Attempts; a link that is only slow does not.
const resumeProgress = 64 << 10

// Blob implements store.BlobReader.
//
// The reader goes on with a Range request where its connection breaks or stalls.
// It gives up after Retry.Attempts breaks in a row with less than 64 KiB between
// them, with the error of the last one, and at once where the registry has another
// length for the blob than desc. It is not safe for concurrent use.
func (r *Repository) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := store.ValidDigest(desc.Digest); err != nil {
		return nil, err
	}
	if offset < 0 || desc.Size < 0 || offset > desc.Size {
		return nil, fmt.Errorf("blob %s of %d bytes cannot be read from byte %d on", desc.Digest, desc.Size, offset)
	}
	if offset == desc.Size && offset > 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	b := &blob{ctx: ctx, repository: r, desc: desc, offset: offset, mark: offset}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// blob is a blob being read.
type blob struct {
	ctx        context.Context
	repository *Repository
	endpoint   *endpoint
	desc       store.Descriptor
	offset     int64

	body io.ReadCloser
	// open-ended bodies have no length announced, and are checked at their end.
	openEnded bool
	// breaks counts those in a row, mark is the offset at the last one.
	breaks tries
	mark   int64
	err    error
}

func (b *blob) call() call {
	c := b.repository.call(b.endpoint, "fetching blob", locator(b.desc.Digest.String()), http.MethodGet, "/blobs/"+b.desc.Digest.String(), PullScope(b.repository.name))
	if b.offset > 0 {
		// The end is named because some registries want one.
		c.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", b.offset, b.desc.Size-1)}}
	}
	return c
}

// open sends the request for the rest of the blob.
func (b *blob) open() error {
	return b.repository.read(b.ctx, func(e *endpoint, try attempts) error {
		b.endpoint = e
		return try(b.ctx, func(ctx context.Context) error {
			c := b.call()
			response, err := e.do(ctx, c, http.StatusOK, http.StatusPartialContent)
			if err != nil {
				return err
			}
			if err := b.accept(c, response); err != nil {
				// The error is known: that the body does not close well is no news.
				_ = response.Body.Close()
				return err
			}
			return nil
		})
	})
}

// accept checks that the answer is the rest of the blob, and takes its body.
func (b *blob) accept(c call, response *http.Response) error {
	rest := b.desc.Size - b.offset
	skip := int64(0)
	switch response.StatusCode {
	case http.StatusPartialContent:
		got, err := parseContentRange(response.Header.Get("Content-Range"))
		if err != nil || got.first != b.offset || got.last != b.desc.Size-1 {
			failed := b.endpoint.corrupt(c, "bytes %d-%d were asked for, and its Content-Range is %q", b.offset, b.desc.Size-1, shorten(response.Header.Get("Content-Range")))
			failed.passes = true
			return failed
		}
		if got.size >= 0 && got.size != b.desc.Size {
			return b.endpoint.corrupt(c, "%w: the registry has %d bytes, and the descriptor says %d", store.ErrCorrupt, got.size, b.desc.Size)
		}
	case http.StatusOK:
		// A pull-through cache that is cold ignores the range.
		skip, rest = b.offset, b.desc.Size
		// A page of the right length may be the blob.
		if response.ContentLength != rest && isHTML(response.Header.Get("Content-Type"), nil) {
			return b.endpoint.corrupt(c, "%s does not answer as a registry: it sent an HTML page", b.endpoint.host)
		}
	}
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return b.endpoint.corrupt(c, "the answer is encoded (%s), which was not asked for", shorten(encoding))
	}
	if response.ContentLength >= 0 && response.ContentLength != rest {
		return b.endpoint.corrupt(c, "%w: the registry has %d bytes, and the descriptor says %d", store.ErrCorrupt, response.ContentLength+b.desc.Size-rest, b.desc.Size)
	}
	if _, err := io.CopyN(io.Discard, response.Body, skip); err != nil {
		return b.endpoint.broken(c, err)
	}
	b.body, b.openEnded = response.Body, response.ContentLength < 0
	return nil
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.err == nil {
		if b.offset == b.desc.Size {
			b.err = b.end()
			break
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.desc.Size-b.offset)])
		b.offset += int64(n)
		if err != nil && b.offset < b.desc.Size {
			b.err = b.resume(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.err
}

// resume opens the rest of the blob after its connection broke.
func (b *blob) resume(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	// The connection is broken: that it does not close well either is no news.
	_ = b.body.Close()
	broken := b.endpoint.broken(b.call(), fmt.Errorf("%d of %d bytes came: %w", b.offset, b.desc.Size, err))
	if b.offset-b.mark >= resumeProgress {
		b.breaks = tries{}
	}
	b.mark = b.offset
	if !b.endpoint.client.again(b.ctx, broken, &b.breaks) {
		return final(b.ctx, broken, b.breaks.failed)
	}
	return b.open()
}

// end checks that nothing follows the last byte.
func (b *blob) end() error {
	if b.openEnded {
		if n, _ := io.ReadFull(b.body, make([]byte, 1)); n > 0 {
			return b.endpoint.corrupt(b.call(), "%w: the registry has more than the %d bytes that the descriptor says", store.ErrCorrupt, b.desc.Size)
		}
	}
	return io.EOF
}

// Close implements io.Closer.
func (b *blob) Close() error {
	if b.err == nil {
		b.err = errors.New("blob is closed")
	}
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

// contentRange is a Content-Range header: the first and last byte of a part, and
// the size of the whole or -1.
type contentRange struct{ first, last, size int64 }

// parseContentRange reads "bytes 5-9/10" or "bytes 5-9/*" (RFC 9110, section 14.4).
func parseContentRange(s string) (contentRange, error) {
	malformed := fmt.Errorf("malformed Content-Range %q", shorten(s))
	unit, rest, _ := strings.Cut(s, " ")
	span, size, ok := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(span, "-")
	if !strings.EqualFold(unit, "bytes") || !ok || !dash {
		return contentRange{}, malformed
	}
	got := contentRange{size: -1}
	var err error
	if got.first, err = parseOffset(first); err != nil {
		return contentRange{}, malformed
	}
	if got.last, err = parseOffset(last); err != nil || got.last < got.first {
		return contentRange{}, malformed
	}
	if size != "*" {
		if got.size, err = parseOffset(size); err != nil || got.last >= got.size {
			return contentRange{}, malformed
		}
	}
	return got, nil
}

// parseOffset reads digits alone: no sign, no blanks.
func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}
