package image

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/platform"
	"berth/store"
)

// Part is one of the images that [Assemble] makes an index of.
type Part struct {
	// Name is the reference as it was given, for errors.
	Name string
	// Image was opened with its configs.
	Image *Image
}

// AssembleOptions is how [Assemble] writes the index. Its zero value adds nothing.
type AssembleOptions struct {
	// Annotations are those of the new index. Docker's manifest list has none, so with
	// any it is an OCI index whatever its children are.
	Annotations map[string]string
}

// Assemble makes one image of parts that were built apart, in their order: a new index
// whose entries are those of the parts.
//
// A lone manifest gets an entry with the platform of its config, normalised. The
// entries of an index are taken in unchanged to the byte, with their attestations, and
// those of nested indexes in their place; what the old indexes said about themselves is
// left behind. The new index is a Docker manifest list where all its children are
// Docker's, and an OCI index otherwise.
//
// It fails where two parts have the same platform or the same image, because an engine
// would take one of the two without a word; where a manifest could not be read; and
// where a lone manifest says no platform.
func Assemble(parts []Part, opts AssembleOptions) (*Selection, error) {
	s := &Selection{Rewritten: true}
	var entries [][]byte
	var from []int // the part of each of s.Manifests
	seen := map[digest.Digest]bool{}
	docker := len(opts.Annotations) == 0
	for i, part := range parts {
		manifests, err := part.entries()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.Name, err)
		}
		for _, m := range manifests {
			if m.Kind == KindImage {
				for j, other := range s.Manifests {
					if err := unlike(parts[from[j]], other, part, m); err != nil && from[j] != i {
						return nil, err // within a part it is as its index has it
					}
				}
			} else if seen[m.Descriptor.Digest] {
				continue // two parts may be attested by one manifest
			}
			seen[m.Descriptor.Digest] = true
			s.Manifests, from = append(s.Manifests, m), append(from, i)
			entries = append(entries, m.entry)
			docker = docker && m.Descriptor.MediaType == mediaTypeDockerManifest
		}
	}
	switch {
	case len(entries) == 0:
		return nil, fmt.Errorf("an index of nothing: there is no manifest in what was given")
	case len(entries) > maxManifests:
		return nil, fmt.Errorf("index with more than %d manifests: %w", maxManifests, store.ErrTooLarge)
	}
	mediaType := v1.MediaTypeImageIndex
	if docker {
		mediaType = mediaTypeDockerList
	}
	raw, err := writeIndex(mediaType, entries, opts.Annotations)
	if err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	s.Root = store.Manifest{Descriptor: store.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, Raw: raw}
	return s, nil
}

// entries are the manifests of a part as they go into the index.
func (p Part) entries() ([]*Manifest, error) {
	var entries []*Manifest
	for _, m := range p.Image.Manifests {
		if m.Err != nil {
			return nil, m.Err
		}
		if m.Declared == nil && m.Kind == KindImage {
			var err error
			if m, err = m.declare(); err != nil {
				return nil, err
			}
		}
		if !p.Image.IsIndex && m.Kind != KindImage {
			return nil, fmt.Errorf("it is an artifact (%s) and not an image: an index of platforms has no place for it", m.ConfigDescriptor.MediaType)
		}
		entries = append(entries, m)
	}
	return entries, nil
}

// errNoPlatform says that neither an entry nor a config names a platform.
var errNoPlatform = errors.New("its config names no platform, so an index has nothing to list it under: build it again with --platform")

// declare returns m with the platform of its config in its entry.
func (m *Manifest) declare() (*Manifest, error) {
	if m.Configured == nil || !platform.Known(*m.Configured) {
		return nil, errNoPlatform
	}
	declared := *m
	p := *m.Configured
	declared.Declared, declared.Descriptor.Platform = &p, &p
	var err error
	declared.entry, err = json.Marshal(declared.Descriptor)
	return &declared, err
}

// unlike fails where images of two parts are of one platform.
func unlike(one Part, a *Manifest, two Part, b *Manifest) error {
	switch {
	case a.Kind != KindImage:
	case a.Descriptor.Digest == b.Descriptor.Digest && one.Name == two.Name:
		return fmt.Errorf("%s is given twice", one.Name)
	case a.Descriptor.Digest == b.Descriptor.Digest:
		return fmt.Errorf("%s and %s are the same image of %s, %s: was one of them built or pushed under the wrong name?",
			one.Name, two.Name, platform.Format(b.Platform()), b.Descriptor.Digest)
	case platform.Equal(a.Platform(), b.Platform()):
		return fmt.Errorf("%s and %s are both %s, and an engine would take the first of them: leave one out, or build it for another platform",
			one.Name, two.Name, platform.Format(b.Platform()))
	}
	return nil
}
