package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// content is what has the files of a layout: a folder, an archive. Its String
// names it in errors.
type content interface {
	fmt.Stringer
	// open opens a regular file. It fails with store.ErrNotFound where there is none.
	open(name string) (*file, error)
}

// file is an open file of a content.
type file struct {
	io.ReaderAt
	io.Closer
	size int64
}

// readFile reads a file of at most limit bytes.
func readFile(ctx context.Context, c content, name string, limit int64) ([]byte, error) {
	f, err := c.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.size > limit {
		return nil, fmt.Errorf("%s: %s: %w: at most %d bytes are read", c, name, store.ErrTooLarge, limit)
	}
	raw, err := io.ReadAll(&reader{ctx, io.NewSectionReader(f, 0, f.size)})
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c, name, err)
	}
	return raw, nil
}

// readMarker tells whether c is a layout that berth understands.
func readMarker(ctx context.Context, c content) error {
	raw, err := readFile(ctx, c, v1.ImageLayoutFile, maxMarkerSize)
	if err != nil {
		return err
	}
	var marker v1.ImageLayout
	if err := json.Unmarshal(raw, &marker); err != nil {
		return fmt.Errorf("%s: its %s file is not JSON: %w", c, v1.ImageLayoutFile, err)
	}
	if marker.Version != v1.ImageLayoutVersion {
		return fmt.Errorf("%s: it has layout version %q, and only %s is known", c, marker.Version, v1.ImageLayoutVersion)
	}
	return nil
}

// readIndex reads the index.json of c.
func readIndex(ctx context.Context, c content) (*index, error) {
	raw, err := readFile(ctx, c, v1.ImageIndexFile, store.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %s is no image index: %w", c, v1.ImageIndexFile, err)
	}
	return x, nil
}

// readManifest reads what a tag or a digest stands for in c, whose index is x.
func readManifest(ctx context.Context, c content, x *index, reference string) (*store.Manifest, error) {
	var e entry
	d := digest.Digest(reference)
	exact := store.ValidDigest(d) == nil
	if exact {
		e, _ = x.byDigest(d)
	} else {
		var err error
		if e, err = x.find(reference); err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		d = e.Digest
		if err := store.ValidDigest(d); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c, v1.ImageIndexFile, err)
		}
	}
	raw, err := readFile(ctx, c, blobPath(d), store.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	desc := store.Descriptor{MediaType: e.MediaType, Digest: d, Size: int64(len(raw))}
	if !exact {
		desc.Size = e.Size
	}
	if err := store.Verify(desc, raw); err != nil {
		return nil, fmt.Errorf("%s: manifest %w", c, err)
	}
	desc.MediaType, err = mediaType(e.MediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c, d, err)
	}
	return &store.Manifest{Descriptor: desc, Raw: raw}, nil
}

// openBlob opens the blob of c that has desc's digest, and must have its size.
func openBlob(ctx context.Context, c content, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := checkBlob(ctx, c, desc, offset); err != nil {
		return nil, err
	}
	f, err := c.open(blobPath(desc.Digest))
	if err != nil {
		return nil, err
	}
	return f.from(ctx, c, desc, offset)
}

// checkBlob refuses what no store has.
func checkBlob(ctx context.Context, c fmt.Stringer, desc store.Descriptor, offset int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := store.ValidDigest(desc.Digest); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	if offset < 0 || offset > desc.Size {
		return fmt.Errorf("%s: blob %s has %d bytes: nothing can be read at %d", c, desc.Digest, desc.Size, offset)
	}
	return nil
}

// from reads f, which is the blob of desc, from an offset on.
func (f *file) from(ctx context.Context, c fmt.Stringer, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	if f.size != desc.Size {
		err := fmt.Errorf("%s: blob %s: %w: %d bytes, and the descriptor says %d", c, desc.Digest, store.ErrCorrupt, f.size, desc.Size)
		return nil, errors.Join(err, f.Close())
	}
	return &blob{reader{ctx, io.NewSectionReader(f, offset, desc.Size-offset)}, f}, nil
}

// blob is part of a file.
type blob struct {
	reader
	io.Closer
}

