package local

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"berth/store"
)

const (
	// blockSize is tar's: headers are blocks, and files end at one.
	blockSize = 512
	// trailerSize is what ends an archive: two blocks of zeros.
	trailerSize = 2 * blockSize
)

// output is an archive that is being written. Nobody sees it before commit.
type output struct {
	where string
	// path is the file to be, or empty where commit sends the archive on.
	path string
	send func(ctx context.Context, archive io.Reader, size int64) error
	opts Options

	file   *os.File // nil until create
	remove func() error
}

// newOutput tells how an archive gets to path, and writes nothing yet.
func newOutput(where, path string, opts Options) (*output, error) {
	o := &output{where: where, opts: opts}
	if path == store.Standard {
		if opts.Stdout == nil {
			return nil, fmt.Errorf("%s: there is no standard output", where)
		}
		o.send = func(_ context.Context, archive io.Reader, _ int64) error {
			_, err := io.Copy(opts.Stdout, archive)
			return err
		}
		return o, nil
	}
	// A link is followed, so that not the link but the file is replaced.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		folder, err := os.Stat(filepath.Dir(path))
		if err == nil && !folder.IsDir() {
			err = fmt.Errorf("%s is not a folder", filepath.Dir(path))
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("folder %s %w", filepath.Dir(path), store.ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		o.path = path
	case err != nil:
		return nil, fmt.Errorf("%s: %w", where, err)
	case info.IsDir():
		return nil, fmt.Errorf("%s: it is a folder, and an archive is a file; name another one", where)
	case info.Mode().IsRegular():
		o.path = path
	default: // a pipe or a device, which is written to and not replaced
		o.send = func(_ context.Context, archive io.Reader, _ int64) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = io.Copy(f, archive)
			return errors.Join(err, f.Close())
		}
	}
	return o, nil
}

// create makes the file in which the archive is written: beside its place, or for
// what is sent on a temporary one.
func (o *output) create() error {
	if o.file != nil {
		return nil
	}
	if o.path == "" {
		var err error
		if o.file, o.remove, err = tempFile(o.opts.TempDir); err != nil {
			return fmt.Errorf("%s: making a temporary file: %w", o.where, err)
		}
		return nil
	}
	temp := filepath.Join(filepath.Dir(o.path), tempPrefix+rand.Text())
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return writeError(o.where, err)
	}
	o.file = f
	o.remove = func() error { return errors.Join(f.Close(), os.Remove(temp)) }
	return nil
}

// commit ends the archive at offset end and brings it to its place.
func (o *output) commit(ctx context.Context, end int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Growing a file fills it with the zeros of the trailer.
	if err := errors.Join(o.file.Truncate(end), o.file.Truncate(end+trailerSize)); err != nil {
		return writeError(o.where, err)
	}
	if o.path == "" {
		archive := &reader{ctx, io.NewSectionReader(o.file, 0, end+trailerSize)}
		if err := o.send(ctx, archive, end+trailerSize); err != nil {
			return fmt.Errorf("%s: %w", o.where, err)
		}
		return o.discard()
	}
	// Otherwise the rename may survive a power failure that the content does not.
	err := errors.Join(o.file.Sync(), o.file.Close())
	if err == nil {
		err = os.Rename(o.file.Name(), o.path)
	}
	o.remove = nil
	if err != nil {
		return writeError(o.where, errors.Join(err, os.Remove(o.file.Name())))
	}
	return nil
}

// discard removes what is not in its place.
func (o *output) discard() error {
	if o.remove == nil {
		return nil
	}
	err := o.remove()
	o.remove = nil
	return err
}

// writeFile writes a small file into the archive at offset end, and returns the end
// of that.
func (o *output) writeFile(name string, raw []byte, end int64) (int64, error) {
	head, err := tarHeader(name, int64(len(raw)))
	if err != nil {
		return end, err
	}
	if _, err := o.file.WriteAt(append(head, raw...), end); err != nil {
		return end, writeError(o.where, err)
	}
	return padded(end + int64(len(head)+len(raw))), nil
}

// tarHeader is what precedes a file in an archive. It says nothing of the day and of
// the machine, so that equal files have equal headers.
func tarHeader(name string, size int64) ([]byte, error) {
	var buf bytes.Buffer
	err := tar.NewWriter(&buf).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
	return buf.Bytes(), err
}

// padded is the offset of the next block.
func padded(offset int64) int64 {
	return (offset + blockSize - 1) / blockSize * blockSize
}
