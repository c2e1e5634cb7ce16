package report

import (
	"cmp"
	"fmt"
	"strings"

	"berth/check"
	"berth/platform"
	"berth/workload"
)

func (f *textFormat) Check(report *check.Report) error {
	p := f.page()
	o := outlineOf(report)
	for i, r := range o.asked {
		if i > 0 {
			p.line("")
		}
		p.result(r)
	}
	d := &deployed{page: p, outline: o, said: map[string]workload.Pos{}}
	for i, file := range o.files {
		if i > 0 || len(o.asked) > 0 {
			p.line("")
		}
		d.file(file)
	}
	if len(o.files) > 0 {
		p.line("")
		p.line("%s", d.closing())
	}
	return f.flush(p)
}

func (p *page) result(r check.Result) {
	s := r.Subject
	name := p.bold(printable(s.Name))
	switch r.Verdict {
	case check.Runs:
		p.line("%s %s runs on %s%s", p.good("✓"), name, on(s), p.evidence(s))
	case check.RunsNot:
		p.line("%s %s does not run on %s", p.bad("✗"), name, on(s))
	default:
		p.line("%s %s: berth cannot tell whether it runs on %s", p.unsure("?"), name, on(s))
	}
	for _, finding := range r.Findings {
		p.finding(finding)
	}
	for _, u := range r.Unknowns {
		p.line("")
		p.line("  %s %s", p.unsure("unknown"), printable(u))
	}
}

func (p *page) evidence(s *check.Subject) string {
	if s.Start == nil || s.Start.Proof == nil {
		return p.dim(", by its labels: nothing was proven")
	}
	return p.dim(fmt.Sprintf(", %s from %s of %s", s.Start.Proof.Evidence, size(s.Start.Fetched), size(s.Start.Total)))
}

func (p *page) severity(s check.Severity) string {
	switch s {
	case check.Error:
		return p.bad(string(s))
	case check.Warning:
		return p.unsure(string(s))
	}
	return p.dim(string(s))
}

func (p *page) finding(f check.Finding) {
	p.line("")
	p.line("  %s %s %s", p.severity(f.Severity), f.Rule, p.dim(f.Name))
	p.line("    %s", printable(f.Message))
	for _, d := range f.Details {
		p.line("    %s", printable(d))
	}
	if f.Why != "" {
		p.line("    %s %s", p.dim("why"), printable(f.Why))
	}
	for _, fix := range f.Fixes {
		p.fix(fix)
	}
}

func (p *page) fix(fix check.Fix) {
	p.line("    %s %s", p.dim("fix"), printable(fix.Title))
	if fix.Command != "" {
		p.line("        %s", p.command(printable(fix.Command)))
	}
}

// deployed writes what was found of deployment files.
type deployed struct {
	*page
	outline *outline
	// said is where something was said in full.
	said map[string]workload.Pos
	// shown is the place whose line was shown last.
	shown workload.Pos
	// bare says that nothing stands below the name of a file yet.
	bare bool
}

// gap is a line between findings, and none before the first.
func (d *deployed) gap() {
	if !d.bare {
		d.line("")
	}
	d.bare = false
}

func (d *deployed) file(f *fileOutline) {
	title := ""
	if f.format != nil {
		title = "  " + d.dim(printable(f.format.Title))
	}
	d.line("%s%s", d.bold(printable(f.file.Name)), title)
	var rows [][]string
	for _, w := range f.workloads {
		for _, platforms := range w.containers() {
			rows = append(rows, d.containerRows(f, platforms)...)
		}
	}
	d.columns(rows)
	d.bare = len(rows) == 0
	for _, l := range f.findings {
		if l.Ignored == "" {
			d.located(l.Finding)
		}
	}
	unknown := f.uncertainties()
	switch {
	case len(f.problems)+len(unknown) > 0:
		d.gap()
	case d.bare && len(f.findings) == 0:
		d.line("  %s", d.dim("it names no image"))
	}
	for _, p := range f.problems {
		kind := d.bad("broken")
		if p.Open {
			kind = d.unsure("unknown")
		}
		d.line("  %s %s %s", d.at(p.Pos), kind, printable(p.Message))
	}
	for _, u := range unknown {
		d.line("  %s %s %s", d.at(u.pos), d.unsure("unknown"), printable(u.sentence()))
	}
}

// containerRows are a container's: one where all platforms have the same end.
func (d *deployed) containerRows(f *fileOutline, results []check.Result) [][]string {
	var rows [][]string
	var platforms [][]string
	for _, r := range results {
		s := r.Subject
		row := []string{d.verdictMark(r), printable(f.containerName(s.Origin)), printable(cmp.Or(s.Name, "-")), "", d.ending(r)}
		at := "unknown platform"
		if platform.Known(s.Need.Platform) {
			at = platform.Format(s.Need.Platform)
		}
		if n := len(rows); n > 0 && rows[n-1][0] == row[0] && rows[n-1][4] == row[4] {
			platforms[n-1] = append(platforms[n-1], at)
			continue
		}
		rows, platforms = append(rows, row), append(platforms, []string{at})
	}
	for i := range rows {
		rows[i][3] = strings.Join(platforms[i], ", ")
	}
	return rows
}

