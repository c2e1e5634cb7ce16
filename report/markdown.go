package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"berth/check"
	"berth/workload"
)

// maxComment is how long a comment of a GitHub pull request may be, in characters; its API
// refuses a longer one. Bytes are counted, which are never fewer.
const maxComment = 65_536

const (
	// maxMatrix is what the matrix may take of that: findings matter more.
	maxMatrix = 24_000
	// maxUncertain is kept free for what could not be told.
	maxUncertain = 8_000
	// reserved is kept free for the sentences that say what was left out.
	reserved = 512
)

// markdownFormat writes a comment for a pull request, in GitHub's Markdown.
type markdownFormat struct {
	checkOnly
	w io.Writer
}

func (f *markdownFormat) Check(report *check.Report) error {
	o := outlineOf(report)
	// The comment lets a script find the one that it wrote before.
	out := "<!-- berth check -->\n### berth: " + summary(o.totals()) + "\n"
	if m := o.images(); len(m.rows) > 0 {
		out += "\n" + m.markdown(maxMatrix)
	}
	var findings, uncertain []string
	for _, l := range worstFirst(o.located()) {
		if l.Ignored == "" {
			findings = append(findings, o.markdownFinding(l))
		}
	}
	for _, u := range uncertainties(o.asked) {
		uncertain = append(uncertain, u.markdown())
	}
	for _, file := range o.files {
		for _, p := range file.problems {
			kind := "broken"
			if p.Open {
				kind = "open"
			}
			uncertain = append(uncertain, "- "+kind+" "+mdCode(p.Pos.String())+": "+mdText(p.Message)+"\n")
		}
		for _, u := range file.uncertainties() {
			uncertain = append(uncertain, u.markdown())
		}
	}
	most := maxComment - reserved
	if len(uncertain) > 0 {
		most -= maxUncertain
	}
	out += fitting(findings, most-len(out), "finding")
	if len(uncertain) > 0 {
		out += fmt.Sprintf("\n<details><summary>? %d unknown</summary>\n\n", len(uncertain)) +
			fitting(uncertain, maxUncertain-reserved, "unknown thing") + "\n</details>\n"
	}
	_, err := io.WriteString(f.w, out)
	return err
}

// fitting joins blocks up to a number of bytes, and says how many did not fit.
func fitting(blocks []string, most int, noun string) string {
	var b strings.Builder
	for i, block := range blocks {
		if b.Len()+len(block) > most {
			fmt.Fprintf(&b, "\n… and %s more\n", count(len(blocks)-i, noun))
			break
		}
		b.WriteString(block)
	}
	return b.String()
}

// summary is what a report comes to, without the scope.
func summary(t totals) string {
	var all []string
	for _, c := range []struct {
		n    int
		text string
	}{
		{t.errors, count(t.errors, "error")},
		{t.warnings, count(t.warnings, "warning")},
		{t.notices, count(t.notices, "notice")},
		{t.unknown, fmt.Sprint(t.unknown, " unknown")},
		{t.ignored, fmt.Sprint(t.ignored, " ignored")},
	} {
		if c.n > 0 {
			all = append(all, c.text)
		}
	}
	if t.errors+t.warnings+t.notices+t.unknown == 0 {
		all = append([]string{"nothing wrong was found"}, all...)
	}
	return strings.Join(all, ", ")
}

// symbol is a cell in a character.
func (c matrixCell) symbol() string {
	switch {
	case c.verdict == check.RunsNot && c.ignored:
		return "!"
	case c.verdict == check.RunsNot:
		return "✗"
	case c.verdict == check.Unknown:
		return "?"
	case c.verdict == check.Runs:
		return "✓"
	}
	return ""
}

func (m *matrix) markdown(most int) string {
	var b strings.Builder
	b.WriteString("| image |")
	for _, p := range m.platforms {
		b.WriteString(" " + mdCell(p) + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(m.platforms)) + "\n")
	used := map[string]bool{}
	for i, r := range m.rows {
		row := "| " + mdCode(r.image) + " |"
		for _, c := range r.cells {
			row += " " + c.symbol() + " |"
			used[c.symbol()] = true
		}
		if b.Len()+len(row) > most {
			fmt.Fprintf(&b, "\n… and %s more, the worst are above\n", count(len(m.rows)-i, "image"))
			break
		}
		b.WriteString(row + "\n")
	}
	var legend []string
	for _, l := range [][2]string{{"✓", "runs"}, {"✗", "does not run"}, {"!", "does not run, and that is ignored"}, {"?", "berth cannot tell"}} {
		if used[l[0]] {
			legend = append(legend, l[0]+" "+l[1])
		}
	}
	return b.String() + "\n<sub>" + strings.Join(legend, " · ") + "</sub>\n"
}

