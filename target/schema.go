package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"berth/platform"
)

// topics are what a fact may be about: every key that states something, and what
// is worth knowing without having a key.
var topics = []string{
	"runs", "default", "declaredIn",
	"index", "attestation", "zstd", "oci", "maxUncompressed",
	"ia32", "aarch32",
	"availability", "registry",
}

// namePattern keeps names easy to type and unlike platforms.
var namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// sourcePattern is a URL whose scheme, https, is left out, or an http one.
var sourcePattern = regexp.MustCompile(`^(http://)?[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?(/[!-~]*)?$`)

// defined is a target with the line that it starts in.
type defined struct {
	target *Target
	line   int
}

// parse reads the documents of one file.
func parse(raw []byte, name string) ([]defined, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var all []defined
	for {
		var doc yaml.Node
		err := loader.Load(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		root := &doc
		if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
			root = doc.Content[0]
		}
		d := document{file: name}
		t := d.target(root)
		if err := errors.Join(d.errs...); err != nil {
			return nil, err
		}
		all = append(all, defined{t, root.Line})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no target in it", name)
	}
	return all, nil
}

// document collects what is wrong with one target, so that a user mends it all
// at once.
type document struct {
	file string
	errs []error
}

func (d *document) errorf(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, fmt.Errorf("%s:%d: %s", d.file, n.Line, fmt.Sprintf(format, args...)))
}

// fields returns the values of a mapping that has exactly these keys, or nil.
func (d *document) fields(n *yaml.Node, what string, keys ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		d.errorf(n, "%s has to be a mapping with the keys %s", what, list(keys, "and"))
		return nil
	}
	values := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case !slices.Contains(keys, key.Value):
			d.errorf(key, "unknown key %q: %s has %s", key.Value, what, list(keys, "and"))
		case values[key.Value] != nil:
			d.errorf(key, "key %q is there twice", key.Value)
		default:
			values[key.Value] = n.Content[i+1]
		}
	}
	missing := false
	for _, key := range keys {
		if values[key] == nil {
			d.errorf(n, "%s has no %q", what, key)
			missing = true
		}
	}
	if missing {
		return nil
	}
	return values
}

// text returns a value that is one word or sentence.
func (d *document) text(n *yaml.Node, key string) string {
	if n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "" {
		d.errorf(n, "%s has to be a text that is not empty", key)
		return ""
	}
	if strings.ContainsFunc(n.Value, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
		d.errorf(n, "%s has a control character", key)
		return ""
	}
	return n.Value
}

// texts returns a value that is a list.
func (d *document) texts(n *yaml.Node, key string) []string {
	if n.Kind != yaml.SequenceNode {
		d.errorf(n, "%s has to be a list", key)
		return nil
	}
	var all []string
	for _, item := range n.Content {
		all = append(all, d.text(item, key))
	}
	return all
}

func (d *document) target(n *yaml.Node) *Target {
	v := d.fields(n, "a target", "name", "title", "aliases", "runs", "default", "declaredIn", "accepts", "compat", "facts")
	if v == nil {
		return nil
	}
	t := &Target{Name: d.text(v["name"], "name"), Title: d.text(v["title"], "title"), Aliases: d.texts(v["aliases"], "aliases")}
	d.name(v["name"], t.Name)
	for i, alias := range t.Aliases {
		d.name(v["aliases"].Content[i], alias)
		if alias == t.Name || slices.Contains(t.Aliases[:i], alias) {
			d.errorf(v["aliases"].Content[i], "%q is already a name of this target", alias)
		}
	}
	t.Facts = d.facts(v["facts"])
	d.platforms(v, t)
	d.accepts(v["accepts"], t)
	d.compat(v["compat"], t)
	return t
}

// name refuses what Need could not tell from a platform or an architecture.
func (d *document) name(n *yaml.Node, name string) {
	switch {
	case name == "": // said already
	case !namePattern.MatchString(name):
		d.errorf(n, "%q is not a name for a target: lower-case letters and digits, joined by '-'", name)
	case slices.Contains(systems, name) || slices.Contains(architectures, name):
		d.errorf(n, "%q is not a name for a target: it is part of a platform", name)
	}
}

