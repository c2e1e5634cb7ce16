package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"berth/platform"
	"berth/store"
)

const (
	// maxDepth of indexes in indexes. Real ones have one level; the image-spec sets
	// no limit, so a hostile one could nest for ever.
	maxDepth = 4
	// maxManifests of an image. The largest official images have about 30 entries
	// with their attestations.
	maxManifests = 1000
	// maxLayers of a manifest. Docker and overlayfs stop at 128.
	maxLayers = 1000
	// inFlight is how many manifests and configs are asked for at once. All children
	// of a usual index, which is what makes opening it three round trips.
	inFlight = 64
)

// What is refused by name. Test with [errors.Is].
var (
	// ErrSchema1 says that the image is of Docker's schema 1, which has no config
	// and no platform; registries and engines are dropping it.
	ErrSchema1 = errors.New("Docker schema 1 manifest")
	// ErrMalformed says that a manifest, index or config is not what the specs allow.
	ErrMalformed = errors.New("malformed")
)

// Open reads what reference (a tag, or a digest "sha256:…") names in src: the
// index, then all its manifests at once, then all configs at once.
//
// It fails when the root cannot be read. A child that cannot be read is a
// [Manifest] with Err set, so that one hole does not hide the rest.
func Open(ctx context.Context, src store.Source, reference string) (*Image, error) {
	root, err := src.Manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	o := opener{src: src, seen: map[digest.Digest]bool{root.Descriptor.Digest: true}, once: map[digest.Digest]*read{}}
	o.group.SetLimit(inFlight)
	im := &Image{Root: *root}
	doc, err := decode(root.Raw, root.Descriptor.MediaType)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", reference, err)
	}
	if !doc.isIndex {
		m := &Manifest{Descriptor: root.Descriptor}
		if err := o.fill(ctx, m, root.Raw, doc); err != nil {
			return nil, err
		}
		im.Manifests = []*Manifest{m}
		return im, nil
	}
	im.IsIndex, im.annotations = true, doc.Annotations
	if err := o.index(ctx, im, doc, 1); err != nil {
		return nil, fmt.Errorf("%s: %w", reference, err)
	}
	for _, m := range im.Manifests {
		o.group.Go(func() error {
			o.child(ctx, m)
			return nil
		})
	}
	_ = o.group.Wait() // failures are in each Manifest's Err
	return im, ctx.Err()
}

// opener is the state of one Open.
type opener struct {
	src   store.Source
	group errgroup.Group
	seen  map[digest.Digest]bool // indexes on the way here

	mu   sync.Mutex
	once map[digest.Digest]*read
}

// read is a manifest or config that several entries share: it is fetched once.
type read struct {
	sync.Once
	raw []byte
	err error
}

func (o *opener) read(d digest.Digest, fetch func() ([]byte, error)) ([]byte, error) {
	o.mu.Lock()
	r := o.once[d]
	if r == nil {
		r = new(read)
		o.once[d] = r
	}
	o.mu.Unlock()
	r.Do(func() { r.raw, r.err = fetch() })
	return r.raw, r.err
}

// index appends the entries of an index to im, nested ones in their place.
func (o *opener) index(ctx context.Context, im *Image, doc *document, depth int) error {
	for _, raw := range doc.Manifests {
		var d store.Descriptor
		if err := json.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("%w index: entry: %w", ErrMalformed, err)
		}
		if err := store.ValidDigest(d.Digest); err != nil {
			return fmt.Errorf("%w index: entry: %w", ErrMalformed, err)
		}
		if d.Size < 0 || d.Size > store.MaxManifestSize {
			return fmt.Errorf("manifest %s of %d bytes: %w: at most %d are read", d.Digest, d.Size, store.ErrTooLarge, store.MaxManifestSize)
		}
		if !IsIndexType(d.MediaType) {
			if len(im.Manifests) == maxManifests {
				return fmt.Errorf("index with more than %d manifests: %w", maxManifests, store.ErrTooLarge)
			}
			im.Manifests = append(im.Manifests, newManifest(d, raw))
			continue
		}
		if depth == maxDepth {
			return fmt.Errorf("%w index: nested more than %d deep", ErrMalformed, maxDepth)
		}
		if o.seen[d.Digest] {
			return fmt.Errorf("%w index: %s occurs in it twice", ErrMalformed, d.Digest)
		}
		o.seen[d.Digest] = true
		nested, err := o.manifest(ctx, d)
		if err != nil {
			return err
		}
		nestedDoc, err := decode(nested.Raw, d.MediaType)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Digest, err)
		}
		if !nestedDoc.isIndex {
			return fmt.Errorf("%w index: entry %s says it is an index and is a manifest", ErrMalformed, d.Digest)
		}
		if err := o.index(ctx, im, nestedDoc, depth+1); err != nil {
			return err
		}
		im.Nested = append(im.Nested, *nested)
	}
	return nil
}

func newManifest(d store.Descriptor, entry []byte) *Manifest {
	m := &Manifest{Descriptor: d, Kind: KindImage, entry: entry}
	if d.Annotations[annotationReferenceType] == attestationManifest {
		m.Kind = KindAttestation
		m.Attests = digest.Digest(d.Annotations[annotationReferenceDigest])
	}
	if d.Platform != nil && platform.Known(*d.Platform) {
		p := platform.Normalize(*d.Platform)
		m.Declared = &p
	}
	return m
}

