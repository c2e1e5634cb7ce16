package workload

import (
	"regexp"
	"strings"
)

// instruction is one of a Dockerfile: its lines joined, without comments.
type instruction struct {
	name     string // in upper case
	text     string // what follows the name
	offsets  []int  // of each byte of text, in the file
	flags    []dockerFlag
	words    []dockerWord // of text, without flags
	start    int          // lines
	end      int
	heredocs []heredoc
}

type dockerFlag struct {
	name, value string
	start, end  int // bytes of the file
}

// dockerWord is what white space sets off; quotes stay.
type dockerWord struct {
	text       string
	start, end int // bytes of the file
}

type heredoc struct {
	text   string
	quoted bool // nothing is expanded
	start  int  // byte of the file
}

// at is the byte of the file of a byte of text.
func (i *instruction) at(offset int) int {
	switch {
	case offset < len(i.offsets):
		return i.offsets[offset]
	case len(i.offsets) > 0:
		return i.offsets[len(i.offsets)-1] + 1
	}
	return 0
}

// dockerInstructions are all that the builder knows
// (docs.docker.com/reference/dockerfile/#overview).
var dockerInstructions = map[string]bool{
	"ADD": true, "ARG": true, "CMD": true, "COPY": true, "ENTRYPOINT": true, "ENV": true, "EXPOSE": true, "FROM": true,
	"HEALTHCHECK": true, "LABEL": true, "MAINTAINER": true, "ONBUILD": true, "RUN": true, "SHELL": true, "STOPSIGNAL": true,
	"USER": true, "VOLUME": true, "WORKDIR": true,
}

var (
	// dockerDirective is a parser directive: a comment before anything else.
	dockerDirective = regexp.MustCompile(`^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$`)
	// dockerHeredoc is how the lines that follow an instruction are made its input.
	dockerHeredoc = regexp.MustCompile(`^\d*<<(-?)(["']?)([^\s<>"']+)(["']?)$`)
)

// dockerfile splits a Dockerfile into its instructions, by the rules of BuildKit's
// frontend/dockerfile/parser, which the tests hold it against. bad says what is wrong, and
// on which line; the instructions before it are there.
func parseDockerfile(f *File) (all []*instruction, badLine int, bad string) {
	escape := byte('\\')
	directives := true
	lines := f.Lines()
	if f.lines[lines-1] == len(f.Data) {
		lines-- // what follows the last end of a line is none
	}
	for n := 1; n <= lines; n++ {
		line := f.Line(n)
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") || trimmed == "" {
			m := dockerDirective.FindStringSubmatch(trimmed)
			if directives = directives && m != nil; directives && strings.EqualFold(m[1], "escape") {
				if m[2] != "`" && m[2] != `\` {
					return all, n, "the escape directive takes ` or \\"
				}
				escape = m[2][0]
			}
			continue
		}
		directives = false
		i := &instruction{start: n}
		var joined []byte
		var offsets []int
		first := true
		for ; n <= lines; n++ {
			line := f.Line(n)
			i.end = n
			if !first && (isDockerComment(line) || strings.TrimSpace(line) == "") {
				continue
			}
			at := f.lines[n-1]
			if n == 1 {
				bom := len(line) - len(strings.TrimPrefix(line, "\ufeff"))
				line, at = line[bom:], at+bom
			}
			if first {
				space := len(line) - len(strings.TrimLeft(line, " \t\v\f\r"))
				line, at = line[space:], at+space
			}
			first = false
			line, more := continued(line, escape)
			joined = append(joined, line...)
			for k := range len(line) {
				offsets = append(offsets, at+k)
			}
			if !more {
				break
			}
		}
		if strings.TrimSpace(string(joined)) == "" {
			continue
		}
		i.split(string(joined), offsets)
		if !dockerInstructions[i.name] {
			return all, i.start, "there is no instruction " + i.name
		}
		all = append(all, i)
		for _, end := range i.terminators() {
			n++
			h := heredoc{quoted: end.quoted}
			if n <= lines {
				h.start = f.lines[n-1]
			}
			from := n
			for ; ; n++ {
				if n > lines {
					return all, i.start, "the here-document is not ended by a line " + end.word
				}
				line := f.Line(n)
				if end.tabs {
					line = strings.TrimLeft(line, "\t")
				}
				if line == end.word {
					break
				}
			}
			if n > from {
				h.text = string(f.Data[h.start:f.lines[n-1]])
			}
			i.heredocs, i.end = append(i.heredocs, h), n
		}
	}
	return all, 0, ""
}

func isDockerComment(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }

// continued takes off the escape character that ends a line, when it is not escaped itself.
func continued(line string, escape byte) (string, bool) {
	trimmed := strings.TrimRight(line, " \t")
	if !strings.HasSuffix(trimmed, string(escape)) || strings.HasSuffix(trimmed, string([]byte{escape, escape})) {
		return line, false
	}
	return trimmed[:len(trimmed)-1], true
}

// split tells the name, the flags and the words apart.
func (i *instruction) split(line string, offsets []int) {
	space := len(line) - len(strings.TrimLeft(line, " \t\v\f\r"))
	line, offsets = line[space:], offsets[space:]
	name := strings.IndexAny(line, " \t\v\f\r")
	if name < 0 {
		name = len(line)
	}
	i.name = strings.ToUpper(line[:name])
	i.text, i.offsets = line[name:], offsets[name:]
	flags := true
	for at := 0; at < len(i.text); {
		if strings.IndexByte(" \t\v\f\r", i.text[at]) >= 0 {
			at++
			continue
		}
		end := wordEnd(i.text, at)
		word := dockerWord{i.text[at:end], i.at(at), i.at(end-1) + 1}
		if flags = flags && strings.HasPrefix(word.text, "--"); flags {
			name, value, _ := strings.Cut(word.text[2:], "=")
			i.flags = append(i.flags, dockerFlag{name, strings.Trim(value, `"'`), word.start, word.end})
		} else {
			i.words = append(i.words, word)
		}
		at = end
	}
}

// wordEnd is where a word ends: white space in quotes belongs to it.
func wordEnd(s string, at int) int {
	for quote := byte(0); at < len(s); at++ {
		switch c := s[at]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case strings.IndexByte(" \t\v\f\r", c) >= 0:
			return at
		}
	}
	return at
}

type terminator struct {
	word         string
	tabs, quoted bool
}

// terminators are the words that end the here-documents of an instruction, in order.
func (i *instruction) terminators() []terminator {
	name, words := i.name, i.words
	if name == "ONBUILD" && len(words) > 0 {
		name, words = strings.ToUpper(words[0].text), words[1:]
	}
	if name != "RUN" && name != "COPY" && name != "ADD" {
		return nil
	}
	var all []terminator
	for _, word := range words {
		if m := dockerHeredoc.FindStringSubmatch(word.text); m != nil && m[2] == m[4] {
			all = append(all, terminator{m[3], m[1] == "-", m[2] != ""})
		}
	}
	return all
}

// flag is the value of a flag, or nil.
func (i *instruction) flag(name string) *dockerFlag {
	for k := range i.flags {
		if i.flags[k].name == name {
			return &i.flags[k]
		}
	}
	return nil
}

// body is all that an instruction runs, with its here-documents.
func (i *instruction) body() string {
	var b strings.Builder
	b.WriteString(i.text)
	for _, h := range i.heredocs {
		b.WriteString("\n" + h.text)
	}
	return b.String()
}