var severityMarks = map[check.Severity]string{check.Error: "❌", check.Warning: "⚠️", check.Notice: "ℹ️"}

func (o *outline) markdownFinding(l check.Located) string {
	var b strings.Builder
	at := ""
	if l.Pos != nil {
		at = " <code>" + mdHTML(l.Pos.String()) + "</code>"
	}
	fmt.Fprintf(&b, "\n<details><summary>%s <b>%s %s</b>%s: %s</summary>\n\n", severityMarks[l.Severity], l.Rule, l.Name, at, mdHTML(l.Message))
	if l.Snippet != "" && l.Pos != nil {
		text, _, _ := excerpt(l.Snippet, l.Pos.Column)
		b.WriteString(mdBlock("", fmt.Sprintf("%d | %s", l.Pos.Line, text)))
	}
	for _, d := range l.Details {
		b.WriteString("- " + mdText(d) + "\n")
	}
	if l.Why != "" {
		b.WriteString("\n**Why** " + mdText(l.Why))
		if l.WhyPos != nil && l.WhyPos.Line > 0 {
			b.WriteString(" (" + mdCode(l.WhyPos.String()) + ")")
		}
		b.WriteString("\n")
	}
	for _, fix := range l.Fixes {
		b.WriteString("\n**Fix** " + mdText(fix.Title) + "\n")
		if fix.Command != "" {
			b.WriteString("\n" + mdBlock("sh", fix.Command))
		}
		for _, c := range o.changes(fix) {
			var diff []string
			for _, line := range c.old {
				diff = append(diff, "-"+expanded(line))
			}
			for _, line := range c.new {
				diff = append(diff, "+"+expanded(line))
			}
			b.WriteString("\n" + mdCode((workload.Pos{File: c.file, Line: c.line}).String()) + "\n" + mdBlock("diff", diff...))
		}
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

func (u uncertain) markdown() string {
	at := ""
	if u.pos.File != "" {
		at = mdCode(u.pos.String()) + ": "
	}
	return "- " + at + mdText(u.sentence()) + "\n"
}

// mdText is foreign text in a paragraph: nothing in it is markup, and nobody is notified.
func mdText(s string) string {
	var b strings.Builder
	for _, r := range printable(s) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@' || r == '#':
			b.WriteRune(r)
			b.WriteString("<!-- -->")
		case strings.ContainsRune("\\`*_{}[]()!|~$", r):
			b.WriteRune('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// mdHTML is foreign text in HTML, where GitHub notifies people all the same.
func mdHTML(s string) string {
	return strings.NewReplacer("@", "@<!-- -->", "#", "#<!-- -->").Replace(unescapedEntities.Replace(html.EscapeString(printable(s))))
}

// unescapedEntities keeps numbers of entities from reading as numbers of issues.
var unescapedEntities = strings.NewReplacer("&#34;", "&quot;", "&#39;", "'")

func mdCell(s string) string { return strings.ReplaceAll(mdText(s), "\n", " ") }

// mdCode is foreign text as code, in a paragraph or a cell of a table.
func mdCode(s string) string {
	s = strings.ReplaceAll(printable(s), "|", `\|`)
	if s == "" {
		return ""
	}
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// mdBlock is foreign text as a block of code.
func mdBlock(language string, lines ...string) string {
	longest := 0
	for i := range lines {
		lines[i] = printable(lines[i])
		longest = max(longest, longestRun(lines[i], '`'))
	}
	fence := strings.Repeat("`", max(3, longest+1))
	return fence + language + "\n" + strings.Join(lines, "\n") + "\n" + fence + "\n"
}

// longestRun is how many of c stand side by side in s at most.
func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if run++; s[i] != c {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}
