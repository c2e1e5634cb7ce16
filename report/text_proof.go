package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"berth/check"
	"berth/launch"
	"berth/platform"
)

func (f *textFormat) Proofs(o *Proved) error {
	p := f.page()
	p.line("%s", p.bold(printable(o.Name)))
	p.line("  %s", o.Image.Root.Descriptor.Digest)
	p.line("")
	var rows [][]string
	for _, s := range o.Starts {
		rows = append(rows, []string{
			formatOrDash(s.Manifest.Declared), p.configuredCell(s), p.provenCell(s),
			platform.Format(s.Host.Platform), p.verdict(s), size(s.Fetched) + " of " + size(s.Total),
		})
	}
	p.table([]string{"DECLARED", "CONFIGURED", "PROVEN", "ON", "VERDICT", "READ"}, rows)
	// What is said of several hosts in the same words is said once.
	var hosts []string
	for i, s := range o.Starts {
		hosts = append(hosts, platform.Format(s.Host.Platform))
		text := p.start(s, strings.Join(hosts, ", "))
		if i+1 < len(o.Starts) && text != "" && text == p.start(o.Starts[i+1], strings.Join(hosts, ", ")) {
			continue
		}
		hosts = nil
		if text != "" {
			p.line("")
			p.WriteString(text)
		}
	}
	return f.flush(p)
}

func (p *page) configuredCell(s *check.Start) string {
	text := formatOrDash(s.Manifest.Configured)
	if d, c := s.Manifest.Declared, s.Manifest.Configured; d != nil && c != nil && !sameMachine(*d, *c) {
		return p.bad(text)
	}
	return text
}

func (p *page) provenCell(s *check.Start) string {
	proven := s.Proven()
	if !platform.Known(proven) {
		return "-"
	}
	text := platform.Format(proven)
	if !sameMachine(proven, s.Manifest.Platform()) {
		return p.bad(text)
	}
	return text
}

func sameMachine(a, b platform.Platform) bool {
	return a.OS == b.OS && a.Architecture == b.Architecture
}

func (p *page) verdict(s *check.Start) string {
	proof := proofOf(s)
	switch proof.Verdict {
	case launch.Starts:
		text := p.good("starts") + " (" + string(proof.Evidence) + ")"
		switch d := proof.Derived; {
		case check.DerivedIsCertain(d):
			return text + ", " + p.bad("then fails") + " (" + d.Evidence + ")"
		case d != nil && d.Verdict == launch.Fails:
			return text + ", " + p.unsure("may then fail") + " (" + d.Evidence + ")"
		}
		return text
	case launch.Fails:
		return p.bad("fails") + " (" + string(proof.Evidence) + ")"
	}
	return p.unsure("unknown")
}

// start explains one proof that is not simply fine, for these hosts.
func (p *page) start(s *check.Start, hosts string) string {
	b := &page{style: p.style}
	proof := proofOf(s)
	switch proof.Verdict {
	case launch.Fails:
		b.line("%s on %s it fails: %s", p.bad("✗"), hosts, p.bold(printable(proof.Failure.Message)))
		b.chain(proof.Steps, proof.Failure, false)
		b.failure(proof.Failure)
	case launch.Unknown:
		b.line("%s on %s berth cannot tell: %s", p.unsure("?"), hosts, printable(proof.Reason))
		b.chain(proof.Steps, nil, false)
	case launch.Starts:
		if len(proof.Warnings) == 0 && proof.Derived == nil {
			return ""
		}
		b.starts(proof, hosts)
	}
	b.notes(proof.Warnings)
	if proof.Derived != nil {
		b.notes(proof.Derived.Warnings)
	}
	return b.String()
}

// starts is a start that works, and what follows it.
func (p *page) starts(proof launch.Proof, hosts string) {
	d := proof.Derived
	if d == nil {
		p.line("%s on %s it starts", p.good("✓"), hosts)
		return
	}
	const widest = 120 // the arguments are in -o json
	command := printable(strings.Join(d.Args, " "))
	if r := []rune(command); len(r) > widest {
		command = string(r[:widest]) + "…"
	}
	switch d.Verdict {
	case launch.Starts:
		p.line("%s on %s it starts, and so does %s (%s: %s)", p.good("✓"), hosts, p.bold(command), d.Evidence, through(d))
	case launch.Unknown:
		p.line("%s on %s it starts, and whether %s does in turn berth cannot tell: %s", p.unsure("?"), hosts, command, printable(d.Reason))
		p.line("    %s", printable(through(d)))
	case launch.Fails:
		mark, ends := p.bad("✗"), "ends at once"
		if !check.DerivedIsCertain(d) {
			mark, ends = p.unsure("!"), "may end at once"
		}
		p.line("%s on %s it starts, and %s: %s", mark, hosts, ends, p.bold(printable(d.Failure.Message)))
		p.chain(proof.Steps, nil, true)
		for _, hop := range d.Through {
			p.line("    %s %s", p.dim("↓"), printable(hop.How))
		}
		p.chain(commandSteps(d.Steps), d.Failure, false)
		p.failure(d.Failure)
		if !d.Literal {
			p.line("    %s commands of a script run before that, which berth does not follow: they could change it", p.dim("note "))
		}
	}
}

