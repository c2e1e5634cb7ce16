package workload

import (
	"fmt"
	"strings"
)

// tree is a value of a deployment file once the functions of its format are evaluated.
// Formats of AWS are read as trees: a task definition is the same thing in a request, in a
// template and in a Terraform plan.
type tree struct {
	kind kind
	// Value has the text of a scalar, the place of each, and of a tree that is unknown why.
	Value
	// node is where it is written, for edits; the zero Node where it is put together.
	node   Node
	tag    string // of a scalar: "!!str", "!!int", …
	items  []tree
	fields []field

	// Of values that a function gives: the resource that it names, which values the
	// parameter allows whose default it is and how that is called, and the branches of a
	// condition that is not known.
	ref     string
	allowed Node
	via     string
	either  []tree
}

type field struct {
	key   string
	value tree
}

type kind int

const (
	absent kind = iota // or null
	scalar
	list
	object
	unknown
)

func (k kind) String() string {
	return [...]string{"nothing", "a value", "a list", "an object", "unknown"}[k]
}

// plain is a node in which nothing is to be evaluated.
func plain(n Node) tree { return plainAt(n, Node.Pos) }

func plainAt(n Node, pos func(Node) Pos) tree {
	t := tree{node: n, Value: Value{Pos: pos(n)}}
	switch {
	case n.IsNull():
	case n.IsMap():
		t.kind = object
		for _, e := range n.merged() {
			t.fields = append(t.fields, field{e.Key.Text(), plainAt(e.Value, pos)})
		}
	case n.IsList():
		t.kind = list
		for _, item := range n.Items() {
			t.items = append(t.items, plainAt(item, pos))
		}
	default:
		t.kind, t.Text, t.tag = scalar, n.Text(), n.Tag()
	}
	return t
}

// merged are the entries of a mapping, with those that it merges before them.
func (n Node) merged() []Entry {
	var entries []Entry
	if n.IsMap() {
		for i := 0; i+1 < len(n.node.Content); i += 2 {
			if n.node.Content[i].ShortTag() != "!!merge" {
				continue
			}
			for _, source := range n.wrap(n.node.Content[i+1]).sources() {
				entries = append(source.merged(), entries...)
			}
		}
	}
	return append(entries, n.Entries()...)
}

// get follows keys. APIs write them containerDefinitions, templates ContainerDefinitions,
// Terraform container_definitions: all the same. What is in something unknown is unknown.
func (t tree) get(keys ...string) tree {
	for _, key := range keys {
		if t.kind == unknown {
			return t
		}
		found := tree{Value: Value{Pos: t.Pos}}
		for _, f := range t.fields { // of a key that is there twice, the last counts
			if strings.EqualFold(f.key, key) || strings.Contains(f.key, "_") && strings.EqualFold(strings.ReplaceAll(f.key, "_", ""), key) {
				found = f.value
			}
		}
		t = found
	}
	return t
}

// leaves are what t may be where a condition that is not known decides on it; nil otherwise.
func (t tree) leaves() []tree {
	var all []tree
	for _, branch := range t.either {
		if below := branch.leaves(); below != nil {
			all = append(all, below...)
		} else if branch.has() {
			all = append(all, branch)
		}
	}
	return all
}

// has tells whether there is a value, which may be unknown.
func (t tree) has() bool { return t.kind != absent }

// expect tells whether t is of a kind. Where it is of another it says so; where it is not
// there or unknown it says nothing.
func (r *reader) expect(t tree, want kind, what string) bool {
	if t.kind == want {
		return true
	}
	if t.kind != absent && t.kind != unknown {
		r.broken(t.Pos, "%s is %s: %s was expected", what, t.describe(), want)
	}
	return false
}

// describe is what a tree is, for people.
func (t tree) describe() string {
	if t.kind == scalar {
		switch t.tag {
		case "!!str":
			return fmt.Sprintf("the string %.60q", t.Text)
		case "!!bool", "!!int", "!!float":
			return t.Text
		}
	}
	return t.kind.String()
}

// list is the items of t.
func (r *reader) list(t tree, what string) []tree {
	if !r.expect(t, list, what) {
		return nil
	}
	return t.items
}

// text is a scalar. ok is false where it is not there, or of another kind, which is said.
func (r *reader) text(t tree, what string) (v Value, ok bool) {
	if t.kind == unknown {
		return t.Value, true
	}
	if t.kind != scalar && t.kind != absent {
		r.broken(t.Pos, "%s is %s: a string was expected", what, t.describe())
		return Value{}, false
	}
	return t.Value, t.kind == scalar
}

// words are the scalars of a list, and why they are not all known.
func (r *reader) words(t tree, what string) (words []string, why string) {
	if t.kind == unknown {
		return nil, t.Unknown
	}
	if !r.expect(t, list, what) && t.has() {
		return nil, "it is not a list"
	}
	for i, item := range t.items {
		v, ok := r.text(item, fmt.Sprintf("%s[%d]", what, i))
		switch {
		case !v.Known():
			why = v.Unknown
		case !ok:
			why = "an item is not a string"
		}
		words = append(words, v.Text)
	}
	if why != "" {
		return nil, why
	}
	return words, ""
}

// placeholder are what no image reference has, and what tools fill in.
const placeholder = "<>{}$%"

// image is the image that a container must have. Text in which something is to be filled
// in is unknown.
func (r *reader) image(t tree, of tree, key, what string) Value {
	v, ok := r.text(t, what+"."+key)
	switch {
	case t.kind == absent:
		r.broken(of.Pos, "%s has no %s", what, key)
		return Value{Unknown: "the file names no image", Pos: of.Pos}
	case !ok:
		return Value{Unknown: "the file names no image", Pos: t.Pos}
	case v.Known() && v.Text == "" && t.via != "":
		v.Unknown = t.via + " is empty"
	case v.Known() && v.Text == "":
		r.broken(v.Pos, "%s.%s is empty", what, key)
		v.Unknown = "the file names no image"
	case v.Known() && strings.ContainsAny(v.Text, placeholder):
		v.Unknown = "it has a placeholder, which is filled in before it is deployed"
	}
	return v
}

// unknown adds why to what a process leaves unknown.
func (p *Process) unknown(field, why string) {
	if why == "" {
		return
	}
	if p.Unknown != "" {
		p.Unknown += "; "
	}
	p.Unknown += field + ": " + why
}

// startEnv are the variables that decide what starts: those that execve's callers and
// loaders look at. Of others an unknown value changes nothing that is read here.
var startEnv = map[string]bool{"PATH": true, "LD_LIBRARY_PATH": true, "LD_PRELOAD": true}
