package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

const (
	// maxSavedLayers bounds the layers of an image. Docker and overlayfs stop at 128.
	maxSavedLayers = 1000
	// maxLayoutManifests bounds how many manifests of the archive's OCI layout are read
	// in search of the one that belongs to an image.
	maxLayoutManifests = 1000
	// maxLayoutDepth bounds indexes in indexes: one is usual.
	maxLayoutDepth = 4
)

// containerdName is the annotation under which containerd and Docker write an image's
// full name into an index.json (containerd, core/images/annotations.go).
const containerdName = "io.containerd.image.name"

// described is an image of a docker-archive as a registry would have it.
type described struct {
	root     store.Manifest // what its name stands for: the manifest, or an index over it
	manifest store.Manifest
	config   digest.Digest
}

// describe finds or makes the manifest of an image, once.
func (a *DockerArchive) describe(ctx context.Context, at int) (*described, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.known[at]; ok {
		return known, nil
	}
	image := a.images[at]
	raw, err := readFile(ctx, a.members, image.Config, store.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	config, _ := a.members.find(image.Config) // it was read
	var claims struct{ RootFS v1.RootFS }
	if err := json.Unmarshal(raw, &claims); err != nil {
		return nil, fmt.Errorf("%s: config %s: %w", a.members, printableName(image.Config), err)
	}
	diffIDs := claims.RootFS.DiffIDs
	if len(diffIDs) != len(image.Layers) || len(diffIDs) > maxSavedLayers {
		return nil, fmt.Errorf("%s: %w: %s has %d layers and the config %s %d; at most %d are read", a.members, store.ErrCorrupt, savedManifest, len(image.Layers), printableName(image.Config), len(diffIDs), maxSavedLayers)
	}
	files := make([]member, len(image.Layers))
	for i, name := range image.Layers {
		if files[i], err = a.members.find(name); err != nil {
			return nil, err
		}
	}
	d := &described{config: digest.FromBytes(raw)}
	found, err := a.findManifest(ctx, image, config, files, d)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := a.makeManifest(ctx, raw, diffIDs, files, d); err != nil {
			return nil, err
		}
	}
	a.blobs[d.config] = config
	a.known[at] = d
	return d, nil
}

// makeManifest makes a manifest for an archive that has none. The digest of an
// uncompressed layer is its diff ID. It is not computed here, which would take
// reading the archive whole: whoever stores the layer finds out if it is not true, as
// with the descriptors of any manifest.
func (a *DockerArchive) makeManifest(ctx context.Context, config []byte, diffIDs []digest.Digest, files []member, d *described) error {
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    store.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: d.config, Size: int64(len(config))},
		Layers:    []store.Descriptor{},
	}
	for i, f := range files {
		desc, err := a.layer(ctx, f, diffIDs[i])
		if err != nil {
			return err
		}
		if other, ok := a.blobs[desc.Digest]; ok && other.size != f.size {
			return fmt.Errorf("%s: %w: two files of different sizes are said to be %s", a.members, store.ErrCorrupt, desc.Digest)
		}
		a.blobs[desc.Digest] = f
		m.Layers = append(m.Layers, desc)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	desc := store.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	d.manifest = store.Manifest{Descriptor: desc, Raw: raw}
	d.root = d.manifest
	return nil
}

// layer describes a layer. One that is compressed, as crane and kaniko write them, has
// to be read for its digest.
func (a *DockerArchive) layer(ctx context.Context, f member, diffID digest.Digest) (store.Descriptor, error) {
	desc := store.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: diffID, Size: f.size}
	file := a.members.file(f)
	head := make([]byte, min(headSize, f.size))
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, f.size), head); err != nil {
		return desc, fmt.Errorf("%s: layer %s: %w", a.members, diffID, err)
	}
	switch compressionOf(head) {
	case "":
		if err := store.ValidDigest(diffID); err != nil {
			return desc, fmt.Errorf("%s: diff ID: %w", a.members, err)
		}
		return desc, nil
	case "gzip":
		desc.MediaType = v1.MediaTypeImageLayerGzip
	case "zstd":
		desc.MediaType = v1.MediaTypeImageLayerZstd
	}
	var err error
	desc.Digest, err = digest.FromReader(&reader{ctx, io.NewSectionReader(file, 0, f.size)})
	if err != nil {
		return desc, fmt.Errorf("%s: layer %s: %w", a.members, diffID, err)
	}
	return desc, nil
}

