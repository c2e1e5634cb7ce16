// Package store says where images live and how berth reads and writes them,
// whatever the place: a registry, an OCI layout folder, an archive, an engine.
//
// Start with [ParseReference], then with a [Source] that a room below this one
// (registry, local) opened for that reference. The interfaces are small on
// purpose; what only some stores can do ([Pusher]'s mount, say) has a name of
// its own.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptor is the image-spec's content descriptor.
type Descriptor = v1.Descriptor

// MaxManifestSize bounds a manifest, an index or a config. 4 MiB is what the
// distribution-spec asks registries to accept at least ("pushing manifests"), and
// what distribution, ECR and Docker Hub enforce.
const MaxManifestSize = 4 << 20

// What may be wrong with a store's answer, as categories to test with
// [errors.Is]. The message around them says which host, repository and digest.
var (
	// ErrNotFound says that the store answered, and that it has no such thing.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized says that credentials are missing or were not accepted.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrDenied says that these credentials may not do this.
	ErrDenied = errors.New("denied")
	// ErrRateLimited says that the store wants to be asked less often.
	ErrRateLimited = errors.New("rate limited")
	// ErrTooLarge says that something is over one of berth's bounds.
	ErrTooLarge = errors.New("too large")
	// ErrCorrupt says that content is not what its digest or size promises.
	ErrCorrupt = errors.New("content does not match its digest")
	// ErrImmutable says that the tag exists, holds something else and may not be moved.
	ErrImmutable = errors.New("tag is immutable")
	// ErrOffline says that nothing was asked, because that is how it was wanted, and that
	// nothing is remembered.
	ErrOffline = errors.New("offline, and not remembered from before")
	// ErrUnsupported says that the store cannot keep a manifest of this kind.
	ErrUnsupported = errors.New("not supported by the store")
	// ErrReadOnly says that nothing can be written to this store.
	ErrReadOnly = errors.New("read-only")
)

// Manifest is a manifest or an index as the store holds it, bit for bit.
type Manifest struct {
	// Descriptor has MediaType, Digest and Size set; the digest is that of Raw.
	Descriptor Descriptor
	Raw        []byte
}

// A ManifestReader reads manifests and indexes.
type ManifestReader interface {
	// Manifest returns what reference names: a tag, or a digest in the form
	// "sha256:…". It reads at most [MaxManifestSize] bytes, verifies them against
	// the digest where one was given, and fails with [ErrNotFound] where the store
	// has none.
	Manifest(ctx context.Context, reference string) (*Manifest, error)
}

// A BlobReader reads blobs, from any offset on.
type BlobReader interface {
	// Blob opens the blob of desc at offset. The reader ends at desc.Size; it does
	// not verify the digest, because a caller that starts in the middle or stops
	// early could not. Whoever keeps what it read uses [ReadBlob] or verifies itself.
	Blob(ctx context.Context, desc Descriptor, offset int64) (io.ReadCloser, error)
}

// Source is where one image is read from: a repository, a layout.
type Source interface {
	ManifestReader
	BlobReader
}

// A Resolver tells what a tag stands for without reading it.
type Resolver interface {
	// Resolve returns the descriptor (media type, digest, size) of a tag or digest,
	// or [ErrNotFound].
	Resolve(ctx context.Context, reference string) (Descriptor, error)
}

// Outcome is how a blob came to be in the destination.
type Outcome string

const (
	// Copied blobs were sent.
	Copied Outcome = "copied"
	// Mounted blobs were linked by the registry from another of its repositories.
	Mounted Outcome = "mounted"
	// Present blobs were there before.
	Present Outcome = "present"
)

// Content is a blob to be pushed.
type Content struct {
	Descriptor Descriptor
	// Open opens the content at an offset. A destination calls it as often as it
	// has to send again, and wraps (%w) what it and its reader return, so that a
	// copy can tell which end failed.
	Open func(ctx context.Context, offset int64) (io.ReadCloser, error)
	// MountFrom is the repository on the same registry that has the blob, or empty.
	MountFrom string
}

// A Pusher takes content.
type Pusher interface {
	// PushBlob makes the blob exist in the destination and says how. It returns nil
	// only when the destination has verified or acknowledged the digest.
	PushBlob(ctx context.Context, content Content) (Outcome, error)
	// PushManifest stores raw by its digest and, when tag is not empty, under that
	// tag too. The destination must already have everything it refers to. It returns
	// nil only when the destination has acknowledged that the tag names raw now.
	PushManifest(ctx context.Context, desc Descriptor, raw []byte, tag string) error
}

