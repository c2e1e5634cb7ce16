package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// index is an index.json. What other tools put there is kept as it is.
type index struct {
	fields  map[string]json.RawMessage // all but manifests
	entries []entry
}

// entry is one descriptor of an index.json.
type entry struct {
	store.Descriptor
	raw json.RawMessage
}

// tag is the entry's name in the layout, or empty.
func (e entry) tag() string { return e.Annotations[v1.AnnotationRefName] }

func parseIndex(raw []byte) (*index, error) {
	x := &index{}
	if err := json.Unmarshal(raw, &x.fields); err != nil {
		return nil, err
	}
	var entries []json.RawMessage
	if manifests, ok := x.fields["manifests"]; !ok {
		return nil, errors.New("it has no manifests")
	} else if err := json.Unmarshal(manifests, &entries); err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	delete(x.fields, "manifests")
	for i, raw := range entries {
		e := entry{raw: raw}
		if err := json.Unmarshal(raw, &e.Descriptor); err != nil {
			return nil, fmt.Errorf("manifests[%d]: %w", i, err)
		}
		x.entries = append(x.entries, e)
	}
	return x, nil
}

// newIndex is the index.json of a layout without images.
func newIndex() *index {
	return &index{fields: map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"),
		"mediaType":     json.RawMessage(`"` + v1.MediaTypeImageIndex + `"`),
	}}
}

// marshal writes x with sorted keys, so that equal layouts have equal bytes.
func (x *index) marshal() ([]byte, error) {
	fields := map[string]any{}
	for key, value := range x.fields {
		fields[key] = value
	}
	entries := make([]json.RawMessage, len(x.entries))
	for i, e := range x.entries {
		entries[i] = e.raw
	}
	fields["manifests"] = entries
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(fields)
	return buf.Bytes(), err
}

// set makes tag stand for desc. It takes the place of the entry that had the
// tag, and of one without a name for the same content, which would make "the
// only image of the layout" ambiguous for other tools.
func (x *index) set(desc store.Descriptor, tag string) error {
	named := store.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, Annotations: map[string]string{v1.AnnotationRefName: tag}}
	raw, err := json.Marshal(named)
	if err != nil {
		return err
	}
	fresh := entry{named, raw}
	replaced := func(e entry) bool { return e.tag() == tag || e.tag() == "" && e.Digest == desc.Digest }
	at := slices.IndexFunc(x.entries, replaced)
	if at < 0 {
		x.entries = append(x.entries, fresh)
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(x.entries[at+1:]), replaced)
	x.entries = append(append(x.entries[:at:at], fresh), rest...)
	return nil
}

// add lists a referrer, once.
func (x *index) add(desc store.Descriptor) error {
	if _, there := x.byDigest(desc.Digest); there {
		return nil
	}
	raw, err := json.Marshal(desc)
	x.entries = append(x.entries, entry{desc, raw})
	return err
}

// attachedTag are the tags of what is about an image: the referrers tag of the
// distribution-spec, and cosign's.
var attachedTag = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64,}(\.[a-z]+)?$`)

// attached tells what is about an image rather than one.
func (e entry) attached() bool {
	return e.tag() == "" && e.ArtifactType != "" || attachedTag.MatchString(e.tag())
}

// find returns the entry for a tag, or for the empty string the only image.
func (x *index) find(tag string) (entry, error) {
	var found []entry
	images := slices.ContainsFunc(x.entries, func(e entry) bool { return !e.attached() })
	for _, e := range x.entries {
		if tag != "" && e.tag() != tag || tag == "" && images && e.attached() {
			continue
		}
		if !slices.ContainsFunc(found, func(f entry) bool { return f.Digest == e.Digest }) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(x.entries) == 0:
		return entry{}, fmt.Errorf("image %w: the layout is empty", store.ErrNotFound)
	case len(found) == 0:
		return entry{}, fmt.Errorf("tag %q %w: it has %s", tag, store.ErrNotFound, x.names())
	case tag != "":
		return entry{}, fmt.Errorf("tag %q stands for %d images: name one by its digest, %s", tag, len(found), join(digests(found), "or"))
	}
	return entry{}, fmt.Errorf("it has several images: name one of them, %s", x.names())
}

// byDigest returns the first entry with a digest. Where several have it they
// differ in their names at most.
func (x *index) byDigest(d digest.Digest) (entry, bool) {
	at := slices.IndexFunc(x.entries, func(e entry) bool { return e.Digest == d })
	if at < 0 {
		return entry{}, false
	}
	return x.entries[at], true
}

// maxNames bounds the names in an error.
const maxNames = 20

// names lists what a user could ask for, sorted: tags, and the digests of what has none.
func (x *index) names() string {
	var names []string
	for _, e := range x.entries {
		if e.attached() {
			continue
		}
		name := e.tag()
		if name == "" {
			name = "@" + e.Digest.String()
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f && r < 0xa0 }) {
			name = fmt.Sprintf("%q", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames], fmt.Sprintf("%d more", more))
	}
	return join(names, "and")
}

func digests(entries []entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, fmt.Sprintf("%q", e.Digest.String()))
	}
	return all
}

// join lists words for a sentence.
func join(words []string, conjunction string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}
