package workload

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Node is a value of a YAML or JSON file, with its place. The zero Node is one that is
// not there: its methods return zero values, so that paths can be followed without
// looking at each step.
type Node struct {
	node *yaml.Node
	file *File
}

// Entry is a key of a mapping, and its value.
type Entry struct{ Key, Value Node }

// wrap follows aliases.
func (n Node) wrap(y *yaml.Node) Node {
	for y != nil && y.Kind == yaml.AliasNode {
		y = y.Alias
	}
	return Node{y, n.file}
}

// Exists tells whether there is a value, null included.
func (n Node) Exists() bool { return n.node != nil }

// IsNull tells whether there is no value, or null.
func (n Node) IsNull() bool { return n.node == nil || n.Tag() == "!!null" }

// IsMap tells whether it is a mapping, IsList a list, IsScalar any other value.
func (n Node) IsMap() bool    { return n.node != nil && n.node.Kind == yaml.MappingNode }
func (n Node) IsList() bool   { return n.node != nil && n.node.Kind == yaml.SequenceNode }
func (n Node) IsScalar() bool { return n.node != nil && n.node.Kind == yaml.ScalarNode }

// Tag is the short tag, "!!str" or CloudFormation's "!Ref".
func (n Node) Tag() string {
	if n.node == nil {
		return ""
	}
	return n.node.ShortTag()
}

// Flow tells whether it is written with braces, brackets or quotes, as in JSON.
func (n Node) Flow() bool {
	return n.node != nil && n.node.Style&(yaml.FlowStyle|yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
}

// Pos is where it begins; that of the whole file where it is not there.
func (n Node) Pos() Pos {
	switch {
	case n.file == nil:
		return Pos{}
	case n.node == nil:
		return Pos{File: n.file.Name}
	}
	return n.file.Pos(n.node.Line, n.node.Column)
}

// Offset is the byte of the file where it begins.
func (n Node) Offset() int { return n.file.Offset(n.node.Line, n.node.Column) }

// Get follows keys of mappings. Of a key that is there twice it takes the last, as
// JSON readers do; what a mapping merges ("<<") gives way to its own keys.
func (n Node) Get(keys ...string) Node {
	for _, key := range keys {
		n = n.get(key, maxDepth)
	}
	return n
}

func (n Node) get(key string, depth int) Node {
	if !n.IsMap() || depth == 0 {
		return Node{nil, n.file}
	}
	content := n.node.Content
	for i := len(content) - 2; i >= 0; i -= 2 {
		if content[i].Value == key && content[i].Kind == yaml.ScalarNode {
			return n.wrap(content[i+1])
		}
	}
	for i := 0; i+1 < len(content); i += 2 {
		if content[i].ShortTag() != "!!merge" {
			continue
		}
		for _, merged := range n.wrap(content[i+1]).sources() {
			if v := merged.get(key, depth-1); v.Exists() {
				return v
			}
		}
	}
	return Node{nil, n.file}
}

// sources are the mappings that "<<" names: one, or a list of them.
func (n Node) sources() []Node {
	if n.IsList() {
		return n.Items()
	}
	return []Node{n}
}

// Key is the node of a key that the mapping has itself.
func (n Node) Key(key string) Node {
	for _, e := range n.Entries() {
		if e.Key.Text() == key {
			return e.Key
		}
	}
	return Node{nil, n.file}
}

// Items are those of a list.
func (n Node) Items() []Node {
	if !n.IsList() {
		return nil
	}
	items := make([]Node, len(n.node.Content))
	for i, item := range n.node.Content {
		items[i] = n.wrap(item)
	}
	return items
}

// Entries are those of a mapping, in the order of the file, without what it merges.
func (n Node) Entries() []Entry {
	if !n.IsMap() {
		return nil
	}
	var entries []Entry
	for i := 0; i+1 < len(n.node.Content); i += 2 {
		if n.node.Content[i].ShortTag() != "!!merge" {
			entries = append(entries, Entry{n.wrap(n.node.Content[i]), n.wrap(n.node.Content[i+1])})
		}
	}
	return entries
}

// Text is a scalar as it is written, without quotes; empty for anything else, and null.
func (n Node) Text() string {
	if !n.IsScalar() || n.IsNull() {
		return ""
	}
	return n.node.Value
}

// Bool is a scalar of YAML 1.2 or JSON; false for anything else.
func (n Node) Bool() bool {
	b, _ := strconv.ParseBool(strings.ToLower(n.Text()))
	return b && n.Tag() == "!!bool"
}

// Value is a scalar with its place.
func (n Node) Value() Value { return Value{Text: n.Text(), Pos: n.Pos()} }

// Texts are the scalars of a list; nil where it is none.
func (n Node) Texts() []string {
	if !n.IsList() {
		return nil
	}
	texts := []string{}
	for _, item := range n.Items() {
		texts = append(texts, item.Text())
	}
	return texts
}

// Comments are those that belong to the node: before it, and at the end of its line.
func (n Node) Comments() []string {
	if n.node == nil {
		return nil
	}
	return []string{n.node.HeadComment, n.node.LineComment}
}
