// Package transfer moves an image from one store to another: what is to be sent
// is a [Plan], and [Plan.Run] carries it out.
//
// Start with [New], which makes the plan of an image.Selection without touching
// either end; print it (that is a dry run), or run it:
//
//	plan, err := transfer.New(img.All(), transfer.PlanOptions{})
//	result, err := plan.Run(ctx, src, dst, transfer.Options{Tag: "v1"})
//
// A run sends all blobs at once, largest first, each digest once; a manifest as
// soon as what it refers to is there; and the root last, with the tag. So a tag
// that a run has written never names an incomplete image, whenever the run ends
// and however. What was sent by then stays in the destination, untagged, and the
// next run finds it there.
package transfer

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/store"
)

// Plan is what is to be in the destination. It is not changed once [New] has
// returned it, and may be run as often, and at as many ends, as one likes.
type Plan struct {
	// Root is what the tag is to name.
	Root store.Descriptor
	// Manifests are the manifests and indexes to be pushed, each digest once,
	// children before parents; the last one is the root.
	Manifests []store.Manifest
	// Blobs are the configs and layers to be pushed, each digest once, largest first.
	Blobs []store.Descriptor
	// Skipped are the layers that are left where their urls say, each digest once,
	// largest first. See [PlanOptions].
	Skipped []store.Descriptor
	// Rewritten says that the root is an index that the source does not have.
	Rewritten bool
	// Dropped is how many of the image's manifests are not part of the plan.
	Dropped int
	// Referrers are what is about manifests of the plan, and what is about that, subjects
	// first. What they refer to is not in Manifests and Blobs.
	Referrers []*Referrer

	refers  map[digest.Digest]references
	configs map[digest.Digest][]byte // the bytes of configs that are in memory
}

// references is what one manifest or index refers to, in its order.
type references struct {
	blobs, manifests []digest.Digest
}

// PlanOptions is how [New] plans. The zero value does what other tools do.
type PlanOptions struct {
	// NonDistributable sends non-distributable ("foreign") layers too. Without it
	// those that have urls are skipped: the image-spec says that they should not be
	// uploaded ("Non-Distributable Layers", layer.md), registries take a manifest
	// that refers to them, engines fetch them from their urls, and crane and skopeo
	// leave them out as well. One without urls is always sent, because it would be
	// nowhere otherwise. Either way nothing is ever fetched from the urls.
	NonDistributable bool
	// Held tells the manifests that the destination has with all that they refer to,
	// which are then no part of the plan: those of another tag of its repository. Nil
	// knows of none.
	Held func(digest.Digest) bool
	// Attached is sent as well, and found by its subject in the destination, or under
	// its tag: see [image.FindAttached].
	Attached []*image.Attached
}

// New plans to move sel. It does no I/O.
//
// It fails with a [*CopyError] that names the digest where a manifest of sel could
// not be read or is not part of sel, and with store.ErrCorrupt where two manifests
// disagree on the size of a blob: then nothing could be moved whole.
func New(sel *image.Selection, opts PlanOptions) (*Plan, error) {
	p := &Plan{
		Root:      sel.Root.Descriptor,
		Rewritten: sel.Rewritten,
		Dropped:   len(sel.Dropped),
		refers:    map[digest.Digest]references{},
		configs:   map[digest.Digest][]byte{},
	}
	blobs := map[digest.Digest]store.Descriptor{}
	for _, m := range sel.Manifests {
		if err := p.manifest(m, blobs, opts); err != nil {
			return nil, err
		}
	}
	for _, index := range append(slices.Clone(sel.Nested), sel.Root) {
		if err := p.index(index); err != nil {
			return nil, err
		}
	}
	// A blob that one manifest calls non-distributable and another does not is sent.
	p.Skipped = slices.DeleteFunc(p.Skipped, func(d store.Descriptor) bool { _, ok := blobs[d.Digest]; return ok })
	for _, d := range blobs {
		p.Blobs = append(p.Blobs, d)
	}
	slices.SortFunc(p.Blobs, largestFirst)
	slices.SortFunc(p.Skipped, largestFirst)
	p.Skipped = slices.CompactFunc(p.Skipped, func(a, b store.Descriptor) bool { return a.Digest == b.Digest })
	for _, a := range opts.Attached {
		r, err := attach(a, opts)
		if err != nil {
			return nil, err
		}
		p.Referrers = append(p.Referrers, r)
	}
	if p.Bytes() == math.MaxInt64 {
		return nil, fmt.Errorf("image %s: %w: the sizes of its blobs add up to more than 2^63 bytes", p.Root.Digest, store.ErrTooLarge)
	}
	return p, nil
}

