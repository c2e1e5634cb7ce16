package report

import (
	"fmt"

	"berth/check"
	"berth/platform"
)

func (f *textFormat) Check(report *check.Report) error {
	p := f.page()
	for i, r := range report.Results {
		if i > 0 {
			p.line("")
		}
		p.result(r)
	}
	return f.flush(p)
}

func (p *page) result(r check.Result) {
	s := r.Subject
	on := "on " + platform.Format(s.Need.Platform)
	if s.Need.Target != nil {
		on = "on " + s.Need.Target.Title + " (" + platform.Format(s.Need.Platform) + ")"
	}
	name := p.bold(printable(s.Name))
	switch r.Verdict {
	case check.Runs:
		p.line("%s %s runs %s%s", p.good("✓"), name, on, p.evidence(s))
	case check.RunsNot:
		p.line("%s %s does not run %s", p.bad("✗"), name, on)
	default:
		p.line("%s %s: berth cannot tell whether it runs %s", p.unsure("?"), name, on)
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

func (p *page) finding(f check.Finding) {
	severity := map[check.Severity]func(string) string{check.Error: p.bad, check.Warning: p.unsure, check.Notice: p.dim}[f.Severity]
	p.line("")
	p.line("  %s %s %s", severity(string(f.Severity)), f.Rule, p.dim(f.Name))
	p.line("    %s", printable(f.Message))
	for _, d := range f.Details {
		p.line("    %s", printable(d))
	}
	if f.Why != "" {
		p.line("    %s %s", p.dim("why"), printable(f.Why))
	}
	for _, fix := range f.Fixes {
		p.line("    %s %s", p.dim("fix"), printable(fix.Title))
		if fix.Command != "" {
			p.line("        %s", p.command(printable(fix.Command)))
		}
	}
}