// through says how a derived program comes to be started.
func through(d *launch.Derived) string {
	var how []string
	for _, hop := range d.Through {
		if hop.How != "" {
			how = append(how, hop.How)
		}
	}
	return strings.Join(how, ", then ")
}

// failure says why, who brought it, and what to do.
func (p *page) failure(f *launch.Failure) {
	p.line("    %s %s", p.dim("why  "), printable(f.Detail))
	if f.Layer != "" {
		p.line("    %s %s", p.dim("layer"), f.Layer)
	}
	if f.CreatedBy != "" {
		p.line("    %s %s", p.dim("from "), printable(f.CreatedBy))
	}
	if f.Fix != "" {
		p.line("    %s %s", p.dim("fix  "), printable(f.Fix))
	}
}

func (p *page) notes(warnings []launch.Warning) {
	for _, w := range warnings {
		p.line("    %s %s", p.dim("note "), printable(w.Detail))
	}
}

// commandSteps are the steps of what an entrypoint starts, which is no entrypoint itself.
func commandSteps(steps []launch.Step) []launch.Step {
	named := slices.Clone(steps)
	for i := range named {
		if named[i].Role == "entrypoint" {
			named[i].Role = "command"
		}
	}
	return named
}

// link is a row of a chain: a file, and the symbolic links that lead to it.
type link struct {
	role, path, what string
	broken           bool
}

// libraryRole is the role of the steps that are counted rather than listed.
const libraryRole = "library"

// chain writes the files of a start, with the broken one marked.
func (p *page) chain(steps []launch.Step, failure *launch.Failure, fine bool) {
	rows := links(steps, failure)
	width, roles := 0, 0
	for _, r := range rows {
		width, roles = max(width, utf8.RuneCountInString(r.path)), max(roles, len(r.role))
	}
	const widest = 60 // longer paths push what is behind them to the right
	width = min(width, widest)
	for _, r := range rows {
		mark, what := p.good("✓"), p.dim(r.what)
		switch {
		case r.broken:
			mark, what = p.bad("✗"), p.bad(r.what)
		case failure == nil && !fine:
			mark = " "
		}
		pad := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(r.path)))
		p.line("%s", strings.TrimRight(fmt.Sprintf("  %s %s  %s%s  %s", mark, p.dim(fmt.Sprintf("%-*s", roles, r.role)), r.path, pad, what), " "))
	}
}

// links are the rows of a chain: symbolic links are in the row of what they lead to, and
// libraries that are fine in one row.
func links(steps []launch.Step, failure *launch.Failure) []link {
	broken := -1
	for i, s := range steps {
		if failure != nil && (s.Path == failure.Path || i == len(steps)-1 && broken < 0) {
			broken = i
		}
	}
	var rows []link
	var way []string
	libraries := 0
	found := func() {
		if libraries > 0 {
			rows = append(rows, link{role: "libraries", path: fmt.Sprintf("%d found", libraries)})
		}
		libraries = 0
	}
	for i, s := range steps {
		if s.Role == libraryRole && i != broken {
			libraries++
			continue
		}
		found()
		if s.Kind == "symlink" && i != broken && i+1 < len(steps) && steps[i+1].Role == s.Role {
			way = append(way, visible(s.Path)+" → "+visible(s.Target))
			continue
		}
		what := s.Kind
		switch s.Kind {
		case "data":
			what = "file"
		case "symlink":
			what += " → " + visible(s.Target)
		}
		if s.Platform != "" {
			what += " " + s.Platform
		}
		if len(way) > 0 {
			what += "  by " + strings.Join(way, ", ")
		}
		role := s.Role
		if role == "" {
			role = "then"
		}
		rows = append(rows, link{role, visible(s.Path), what, i == broken})
		way = nil
	}
	found()
	return rows
}

// visible is a path with its control characters written out: they can be what is wrong.
func visible(path string) string {
	if printable(path) == path {
		return path
	}
	return printable(strings.Trim(strconv.Quote(path), `"`))
}
