// Package imagetest makes images for tests: layers, configs, manifests and
// indexes in memory, right or wrong in just the way a test needs.
//
// Start with [New]: a [Memory] is a store.Source and a store.Destination, and
// [Memory.PushTo] moves all it holds to another destination, a registry say.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/platform"
	"berth/store"
)

// Docker's media types, which the image-spec package does not name.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// File is one entry of a layer. The zero Mode is 0644, or 0755 for folders and links.
type File struct {
	Name string
	Mode int64
	Body string
	// Link is the target of a symbolic link; with Type tar.TypeLink, of a hard link.
	Link string
	// Type is a tar type flag; zero means regular, or symlink where Link is set.
	Type     byte
	UID, GID int
}

// Layer is a layer's bytes as a registry holds them.
type Layer struct {
	MediaType string
	Raw       []byte
	DiffID    digest.Digest
}

// Tar returns files as an uncompressed tar stream, in the order given.
func Tar(files ...File) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, Typeflag: f.Type, Linkname: f.Link, Uid: f.UID, Gid: f.GID, Size: int64(len(f.Body)), Format: tar.FormatPAX}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if f.Link != "" {
				h.Typeflag = tar.TypeSymlink
			}
		}
		if h.Typeflag != tar.TypeReg {
			h.Size = 0
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag != tar.TypeReg {
				h.Mode = 0o755
			}
		}
		must(w.WriteHeader(h))
		if h.Size > 0 {
			_, err := io.WriteString(w, f.Body)
			must(err)
		}
	}
	must(w.Close())
	return buf.Bytes()
}

// GzipLayer packs files into a gzip-compressed layer.
func GzipLayer(files ...File) Layer {
	raw := Tar(files...)
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(raw)
	must(err)
	must(w.Close())
	return Layer{MediaType: v1.MediaTypeImageLayerGzip, Raw: buf.Bytes(), DiffID: digest.FromBytes(raw)}
}

// ZstdLayer packs files into a layer compressed with zstd.
func ZstdLayer(files ...File) Layer {
	raw := Tar(files...)
	w, err := zstd.NewWriter(nil)
	must(err)
	return Layer{MediaType: v1.MediaTypeImageLayerZstd, Raw: w.EncodeAll(raw, nil), DiffID: digest.FromBytes(raw)}
}

// TarLayer packs files into a layer that is not compressed, which costs tests with
// large files nothing.
func TarLayer(files ...File) Layer {
	raw := Tar(files...)
	return Layer{MediaType: v1.MediaTypeImageLayer, Raw: raw, DiffID: digest.FromBytes(raw)}
}

// Image is one platform's image to be added to a [Memory].
type Image struct {
	// Configured is what the config says; Declared, what the index entry says, and
	// the same as Configured when it is zero.
	Configured, Declared platform.Platform
	Config               v1.ImageConfig
	Layers               []Layer
	History              []v1.History
	// Docker makes it a Docker schema 2 manifest instead of an OCI one.
	Docker bool
}

// Memory is a store in memory, for one repository. It is safe for concurrent use.
type Memory struct {
	mu        sync.Mutex
	manifests map[digest.Digest]store.Manifest
	blobs     map[digest.Digest][]byte
	tags      map[string]digest.Digest
}

// New makes an empty store.
func New() *Memory {
	return &Memory{manifests: map[digest.Digest]store.Manifest{}, blobs: map[digest.Digest][]byte{}, tags: map[string]digest.Digest{}}
}

// AddBlob adds raw and returns its descriptor.
func (m *Memory) AddBlob(mediaType string, raw []byte) store.Descriptor {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := store.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	m.blobs[d.Digest] = raw
	return d
}

// AddManifest adds raw as a manifest or index and tags it where tag is not empty.
func (m *Memory) AddManifest(mediaType string, raw []byte, tag string) store.Descriptor {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := store.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	m.manifests[d.Digest] = store.Manifest{Descriptor: d, Raw: raw}
	if tag != "" {
		m.tags[tag] = d.Digest
	}
	return d
}

// AddImage adds the blobs and the manifest of img. The descriptor it returns has
// the declared platform, ready for [Memory.AddIndex].
func (m *Memory) AddImage(img Image, tag string) store.Descriptor {
	config := v1.Image{Platform: img.Configured, Config: img.Config, History: img.History, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []store.Descriptor{}}
	configType := v1.MediaTypeImageConfig
	if img.Docker {
		manifest.MediaType, configType = DockerManifest, DockerConfig
	}
	for _, l := range img.Layers {
		mediaType := l.MediaType
		if img.Docker && mediaType == v1.MediaTypeImageLayerGzip {
			mediaType = DockerLayer
		}
		manifest.Layers = append(manifest.Layers, m.AddBlob(mediaType, l.Raw))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
	}
	manifest.Config = m.AddBlob(configType, marshal(config))
	d := m.AddManifest(manifest.MediaType, marshal(manifest), tag)
	declared := img.Declared
	if declared.OS == "" && declared.Architecture == "" {
		declared = img.Configured
	}
	d.Platform = &declared
	return d
}

