package workload

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// How a format changes a file: [Node.set] gives a key of a mapping a value, [Node.insert]
// adds keys, [Node.replace] changes a scalar that is there. A value is a string, a list of
// strings ([]string), or a mapping ([]pair). What is written takes the style of what lies
// around it: JSON or YAML, block or flow, one line or many, the indentation, the end of
// lines. All other bytes stay.
//
//	edits, err := service.set("platform", "linux/arm64", "image")
//	edits, err := task.set("runtimePlatform", []pair{{"cpuArchitecture", "ARM64"}}, "family")

// pair is a key and the value that it is to have.
type pair struct {
	key   string
	value any
}

// set makes the mapping itself, not what it merges, have the key. Of a mapping that is
// there it sets the keys of value and leaves others; a list becomes value. A new key comes
// after the first of the keys named by after that is there, or at the end.
func (n Node) set(key string, value any, after ...string) ([]Edit, error) {
	if !n.IsMap() {
		return nil, fmt.Errorf("%s: this is no mapping that %s could be set in", n.Pos(), key)
	}
	y := n.raw(key)
	if y == nil {
		return n.insert([]pair{{key, value}}, after...)
	}
	return Node{y, n.file}.assign(key, value)
}

// raw is the value of the mapping's own key, aliases not followed.
func (n Node) raw(key string) *yaml.Node {
	content := n.node.Content
	for i := len(content) - 2; i >= 0; i -= 2 {
		if content[i].Value == key && content[i].Kind == yaml.ScalarNode {
			return content[i+1]
		}
	}
	return nil
}

// assign makes n, which is the value of key, be value.
func (n Node) assign(key string, value any) ([]Edit, error) {
	if n.node.Kind == yaml.AliasNode {
		return nil, fmt.Errorf("%s: %s is an alias, so a change would hold elsewhere too", n.Pos(), key)
	}
	if n.IsNull() {
		return n.fill(value)
	}
	switch value := value.(type) {
	case string:
		if n.IsScalar() {
			return n.replace(value)
		}
	case []string:
		if n.IsList() {
			return n.replaceList(value)
		}
	case []pair:
		if n.IsMap() {
			return n.assignAll(value)
		}
	}
	return nil, fmt.Errorf("%s: %s is not what it is expected to be, so that it cannot be changed here", n.Pos(), key)
}

