package workload

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// extent is from which byte to which a node is written, its tag included and its anchor,
// which others need, not. The parser says where nodes begin only. Where the bytes are not as they would
// have to be, it is an error: then nothing may be edited.
func (f *File) extent(y *yaml.Node) (start, end int, err error) {
	start = f.Offset(y.Line, y.Column)
	if end, err = f.end(y, start, 0); y.Anchor != "" {
		start = f.properties(y, start)
	}
	return start, end, err
}

func (f *File) unexpected(y *yaml.Node) error {
	return fmt.Errorf("%s: what is written here is not understood well enough to change it", f.Pos(y.Line, y.Column))
}

func (f *File) end(y *yaml.Node, at, depth int) (int, error) {
	if depth > maxDepth {
		return 0, f.unexpected(y)
	}
	if y.Kind == yaml.AliasNode {
		if !f.has(at, "*"+y.Value) {
			return 0, f.unexpected(y)
		}
		return at + 1 + len(y.Value), nil
	}
	at = f.properties(y, at)
	switch {
	case y.Kind == yaml.ScalarNode:
		return f.scalarEnd(y, at)
	case y.Style&yaml.FlowStyle == 0 && len(y.Content) > 0:
		last := at
		for _, child := range y.Content[max(0, len(y.Content)-2):] { // of a mapping, the key of an empty value
			end, err := f.end(child, f.Offset(child.Line, child.Column), depth+1)
			if err != nil {
				return 0, err
			}
			last = max(last, end)
		}
		return last, nil
	}
	open, closing := "[", "]"
	if y.Kind == yaml.MappingNode {
		open, closing = "{", "}"
	}
	if !f.has(at, open) {
		return 0, f.unexpected(y)
	}
	at++
	for _, child := range y.Content[max(0, len(y.Content)-2):] {
		end, err := f.end(child, f.Offset(child.Line, child.Column), depth+1)
		if err != nil {
			return 0, err
		}
		at = max(at, end)
	}
	for at < len(f.Data) { // white space, comments, and a comma or a colon without a value
		switch c := f.Data[at]; {
		case f.has(at, closing):
			return at + 1, nil
		case c == '#':
			for at < len(f.Data) && f.Data[at] != '\n' {
				at++
			}
		case strings.IndexByte(" \t\r\n,:", c) >= 0:
			at++
		default:
			return 0, f.unexpected(y)
		}
	}
	return 0, f.unexpected(y)
}

func (f *File) has(at int, text string) bool {
	return at <= len(f.Data) && strings.HasPrefix(string(f.Data[at:min(len(f.Data), at+len(text))]), text)
}

// properties is the byte after tag and anchor.
func (f *File) properties(y *yaml.Node, at int) int {
	if y.Style&yaml.TaggedStyle == 0 && y.Anchor == "" {
		return at
	}
	for at < len(f.Data) {
		switch f.Data[at] {
		case '!', '&':
			for at < len(f.Data) && strings.IndexByte(" \t\r\n,]}", f.Data[at]) < 0 {
				at++
			}
		case ' ', '\t', '\r', '\n':
			at++
		default:
			return at
		}
	}
	return at
}

func (f *File) scalarEnd(y *yaml.Node, at int) (int, error) {
	switch {
	case y.Style&yaml.DoubleQuotedStyle != 0:
		if !f.has(at, `"`) {
			return 0, f.unexpected(y)
		}
		for at++; at < len(f.Data); at++ {
			switch f.Data[at] {
			case '\\':
				at++
			case '"':
				return at + 1, nil
			}
		}
		return 0, f.unexpected(y)
	case y.Style&yaml.SingleQuotedStyle != 0:
		if !f.has(at, `'`) {
			return 0, f.unexpected(y)
		}
		for at++; at < len(f.Data); at++ {
			if f.Data[at] != '\'' {
				continue
			}
			if !f.has(at, `''`) {
				return at + 1, nil
			}
			at++
		}
		return 0, f.unexpected(y)
	case y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return f.blockEnd(y, at), nil
	}
	for i, word := range strings.Fields(y.Value) {
		if i > 0 {
			for at < len(f.Data) && strings.IndexByte(" \t\r\n", f.Data[at]) >= 0 {
				at++
			}
		}
		if !f.has(at, word) {
			return 0, f.unexpected(y)
		}
		at += len(word)
	}
	return at, nil
}

// blockEnd is the end of the last line of a block scalar that is not empty: of those that
// are indented as its first one.
func (f *File) blockEnd(y *yaml.Node, at int) int {
	line := f.PosAt(at).Line
	end := f.lines[line-1] + len(f.Line(line))
	indent := -1
	for n := line + 1; n <= f.Lines(); n++ {
		text := f.Line(n)
		if strings.TrimLeft(text, " \t") == "" {
			continue
		}
		spaces := len(text) - len(strings.TrimLeft(text, " "))
		if indent < 0 {
			indent = spaces
			if y.Value == "" {
				return end
			}
		}
		if spaces < indent {
			break
		}
		end = f.lines[n-1] + len(text)
	}
	return end
}
