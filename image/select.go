package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/platform"
	"berth/store"
)

// NoPlatformError says that an image has nothing for a platform.
type NoPlatformError struct {
	Want platform.Platform
	// Have are the platforms it has, sorted, each once.
	Have []platform.Platform
	// Unread is how many manifests could not be read, so that Have may not be all.
	Unread int
}

func (e *NoPlatformError) Error() string {
	have := "no platform at all"
	if len(e.Have) > 0 {
		have = "only " + strings.Join(formatAll(e.Have), ", ")
	}
	s := fmt.Sprintf("the image has nothing for %s: it has %s", platform.Format(e.Want), have)
	if e.Unread > 0 {
		s += fmt.Sprintf(" (and %d manifests that could not be read)", e.Unread)
	}
	return s
}

// Platforms are the platforms of the images, sorted, each once.
func (im *Image) Platforms() []platform.Platform {
	var ps []platform.Platform
	for _, m := range im.Images() {
		if p := m.Platform(); platform.Known(p) {
			ps = append(ps, p)
		}
	}
	platform.Sort(ps)
	return slices.CompactFunc(ps, func(a, b platform.Platform) bool { return platform.Equal(a, b) })
}

// Select returns the manifest that an engine of platform want takes, or a
// [*NoPlatformError]. Entries of unread manifests count with what they declare.
func (im *Image) Select(want platform.Platform) (*Manifest, error) {
	images := im.Images()
	have := make([]platform.Platform, len(images))
	unread := 0
	for i, m := range images {
		have[i] = m.Platform()
		if m.Err != nil && m.Declared == nil {
			unread++
		}
	}
	if i := platform.Best(want, have); i >= 0 {
		return images[i], nil
	}
	return nil, &NoPlatformError{Want: want, Have: im.Platforms(), Unread: unread}
}

// Selection is what is to be moved: a root, and all that it refers to.
type Selection struct {
	// Root is what the tag is to name.
	Root store.Manifest
	// Manifests are the images and attestations below (or equal to) Root.
	Manifests []*Manifest
	// Nested are the indexes between Root and Manifests, children before parents.
	Nested []store.Manifest
	// Rewritten says that Root is an index that the source does not have: its digest
	// is new, and signatures over the source's index do not cover it.
	Rewritten bool
	// Dropped are the manifests of the image that are not part of the selection.
	Dropped []*Manifest
}

// All selects everything, bit for bit.
func (im *Image) All() *Selection {
	return &Selection{Root: im.Root, Manifests: im.Manifests, Nested: im.Nested}
}

// Image is the selection as the image that it will be once it is moved.
func (s *Selection) Image() *Image {
	return &Image{Root: s.Root, IsIndex: IsIndexType(s.Root.Descriptor.MediaType), Manifests: s.Manifests, Nested: s.Nested}
}

// OnlyOptions is how [Image.Only] selects. The zero value keeps attestations and
// makes an index.
type OnlyOptions struct {
	// Plain makes a lone manifest of a single platform, without its attestations,
	// for targets that take no index.
	Plain bool
	// NoAttestations leaves attestations out.
	NoAttestations bool
}

// Only selects what engines of the given platforms take. It fails with a
// [*NoPlatformError] where one of them has nothing: never a part of what was
// asked, never a silent substitute from a lone manifest.
//
// Where nothing is left out, the selection is the image bit for bit. Otherwise
// its root is a new index of the selected entries, each unchanged to the byte, and
// the attestations about them.
func (im *Image) Only(wants []platform.Platform, opts OnlyOptions) (*Selection, error) {
	if len(wants) == 0 {
		return nil, fmt.Errorf("no platform was asked for")
	}
	selected := map[*Manifest]bool{}
	for _, want := range wants {
		m, err := im.Select(want)
		if err != nil {
			return nil, err
		}
		selected[m] = true
	}
	if !im.IsIndex {
		return im.All(), nil
	}
	if opts.Plain {
		if len(selected) > 1 {
			return nil, fmt.Errorf("%d platforms were asked for, and a single manifest holds one", len(selected))
		}
		for m := range selected {
			return im.plain(m)
		}
	}
	if !opts.NoAttestations {
		subjects := map[digest.Digest]bool{}
		for m := range selected {
			subjects[m.Descriptor.Digest] = true
		}
		for _, m := range im.Manifests {
			if m.Kind == KindAttestation && subjects[m.Attests] {
				selected[m] = true
			}
		}
	}
	if len(selected) == len(im.Manifests) {
		return im.All(), nil
	}
	return im.subset(selected)
}

// plain is the selection of a single manifest as its own root.
func (im *Image) plain(m *Manifest) (*Selection, error) {
	if m.Err != nil {
		return nil, m.Err
	}
	d := store.Descriptor{MediaType: m.Descriptor.MediaType, Digest: m.Descriptor.Digest, Size: m.Descriptor.Size}
	s := &Selection{Root: store.Manifest{Descriptor: d, Raw: m.Raw}, Manifests: []*Manifest{m}}
	for _, other := range im.Manifests {
		if other != m {
			s.Dropped = append(s.Dropped, other)
		}
	}
	return s, nil
}

func (im *Image) subset(selected map[*Manifest]bool) (*Selection, error) {
	s := &Selection{Rewritten: true}
	var entries [][]byte
	for _, m := range im.Manifests {
		if !selected[m] {
			s.Dropped = append(s.Dropped, m)
			continue
		}
		s.Manifests = append(s.Manifests, m)
		entries = append(entries, m.entry)
	}
	raw, err := writeIndex(im.Root.Descriptor.MediaType, entries, im.annotations)
	if err != nil {
		return nil, fmt.Errorf("writing the index: %w", err)
	}
	s.Root = store.Manifest{
		Descriptor: store.Descriptor{MediaType: im.Root.Descriptor.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		Raw:        raw,
	}
	return s, nil
}

// writeIndex writes an index around entries without touching a byte of them,
// which json.Marshal would: it folds white space and escapes HTML.
func writeIndex(mediaType string, entries [][]byte, annotations map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "{\n  \"schemaVersion\": 2,\n  \"mediaType\": %q,\n  \"manifests\": [\n    ", mediaType)
	buf.Write(bytes.Join(entries, []byte(",\n    ")))
	buf.WriteString("\n  ]")
	if len(annotations) > 0 {
		raw, err := json.Marshal(annotations)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&buf, ",\n  \"annotations\": %s", raw)
	}
	buf.WriteString("\n}\n")
	return buf.Bytes(), nil
}

func formatAll(ps []platform.Platform) []string {
	var s []string
	for _, p := range ps {
		s = append(s, platform.Format(p))
	}
	return s
}
