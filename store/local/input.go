package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"berth/store"
)

// maxSpooled bounds a temporary file: an archive that came from a pipe or was
// unpacked. It is more than twice the largest layer that Amazon ECR takes (52,000
// MiB), and keeps a stream without an end from filling every disk.
const maxSpooled = 128 << 30

// input is an archive that can be read at any offset.
type input struct {
	io.ReaderAt
	size  int64
	close func() error
}

// openInput opens an archive. One that is compressed, or that cannot be read at any
// offset, is first copied into a temporary file.
func openInput(ctx context.Context, where, path string, opts Options) (*input, error) {
	if path == store.Standard {
		if opts.Stdin == nil {
			return nil, fmt.Errorf("%s: there is no standard input", where)
		}
		f, ok := opts.Stdin.(*os.File)
		if !ok {
			return spool(ctx, where, opts.Stdin, opts)
		}
		return inputFrom(ctx, where, f, opts, nothing{})
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: file %w", where, store.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", where, err)
	case info.IsDir():
		return nil, fmt.Errorf("%s: it is a folder, and an archive is a file; if it is an OCI layout, write oci:%s", where, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return inputFrom(ctx, where, f, opts, f)
}

// inputFrom reads f from where it stands, without a copy where it can. closer is
// what closes f in the end.
func inputFrom(ctx context.Context, where string, f *os.File, opts Options, closer io.Closer) (*input, error) {
	in, err := inputAt(f)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w", where, err), closer.Close())
	case in != nil:
		in.close = closer.Close
		return in, nil
	}
	in, err = spool(ctx, where, f, opts)
	return in, errors.Join(err, closer.Close())
}

// inputAt is f itself, or nil where it is not to be read at any offset.
func inputAt(f *os.File) (*input, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	head := make([]byte, headSize)
	n, err := f.ReadAt(head, start)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if compressionOf(head[:n]) != "" {
		return nil, nil
	}
	size := info.Size() - start
	return &input{ReaderAt: io.NewSectionReader(f, start, size), size: size}, nil
}

// spool copies a stream, unpacked, into a temporary file. Where the context ends
// while the stream does not answer, spool returns all the same; the file is gone
// once the stream answers, or with the process.
func spool(ctx context.Context, where string, r io.Reader, opts Options) (*input, error) {
	temp, remove, err := tempFile(opts.TempDir)
	if err != nil {
		return nil, fmt.Errorf("%s: making a temporary file: %w", where, err)
	}
	type result struct {
		n   int64
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := copyUnpacked(temp, &reader{ctx, r})
		if err != nil {
			err = errors.Join(err, remove())
		}
		done <- result{n, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				_ = remove() // nobody is left to be told
			}
		}()
		return nil, ctx.Err()
	case r := <-done:
		if r.err != nil {
			return nil, spoolError(where, temp.Name(), r.err)
		}
		return &input{temp, r.n, remove}, nil
	}
}

func copyUnpacked(w io.Writer, r io.Reader) (int64, error) {
	u, err := unpack(r)
	if err != nil {
		return 0, err
	}
	defer u.Close()
	n, err := io.Copy(w, io.LimitReader(u, maxSpooled+1))
	if err == nil && n > maxSpooled {
		err = fmt.Errorf("%w: more than %d bytes", store.ErrTooLarge, int64(maxSpooled))
	}
	return n, err
}

// spoolError adds what helps against a full disk.
func spoolError(where, name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s: copying it into a temporary file: %w; TMPDIR names the folder for those", where, err)
	}
	return fmt.Errorf("%s: copying it into the temporary file %s: %w", where, name, err)
}

// tempFile makes a temporary file, and what closes and removes it. Where the system
// allows it the file has no name from the start.
func tempFile(dir string) (f *os.File, remove func() error, err error) {
	f, err = os.CreateTemp(dir, "berth-*")
	if err != nil {
		return nil, nil, err
	}
	if os.Remove(f.Name()) == nil {
		return f, f.Close, nil
	}
	return f, func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }, nil
}

// headSize is what compressionOf needs to see.
const headSize = 4

// maxWindow bounds a zstd frame's window, which is memory. zstd itself needs a switch
// (--long) to write or to read more than 128 MiB.
const maxWindow = 128 << 20

// compressionOf tells gzip (RFC 1952, 2.3.1) and zstd (RFC 8878, 3.1, with the frames
// to be skipped that zstd:chunked may start with) by their first bytes, as Docker
// does; media types are wrong at times. It is empty for anything else.
func compressionOf(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 0x08}):
		return "gzip"
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return "zstd"
	}
	return ""
}

// unpack reads r, uncompressed if it is compressed. Closing it leaves r open.
func unpack(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(headSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch compressionOf(head) {
	case "gzip":
		return gzip.NewReader(buffered)
	case "zstd":
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(buffered), nil
}