// Bytes is the sum of the sizes of the blobs, as if none of them were in the
// destination yet.
func (p *Plan) Bytes() int64 {
	var n int64
	for _, d := range p.Blobs {
		if d.Size > math.MaxInt64-n {
			return math.MaxInt64
		}
		n += d.Size
	}
	return n
}

// manifest adds m and its blobs.
func (p *Plan) manifest(m *image.Manifest, blobs map[digest.Digest]store.Descriptor, opts PlanOptions) error {
	if m.Err != nil {
		return &CopyError{End: Source, Descriptor: m.Descriptor, Err: m.Err}
	}
	if m.Raw == nil {
		return &CopyError{End: Source, Descriptor: m.Descriptor, Err: fmt.Errorf("it was selected, and not read")}
	}
	if _, ok := p.refers[m.Descriptor.Digest]; ok {
		return nil // two entries of an index may name the same manifest
	}
	if m.RawConfig != nil {
		p.configs[m.ConfigDescriptor.Digest] = m.RawConfig
	}
	if opts.Held != nil && opts.Held(m.Descriptor.Digest) && m.Descriptor.Digest != p.Root.Digest {
		p.refers[m.Descriptor.Digest] = references{}
		return nil
	}
	var refers references
	for _, d := range append([]store.Descriptor{m.ConfigDescriptor}, m.Layers...) {
		if isNonDistributable(d.MediaType) && len(d.URLs) > 0 && !opts.NonDistributable {
			p.Skipped = append(p.Skipped, d)
			continue
		}
		if other, ok := blobs[d.Digest]; ok && other.Size != d.Size {
			return &CopyError{End: Source, Descriptor: d, Err: fmt.Errorf("%w: one manifest says it has %d bytes, another %d", store.ErrCorrupt, other.Size, d.Size)}
		}
		blobs[d.Digest] = d
		refers.blobs = append(refers.blobs, d.Digest)
	}
	p.refers[m.Descriptor.Digest] = refers
	if m.Descriptor.Digest != p.Root.Digest {
		p.Manifests = append(p.Manifests, store.Manifest{Descriptor: m.Descriptor, Raw: m.Raw})
	}
	return nil
}

// index adds an index all of whose children were added before, or the root.
func (p *Plan) index(index store.Manifest) error {
	d := index.Descriptor
	if !image.IsIndexType(d.MediaType) {
		if _, ok := p.refers[d.Digest]; !ok {
			return &CopyError{End: Source, Descriptor: d, Err: fmt.Errorf("the root is not one of the manifests that were selected")}
		}
		p.Manifests = append(p.Manifests, index)
		return nil
	}
	var doc v1.Index
	if err := json.Unmarshal(index.Raw, &doc); err != nil {
		return &CopyError{End: Source, Descriptor: d, Err: err}
	}
	var refers references
	for _, child := range doc.Manifests {
		if _, ok := p.refers[child.Digest]; !ok {
			return &CopyError{End: Source, Descriptor: child, Err: fmt.Errorf("index %s refers to it, and it was not selected", d.Digest)}
		}
		refers.manifests = append(refers.manifests, child.Digest)
	}
	p.refers[d.Digest] = refers
	p.Manifests = append(p.Manifests, index)
	return nil
}

// largestFirst orders blobs so that no large one is left to the end, when
// everything else is done and nothing runs beside it.
func largestFirst(a, b store.Descriptor) int {
	switch {
	case a.Size > b.Size:
		return -1
	case a.Size < b.Size:
		return 1
	}
	return strings.Compare(string(a.Digest), string(b.Digest))
}

// isNonDistributable tells the media types that the image-spec deprecates as
// non-distributable (layer.md), and Docker's name for the same (manifest-v2-2).
func isNonDistributable(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.oci.image.layer.nondistributable.") ||
		strings.HasPrefix(mediaType, "application/vnd.docker.image.rootfs.foreign.diff.")
}
