package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// OCIArchive is an OCI image layout in a tar archive, opened for reading. It is a
// store.Source.
type OCIArchive struct {
	members *members
	index   *index
	close   func() error
}

var _ store.Source = (*OCIArchive)(nil)

// OpenOCIArchive opens the archive in a file, or for the path "-" the one that comes
// from standard input. The archive of a recent docker save can be opened too: here
// it has all platforms, where [OpenDockerArchive] sees what Docker would load.
//
// It fails with store.ErrNotFound where the file, or a file of the archive that makes
// it a layout, is not there. The caller closes the archive.
func OpenOCIArchive(ctx context.Context, path string, opts Options) (*OCIArchive, error) {
	where := "OCI archive " + path
	in, err := openInput(ctx, where, path, opts)
	if err != nil {
		return nil, err
	}
	return newOCIArchive(ctx, where, in)
}

func newOCIArchive(ctx context.Context, where string, in *input) (*OCIArchive, error) {
	a := &OCIArchive{close: in.close}
	var err error
	if a.members, err = readMembers(ctx, where, in, in.size); err == nil {
		err = a.read(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return a, nil
}

// read reads what makes the archive a layout.
func (a *OCIArchive) read(ctx context.Context) error {
	m := a.members
	if !m.has(v1.ImageLayoutFile) {
		if m.has(savedManifest) {
			return fmt.Errorf("%s: it has no %s file but a %s: write docker-archive:FILE", m, v1.ImageLayoutFile, savedManifest)
		}
		return fmt.Errorf("%s: %s %w: it is no archive of an OCI layout", m, v1.ImageLayoutFile, store.ErrNotFound)
	}
	if err := readMarker(ctx, m); err != nil {
		return err
	}
	var err error
	a.index, err = readIndex(ctx, m)
	return err
}

// Close releases the archive. Nothing can be read from it any more.
func (a *OCIArchive) Close() error { return a.close() }

// Manifest returns what a tag, or a digest in the form "sha256:…", stands for. The
// empty reference is the only image of the archive, and an error that lists them
// where there are several.
func (a *OCIArchive) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return readManifest(ctx, a.members, a.index, reference)
}

// Blob opens a blob at an offset. Its size has to be what desc says.
func (a *OCIArchive) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	return openBlob(ctx, a.members, desc, offset)
}