// AddAttestation adds what buildx adds for subject: a manifest under
// unknown/unknown that refers to it.
func (m *Memory) AddAttestation(subject store.Descriptor) store.Descriptor {
	statement := m.AddBlob("application/vnd.in-toto+json", fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{"sha256":%q}}]}`, subject.Digest.Encoded()))
	statement.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
	config := m.AddBlob(v1.MediaTypeImageConfig, marshal(v1.Image{Platform: platform.Platform{OS: "unknown", Architecture: "unknown"}, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{statement.Digest}}}))
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []store.Descriptor{statement}}
	d := m.AddManifest(manifest.MediaType, marshal(manifest), "")
	d.Platform = &platform.Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": subject.Digest.String(),
	}
	return d
}

// AddReferrer adds a manifest about subject: one that says so, or where tag is not empty
// one that is found by that name alone, as cosign's are.
func (m *Memory) AddReferrer(subject store.Descriptor, artifactType, body, tag string) store.Descriptor {
	manifest := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: m.AddBlob(v1.MediaTypeEmptyJSON, []byte("{}")), Layers: []store.Descriptor{m.AddBlob("text/plain", []byte(body))},
	}
	if tag == "" {
		manifest.Subject = &store.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	}
	return m.AddManifest(manifest.MediaType, marshal(manifest), tag)
}

// AddIndex adds an index over entries: a Docker manifest list where mediaType is
// [DockerList], an OCI index where it is empty.
func (m *Memory) AddIndex(tag, mediaType string, entries ...store.Descriptor) store.Descriptor {
	if mediaType == "" {
		mediaType = v1.MediaTypeImageIndex
	}
	return m.AddManifest(mediaType, marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Manifests: entries}), tag)
}

// Manifest implements store.ManifestReader.
func (m *Memory) Manifest(_ context.Context, reference string) (*store.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.tags[reference]
	if !ok {
		d = digest.Digest(reference)
	}
	found, ok := m.manifests[d]
	if !ok {
		return nil, fmt.Errorf("manifest %s: %w", reference, store.ErrNotFound)
	}
	return &found, nil
}

// Resolve implements store.Resolver.
func (m *Memory) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	found, err := m.Manifest(ctx, reference)
	if err != nil {
		return store.Descriptor{}, err
	}
	return found.Descriptor, nil
}

// Blob implements store.BlobReader.
func (m *Memory) Blob(_ context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	raw, ok := m.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, store.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(raw[min(offset, int64(len(raw))):])), nil
}

// PushBlob implements store.Pusher.
func (m *Memory) PushBlob(ctx context.Context, content store.Content) (store.Outcome, error) {
	m.mu.Lock()
	_, ok := m.blobs[content.Descriptor.Digest]
	m.mu.Unlock()
	if ok {
		return store.Present, nil
	}
	r, err := content.Open(ctx, 0)
	if err != nil {
		return "", err
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	if err := store.Verify(content.Descriptor, raw); err != nil {
		return "", err
	}
	m.AddBlob("", raw)
	return store.Copied, nil
}

// PushManifest implements store.Pusher. As real registries do, it refuses a
// manifest whose blobs or children are not there.
func (m *Memory) PushManifest(_ context.Context, desc store.Descriptor, raw []byte, tag string) error {
	if err := store.Verify(desc, raw); err != nil {
		return err
	}
	var refers struct {
		Config            *store.Descriptor
		Layers, Manifests []store.Descriptor
	}
	if err := json.Unmarshal(raw, &refers); err != nil {
		return err
	}
	m.mu.Lock()
	if refers.Config != nil {
		refers.Layers = append(refers.Layers, *refers.Config)
	}
	for _, d := range refers.Layers {
		if _, ok := m.blobs[d.Digest]; !ok {
			m.mu.Unlock()
			return fmt.Errorf("manifest %s refers to blob %s: %w", desc.Digest, d.Digest, store.ErrNotFound)
		}
	}
	for _, d := range refers.Manifests {
		if _, ok := m.manifests[d.Digest]; !ok {
			m.mu.Unlock()
			return fmt.Errorf("index %s refers to manifest %s: %w", desc.Digest, d.Digest, store.ErrNotFound)
		}
	}
	m.mu.Unlock()
	m.AddManifest(desc.MediaType, raw, tag)
	return nil
}

// Tags returns a copy of the tags and what they stand for.
func (m *Memory) Tags() map[string]digest.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	tags := map[string]digest.Digest{}
	for tag, d := range m.tags {
		tags[tag] = d
	}
	return tags
}

// Remove forgets a blob or manifest, to leave a hole.
func (m *Memory) Remove(d digest.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, d)
	delete(m.manifests, d)
}

// PushTo sends everything m holds to dst: blobs, manifests, indexes, tags.
func (m *Memory) PushTo(ctx context.Context, dst store.Pusher) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for d, raw := range m.blobs {
		open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(raw[offset:])), nil
		}
		if _, err := dst.PushBlob(ctx, store.Content{Descriptor: store.Descriptor{Digest: d, Size: int64(len(raw))}, Open: open}); err != nil {
			return err
		}
	}
	isIndex := func(mediaType string) bool { return mediaType == v1.MediaTypeImageIndex || mediaType == DockerList }
	for _, indexes := range []bool{false, true} {
		for _, manifest := range m.manifests {
			if isIndex(manifest.Descriptor.MediaType) != indexes {
				continue
			}
			if err := dst.PushManifest(ctx, manifest.Descriptor, manifest.Raw, ""); err != nil {
				return err
			}
		}
	}
	for tag, d := range m.tags {
		if err := dst.PushManifest(ctx, m.manifests[d].Descriptor, m.manifests[d].Raw, tag); err != nil {
			return err
		}
	}
	return nil
}

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	must(err)
	return raw
}

// must is for what cannot fail: encoding into memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
