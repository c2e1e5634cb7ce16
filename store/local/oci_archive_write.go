package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// maxArchive bounds the size of an archive that is written. It is more than any disk
// has, and keeps sums of sizes from overflowing.
const maxArchive = 1 << 50

// errWritten says that an archive, which is written at once, has its image.
var errWritten = errors.New("it is written already")

// OCIArchiveWriter writes an OCI image layout into a tar archive. It is a
// store.Destination for one image: the first manifest that is pushed with a tag ends
// the archive and brings it to its place, instead of what was there before.
type OCIArchiveWriter struct {
	out *output

	mu        sync.Mutex
	end       int64 // where the next file goes
	blobs     map[digest.Digest]*region
	manifests map[digest.Digest]store.Manifest
	referrers []store.Referrer
	tag       string
	root      digest.Digest // what tag stands for
	written   bool
}

// region is the place of a blob in the archive. As the sizes of blobs are known,
// several can be written at once.
type region struct {
	free   chan struct{} // holds a value while nobody writes
	offset int64
	size   int64
	whole  bool // guarded by free
}

var _ store.Destination = (*OCIArchiveWriter)(nil)

// CreateOCIArchive opens a file as a destination, or for the path "-" standard
// output, which gets the archive when it is whole. Nothing is written before the
// first push. The caller closes the writer, which removes what was not completed.
func CreateOCIArchive(path string, opts Options) (*OCIArchiveWriter, error) {
	out, err := newOutput("OCI archive "+path, path, opts)
	if err != nil {
		return nil, err
	}
	return &OCIArchiveWriter{out: out, blobs: map[digest.Digest]*region{}, manifests: map[digest.Digest]store.Manifest{}}, nil
}

// String names the archive in errors.
func (w *OCIArchiveWriter) String() string { return w.out.where }

// Close removes what was not completed. No push may be under way.
func (w *OCIArchiveWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = true
	return w.out.discard()
}

// PushBlob writes a blob, once.
func (w *OCIArchiveWriter) PushBlob(ctx context.Context, content store.Content) (store.Outcome, error) {
	desc := content.Descriptor
	if err := checkBlob(ctx, w, desc, 0); err != nil {
		return "", err
	}
	r, err := w.reserve(desc)
	if err != nil {
		return "", err
	}
	select {
	case <-r.free:
		defer func() { r.free <- struct{}{} }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if r.whole {
		return store.Present, nil
	}
	from, err := content.Open(ctx, 0)
	if err != nil {
		return "", fmt.Errorf("opening blob %s: %w", desc.Digest, err)
	}
	defer from.Close()
	if err := copyBlob(ctx, io.NewOffsetWriter(w.out.file, r.offset), desc, from); err != nil {
		return "", writeError(w.out.where, err)
	}
	r.whole = true
	return store.Copied, nil
}

// reserve finds the place of a blob, and writes its header where it is a new one.
func (w *OCIArchiveWriter) reserve(desc store.Descriptor) (*region, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.written {
		return nil, fmt.Errorf("%s: %w", w.out.where, errWritten)
	}
	if r, ok := w.blobs[desc.Digest]; ok {
		if r.size != desc.Size {
			return nil, fmt.Errorf("%s: blob %s: %w: it has %d bytes, and another descriptor says %d", w.out.where, desc.Digest, store.ErrCorrupt, desc.Size, r.size)
		}
		return r, nil
	}
	if err := w.out.create(); err != nil {
		return nil, err
	}
	if desc.Size > maxArchive-w.end {
		return nil, fmt.Errorf("%s: %w: blobs of more than %d bytes in all", w.out.where, store.ErrTooLarge, int64(maxArchive))
	}
	head, err := tarHeader(blobPath(desc.Digest), desc.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.out.where, err)
	}
	if _, err := w.out.file.WriteAt(head, w.end); err != nil {
		return nil, writeError(w.out.where, err)
	}
	r := &region{free: make(chan struct{}, 1), offset: w.end + int64(len(head)), size: desc.Size}
	r.free <- struct{}{}
	w.blobs[desc.Digest] = r
	w.end = padded(r.offset + desc.Size)
	return r, nil
}

// PushManifest writes a manifest. As a registry does, it refuses one that refers to
// what the archive does not have. With a tag, which any name is that the image-spec
// allows, it completes the archive.
func (w *OCIArchiveWriter) PushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) error {
	desc, err := checkManifest(w, desc, raw)
	if err != nil {
		return err
	}
	if err := checkComplete(w, desc, raw, w.size); err != nil {
		return err
	}
	if _, err := w.PushBlob(ctx, store.Content{Descriptor: desc, Open: bytesOf(raw)}); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifests[desc.Digest] = store.Manifest{Descriptor: plain(desc), Raw: raw}
	if tag == "" {
		return nil
	}
	return w.complete(ctx, desc, tag)
}

// size is the size of a blob that the archive has; w.mu is not held.
func (w *OCIArchiveWriter) size(d digest.Digest) (int64, error) {
	w.mu.Lock()
	r, ok := w.blobs[d]
	w.mu.Unlock()
	if ok {
		<-r.free
		defer func() { r.free <- struct{}{} }()
		ok = r.whole
	}
	if !ok {
		return 0, fmt.Errorf("%s: blob %s %w", w.out.where, d, store.ErrNotFound)
	}
	return r.size, nil
}

// complete writes what makes the archive a layout, and brings it to its place. w.mu
// is held.
func (w *OCIArchiveWriter) complete(ctx context.Context, desc store.Descriptor, tag string) error {
	for d, r := range w.blobs {
		<-r.free
		whole := r.whole
		r.free <- struct{}{}
		if !whole {
			return fmt.Errorf("%s: blob %s was not written to its end", w.out.where, d)
		}
	}
	x := newIndex()
	if err := cmp.Or(x.set(desc, tag), w.list(x)); err != nil {
		return err
	}
	index, err := x.marshal()
	if err != nil {
		return err
	}
	marker, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	end, err := w.out.writeFile(v1.ImageIndexFile, index, w.end)
	if err != nil {
		return err
	}
	if end, err = w.out.writeFile(v1.ImageLayoutFile, marker, end); err != nil {
		return err
	}
	w.written = true
	if err := w.out.commit(ctx, end); err != nil {
		return err
	}
	w.tag, w.root = tag, desc.Digest
	return nil
}

// Manifest returns a manifest that this writer was given.
func (w *OCIArchiveWriter) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := digest.Digest(reference)
	if w.tag != "" && reference == w.tag {
		d = w.root
	}
	m, ok := w.manifests[d]
	if !ok {
		return nil, fmt.Errorf("%s: %s %w: an archive is written as a whole", w.out.where, store.Printable(reference), store.ErrNotFound)
	}
	return &m, nil
}

// Resolve returns the descriptor of what Manifest would return. What a file had
// before does not count: it is replaced.
func (w *OCIArchiveWriter) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	m, err := w.Manifest(ctx, reference)
	if err != nil {
		return store.Descriptor{}, err
	}
	return m.Descriptor, nil
}
