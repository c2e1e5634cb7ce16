package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxFileSize bounds a file. Terraform plans are the largest: one of 2,000 resources has
// some 10 MB.
const MaxFileSize = 32 << 20

// maxNodes bounds what aliases of YAML expand to ("billion laughs"). The largest
// CloudFormation template, 1 MB, has about 100,000 nodes.
const maxNodes = 2_000_000

// maxDepth bounds nesting. Templates of templates stay below 50.
const maxDepth = 200

// File is a file by its name, as positions call it, and its content.
type File struct {
	Name string
	Data []byte
	// Beside are files that were read together with this one, which places may be in.
	Beside []*File

	parsed    bool
	documents []Node
	err       error
	lines     []int // where each line begins
}

// NewFile returns a file; name is what positions call it, its path as the user gave it.
func NewFile(name string, data []byte) *File {
	f := &File{Name: name, Data: data, lines: []int{0}}
	for i, b := range data {
		if b == '\n' {
			f.lines = append(f.lines, i+1)
		}
	}
	return f
}

// Line returns line n, which counts from 1, without its end; or the empty string where
// there is none.
func (f *File) Line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	end := len(f.Data)
	if n < len(f.lines) {
		end = f.lines[n]
	}
	return strings.TrimRight(string(f.Data[f.lines[n-1]:end]), "\r\n")
}

// maxShownLine bounds the bytes of a line that is shown: plans of Terraform are a single
// one of megabytes, and may have thousands of findings.
const maxShownLine = 1000

// LineAt is the line of a place, in this file or in one beside it; empty where it is in
// neither, and where it is too long for people to read.
func (f *File) LineAt(pos Pos) string {
	for _, file := range append([]*File{f}, f.Beside...) {
		if file.Name != pos.File {
			continue
		}
		if file.Offset(pos.Line+1, 1)-file.Offset(pos.Line, 1) > maxShownLine {
			return ""
		}
		return file.Line(pos.Line)
	}
	return ""
}

// Lines is how many lines there are.
func (f *File) Lines() int { return len(f.lines) }

// Pos is a place in this file.
func (f *File) Pos(line, column int) Pos { return Pos{f.Name, line, column} }

// Offset is the byte at a place, which is clamped to its line.
func (f *File) Offset(line, column int) int {
	if line < 1 {
		return 0
	}
	if line > len(f.lines) {
		return len(f.Data)
	}
	at := f.lines[line-1]
	if line == 1 {
		at += len(f.Data) - len(bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))) // no column
	}
	for ; column > 1 && at < len(f.Data) && f.Data[at] != '\n'; column-- {
		_, size := utf8.DecodeRune(f.Data[at:])
		at += size
	}
	return at
}

// PosAt is the place of a byte.
func (f *File) PosAt(offset int) Pos {
	offset = min(max(offset, 0), len(f.Data))
	line := len(f.lines)
	for lo, hi := 0, len(f.lines); lo < hi; {
		mid := (lo + hi) / 2
		if f.lines[mid] <= offset {
			line, lo = mid+1, mid+1
		} else {
			hi = mid
		}
	}
	return f.Pos(line, utf8.RuneCount(f.Data[f.lines[line-1]:offset])+1)
}

// syntaxError is what the parser said, and where.
type syntaxError struct {
	pos     Pos
	message string
}

func (e *syntaxError) Error() string { return e.pos.String() + ": " + e.message }

// Documents returns the documents of a YAML stream, or the one of a JSON file. Empty
// ones are left out. The error names the place.
func (f *File) Documents() ([]Node, error) {
	if !f.parsed {
		f.parsed = true
		f.documents, f.err = f.parse()
	}
	return f.documents, f.err
}

func (f *File) parse() ([]Node, error) {
	if len(f.Data) > MaxFileSize {
		return nil, &syntaxError{Pos{File: f.Name}, fmt.Sprintf("%d bytes are more than the %d that are read", len(f.Data), MaxFileSize)}
	}
	if bytes.IndexByte(f.Data, 0) >= 0 {
		return nil, &syntaxError{Pos{File: f.Name}, "it has bytes of zero in it: not a text file"}
	}
	if root, ok := parseJSON(f.Data); ok {
		return []Node{{root, f}}, nil
	}
	var documents []Node
	// JSON writes characters beyond the first 65,536 as two escapes, which YAML does not know.
	// Nothing that is read here has such a character; positions must stay.
	data := f.Data
	for range 2 { // a match begins with the character before, so the second half is left over
		data = surrogate.ReplaceAll(data, []byte(`$1\ufffd`))
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, f.syntaxError(err)
	}
	for budget := maxNodes; ; {
		var n yaml.Node
		err := loader.Load(&n)
		switch {
		case err == io.EOF:
			return documents, nil
		case err != nil:
			return nil, f.syntaxError(err)
		}
		if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
			continue
		}
		if err := f.bounded(n.Content[0], &budget, 0); err != nil {
			return nil, err
		}
		if root := n.Content[0]; root.Tag != "!!null" {
			documents = append(documents, Node{root, f})
		}
	}
}

// surrogate is half of such a character, which is not escaped itself.
var surrogate = regexp.MustCompile(`((?:^|[^\\])(?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}`)

// syntaxError is err with its place in this file.
func (f *File) syntaxError(err error) error {
	var load *yaml.LoadError
	if errors.As(err, &load) {
		at := f.Offset(load.Mark.Line, load.Mark.Column) // the end may be after the last line
		return &syntaxError{f.PosAt(at), load.Message}
	}
	return &syntaxError{Pos{File: f.Name}, err.Error()}
}

// bounded counts nodes as they are with aliases expanded.
func (f *File) bounded(n *yaml.Node, budget *int, depth int) error {
	if *budget--; *budget < 0 {
		return &syntaxError{f.Pos(n.Line, n.Column), fmt.Sprintf("it has more than %d values, with aliases expanded", maxNodes)}
	}
	if depth > maxDepth {
		return &syntaxError{f.Pos(n.Line, n.Column), fmt.Sprintf("it is nested more than %d deep", maxDepth)}
	}
	if n.Kind == yaml.AliasNode {
		return f.bounded(n.Alias, budget, depth+1)
	}
	for _, child := range n.Content {
		if err := f.bounded(child, budget, depth+1); err != nil {
			return err
		}
	}
	return nil
}
