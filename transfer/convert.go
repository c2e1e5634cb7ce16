package transfer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"berth/image"
	"berth/platform"
	"berth/store"
)

const (
	// maxUnpacked bounds a layer that is converted: four times what ECR takes of one
	// packed (52,000 MiB, "Amazon ECR service quotas", November 2026).
	maxUnpacked = 4 * 52000 << 20
	// maxWindow bounds the memory that a zstd frame may ask for: what zstd itself takes
	// without being told so (zstd.1, --memory).
	maxWindow = 128 << 20
	// atOnce is how many layers are packed at a time: each takes a processor.
	atOnce = 4
	// packLevel is gzip's. It belongs to what a digest is made of, as does the packing
	// itself: another one would make other digests of the same image.
	packLevel = 6
)

// Docker's media types (distribution, manifest-v2-2).
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Form is what a deploy target demands of an image beside its platform. The zero value
// demands nothing.
type Form struct {
	// Gzip: layers are not compressed with zstd.
	Gzip bool
	// Docker: Docker's media types, which know layers packed with gzip alone.
	Docker bool
}

// Conversion is what was made of one manifest.
type Conversion struct {
	// Platform is the manifest's.
	Platform platform.Platform
	// From and To are its digests.
	From, To digest.Digest
	// Layers is how many of its layers were packed again, Docker whether its media types
	// are others now.
	Layers int
	Docker bool
}

// ConvertOptions is how [Convert] goes about it. The zero value keeps nothing.
type ConvertOptions struct {
	// To takes layers as they are packed, so that they are read and packed once. Nil
	// leaves them to the run, which reads and packs them for a second time.
	To store.StreamPusher
	// Known and Keep remember what became of a layer, and may be nil. They are called by
	// several goroutines at once.
	Known func(from digest.Digest) (to store.Descriptor, ok bool)
	Keep  func(from digest.Digest, to store.Descriptor)
}

// Converted is a selection in another form, and the source that has it.
type Converted struct {
	Selection   *image.Selection
	Conversions []Conversion
	// Dropped are attestations of what was converted: they are about other digests.
	Dropped []*image.Manifest
	// Sent are the layers that [ConvertOptions.To] has got already.
	Sent map[digest.Digest]bool

	src   store.BlobReader
	opts  ConvertOptions
	mu    sync.Mutex // guards what follows, and Sent
	packs map[digest.Digest]packing
}

// packing is where a layer that was packed again comes from.
type packing struct {
	from   store.Descriptor
	diffID digest.Digest
}

// Convert brings the images of sel, which were opened with their configs, into a form.
// What has it already stays as it is, bit for bit; the same image always becomes the
// same digest. Layers are read from src to find their new digests, a few at a time, and
// nothing of them is kept. A layer that is not what its digest and the config say is
// refused with store.ErrCorrupt.
func Convert(ctx context.Context, src store.BlobReader, sel *image.Selection, form Form, opts ConvertOptions) (*Converted, error) {
	c := &Converted{src: src, opts: opts, Sent: map[digest.Digest]bool{}, packs: map[digest.Digest]packing{}}
	layers, err := c.pack(ctx, sel, form)
	if err != nil {
		return nil, err
	}
	selection := *sel
	selection.Manifests = nil
	changed := map[digest.Digest]bool{}
	for _, m := range sel.Manifests {
		switch {
		case m.Kind == image.KindAttestation && changed[m.Attests], m.Kind != image.KindImage && form.Docker:
			c.Dropped = append(c.Dropped, m)
			continue
		case m.Kind == image.KindImage:
			other, n, err := convertManifest(m, layers, form)
			if err != nil {
				return nil, fmt.Errorf("converting manifest %s: %w", m.Descriptor.Digest, err)
			}
			if other != nil {
				changed[m.Descriptor.Digest] = true
				c.Conversions = append(c.Conversions, Conversion{
					Platform: m.Platform(), From: m.Descriptor.Digest, To: other.Descriptor.Digest,
					Layers: n, Docker: other.Descriptor.MediaType != m.Descriptor.MediaType,
				})
				m = other
			}
		}
		selection.Manifests = append(selection.Manifests, m)
	}
	// An attestation may come before what it is about.
	selection.Manifests = slices.DeleteFunc(selection.Manifests, func(m *image.Manifest) bool {
		gone := m.Kind == image.KindAttestation && changed[m.Attests]
		if gone {
			c.Dropped = append(c.Dropped, m)
		}
		return gone
	})
	isIndex := image.IsIndexType(sel.Root.Descriptor.MediaType)
	switch {
	case len(changed) == 0 && !(isIndex && form.Docker && sel.Root.Descriptor.MediaType != dockerList):
		c.Selection = sel
		c.Dropped = nil
		return c, nil
	case !isIndex:
		only := selection.Manifests[0]
		selection.Root = store.Manifest{Descriptor: bare(only.Descriptor), Raw: only.Raw}
	default:
		if selection.Root, err = indexOf(sel.Root, selection.Manifests, form); err != nil {
			return nil, fmt.Errorf("converting index %s: %w", sel.Root.Descriptor.Digest, err)
		}
		selection.Nested, selection.Rewritten = nil, true
	}
	c.Selection = &selection
	return c, nil
}