func (n Node) assignAll(pairs []pair) ([]Edit, error) {
	var edits []Edit
	var missing []pair
	for _, p := range pairs {
		y := n.raw(p.key)
		if y == nil {
			missing = append(missing, p)
			continue
		}
		more, err := Node{y, n.file}.assign(p.key, p.value)
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	if len(missing) > 0 {
		more, err := n.insert(missing)
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	return edits, nil
}

// replace changes a scalar, and keeps its quotes.
func (n Node) replace(text string) ([]Edit, error) {
	if !n.IsScalar() || !strings.HasPrefix(n.Tag(), "!!") {
		return nil, fmt.Errorf("%s: this is no plain value that could be changed", n.Pos())
	}
	start, end, err := n.file.extent(n.node)
	if err != nil {
		return nil, err
	}
	quote := quoteAs(n.node.Style, text)
	if start == end && start > 0 && n.file.Data[start-1] == ':' {
		quote = " " + quote
	}
	return []Edit{{n.file.Name, start, end, quote}}, nil
}

// replaceList makes a list have these items.
func (n Node) replaceList(texts []string) ([]Edit, error) {
	items := n.node.Content
	if len(texts) == 1 && len(items) == 1 && items[0].Kind == yaml.ScalarNode {
		return Node{items[0], n.file}.replace(texts[0])
	}
	start, end, err := n.file.extent(n.node)
	if err != nil {
		return nil, err
	}
	if n.node.Style&yaml.FlowStyle != 0 || len(texts) == 0 {
		var style yaml.Style
		if n.file.isJSON() || len(items) > 0 && items[0].Style&yaml.DoubleQuotedStyle != 0 {
			style = yaml.DoubleQuotedStyle
		}
		return []Edit{{n.file.Name, start, end, flowList(texts, style)}}, nil
	}
	w := n.file.writerAt(start)
	indent := strings.Repeat(" ", n.node.Column-1)
	var b strings.Builder
	for i, text := range texts {
		if i > 0 {
			b.WriteString(w.eol + indent)
		}
		b.WriteString("- " + quoteAs(0, text))
	}
	return []Edit{{n.file.Name, start, end, b.String()}}, nil
}

// fill writes value where there is none, or null.
func (n Node) fill(value any) ([]Edit, error) {
	start, end, err := n.file.extent(n.node)
	if err != nil {
		return nil, err
	}
	w := n.file.writerAt(start)
	w.json = n.file.isJSON()
	w.plain = !w.json || n.file.Lines() == 1 // YAML takes flow style everywhere
	w.indent, w.unit = n.file.indentation(start), n.file.unit()
	text := w.flow(value)
	if start == end {
		text = " " + text
	}
	return []Edit{{n.file.Name, start, end, text}}, nil
}

// insert adds keys that are not there.
func (n Node) insert(pairs []pair, after ...string) ([]Edit, error) {
	if !n.IsMap() {
		return nil, fmt.Errorf("%s: this is no mapping that %s could be set in", n.Pos(), pairs[0].key)
	}
	content := n.node.Content
	if len(content) == 0 {
		return n.insertFirst(pairs)
	}
	at := len(content) - 2
find:
	for _, key := range after {
		for i := 0; i+1 < len(content); i += 2 {
			if content[i].Value == key && content[i].Kind == yaml.ScalarNode {
				at = i
				break find
			}
		}
	}
	key, value := content[at], content[at+1]
	_, end, err := n.file.extent(value)
	if err != nil {
		return nil, err
	}
	if _, keyEnd, err := n.file.extent(key); err != nil {
		return nil, err
	} else if end < keyEnd { // an empty value may be placed before its key's colon
		end = keyEnd
	}
	if n.node.Style&yaml.FlowStyle != 0 {
		return n.insertFlow(key, end, pairs)
	}
	for end < len(n.file.Data) && n.file.Data[end] != '\n' {
		end++
	}
	if end > 0 && end < len(n.file.Data) && n.file.Data[end-1] == '\r' {
		end--
	}
	w := n.file.writerAt(end)
	w.step = n.file.step()
	var b strings.Builder
	for _, p := range pairs {
		b.WriteString(w.eol)
		w.block(&b, p, key.Column-1)
	}
	return []Edit{{n.file.Name, end, end, b.String()}}, nil
}

// insertFirst makes an empty mapping, which is in flow style, have keys.
func (n Node) insertFirst(pairs []pair) ([]Edit, error) {
	start, end, err := n.file.extent(n.node)
	if err != nil {
		return nil, err
	}
	w := n.file.writerAt(start)
	w.json = n.file.isJSON()
	w.plain = !w.json || n.file.Lines() == 1
	w.indent, w.unit = n.file.indentation(start), n.file.unit()
	return []Edit{{n.file.Name, start, end, w.flow(pairs)}}, nil
}

// insertFlow adds keys after a value that ends at a byte, in braces.
func (n Node) insertFlow(key *yaml.Node, end int, pairs []pair) ([]Edit, error) {
	w := n.file.writerAt(end)
	start, keyEnd, err := n.file.extent(key)
	if err != nil {
		return nil, err
	}
	w.json = key.Style&yaml.DoubleQuotedStyle != 0
	data := n.file.Data
	colon := keyEnd
	for colon < len(data) && data[colon] != ':' {
		colon++
	}
	if w.json && colon+1 < len(data) && strings.IndexByte(" \t\r\n", data[colon+1]) < 0 {
		w.space = ""
	}
	line := n.file.indentation(start)
	w.plain = n.file.Offset(key.Line, 1)+len(line) != start // something stands before it
	w.indent, w.unit = line, n.file.unit()
	if open := n.file.indentation(n.Offset()); len(line) > len(open) && strings.HasPrefix(line, open) {
		w.unit = line[len(open):]
	}
	var b strings.Builder
	for _, p := range pairs {
		if w.plain {
			b.WriteString("," + w.space)
		} else {
			b.WriteString("," + w.eol + line)
		}
		b.WriteString(w.pair(p))
	}
	return []Edit{{n.file.Name, end, end, b.String()}}, nil
}

// writer is the style that is written in.
type writer struct {
	eol    string
	step   int    // of block style, in spaces
	json   bool   // keys and strings have quotes
	plain  bool   // all on one line
	space  string // after colons, and after commas on one line
	indent string // of the line
	unit   string // of one level
}

func (f *File) writerAt(offset int) *writer {
	return &writer{eol: f.eol(offset), step: 2, space: " ", unit: "  "}
}

// block writes a key and its value in block style.
func (w *writer) block(b *strings.Builder, p pair, indent int) {
	b.WriteString(strings.Repeat(" ", indent) + quoteAs(0, p.key) + ":")
	pairs, ok := p.value.([]pair)
	if !ok {
		b.WriteString(" " + w.flow(p.value))
		return
	}
	for _, p := range pairs {
		b.WriteString(w.eol)
		w.block(b, p, indent+w.step)
	}
}

func (w *writer) style() yaml.Style {
	if w.json {
		return yaml.DoubleQuotedStyle
	}
	return 0
}

func (w *writer) pair(p pair) string {
	return quoteAs(w.style(), p.key) + ":" + w.space + w.flow(p.value)
}

// flow is a value in flow style.
func (w *writer) flow(value any) string {
	switch value := value.(type) {
	case []string:
		return flowList(value, w.style())
	case []pair:
		inner := *w
		inner.indent += w.unit
		texts := make([]string, len(value))
		for i, p := range value {
			texts[i] = inner.pair(p)
		}
		if w.plain {
			return "{" + strings.Join(texts, ","+w.space) + "}"
		}
		return "{" + w.eol + inner.indent + strings.Join(texts, ","+w.eol+inner.indent) + w.eol + w.indent + "}"
	}
	return quoteAs(w.style(), fmt.Sprint(value))
}

func flowList(texts []string, style yaml.Style) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quoteAs(style, text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// plainText are strings that YAML reads as they stand, in block and in flow style.
var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$`)

// quoteAs is a string in the quotes of a style, or plain where it can be.
func quoteAs(style yaml.Style, text string) string {
	switch {
	case style&yaml.DoubleQuotedStyle != 0:
		return strconv.Quote(text)
	case style&yaml.SingleQuotedStyle != 0:
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	switch strings.ToLower(text) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return strconv.Quote(text)
	}
	if !plainText.MatchString(text) {
		return strconv.Quote(text)
	}
	return text
}

// isJSON tells whether the whole file is one JSON value.
func (f *File) isJSON() bool {
	text := strings.TrimLeft(strings.TrimPrefix(string(f.Data[:min(len(f.Data), 4096)]), "\xef\xbb\xbf"), " \t\r\n")
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
}

// eol is how the line of a byte ends, or where it is the last, how the first does.
func (f *File) eol(offset int) string {
	line := f.PosAt(offset).Line
	if line >= len(f.lines) {
		line = 1
	}
	if line < len(f.lines) && strings.HasSuffix(string(f.Data[f.lines[line-1]:f.lines[line]]), "\r\n") {
		return "\r\n"
	}
	return "\n"
}

// indentation is the white space that the line of a byte begins with.
func (f *File) indentation(offset int) string {
	line := f.Line(f.PosAt(offset).Line)
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

// unit is the white space of the first line that has some.
func (f *File) unit() string {
	for n := 1; n <= f.Lines(); n++ {
		line := f.Line(n)
		if space := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; space != "" && space != line {
			return space
		}
	}
	return "  "
}

// step is by how much block mappings are indented in those around them.
func (f *File) step() int {
	documents, err := f.Documents()
	if err != nil {
		return 2
	}
	for _, d := range documents {
		if step := stepOf(d.node, maxDepth); step > 0 {
			return step
		}
	}
	return 2
}

func stepOf(y *yaml.Node, depth int) int {
	if y.Style&yaml.FlowStyle != 0 || depth == 0 {
		return 0
	}
	if y.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(y.Content); i += 2 {
			v := y.Content[i+1]
			if v.Kind == yaml.MappingNode && v.Style&yaml.FlowStyle == 0 && len(v.Content) > 0 && v.Content[0].Column > y.Content[i].Column {
				return v.Content[0].Column - y.Content[i].Column
			}
		}
	}
	for _, child := range y.Content {
		if step := stepOf(child, depth-1); step > 0 {
			return step
		}
	}
	return 0
}
