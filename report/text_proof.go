package report

import (
	"fmt"

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
			formatOrDash(s.Manifest.Declared), formatOrDash(s.Manifest.Configured), p.provenCell(s),
			platform.Format(s.Host.Platform), p.verdict(s), size(s.Fetched) + " of " + size(s.Total),
		})
	}
	p.table([]string{"DECLARED", "CONFIGURED", "PROVEN", "ON", "VERDICT", "READ"}, rows)
	for _, s := range o.Starts {
		p.start(s)
	}
	return f.flush(p)
}

func (p *page) provenCell(s *check.Start) string {
	proven := s.Proven()
	if !platform.Known(proven) {
		return "-"
	}
	text := platform.Format(proven)
	label := s.Manifest.Platform()
	if proven.Architecture != label.Architecture || proven.OS != label.OS {
		return p.bad(text)
	}
	return text
}

func (p *page) verdict(s *check.Start) string {
	proof := proofOf(s)
	switch proof.Verdict {
	case launch.Starts:
		return p.good("starts") + " (" + string(proof.Evidence) + ")"
	case launch.Fails:
		return p.bad("fails") + " (" + string(proof.Evidence) + ")"
	}
	return p.unsure("unknown")
}

// start explains one proof that is not simply fine.
func (p *page) start(s *check.Start) {
	proof := proofOf(s)
	host := platform.Format(s.Host.Platform)
	switch proof.Verdict {
	case launch.Fails:
		p.line("")
		p.line("%s on %s it fails: %s", p.bad("✗"), host, p.bold(printable(proof.Failure.Message)))
		p.line("    %s", printable(proof.Failure.Detail))
		p.chain(proof)
		if proof.Failure.Layer != "" {
			p.line("    %s %s", p.dim("layer "), proof.Failure.Layer)
		}
		if proof.Failure.CreatedBy != "" {
			p.line("    %s %s", p.dim("from  "), printable(proof.Failure.CreatedBy))
		}
		if proof.Failure.Fix != "" {
			p.line("    %s %s", p.dim("fix   "), printable(proof.Failure.Fix))
		}
	case launch.Unknown:
		p.line("")
		p.line("%s on %s berth cannot tell: %s", p.unsure("?"), host, printable(proof.Reason))
		p.chain(proof)
	case launch.Starts:
		if len(proof.Warnings) == 0 {
			return
		}
		p.line("")
		p.line("%s on %s it starts", p.good("✓"), host)
	}
	for _, w := range proof.Warnings {
		p.line("    %s %s", p.dim("note  "), printable(w.Detail))
	}
}

// chain writes the files of the start chain, with the broken one marked.
func (p *page) chain(proof launch.Proof) {
	for i, step := range proof.Steps {
		what := step.Kind
		if step.Platform != "" {
			what += " " + step.Platform
		}
		if step.Target != "" {
			what += " → " + printable(step.Target)
		}
		mark := ""
		if proof.Failure != nil && step.Path == proof.Failure.Path && isLast(proof.Steps, i) {
			mark = p.bad("  ← here")
		}
		role := step.Role
		if role == "" {
			role = "then"
		}
		p.line("    %s %s  %s%s", p.dim(fmt.Sprintf("%-11s", role)), printable(step.Path), p.dim(what), mark)
	}
}

// isLast tells whether no later step has the path of step i.
func isLast(steps []launch.Step, i int) bool {
	for _, later := range steps[i+1:] {
		if later.Path == steps[i].Path {
			return false
		}
	}
	return true
}