// Blob implements store.BlobReader. A layer that was packed again is packed once more.
func (c *Converted) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	c.mu.Lock()
	p, ok := c.packs[desc.Digest]
	c.mu.Unlock()
	if !ok {
		return c.src.Blob(ctx, desc, offset)
	}
	r, err := openPacked(ctx, c.src, p)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		return nil, errors.Join(fmt.Errorf("packing layer %s again: %w", p.from.Digest, err), r.Close())
	}
	return r, nil
}

// Has tells whether a blob is a layer that was packed again.
func (c *Converted) Has(d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.packs[d]
	return ok
}

// again tells whether a layer has to be packed again.
func (f Form) again(mediaType string) bool {
	switch {
	case isNonDistributable(mediaType), !isLayer(mediaType):
		return false
	case strings.HasSuffix(mediaType, "+zstd"), strings.HasSuffix(mediaType, ".zstd"):
		return f.Gzip || f.Docker
	}
	return f.Docker && strings.HasSuffix(mediaType, ".tar")
}

// Again is how many layers of sel have to be packed again, each once, and their size.
func (f Form) Again(sel *image.Selection) (layers int, bytes int64) {
	seen := map[digest.Digest]bool{}
	for _, m := range sel.Manifests {
		for _, d := range m.Layers {
			if m.Kind == image.KindImage && f.again(d.MediaType) && !seen[d.Digest] {
				seen[d.Digest] = true
				layers++
				bytes += d.Size
			}
		}
	}
	return layers, bytes
}

func isLayer(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.") || strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.diff.")
}