// findManifest looks in the OCI layout that Docker writes since version 25 for the
// manifest of an image: one with just the files that manifest.json names. Where the
// two disagree, the layout is passed over, because tools that know only one of them
// must not see different images.
func (a *DockerArchive) findManifest(ctx context.Context, image savedImage, config member, layers []member, d *described) (bool, error) {
	if a.layout == nil {
		return false, nil
	}
	s := search{members: a.members, config: config, layers: layers}
	var other *described
	for _, e := range a.layout.entries {
		found := s.in(ctx, e.Descriptor, 0)
		if s.err != nil {
			return false, s.err
		}
		if found == nil {
			continue
		}
		found.config = d.config
		if len(image.RepoTags) == 0 || slices.ContainsFunc(image.RepoTags, func(name string) bool { return sameName(name, e.Annotations[containerdName]) }) {
			*d = *found
			return true, nil
		}
		if other == nil {
			other = found
		}
	}
	if other != nil { // it is the image, under another name or none
		d.manifest, d.root = other.manifest, other.manifest
	}
	return other != nil, nil
}

func sameName(a, b string) bool {
	one, err := reference.ParseNormalizedNamed(a)
	two, err2 := reference.ParseNormalizedNamed(b)
	return err == nil && err2 == nil && one.String() == two.String()
}

// search looks in an OCI layout for the manifest of the files of an image. What the
// archive does not have, or what is broken, is not it.
type search struct {
	members *members
	config  member
	layers  []member
	read    int   // how many manifests were
	err     error // why the search ended early
}

// manifest reads desc, and what it refers to.
func (s *search) manifest(ctx context.Context, desc store.Descriptor, depth int) (found *store.Manifest, refers references) {
	if s.err != nil || depth > maxLayoutDepth || store.ValidDigest(desc.Digest) != nil || !s.members.has(blobPath(desc.Digest)) {
		return nil, refers
	}
	if s.read++; s.read > maxLayoutManifests {
		s.err = fmt.Errorf("%s: %w: an OCI layout of more than %d manifests", s.members, store.ErrTooLarge, maxLayoutManifests)
		return nil, refers
	}
	found, err := readManifest(ctx, s.members, &index{entries: []entry{{Descriptor: desc}}}, desc.Digest.String())
	if s.err = ctx.Err(); err != nil || json.Unmarshal(found.Raw, &refers) != nil {
		return nil, refers
	}
	return found, refers
}

// in looks at desc, and where it is an index at what is below it. It returns nil
// where nothing fits.
func (s *search) in(ctx context.Context, desc store.Descriptor, depth int) *described {
	found, refers := s.manifest(ctx, desc, depth)
	switch {
	case found == nil:
		return nil
	case refers.Config != nil:
		if refers.Manifests != nil || !s.fits(*refers.Config, refers.Layers) {
			return nil
		}
		return &described{root: *found, manifest: *found}
	}
	for _, child := range refers.Manifests {
		below := s.in(ctx, child, depth+1)
		if below == nil {
			continue
		}
		// Docker saves an index with all its entries, but only those manifests that it has.
		if s.whole(ctx, refers.Manifests, depth+1) {
			below.root = *found
		}
		return below
	}
	return nil
}

// fits tells whether these are the files of the image.
func (s *search) fits(config store.Descriptor, layers []store.Descriptor) bool {
	if !s.same(config, s.config) || len(layers) != len(s.layers) {
		return false
	}
	for i, desc := range layers {
		if !s.same(desc, s.layers[i]) {
			return false
		}
	}
	return true
}

func (s *search) same(desc store.Descriptor, f member) bool {
	size, offset := s.blob(desc.Digest)
	return size == f.size && size == desc.Size && offset == f.offset
}

// blob is where a blob is, or a size of -1.
func (s *search) blob(d digest.Digest) (size, offset int64) {
	if store.ValidDigest(d) != nil {
		return -1, 0
	}
	f, err := s.members.find(blobPath(d))
	if err != nil {
		return -1, 0
	}
	return f.size, f.offset
}

// whole tells whether the archive has all that manifests stand for.
func (s *search) whole(ctx context.Context, manifests []store.Descriptor, depth int) bool {
	for _, desc := range manifests {
		found, refers := s.manifest(ctx, desc, depth)
		if found == nil {
			return false
		}
		for _, d := range refers.blobs() {
			if size, _ := s.blob(d.Digest); size != d.Size && !isForeign(d.MediaType) {
				return false
			}
		}
		if !s.whole(ctx, refers.Manifests, depth+1) {
			return false
		}
	}
	return true
}