// reader reads until its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// copyBlob copies the blob of desc from r to w. It fails unless r is that blob.
func copyBlob(ctx context.Context, w io.Writer, desc store.Descriptor, r io.Reader) error {
	v := verify(ctx, desc, r)
	_, err := io.Copy(w, v)
	if err == nil {
		err = v.end()
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	return nil
}

// verified reads a blob and finds out whether it is the one of desc.
type verified struct {
	desc store.Descriptor
	rest io.LimitedReader // of one byte more than there should be
	hash digest.Verifier
}

func verify(ctx context.Context, desc store.Descriptor, r io.Reader) *verified {
	return &verified{desc, io.LimitedReader{R: &reader{ctx, r}, N: desc.Size + 1}, desc.Digest.Verifier()}
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.rest.Read(p)
	_, _ = v.hash.Write(p[:n]) // a hash takes everything
	return n, err
}

// end reads what is left of the blob, and tells what is wrong with it.
func (v *verified) end() error {
	_, err := io.Copy(io.Discard, v)
	switch n := v.desc.Size + 1 - v.rest.N; {
	case err != nil:
		return err
	case n > v.desc.Size:
		return fmt.Errorf("%w: more than the %d bytes that its descriptor says", store.ErrCorrupt, v.desc.Size)
	case n < v.desc.Size:
		return fmt.Errorf("%w: %d bytes, and the descriptor says %d", store.ErrCorrupt, n, v.desc.Size)
	case !v.hash.Verified():
		return store.ErrCorrupt
	}
	return nil
}

// checkManifest verifies a manifest that is to be written to c, and returns its
// descriptor with the media type.
func checkManifest(c fmt.Stringer, desc store.Descriptor, raw []byte) (store.Descriptor, error) {
	if len(raw) > store.MaxManifestSize {
		return desc, fmt.Errorf("%s: manifest %s of %d bytes: %w: at most %d are written", c, desc.Digest, len(raw), store.ErrTooLarge, store.MaxManifestSize)
	}
	if err := store.Verify(desc, raw); err != nil {
		return desc, fmt.Errorf("%s: manifest %w", c, err)
	}
	var err error
	if desc.MediaType, err = mediaType(desc.MediaType, raw); err != nil {
		return desc, fmt.Errorf("%s: %s: %w", c, desc.Digest, err)
	}
	return desc, nil
}

// references is what a manifest or an index refers to.
type references struct {
	Config            *store.Descriptor
	Layers, Manifests []store.Descriptor
}

// blobs are the layers and the config.
func (r references) blobs() []store.Descriptor {
	if r.Config == nil {
		return r.Layers
	}
	return append(slices.Clone(r.Layers), *r.Config)
}

// checkComplete tells whether c has what a manifest refers to. size is the size of
// a blob of c. Layers that must not be distributed are elsewhere by their nature,
// and a subject may be.
func checkComplete(c fmt.Stringer, desc store.Descriptor, raw []byte, size func(digest.Digest) (int64, error)) error {
	var refers references
	if err := json.Unmarshal(raw, &refers); err != nil {
		return fmt.Errorf("%s: manifest %s: %w", c, desc.Digest, err)
	}
	for _, d := range slices.Concat(refers.blobs(), refers.Manifests) {
		if isForeign(d.MediaType) {
			continue
		}
		if err := store.ValidDigest(d.Digest); err != nil {
			return fmt.Errorf("%s: manifest %s refers to %w", c, desc.Digest, err)
		}
		n, err := size(d.Digest)
		if err != nil {
			return fmt.Errorf("manifest %s refers to %s: %w", desc.Digest, d.Digest, err)
		}
		if n != d.Size {
			return fmt.Errorf("%s: manifest %s refers to %s: %w: %d bytes, and the descriptor says %d", c, desc.Digest, d.Digest, store.ErrCorrupt, n, d.Size)
		}
	}
	return nil
}

// isForeign tells the layers that are not to be distributed: the image-spec's
// (layer.md, "Non-Distributable Layers") and Docker's (manifest-v2-2).
func isForeign(mediaType string) bool {
	return strings.Contains(mediaType, ".nondistributable.") || strings.Contains(mediaType, ".foreign.")
}

// bytesOf opens raw as a store.Content does.
func bytesOf(raw []byte) func(context.Context, int64) (io.ReadCloser, error) {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}
}

// plain is desc without what an index entry adds to it.
func plain(desc store.Descriptor) store.Descriptor {
	return store.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}