// pack finds out what becomes of each layer that is not of the form.
func (c *Converted) pack(ctx context.Context, sel *image.Selection, form Form) (map[digest.Digest]store.Descriptor, error) {
	var mu sync.Mutex
	layers := map[digest.Digest]store.Descriptor{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	seen := map[digest.Digest]bool{}
	for _, m := range sel.Manifests {
		if m.Err != nil {
			return nil, &CopyError{End: Source, Descriptor: m.Descriptor, Err: m.Err}
		}
		if m.Kind != image.KindImage {
			continue
		}
		for i, d := range m.Layers {
			if !form.again(d.MediaType) || seen[d.Digest] {
				continue
			}
			if len(m.Config.RootFS.DiffIDs) != len(m.Layers) {
				return nil, &CopyError{End: Source, Descriptor: m.Descriptor, Err: fmt.Errorf("%w: it has %d layers, and its config says %d", store.ErrCorrupt, len(m.Layers), len(m.Config.RootFS.DiffIDs))}
			}
			seen[d.Digest] = true
			p := packing{d, m.Config.RootFS.DiffIDs[i]}
			group.Go(func() error {
				to, err := c.packed(ctx, p)
				if err != nil {
					return &CopyError{End: Source, Descriptor: d, Err: err}
				}
				mu.Lock()
				defer mu.Unlock()
				layers[d.Digest] = to
				return nil
			})
		}
	}
	return layers, group.Wait()
}

// packed is what becomes of one layer.
func (c *Converted) packed(ctx context.Context, p packing) (to store.Descriptor, err error) {
	sent := false
	if c.opts.Known != nil {
		if known, ok := c.opts.Known(p.from.Digest); ok {
			to = known
		}
	}
	switch {
	case to.Digest != "":
	case c.opts.To != nil:
		to, err = c.opts.To.PushStream(ctx, p.from.Digest, func(ctx context.Context) (io.ReadCloser, error) { return openPacked(ctx, c.src, p) })
		sent = true
	default:
		to, err = measure(ctx, c.src, p)
	}
	if err != nil {
		return to, err
	}
	if c.opts.Keep != nil {
		c.opts.Keep(p.from.Digest, to)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packs[to.Digest] = p
	if sent {
		c.Sent[to.Digest] = true
	}
	return to, nil
}

// measure packs a layer for its digest and size alone.
func measure(ctx context.Context, src store.BlobReader, p packing) (store.Descriptor, error) {
	r, err := openPacked(ctx, src, p)
	if err != nil {
		return store.Descriptor{}, err
	}
	defer r.Close()
	hash := digest.Canonical.Digester()
	n, err := io.Copy(hash.Hash(), r)
	return store.Descriptor{Digest: hash.Digest(), Size: n}, err
}

// openPacked opens a layer as it is when it is packed with gzip. Reading it fails where
// the layer is not what its digests say.
func openPacked(ctx context.Context, src store.BlobReader, p packing) (io.ReadCloser, error) {
	if err := store.ValidDigest(p.diffID); err != nil {
		return nil, err
	}
	from, err := src.Blob(ctx, p.from, 0)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := repack(w, from, p)
		_ = w.CloseWithError(errors.Join(err, from.Close())) // it never fails
	}()
	return &packed{r, done}, nil
}

// packed is a layer being packed. Nothing of that is left once it is closed.
type packed struct {
	*io.PipeReader
	done chan struct{}
}

func (p *packed) Close() error {
	err := p.PipeReader.Close()
	<-p.done
	return err
}

// repack writes a layer packed with gzip. The header says nothing of when or where.
func repack(w io.Writer, from io.Reader, p packing) error {
	packed := &verifying{r: from, verifier: p.from.Digest.Verifier()}
	plain, closePlain, err := unpack(packed)
	if err != nil {
		return err
	}
	defer closePlain()
	z, err := gzip.NewWriterLevel(w, packLevel)
	if err != nil {
		return err
	}
	unpacked := p.diffID.Verifier()
	n, err := io.Copy(io.MultiWriter(z, unpacked), io.LimitReader(plain, maxUnpacked+1))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return err
	}
	// What follows the last frame belongs to the blob too.
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return err
	}
	switch {
	case n > maxUnpacked:
		return fmt.Errorf("layer %s: %w: more than %d bytes unpacked", p.from.Digest, store.ErrTooLarge, int64(maxUnpacked))
	case !packed.verifier.Verified():
		return fmt.Errorf("layer %s: %w", p.from.Digest, store.ErrCorrupt)
	case !unpacked.Verified():
		return fmt.Errorf("layer %s: %w: it does not unpack to %s, which the config says", p.from.Digest, store.ErrCorrupt, p.diffID)
	}
	return nil
}

// unpack reads zstd, gzip or plain by their first bytes (RFC 8878, 3.1; RFC 1952, 2.3.1).
func unpack(from io.Reader) (plain io.Reader, end func(), err error) {
	buffered := bufio.NewReader(from)
	head, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch magic := string(head); {
	// The second are the frames to be skipped that zstd:chunked may start with.
	case magic == "\x28\xb5\x2f\xfd", len(head) == 4 && head[0]&0xf0 == 0x50 && magic[1:] == "\x2a\x4d\x18":
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	case strings.HasPrefix(magic, "\x1f\x8b"):
		z, err := gzip.NewReader(buffered)
		return z, func() {}, err
	}
	return buffered, func() {}, nil
}

// verifying hashes what is read.
type verifying struct {
	r        io.Reader
	verifier digest.Verifier
}