func (d *document) facts(n *yaml.Node) []Fact {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.errorf(n, "facts has to be a list that is not empty")
		return nil
	}
	var facts []Fact
	for _, item := range n.Content {
		v := d.fields(item, "a fact", "topic", "says", "source", "checked")
		if v == nil {
			continue
		}
		f := Fact{Topic: d.text(v["topic"], "topic"), Says: d.text(v["says"], "says"), Source: d.text(v["source"], "source"), Checked: d.text(v["checked"], "checked")}
		if f.Topic != "" && !slices.Contains(topics, f.Topic) {
			d.errorf(v["topic"], "unknown topic %q: a fact is about %s", f.Topic, list(topics, "or"))
		}
		f.Source = strings.TrimPrefix(f.Source, "https://")
		if f.Source != "" && !sourcePattern.MatchString(f.Source) {
			d.errorf(v["source"], "source %q is not a URL", f.Source)
		}
		if _, err := time.Parse(time.DateOnly, f.Checked); f.Checked != "" && err != nil {
			d.errorf(v["checked"], "checked %q is not a day: write it as 2026-11-21", f.Checked)
		}
		facts = append(facts, f)
	}
	return facts
}

// backed reports a statement that no fact stands behind.
func (d *document) backed(n *yaml.Node, t *Target, topic string) {
	if t.Fact(topic) == nil {
		d.errorf(n, "%s is stated without a fact on the topic %q: add one with its source, or write unknown", topic, topic)
	}
}

func (d *document) platforms(v map[string]*yaml.Node, t *Target) {
	if runs := v["runs"]; runs.Kind != yaml.ScalarNode || runs.Value != "depends" {
		if len(runs.Content) == 0 {
			d.errorf(runs, "runs has to be a list of platforms, or the word depends")
			return
		}
		for i, text := range d.texts(runs, "runs") {
			p, err := platform.Parse(text)
			if err != nil {
				d.errorf(runs.Content[i], "runs: %s", err)
				return
			}
			if slices.ContainsFunc(t.Runs, func(r platform.Platform) bool { return platform.Equal(r, p) }) {
				d.errorf(runs.Content[i], "runs has %s twice", platform.Format(p))
			}
			t.Runs = append(t.Runs, p)
		}
		platform.Sort(t.Runs)
	}
	d.backed(v["runs"], t, "runs")

	switch text := d.text(v["default"], "default"); text {
	case "", string(Unknown):
	case "none":
		d.backed(v["default"], t, "default")
	default:
		p, err := platform.Parse(text)
		if err != nil {
			d.errorf(v["default"], "default: %s", err)
			break
		}
		if !slices.ContainsFunc(t.Runs, func(r platform.Platform) bool { return platform.Equal(r, p) }) {
			d.errorf(v["default"], "default %s is none of the platforms in runs", platform.Format(p))
		}
		t.Default = &p
		if len(t.Runs) > 1 {
			d.backed(v["default"], t, "default")
		}
	}
	if len(t.Runs) == 1 && t.Default == nil {
		d.errorf(v["default"], "default has to be %s, the one platform in runs", platform.Format(t.Runs[0]))
	}

	if text := d.text(v["declaredIn"], "declaredIn"); text != "nowhere" {
		t.DeclaredIn = text
	}
	if t.DeclaredIn != "" || len(t.Runs) != 1 {
		d.backed(v["declaredIn"], t, "declaredIn")
	}
}

// answer reads yes, no or unknown, and sees to it that the first two are backed.
func (d *document) answer(n *yaml.Node, t *Target, topic string) Answer {
	switch a := Answer(d.text(n, topic)); a {
	case Yes, No:
		d.backed(n, t, topic)
		return a
	case Unknown:
		return a
	}
	d.errorf(n, "%s has to be yes, no or unknown", topic)
	return Unknown
}

func (d *document) accepts(n *yaml.Node, t *Target) {
	v := d.fields(n, "accepts", "index", "attestation", "zstd", "oci", "maxUncompressed")
	if v == nil {
		return
	}
	t.Accepts = Accepts{
		Index:       d.answer(v["index"], t, "index"),
		Attestation: d.answer(v["attestation"], t, "attestation"),
		Zstd:        d.answer(v["zstd"], t, "zstd"),
		OCI:         d.answer(v["oci"], t, "oci"),
	}
	limit := v["maxUncompressed"]
	text := d.text(limit, "maxUncompressed")
	if text == "" || text == string(Unknown) {
		return
	}
	bytes, err := strconv.ParseInt(text, 10, 64)
	if err != nil || bytes <= 0 {
		d.errorf(limit, "maxUncompressed has to be a number of bytes, or unknown")
		return
	}
	t.Accepts.MaxUncompressed = bytes
	d.backed(limit, t, "maxUncompressed")
}

func (d *document) compat(n *yaml.Node, t *Target) {
	v := d.fields(n, "compat", "ia32", "aarch32")
	if v == nil {
		return
	}
	ia32, aarch32 := d.answer(v["ia32"], t, "ia32"), d.answer(v["aarch32"], t, "aarch32")
	t.Compat = platform.Compat{IA32: ia32 == Yes, AArch32: aarch32 == Yes}
	t.CompatUnknown = platform.Compat{IA32: ia32 == Unknown, AArch32: aarch32 == Unknown}
}
