package workload

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// parseJSON reads JSON into the nodes that the parser of YAML makes of it, some hundred
// times as fast: plans of Terraform have megabytes. ok is false for anything but one JSON
// value; the parser of YAML then says what is wrong with it, or reads more than JSON has.
func parseJSON(data []byte) (root *yaml.Node, ok bool) {
	p := jsonParser{data: data, line: 1, budget: maxNodes}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		p.at, p.start = 3, 3 // no column
	}
	p.space()
	if p.at == len(data) || data[p.at] != '{' && data[p.at] != '[' {
		return nil, false
	}
	root, ok = p.value(0)
	p.space()
	return root, ok && p.at == len(data)
}

type jsonParser struct {
	data   []byte
	at     int
	line   int
	start  int // of the line, or the byte from which counted on
	column int // of start, from 0
	budget int
}

// space skips white space, and counts lines.
func (p *jsonParser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case '\n':
			p.line, p.start, p.column = p.line+1, p.at+1, 0
		case ' ', '\t', '\r':
		default:
			return
		}
		p.at++
	}
}

// node begins a node here.
func (p *jsonParser) node(kind yaml.Kind, style yaml.Style, tag string) *yaml.Node {
	p.column += utf8.RuneCount(p.data[p.start:p.at])
	p.start = p.at
	return &yaml.Node{Kind: kind, Style: style, Tag: tag, Line: p.line, Column: p.column + 1}
}

// take skips c after white space, if it is there.
func (p *jsonParser) take(c byte) bool {
	p.space()
	if p.at < len(p.data) && p.data[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (*yaml.Node, bool) {
	p.space()
	if p.budget--; p.budget < 0 || depth > maxDepth || p.at == len(p.data) {
		return nil, false
	}
	switch p.data[p.at] {
	case '{':
		return p.object(depth)
	case '[':
		n := p.node(yaml.SequenceNode, yaml.FlowStyle, "!!seq")
		p.at++
		if p.take(']') {
			return n, true
		}
		for {
			item, ok := p.value(depth + 1)
			if !ok {
				return nil, false
			}
			n.Content = append(n.Content, item)
			if p.take(']') {
				return n, true
			}
			if !p.take(',') {
				return nil, false
			}
		}
	case '"':
		return p.text()
	}
	return p.word()
}

func (p *jsonParser) object(depth int) (*yaml.Node, bool) {
	n := p.node(yaml.MappingNode, yaml.FlowStyle, "!!map")
	p.at++
	if p.take('}') {
		return n, true
	}
	for {
		p.space()
		if p.at == len(p.data) || p.data[p.at] != '"' {
			return nil, false
		}
		key, ok := p.text()
		if !ok || !p.take(':') {
			return nil, false
		}
		value, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		n.Content = append(n.Content, key, value)
		if p.take('}') {
			return n, true
		}
		if !p.take(',') {
			return nil, false
		}
	}
}

// text is a string.
func (p *jsonParser) text() (*yaml.Node, bool) {
	n := p.node(yaml.ScalarNode, yaml.DoubleQuotedStyle, "!!str")
	from := p.at
	escaped := false
	for p.at++; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; {
		case c == '\\':
			p.at++
			escaped = true
		case c < ' ':
			return nil, false
		case c == '"':
			p.at++
			raw := p.data[from:p.at]
			if !escaped && utf8.Valid(raw) {
				n.Value = string(raw[1 : len(raw)-1])
				return n, true
			}
			return n, utf8.Valid(raw) && json.Unmarshal(raw, &n.Value) == nil
		}
	}
	return nil, false
}

// word is a number, true, false or null.
func (p *jsonParser) word() (*yaml.Node, bool) {
	n := p.node(yaml.ScalarNode, 0, "!!null")
	from := p.at
	for p.at < len(p.data) && bytes.IndexByte([]byte(" \t\r\n,]}"), p.data[p.at]) < 0 {
		p.at++
	}
	n.Value = string(p.data[from:p.at])
	switch n.Value {
	case "null":
		return n, true
	case "true", "false":
		n.Tag = "!!bool"
		return n, true
	}
	n.Tag = "!!int"
	if bytes.ContainsAny(p.data[from:p.at], ".eE") {
		n.Tag = "!!float"
	}
	c := n.Value
	return n, c != "" && (c[0] == '-' || c[0] >= '0' && c[0] <= '9') && json.Valid([]byte(c))
}