func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	_, _ = v.verifier.Write(p[:n]) // a hash takes everything
	return n, err
}

// bare is desc without what an index says of it.
func bare(desc store.Descriptor) store.Descriptor {
	return store.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}

// convertManifest is m in the form, and how many of its layers are others then; nil
// where it has the form already.
func convertManifest(m *image.Manifest, layers map[digest.Digest]store.Descriptor, form Form) (*image.Manifest, int, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(m.Raw, &doc); err != nil {
		return nil, 0, err
	}
	other := *m
	other.Layers = slices.Clone(m.Layers)
	n := 0
	toDocker := form.Docker && m.Descriptor.MediaType != dockerManifest
	for i, d := range m.Layers {
		if to, ok := layers[d.Digest]; ok {
			n++
			to.MediaType = v1.MediaTypeImageLayerGzip
			if strings.HasPrefix(d.MediaType, "application/vnd.docker.") {
				to.MediaType = dockerLayer
			}
			other.Layers[i] = to // without annotations, which are about the packing
		}
		if form.Docker {
			mediaType, err := asDocker(other.Layers[i].MediaType)
			if err != nil {
				return nil, 0, err
			}
			toDocker = toDocker || mediaType != other.Layers[i].MediaType
			other.Layers[i] = store.Descriptor{MediaType: mediaType, Digest: other.Layers[i].Digest, Size: other.Layers[i].Size, URLs: other.Layers[i].URLs}
		}
	}
	if n == 0 && !toDocker {
		return nil, 0, nil
	}
	mediaType := m.Descriptor.MediaType
	if form.Docker {
		// Docker's manifest has no annotations and no subject.
		mediaType = dockerManifest
		other.ConfigDescriptor = store.Descriptor{MediaType: dockerConfig, Digest: m.ConfigDescriptor.Digest, Size: m.ConfigDescriptor.Size}
		doc = map[string]json.RawMessage{"schemaVersion": json.RawMessage("2")}
	}
	var err error
	for name, value := range map[string]any{"mediaType": mediaType, "config": other.ConfigDescriptor, "layers": other.Layers} {
		if doc[name], err = json.Marshal(value); err != nil {
			return nil, 0, err
		}
	}
	if other.Raw, err = json.Marshal(doc); err != nil { // with its keys sorted
		return nil, 0, err
	}
	other.Descriptor.MediaType, other.Descriptor.Digest, other.Descriptor.Size = mediaType, digest.FromBytes(other.Raw), int64(len(other.Raw))
	return &other, n, nil
}

// asDocker is Docker's name for the media type of a layer.
func asDocker(mediaType string) (string, error) {
	switch {
	case mediaType == v1.MediaTypeImageLayerGzip, mediaType == dockerLayer:
		return dockerLayer, nil
	case isNonDistributable(mediaType) && strings.HasPrefix(mediaType, "application/vnd.docker."):
		return mediaType, nil
	case isNonDistributable(mediaType) && strings.HasSuffix(mediaType, "gzip"):
		return "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", nil
	}
	return "", fmt.Errorf("there is none of Docker's media types for a layer of type %q", store.Printable(mediaType))
}

// indexOf is an index of manifests in the form of a root.
func indexOf(root store.Manifest, manifests []*image.Manifest, form Form) (store.Manifest, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(root.Raw, &doc); err != nil {
		return root, err
	}
	mediaType := root.Descriptor.MediaType
	if form.Docker {
		mediaType = dockerList
		doc = map[string]json.RawMessage{"schemaVersion": json.RawMessage("2")}
	}
	entries := []store.Descriptor{}
	for _, m := range manifests {
		d := m.Descriptor
		if d.Platform == nil && m.Declared != nil {
			d.Platform = m.Declared
		}
		if form.Docker {
			d.Annotations, d.ArtifactType = nil, ""
		}
		entries = append(entries, d)
	}
	var err error
	for name, value := range map[string]any{"mediaType": mediaType, "manifests": entries} {
		if doc[name], err = json.Marshal(value); err != nil {
			return root, err
		}
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return root, err
	}
	return store.Manifest{Descriptor: store.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, Raw: raw}, nil
}
