package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
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
	ErrSchema1 = errors.New("manifest of Docker's schema 1")
	// ErrMalformed says that a manifest, index or config is not what the specs allow.
	ErrMalformed = errors.New("malformed")
)

// Open reads what reference (a tag, or a digest "sha256:…") names in src: the
// index, then all its manifests at once, then all configs at once.
//
// It fails when the root cannot be read. A child that cannot be read is a
// [Manifest] with Err set, so that one hole does not hide the rest.
func Open(ctx context.Context, src store.Source, reference string) (*Image, error) {
	return open(ctx, src, reference, everything)
}

// OpenImages is [Open] without what the index says are attestations: their Raw and
// ConfigDescriptor are zero. Registries that count what is read, as Docker Hub does,
// count half as much of an image that buildx built.
func OpenImages(ctx context.Context, src store.Source, reference string) (*Image, error) {
	return open(ctx, src, reference, func(*Image) func(*Manifest) bool {
		return func(m *Manifest) bool { return m.Kind != KindAttestation }
	})
}

// A selector tells of an index which of its manifests are to be read.
type selector = func(*Image) func(*Manifest) bool

func everything(*Image) func(*Manifest) bool { return func(*Manifest) bool { return true } }

func open(ctx context.Context, src store.Source, reference string, wanted selector) (*Image, error) {
	o, err := Begin(ctx, src, reference)
	if err != nil {
		return nil, err
	}
	im, err := o.manifests(ctx, wanted)
	if err != nil {
		return nil, err
	}
	whole := *im
	whole.Manifests = o.Configs(ctx, im.Manifests)
	if !whole.IsIndex && whole.Manifests[0].Err != nil {
		return nil, whole.Manifests[0].Err
	}
	return &whole, ctx.Err()
}

// Opening is an image that is opened step by step, by whoever has something better to
// do than to wait for all of it: [Begin], [Opening.Manifests], [Opening.Configs].
//
// It is a store.BlobReader: configs come from memory where they were read already,
// and other blobs from the source. It is safe for concurrent use.
type Opening struct {
	// Root is what the reference names.
	Root store.Manifest

	src       store.Source
	reference string
	doc       *document

	mu      sync.Mutex
	once    map[digest.Digest]*read
	configs map[digest.Digest]store.Descriptor // of the manifests that were read
}

// Begin reads what reference names in src, and nothing below it.
func Begin(ctx context.Context, src store.Source, reference string) (*Opening, error) {
	root, err := src.Manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	doc, err := decode(root.Raw, root.Descriptor.MediaType)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", reference, err)
	}
	return &Opening{
		Root: *root, src: src, reference: reference, doc: doc,
		once: map[digest.Digest]*read{}, configs: map[digest.Digest]store.Descriptor{},
	}, nil
}

// Entries are the manifests that the root names, with what it says about them; nothing
// is read. Those of nested indexes are not among them, and a lone manifest has none.
func (o *Opening) Entries() []*Manifest {
	var entries []*Manifest
	for _, raw := range o.doc.Manifests {
		var d store.Descriptor
		if err := json.Unmarshal(raw, &d); err == nil && !IsIndexType(d.MediaType) {
			entries = append(entries, newManifest(d, raw))
		}
	}
	return entries
}

// Manifests reads all manifests below the root at once. What only configs tell is
// not known yet: Configured, Config and RawConfig are zero. It fails, and does not,
// as [Open].
func (o *Opening) Manifests(ctx context.Context) (*Image, error) {
	return o.manifests(ctx, everything)
}

// ManifestsFor is [Opening.Manifests], and reads no more than what [Image.Only] selects
// with the same arguments, as long as the index declares the platform of each of its
// images: of the others Raw and ConfigDescriptor are zero. Without wants it reads all.
func (o *Opening) ManifestsFor(ctx context.Context, wants []platform.Platform, opts OnlyOptions) (*Image, error) {
	if len(wants) == 0 {
		return o.Manifests(ctx)
	}
	return o.manifests(ctx, func(im *Image) func(*Manifest) bool {
		selected := im.declaredFor(wants)
		return func(m *Manifest) bool {
			if m.Kind == KindAttestation && (opts.Plain || opts.NoAttestations) {
				return false
			}
			return selected == nil || selected[m.Descriptor.Digest] || selected[m.Attests]
		}
	})
}

// declaredFor are the manifests that are selected for wants by what the index declares,
// or nil where that does not say.
func (im *Image) declaredFor(wants []platform.Platform) map[digest.Digest]bool {
	selected := map[digest.Digest]bool{}
	for _, m := range im.Images() {
		if m.Declared == nil {
			return nil
		}
	}
	for _, want := range wants {
		if m, err := im.Select(want); err == nil {
			selected[m.Descriptor.Digest] = true
		}
	}
	return selected
}

