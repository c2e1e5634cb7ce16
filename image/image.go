// Package image opens a reference: the index, its manifests, their configs, and
// what each claims to be. It tells attestations and artifacts from images, and
// selects by platform as a container engine does.
//
// Start with [Open], then [Image.Select] for the one manifest that a host takes,
// or [Image.Only] for the subset that a copy needs.
package image

import (
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/platform"
	"berth/store"
)

// Docker's media types (distribution's manifest-v2-2 and the older schema 1),
// which image-spec names as compatible with its own.
const (
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// buildx writes these annotations on an attestation's index entry:
// https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
	attestationManifest       = "attestation-manifest"
)

// Kind is what a manifest is.
type Kind string

const (
	// KindImage is something to run.
	KindImage Kind = "image"
	// KindAttestation is what buildx attaches to an image: provenance, an SBOM.
	KindAttestation Kind = "attestation"
	// KindArtifact has a config that is not an image's: a Helm chart, a signature.
	KindArtifact Kind = "artifact"
)

// Image is a reference, opened. It is not changed after [Open] returned it.
type Image struct {
	// Root is what the reference names: an index, or a lone manifest.
	Root store.Manifest
	// IsIndex tells which.
	IsIndex bool
	// Manifests are all manifests, in the order of the index, those of nested
	// indexes in their place. A lone manifest is the only one.
	Manifests []*Manifest
	// Nested are the indexes below the root, children before parents.
	Nested []store.Manifest

	annotations map[string]string
}

// Manifest is one manifest of an image.
type Manifest struct {
	// Descriptor is the index entry, or that of the lone manifest.
	Descriptor store.Descriptor
	// Raw is the manifest, bit for bit; nil where it was not read.
	Raw  []byte
	Kind Kind
	// Declared is the platform of the index entry: nil for a lone manifest and for
	// an entry without one. Normalised.
	Declared *platform.Platform
	// Configured is the platform in the config: nil unless this is an image. Normalised.
	Configured *platform.Platform
	// Config is the image's config; its zero value for anything but an image.
	Config v1.Image
	// ConfigDescriptor and RawConfig are the config blob, RawConfig nil where it was not read.
	ConfigDescriptor store.Descriptor
	RawConfig        []byte
	Layers           []store.Descriptor
	// Attests is the digest of the manifest that an attestation is about.
	Attests digest.Digest
	// Err says why this manifest could not be read. What follows from it is unknown.
	Err error

	entry []byte // the index entry, bit for bit
}

// Platform is what an engine selects this manifest by: the declared platform, or
// the configured one where none is declared (containerd's rule). It is the zero
// platform where neither is known.
func (m *Manifest) Platform() platform.Platform {
	if m.Declared != nil {
		return *m.Declared
	}
	if m.Configured != nil {
		return *m.Configured
	}
	return platform.Platform{}
}

// Size is the sum of the compressed layers in bytes.
func (m *Manifest) Size() int64 {
	var n int64
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

// CreatedBy returns the history entry of each layer, in the order of Layers:
// empty strings where the history does not match the layers.
func (m *Manifest) CreatedBy() []string {
	by := make([]string, 0, len(m.Layers))
	for _, h := range m.Config.History {
		if !h.EmptyLayer {
			by = append(by, h.CreatedBy)
		}
	}
	if len(by) != len(m.Layers) {
		return make([]string, len(m.Layers))
	}
	return by
}

// Images are the manifests that are images (or could not be read, and may be).
func (im *Image) Images() []*Manifest {
	var images []*Manifest
	for _, m := range im.Manifests {
		if m.Kind == KindImage {
			images = append(images, m)
		}
	}
	return images
}

// Attestations are the attestations of the manifest with digest subject.
func (im *Image) Attestations(subject digest.Digest) []*Manifest {
	var found []*Manifest
	for _, m := range im.Manifests {
		if m.Kind == KindAttestation && m.Attests == subject {
			found = append(found, m)
		}
	}
	return found
}

// IsIndexType tells whether a media type is that of an index (or Docker's list).
func IsIndexType(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == mediaTypeDockerList
}
