package explain

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"berth/platform"
)

// maxSaid bounds how many different texts are kept: a log that has more of them is a
// list of texts, not a log.
const maxSaid = 32

// maxShown is how much of a line is kept to be shown, in runes: about three lines of a
// terminal.
const maxShown = 240

// maxWrapped bounds how many lines, from the end, are looked at for texts that were
// broken in two: that happens to what is copied from a window, not to whole logs.
const maxWrapped = 500

// Recognise finds the known error texts in a log or a part of one, with whatever is
// around them: timestamps, prefixes of engines, JSON. Of a text longer than [MaxText]
// it reads the end. It finds nothing rather than guess.
func Recognise(text string) Reading {
	lines, cut := clean(text)
	r := &reader{texts: Texts()}
	r.reading.Cut = cut
	for _, l := range lines {
		r.line(l, -1)
		r.context(l)
	}
	if !r.exact() {
		r.wrapped(lines)
	}
	slices.SortStableFunc(r.reading.Said, func(a, b Said) int {
		return cmp.Or(cmp.Compare(a.Text.Weight, b.Text.Weight), cmp.Compare(a.Number, b.Number))
	})
	if len(r.reading.Said) > 0 && r.reading.Target == "" {
		r.reading.Target = r.reading.Said[0].Form.Target
	}
	return r.reading
}

// reader is one reading in the making.
type reader struct {
	texts   []Text
	reading Reading
}

// exact tells whether a text was found that names the failure.
func (r *reader) exact() bool {
	return slices.ContainsFunc(r.reading.Said, func(s Said) bool { return s.Text.Weight == Exact })
}

// span is a part of a line.
type span struct{ from, to int }

// line looks for all texts in a line. Texts that are more specific come first in
// [Texts], and what they have matched is not matched again. Where over is not
// negative, only a match that extends over that position counts.
func (r *reader) line(l line, over int) {
	lower := lowerASCII(l.text)
	var taken []span
	for t := range r.texts {
		text := &r.texts[t]
		for f := range text.Forms {
			form := &text.Forms[f]
			m := find(form, l.text, lower)
			if m == nil || over >= 0 && (m[0] >= over || m[1] <= over) {
				continue
			}
			overlaps := func(s span) bool { return m[0] < s.to && s.from < m[1] }
			if slices.ContainsFunc(taken, overlaps) {
				continue
			}
			taken = append(taken, span{m[0], m[1]})
			r.add(said(text, form, l, m))
		}
	}
}

// near is how far from its key a match may extend: no text is longer, and patterns with
// counted repetitions are slow over long lines.
const near = 2 << 10

// find is the first match of a form in a line, near one of its keys; nil where there is
// none.
func find(form *Form, text, lower string) []int {
	for from := 0; ; {
		i := strings.Index(lower[from:], form.Key)
		if i < 0 {
			return nil
		}
		at := from + i
		start, end := boundary(text, at-near), boundary(text, at+len(form.Key)+near)
		if m := form.Pattern.FindStringSubmatchIndex(text[start:end]); m != nil {
			for j := range m {
				if m[j] >= 0 {
					m[j] += start
				}
			}
			return m
		}
		from = max(at+len(form.Key), min(at+near/2, len(text)))
	}
}

// boundary is the nearest place at or before i that is not within a character.
func boundary(text string, i int) int {
	if i >= len(text) {
		return len(text)
	}
	for i > 0 && !utf8.RuneStart(text[i]) {
		i--
	}
	return max(i, 0)
}

// lowerASCII is text in lower case, with every byte in its place.
func lowerASCII(text string) string {
	lower := []byte(text)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// wrapped looks for texts that were broken in two, as terminals and consoles do, with
// or without a blank at the break.
func (r *reader) wrapped(lines []line) {
	lines = lines[max(len(lines)-maxWrapped, 0):]
	for i := range len(lines) - 1 {
		first, second := strings.TrimRight(lines[i].text, " "), strings.TrimLeft(lines[i+1].text, " ")
		for _, glue := range []string{" ", ""} {
			r.line(line{first + glue + second, lines[i].number}, len(first))
		}
	}
}

// add adds s, or counts it where the same was said before.
func (r *reader) add(s Said) {
	for i := range r.reading.Said {
		old := &r.reading.Said[i]
		if old.Text.ID != s.Text.ID || s.Path != "" && old.Path != "" && s.Path != old.Path {
			continue
		}
		old.Times++
		old.Path, old.Object = cmp.Or(old.Path, s.Path), cmp.Or(old.Object, s.Object)
		if !platform.Known(old.Wanted) {
			old.Wanted = s.Wanted
		}
		if !platform.Known(old.Found) {
			old.Found = s.Found
		}
		return
	}
	if len(r.reading.Said) < maxSaid {
		r.reading.Said = append(r.reading.Said, s)
	}
}

// said is what a match says.
func said(text *Text, form *Form, l line, m []int) Said {
	s := Said{Text: text, Form: form, Line: around(l.text, m[0], m[1]), Match: l.text[m[0]:m[1]], Number: l.number, Times: 1}
	named := map[string]string{}
	for i, name := range form.Pattern.SubexpNames() {
		if name != "" && m[2*i] >= 0 {
			named[name] = strings.TrimSpace(l.text[m[2*i]:m[2*i+1]])
		}
	}
	s.Path, s.Object = named["path"], named["object"]
	s.Wanted, s.Found = parsePlatform(named["platform"]), parsePlatform(named["have"])
	if named["arch"] != "" {
		s.Wanted = parsePlatform(strings.TrimSuffix(named["os"]+"/"+named["arch"]+"/"+named["variant"], "/"))
	}
	if s.Wanted.Architecture == "amd64" {
		s.Wanted.Variant = "" // v3 is what a host can, not what it needs
	}
	return s
}

// parsePlatform reads a platform of a log: the zero platform where it is none.
func parsePlatform(text string) platform.Platform {
	p, err := platform.Parse(text)
	if err != nil {
		return platform.Platform{}
	}
	return p
}

// around is the part of a line about a match that is worth showing.
func around(text string, from, to int) string {
	runes := func(s string) int { return len([]rune(s)) }
	text, from, to = strings.TrimRight(text, " "), min(from, len(text)), min(to, len(text))
	if runes(text) <= maxShown {
		return strings.TrimSpace(text)
	}
	before, match, after := []rune(text[:from]), []rune(text[from:to]), []rune(text[min(to, len(text)):])
	room := max(maxShown-len(match), 0)
	left := min(len(before), room/2)
	right := min(len(after), room-left)
	out := string(before[len(before)-left:]) + string(match[:min(len(match), maxShown)]) + string(after[:right])
	if left < len(before) {
		out = "…" + out
	}
	if right < len(after) || len(match) > maxShown {
		out += "…"
	}
	return strings.TrimSpace(out)
}

// context collects what a line says of the image and the deploy target.
func (r *reader) context(l line) {
	lower := lowerASCII(l.text)
	if r.reading.Reference == "" {
		r.reading.Reference = referenceIn(l.text, lower)
	}
	if r.reading.Digest == "" {
		r.reading.Digest = digestIn(l.text, lower)
	}
	if r.reading.Target == "" {
		for _, sign := range signs {
			if strings.Contains(lower, sign.key) {
				r.reading.Target = sign.target
				break
			}
		}
	}
}

// digestOf is the digest at the end of a reference, or empty.
func digestOf(reference string) digest.Digest {
	if _, d, ok := strings.Cut(reference, "@"); ok && digest.Digest(d).Validate() == nil {
		return digest.Digest(d)
	}
	return ""
}