// manifest fetches a manifest or index by digest and holds it against its descriptor.
func (o *opener) manifest(ctx context.Context, d store.Descriptor) (*store.Manifest, error) {
	found, err := o.src.Manifest(ctx, d.Digest.String())
	if err != nil {
		return nil, err
	}
	return found, store.Verify(d, found.Raw)
}

func (o *opener) child(ctx context.Context, m *Manifest) {
	raw, err := o.read(m.Descriptor.Digest, func() ([]byte, error) {
		found, err := o.manifest(ctx, m.Descriptor)
		if err != nil {
			return nil, err
		}
		return found.Raw, nil
	})
	if err != nil {
		m.Err = err
		return
	}
	doc, err := decode(raw, m.Descriptor.MediaType)
	if err == nil && doc.isIndex {
		err = fmt.Errorf("%w index: the entry says it is a manifest and it is an index", ErrMalformed)
	}
	if err == nil {
		err = o.fill(ctx, m, raw, doc)
	}
	if err != nil {
		m.Err = fmt.Errorf("%s: %w", m.Descriptor.Digest, err)
	}
}

// fill sets what the manifest and its config say.
func (o *opener) fill(ctx context.Context, m *Manifest, raw []byte, doc *document) error {
	m.Raw, m.Layers = raw, doc.Layers
	if doc.Config == nil {
		return fmt.Errorf("%w manifest: no config", ErrMalformed)
	}
	m.ConfigDescriptor = *doc.Config
	if m.Kind == KindAttestation {
		return nil
	}
	if !isConfigType(doc.Config.MediaType) {
		m.Kind = KindArtifact
		return nil
	}
	m.Kind = KindImage
	config, err := o.read(doc.Config.Digest, func() ([]byte, error) {
		return store.ReadBlob(ctx, o.src, *doc.Config, store.MaxManifestSize)
	})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := json.Unmarshal(config, &m.Config); err != nil {
		return fmt.Errorf("%w config %s: %w", ErrMalformed, doc.Config.Digest, err)
	}
	m.RawConfig = config
	p := platform.Normalize(m.Config.Platform)
	m.Configured = &p
	return nil
}

func isConfigType(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == mediaTypeDockerConfig
}

// document is a manifest or an index, before it is known which.
type document struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Config        *store.Descriptor  `json:"config"`
	Layers        []store.Descriptor `json:"layers"`
	Manifests     []json.RawMessage  `json:"manifests"`
	Annotations   map[string]string  `json:"annotations"`

	isIndex bool
}

// decode reads raw, which the store or an index entry says is of mediaType.
func decode(raw []byte, mediaType string) (*document, error) {
	var doc document
	var has struct{ Manifests, Layers, FsLayers json.RawMessage }
	if err := json.Unmarshal(raw, &has); err != nil {
		return nil, fmt.Errorf("%w manifest: %w", ErrMalformed, err)
	}
	if has.FsLayers != nil || strings.HasPrefix(mediaType, "application/vnd.docker.distribution.manifest.v1+") {
		return nil, fmt.Errorf("%w: it has no config and names no platform; push the image again with a current tool", ErrSchema1)
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w manifest: %w", ErrMalformed, err)
	}
	// One document that can be read as two kinds is an attack: CVE-2021-41190.
	if has.Manifests != nil && (has.Layers != nil || doc.Config != nil) {
		return nil, fmt.Errorf("%w manifest: it has both manifests and layers, and could be read as two different images", ErrMalformed)
	}
	if doc.MediaType != "" && mediaType != "" && doc.MediaType != mediaType {
		return nil, fmt.Errorf("%w manifest: it says it is %q and is served as %q", ErrMalformed, doc.MediaType, mediaType)
	}
	if mediaType == "" {
		mediaType = doc.MediaType
	}
	switch {
	case IsIndexType(mediaType):
		doc.isIndex = true
	case mediaType == v1.MediaTypeImageManifest || mediaType == mediaTypeDockerManifest:
	default:
		return nil, fmt.Errorf("%w manifest: media type %q is neither an OCI nor a Docker image", ErrMalformed, mediaType)
	}
	if doc.SchemaVersion != 2 {
		return nil, fmt.Errorf("%w manifest: schemaVersion is %d, not 2", ErrMalformed, doc.SchemaVersion)
	}
	if doc.isIndex && bytes.Equal(bytes.TrimSpace(has.Manifests), []byte("null")) || doc.isIndex && has.Manifests == nil {
		return nil, fmt.Errorf("%w index: it has no list of manifests", ErrMalformed)
	}
	if len(doc.Layers) > maxLayers {
		return nil, fmt.Errorf("manifest with %d layers: %w: at most %d are read", len(doc.Layers), store.ErrTooLarge, maxLayers)
	}
	descriptors := doc.Layers
	if doc.Config != nil {
		descriptors = append([]store.Descriptor{*doc.Config}, doc.Layers...)
	}
	for _, d := range descriptors {
		if err := store.ValidDigest(d.Digest); err != nil {
			return nil, fmt.Errorf("%w manifest: %w", ErrMalformed, err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("%w manifest: %s has a size of %d", ErrMalformed, d.Digest, d.Size)
		}
	}
	return &doc, nil
}