// manifests reads the manifests that are wanted.
func (o *Opening) manifests(ctx context.Context, wanted selector) (*Image, error) {
	im := &Image{Root: o.Root}
	if !o.doc.isIndex {
		m := &Manifest{Descriptor: o.Root.Descriptor}
		if err := o.fill(m, o.Root.Raw, o.doc); err != nil {
			return nil, err
		}
		im.Manifests = []*Manifest{m}
		return im, nil
	}
	im.IsIndex, im.annotations = true, o.doc.Annotations
	if err := o.index(ctx, im, o.doc, map[digest.Digest]bool{o.Root.Descriptor.Digest: true}, 1); err != nil {
		return nil, fmt.Errorf("%s: %w", o.reference, err)
	}
	isWanted := wanted(im)
	all(im.Manifests, func(m *Manifest) {
		if isWanted(m) {
			o.child(ctx, m)
		}
	})
	return im, ctx.Err()
}

// Configs returns manifests with their configs read, all at once: copies, in the
// order given. What could not be read is in their Err.
func (o *Opening) Configs(ctx context.Context, manifests []*Manifest) []*Manifest {
	whole := make([]*Manifest, len(manifests))
	for i, m := range manifests {
		one := *m
		whole[i] = &one
	}
	all(whole, func(m *Manifest) {
		if m.Err != nil || m.Kind != KindImage || m.Raw == nil {
			return
		}
		if err := o.config(ctx, m); err != nil {
			m.Err = err
			if o.doc.isIndex {
				m.Err = fmt.Errorf("%s: %w", m.Descriptor.Digest, err)
			}
		}
	})
	return whole
}

// Blob implements store.BlobReader.
func (o *Opening) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	o.mu.Lock()
	config, ok := o.configs[desc.Digest]
	o.mu.Unlock()
	if !ok || config.Size != desc.Size || offset < 0 || offset > desc.Size {
		return o.src.Blob(ctx, desc, offset)
	}
	raw, err := o.readConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(raw[offset:])), nil
}

// all calls do for every manifest, many at once.
func all(manifests []*Manifest, do func(*Manifest)) {
	var group errgroup.Group
	group.SetLimit(inFlight)
	for _, m := range manifests {
		group.Go(func() error {
			do(m)
			return nil
		})
	}
	_ = group.Wait() // failures are in each Manifest's Err
}

// read is a manifest or config that several ask for: it is fetched once.
type read struct {
	// turn is held by whoever uses the fields below. It is a channel so that waiting
	// for it ends with the context.
	turn chan struct{}
	raw  []byte
	err  error
}

func (o *Opening) read(ctx context.Context, d digest.Digest, fetch func() ([]byte, error)) ([]byte, error) {
	o.mu.Lock()
	r := o.once[d]
	if r == nil {
		r = &read{turn: make(chan struct{}, 1)}
		o.once[d] = r
	}
	o.mu.Unlock()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.turn }()
	if r.raw != nil || r.err != nil {
		return r.raw, r.err
	}
	raw, err := fetch()
	if err != nil && ctx.Err() != nil {
		// This caller gave up. That says nothing to the others.
		return nil, err
	}
	r.raw, r.err = raw, err
	return raw, err
}

// index appends the entries of an index to im, nested ones in their place. seen are
// the indexes on the way here.
func (o *Opening) index(ctx context.Context, im *Image, doc *document, seen map[digest.Digest]bool, depth int) error {
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
		if seen[d.Digest] {
			return fmt.Errorf("%w index: %s occurs in it twice", ErrMalformed, d.Digest)
		}
		seen[d.Digest] = true
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
		if err := o.index(ctx, im, nestedDoc, seen, depth+1); err != nil {
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
func (o *Opening) manifest(ctx context.Context, d store.Descriptor) (*store.Manifest, error) {
	found, err := o.src.Manifest(ctx, d.Digest.String())
	if err != nil {
		return nil, err
	}
	return found, store.Verify(d, found.Raw)
}

func (o *Opening) child(ctx context.Context, m *Manifest) {
	raw, err := o.read(ctx, m.Descriptor.Digest, func() ([]byte, error) {
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
		err = o.fill(m, raw, doc)
	}
	if err != nil {
		m.Err = fmt.Errorf("%s: %w", m.Descriptor.Digest, err)
	}
}

// fill sets what the manifest says.
func (o *Opening) fill(m *Manifest, raw []byte, doc *document) error {
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
	o.mu.Lock()
	defer o.mu.Unlock()
	o.configs[doc.Config.Digest] = *doc.Config
	return nil
}

// config sets what the config says.
func (o *Opening) config(ctx context.Context, m *Manifest) error {
	config, err := o.readConfig(ctx, m.ConfigDescriptor)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := json.Unmarshal(config, &m.Config); err != nil {
		return fmt.Errorf("%w config %s: %w", ErrMalformed, m.ConfigDescriptor.Digest, err)
	}
	m.RawConfig = config
	p := platform.Normalize(m.Config.Platform)
	m.Configured = &p
	return nil
}

func (o *Opening) readConfig(ctx context.Context, d store.Descriptor) ([]byte, error) {
	return o.read(ctx, d.Digest, func() ([]byte, error) {
		return store.ReadBlob(ctx, o.src, d, store.MaxManifestSize)
	})
}