// A Holder can tell of many blobs at once which of them it has.
type Holder interface {
	// Holds returns those of blobs that are there. What it cannot tell is not among
	// them.
	Holds(ctx context.Context, blobs []Descriptor) map[digest.Digest]bool
}

// Destination is where one image is written to.
type Destination interface {
	Resolver
	ManifestReader
	Pusher
}

// ReadBlob reads a whole blob of at most limit bytes and verifies its digest.
func ReadBlob(ctx context.Context, from BlobReader, desc Descriptor, limit int64) ([]byte, error) {
	if desc.Size < 0 || desc.Size > limit {
		return nil, fmt.Errorf("blob %s of %d bytes: %w: at most %d are read", desc.Digest, desc.Size, ErrTooLarge, limit)
	}
	r, err := from.Blob(ctx, desc, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, desc.Size+1))
	if err != nil {
		return nil, fmt.Errorf("reading blob %s: %w", desc.Digest, err)
	}
	return raw, Verify(desc, raw)
}

// Verify tells whether raw is what desc promises, in size and digest.
func Verify(desc Descriptor, raw []byte) error {
	if err := ValidDigest(desc.Digest); err != nil {
		return err
	}
	if int64(len(raw)) != desc.Size {
		return fmt.Errorf("%s: %w: %d bytes, and the descriptor says %d", desc.Digest, ErrCorrupt, len(raw), desc.Size)
	}
	if got := desc.Digest.Algorithm().FromBytes(raw); got != desc.Digest {
		return fmt.Errorf("%s: %w: it is %s", desc.Digest, ErrCorrupt, got)
	}
	return nil
}

// ValidDigest refuses digests that are malformed or of an algorithm that berth
// cannot compute. The image-spec registers sha256 and sha512 (and blake3, which
// the Go libraries do not have).
func ValidDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w: sha256 and sha512 are known", Printable(string(d)), err)
	}
	return nil
}

// A ReferrerLister tells what refers to a manifest: signatures, SBOMs.
type ReferrerLister interface {
	// Referrers returns the descriptors of the manifests whose subject is the manifest
	// with that digest, in the store's order, each digest once; none where the store
	// knows of none, whether or not it has the subject.
	Referrers(ctx context.Context, subject digest.Digest) ([]Descriptor, error)
}

// Referrer is a manifest about another one.
type Referrer struct {
	Manifest
	// Subject is what it is about.
	Subject digest.Digest
	// Tag is the name by which it is found where it does not say what it is about, as
	// cosign's are. Empty where it does.
	Tag string
}

// A ReferrerPusher takes referrers.
type ReferrerPusher interface {
	// PushReferrer stores a referrer so that it is found by its subject, or under its
	// tag, and leaves what else refers to the subject as it is. What it refers to must be
	// there. It fails with [ErrUnsupported] where the store takes no such manifest.
	PushReferrer(ctx context.Context, referrer Referrer) error
}

// ReferrersTag is the tag under which a store that cannot list referrers has the index
// of those of a manifest (distribution-spec, "Referrers Tag Schema").
func ReferrersTag(subject digest.Digest) string {
	// The bounds are the spec's.
	algorithm, encoded := subject.Algorithm().String(), subject.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// ReferrerDescriptor is what a list of referrers says of a manifest: beside its
// descriptor its artifact type, or its config's media type where it has none, and its
// annotations (distribution-spec, "Listing Referrers"). The subject is the manifest's,
// or empty.
func ReferrerDescriptor(m Manifest) (desc Descriptor, subject digest.Digest, err error) {
	var says struct {
		ArtifactType string            `json:"artifactType"`
		Config       *Descriptor       `json:"config"`
		Subject      *Descriptor       `json:"subject"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(m.Raw, &says); err != nil {
		return desc, "", fmt.Errorf("manifest %s: %w", m.Descriptor.Digest, err)
	}
	desc = Descriptor{
		MediaType: m.Descriptor.MediaType, Digest: m.Descriptor.Digest, Size: m.Descriptor.Size,
		ArtifactType: says.ArtifactType, Annotations: says.Annotations,
	}
	if desc.ArtifactType == "" && says.Config != nil {
		desc.ArtifactType = says.Config.MediaType
	}
	if says.Subject != nil {
		subject = says.Subject.Digest
	}
	return desc, subject, nil
}

// A StreamPusher takes a blob whose digest is known only when it has ended.
type StreamPusher interface {
	// PushStream stores what open gives, and returns its digest and size. It calls open
	// as often as it has to send again. from names the content in errors.
	PushStream(ctx context.Context, from digest.Digest, open func(context.Context) (io.ReadCloser, error)) (Descriptor, error)
}
