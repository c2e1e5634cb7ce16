package local

import (
	"archive/tar"
	"bytes"
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

// ErrOneImage says that an index was to be written where one image of one platform
// can be.
var ErrOneImage = errors.New("it holds one image of one platform")

// dockerConfig is the media type of configs in Docker's manifests (manifest-v2-2).
const dockerConfig = "application/vnd.docker.container.image.v1+json"

// DockerArchiveWriter writes what docker load reads, into a file or into a Docker
// daemon. It is a store.Destination for one image of one platform: its manifest ends
// the archive and brings it to its place. An index is refused with [ErrOneImage].
//
// Layers are unpacked, because that is how docker save writes them, and held against
// the diff IDs of the config, because docker load does. The manifest is not kept:
// read back, the image has the same ID (the digest of its config) and another
// manifest.
type DockerArchiveWriter struct {
	repository string
	out        *output
	closeToo   func() error
	// arrived is asked once the archive is at its place. It may be nil.
	arrived func(ctx context.Context, tag string, diffIDs []digest.Digest) error

	turn chan struct{} // holds a value while nobody writes

	mu       sync.Mutex // guards what follows; it is written by who has the turn
	end      int64
	files    map[digest.Digest]stored // by the digest that the manifest has
	names    map[digest.Digest]stored // by the digest of what is in the archive
	manifest *store.Manifest
	tag      string
	written  bool
}

// stored is a file of the archive that is written.
type stored struct {
	digest       digest.Digest // of the content, unpacked
	offset, size int64
}

var _ store.Destination = (*DockerArchiveWriter)(nil)

// CreateDockerArchive opens a file as a destination, or for the path "-" standard
// output, which gets the archive when it is whole. Tags are those of repository
// ("docker.io/library/app"); where it is empty, the image has no name in the archive.
// Nothing is written before the first push. The caller closes the writer, which
// removes what was not completed.
func CreateDockerArchive(path, repository string, opts Options) (*DockerArchiveWriter, error) {
	out, err := newOutput("docker-archive "+path, path, opts)
	if err != nil {
		return nil, err
	}
	return newDockerArchiveWriter(out, repository), nil
}

func newDockerArchiveWriter(out *output, repository string) *DockerArchiveWriter {
	w := &DockerArchiveWriter{
		repository: repository,
		out:        out,
		turn:       make(chan struct{}, 1),
		files:      map[digest.Digest]stored{},
		names:      map[digest.Digest]stored{},
	}
	w.turn <- struct{}{}
	return w
}

// String names the archive in errors.
func (w *DockerArchiveWriter) String() string { return w.out.where }

// Close removes what was not completed. No push may be under way.
func (w *DockerArchiveWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = true
	err := w.out.discard()
	if w.closeToo != nil {
		err = errors.Join(err, w.closeToo())
		w.closeToo = nil
	}
	return err
}

// PushBlob writes a blob, unpacked where it is compressed. One is written after the
// other, because nobody knows how large they get.
func (w *DockerArchiveWriter) PushBlob(ctx context.Context, content store.Content) (store.Outcome, error) {
	desc := content.Descriptor
	if err := checkBlob(ctx, w, desc, 0); err != nil {
		return "", err
	}
	select {
	case <-w.turn:
		defer func() { w.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	w.mu.Lock()
	_, there := w.files[desc.Digest]
	written, end := w.written, w.end
	w.mu.Unlock()
	if written {
		return "", fmt.Errorf("%s: %w", w.out.where, errWritten)
	}
	if there {
		return store.Present, nil
	}
	if err := w.out.create(); err != nil {
		return "", err
	}
	from, err := content.Open(ctx, 0)
	if err != nil {
		return "", fmt.Errorf("opening blob %s: %w", desc.Digest, err)
	}
	defer from.Close()
	f, err := w.write(ctx, desc, from, end+blockSize)
	if err != nil {
		return "", writeError(w.out.where, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if same, ok := w.names[f.digest]; ok {
		w.files[desc.Digest] = same // and the next file goes over this one
		return store.Copied, nil
	}
	w.files[desc.Digest], w.names[f.digest], w.end = f, f, padded(f.offset+f.size)
	return store.Copied, nil
}

// write writes a blob at an offset, and its header before that. The blob is verified
// while it is unpacked.
func (w *DockerArchiveWriter) write(ctx context.Context, desc store.Descriptor, from io.Reader, offset int64) (stored, error) {
	v := verify(ctx, desc, from)
	content := digest.Canonical.Digester()
	n, err := copyUnpacked(io.MultiWriter(io.NewOffsetWriter(w.out.file, offset), content.Hash()), v)
	// What follows the compressed stream belongs to the blob too. And a blob that is not
	// what it should be is the cause of whatever unpacking made of it.
	if wrong := v.end(); wrong != nil && (err == nil || errors.Is(wrong, store.ErrCorrupt)) {
		err = wrong
	}
	if err != nil {
		return stored{}, fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	f := stored{content.Digest(), offset, n}
	head, err := fixedHeader(blobPath(f.digest), f.size)
	if err != nil {
		return f, err
	}
	_, err = w.out.file.WriteAt(head, offset-blockSize)
	return f, err
}

// fixedHeader is a header of one block, whatever the size of the file.
func fixedHeader(name string, size int64) ([]byte, error) {
	var buf bytes.Buffer
	err := tar.NewWriter(&buf).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatGNU})
	if err == nil && buf.Len() != blockSize {
		err = fmt.Errorf("a tar header of %d bytes", buf.Len())
	}
	return buf.Bytes(), err
}

// PushManifest completes the archive with the image whose manifest this is, under a
// tag of the repository; without a tag only where there is no repository.
func (w *DockerArchiveWriter) PushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) error {
	desc, err := checkManifest(w, desc, raw)
	if err != nil {
		return err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%s: manifest %s: %w", w.out.where, desc.Digest, err)
	}
	switch {
	case m.Config.Digest == "":
		return fmt.Errorf("%s: %s is an index: %w; choose one with --platform OS/ARCH", w.out.where, desc.Digest, ErrOneImage)
	case m.Config.MediaType != v1.MediaTypeImageConfig && m.Config.MediaType != dockerConfig:
		return fmt.Errorf("%s: %s is not a container image: its config is of type %q", w.out.where, desc.Digest, m.Config.MediaType)
	}
	select {
	case <-w.turn:
		defer func() { w.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.written {
		return fmt.Errorf("%s: %w", w.out.where, errWritten)
	}
	image, diffIDs, err := w.saved(m)
	if err != nil {
		return fmt.Errorf("%s: manifest %s: %w", w.out.where, desc.Digest, err)
	}
	if w.repository != "" {
		if tag == "" {
			return nil // it is below an index, which will be refused
		}
		image.RepoTags = []string{w.repository + ":" + tag}
	}
	if err := w.complete(ctx, image); err != nil {
		return err
	}
	if w.arrived != nil {
		if err := w.arrived(ctx, tag, diffIDs); err != nil {
			return err
		}
	}
	w.manifest, w.tag = &store.Manifest{Descriptor: plain(desc), Raw: raw}, tag
	return nil
}

// saved is the entry of manifest.json for m, and its diff IDs. w.mu is held.
func (w *DockerArchiveWriter) saved(m v1.Manifest) (image savedImage, diffIDs []digest.Digest, err error) {
	config, ok := w.files[m.Config.Digest]
	if !ok {
		return image, nil, fmt.Errorf("config %s %w", m.Config.Digest, store.ErrNotFound)
	}
	if config.size > store.MaxManifestSize {
		return image, nil, fmt.Errorf("config %s: %w: at most %d bytes are read", m.Config.Digest, store.ErrTooLarge, store.MaxManifestSize)
	}
	raw := make([]byte, config.size)
	if _, err := w.out.file.ReadAt(raw, config.offset); err != nil {
		return image, nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	var claims struct{ RootFS v1.RootFS }
	if err := json.Unmarshal(raw, &claims); err != nil {
		return image, nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	diffIDs = claims.RootFS.DiffIDs
	if len(diffIDs) != len(m.Layers) {
		return image, nil, fmt.Errorf("%w: it has %d layers, and its config says %d", store.ErrCorrupt, len(m.Layers), len(diffIDs))
	}
	image = savedImage{Config: blobPath(config.digest), Layers: []string{}}
	for i, desc := range m.Layers {
		layer, ok := w.files[desc.Digest]
		switch {
		case !ok && isForeign(desc.MediaType):
			return image, nil, fmt.Errorf("layer %s %w: it is one of those that are not to be distributed, and an image that is loaded must have all", desc.Digest, store.ErrNotFound)
		case !ok:
			return image, nil, fmt.Errorf("layer %s %w", desc.Digest, store.ErrNotFound)
		case layer.digest != diffIDs[i]:
			return image, nil, fmt.Errorf("layer %s: %w: it unpacks to %s, and the config says %s", desc.Digest, store.ErrCorrupt, layer.digest, store.Printable(diffIDs[i].String()))
		}
		image.Layers = append(image.Layers, blobPath(layer.digest))
	}
	return image, diffIDs, nil
}

// complete writes manifest.json and brings the archive to its place. w.mu is held.
func (w *DockerArchiveWriter) complete(ctx context.Context, image savedImage) error {
	raw, err := json.Marshal([]savedImage{image})
	if err != nil {
		return err
	}
	end, err := w.out.writeFile(savedManifest, raw, w.end)
	if err != nil {
		return err
	}
	w.written = true
	return w.out.commit(ctx, end)
}

// Manifest returns the manifest that the archive was completed with.
func (w *DockerArchiveWriter) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.manifest == nil || reference != w.manifest.Descriptor.Digest.String() && (w.tag == "" || reference != w.tag) {
		return nil, fmt.Errorf("%s: %s %w: an archive is written as a whole", w.out.where, store.Printable(reference), store.ErrNotFound)
	}
	return w.manifest, nil
}

// Resolve returns the descriptor of what Manifest would return. What was there before
// does not count: neither archives nor daemons know the manifest of what they have.
func (w *DockerArchiveWriter) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	m, err := w.Manifest(ctx, reference)
	if err != nil {
		return store.Descriptor{}, err
	}
	return m.Descriptor, nil
}