func (p *page) verdictMark(r check.Result) string {
	switch {
	case r.Verdict == check.Runs:
		return p.good("✓")
	case r.Verdict == check.RunsNot && passes(r):
		return p.unsure("!")
	case r.Verdict == check.RunsNot:
		return p.bad("✗")
	}
	return p.unsure("?")
}

// passes tells whether every error of a result is ignored.
func passes(r check.Result) bool {
	for _, f := range r.Findings {
		if f.Severity == check.Error && f.Ignored == "" {
			return false
		}
	}
	return true
}

// ending is a verdict in a few words.
func (d *deployed) ending(r check.Result) string {
	at := ""
	if t := r.Subject.Need.Target; t != nil {
		at = " on " + t.Title
	}
	switch {
	case r.Verdict == check.RunsNot && passes(r):
		return "does not run" + at + ", ignored"
	case r.Verdict == check.RunsNot:
		return "does not run" + at
	case r.Verdict == check.Unknown:
		return "unknown"
	case r.Subject.Start == nil || r.Subject.Start.Proof == nil:
		return "runs" + at + d.dim(" (by its labels)")
	}
	return "runs" + at + d.dim(" ("+string(r.Subject.Start.Proof.Evidence)+")")
}

func (d *deployed) at(pos workload.Pos) string { return d.bold(printable(pos.String())) }

// located writes a finding with its place. What was said of another place before is not
// said again but for what is different here.
func (d *deployed) located(f check.Finding) {
	d.gap()
	head := fmt.Sprintf("  %s %s %s %s", d.at(posOf(f)), d.severity(f.Severity), f.Rule, d.dim(f.Name))
	key := f.Rule + "\x00" + f.Message
	before, again := d.said[key]
	if again {
		d.line("%s%s", head, d.dim(", as at "+printable(before.String())))
	} else {
		d.said[key] = posOf(f)
		d.line("%s", head)
		d.line("    %s", printable(f.Message))
	}
	if f.Severity != check.Notice && !again {
		d.snippet(f)
		for _, detail := range f.Details {
			d.line("    %s", printable(detail))
		}
	}
	if f.Why != "" && (f.Severity != check.Notice || !strings.Contains(f.Message, f.Why)) {
		why := printable(f.Why)
		if f.WhyPos != nil && f.WhyPos.Line > 0 {
			why += " " + d.dim("("+printable(f.WhyPos.String())+")")
		}
		d.line("    %s %s", d.dim("why"), why)
	}
	for _, fix := range f.Fixes {
		if again && len(fix.Edits) == 0 {
			continue
		}
		d.fix(fix)
		if f.Severity != check.Notice {
			d.change(fix)
		}
	}
}

// snippet writes the line that a finding is about, and marks what it points at.
func (d *deployed) snippet(f check.Finding) {
	if f.Snippet == "" || f.Pos == nil || *f.Pos == d.shown {
		return
	}
	d.shown = *f.Pos
	text, start, length := excerpt(f.Snippet, f.Pos.Column)
	number := fmt.Sprint(f.Pos.Line)
	d.line("    %s %s", d.dim(number+" |"), printable(text))
	if length > 0 {
		d.line("    %s %s%s", d.dim(strings.Repeat(" ", len(number))+" |"), strings.Repeat(" ", start), d.bad(strings.Repeat("^", length)))
	}
}

// shownChange is how many lines of a change are shown: platforms take five.
const shownChange = 8

// change writes what a fix does to the file.
func (d *deployed) change(fix check.Fix) {
	for _, c := range d.outline.changes(fix) {
		if len(c.old)+len(c.new) > shownChange {
			continue
		}
		for i, line := range c.old {
			d.line("        %s %s", d.dim(fmt.Sprintf("%4d", c.line+i)), d.bad("- "+expanded(line)))
		}
		for i, line := range c.new {
			d.line("        %s %s", d.dim(fmt.Sprintf("%4d", c.line+i)), d.good("+ "+expanded(line)))
		}
	}
}

// closing sums a report up in a line.
func (d *deployed) closing() string {
	t := d.outline.totals()
	style := d.good
	switch {
	case t.errors > 0:
		style = d.bad
	case t.warnings+t.unknown > 0:
		style = d.unsure
	}
	return strings.Join([]string{count(t.files, "file"), count(t.workloads, "workload"), count(t.images, "image")}, ", ") + ": " + style(summary(t))
}
