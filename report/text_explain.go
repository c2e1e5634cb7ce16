package report

import (
	"fmt"
	"slices"
	"strings"

	"berth/explain"
	"berth/launch"
	"berth/platform"
)

// shownCauses is how many possible causes are shown in full. The rest are named.
const shownCauses = 5

func (f *textFormat) Explanation(e *explain.Explanation) error {
	p := f.page()
	for i, s := range e.Reading.Said {
		// An exit code says nothing beside a text that names the failure.
		if i == 0 || s.Text.Weight < explain.Vague || e.Reading.Said[0].Text.Weight == explain.Vague {
			p.said(s, i == 0)
		}
	}
	if e.Reading.Cut {
		p.line("%s", p.dim(fmt.Sprintf("the text is longer than %s: only its end was read", size(explain.MaxText))))
	}
	if len(e.Reading.Said) > 0 {
		p.line("")
	}
	p.line("%s %s", p.mark(e.Conclusion), p.bold(printable(e.Summary)))
	p.rulings(e)
	for _, conflict := range e.Conflicts {
		p.line("")
		p.line("  %s %s", p.unsure("!"), printable(conflict))
	}
	p.lookedAt(e.Subjects)
	for i, next := range e.Next {
		if i == 0 {
			p.line("")
		}
		p.line("  %s %s", p.dim("next"), printable(next.Title))
		if next.Command != "" {
			p.line("       %s", p.command(printable(next.Command)))
		}
	}
	return f.flush(p)
}

func (p *page) said(s explain.Said, first bool) {
	where := "by " + s.Form.Who
	if s.Number > 1 || s.Times > 1 {
		where = fmt.Sprintf("line %d, ", s.Number) + where
	}
	if s.Times > 1 {
		where += fmt.Sprintf(", %d times", s.Times)
	}
	if !first {
		p.line("%s %s %s", p.dim("and  "), printable(s.Line), p.dim("("+where+")"))
		return
	}
	p.line("%s %s", p.bad("error"), printable(s.Line))
	at := "stage " + string(s.Text.Stage)
	if s.Text.Errno != "" {
		at += ", " + s.Text.Errno
	}
	p.line("      %s", p.dim(where+"; "+at))
	p.line("      %s", s.Text.Meaning)
}

func (p *page) mark(c explain.Conclusion) string {
	switch c {
	case explain.Confirmed, explain.Differs:
		return p.bad("✗")
	case explain.Contradicted:
		return p.unsure("!")
	}
	return p.unsure("?")
}

// rulings writes the causes: those that are established in full, the likeliest of
// those that are possible, and why the others are not.
func (p *page) rulings(e *explain.Explanation) {
	possible, left := 0, []string(nil)
	var whys []string
	out := map[string][]string{}
	for _, r := range e.Causes {
		switch {
		case r.Status == explain.Established:
			p.line("")
			p.line("  %s %s", p.bad(r.Cause), p.dim(evidence(r)))
			if !strings.Contains(e.Summary, r.Why) {
				p.line("      %s", printable(r.Why))
			}
			p.blame(r.Failure)
		case r.Status == explain.Possible && possible < shownCauses:
			if possible++; possible == 1 {
				p.line("")
				p.line("  %s", p.dim("possible, the likeliest first"))
			}
			p.line("  %s: %s", p.unsure(r.Cause), printable(r.Title))
			p.line("      %s", p.dim(printable(r.Why)))
		case r.Status == explain.Possible:
			left = append(left, r.Cause)
		default:
			why := printable(r.Why) + " " + evidence(r)
			if strings.Contains(e.Summary, r.Why) {
				why = ""
			}
			if !slices.Contains(whys, why) {
				whys = append(whys, why)
			}
			out[why] = append(out[why], r.Cause)
		}
	}
	if len(left) > 0 {
		p.line("  %s", p.dim("or "+strings.Join(left, ", ")))
	}
	if len(whys) > 0 {
		p.line("")
		p.line("  %s", p.dim("ruled out"))
	}
	for _, why := range whys {
		p.line("  %s", strings.Join(out[why], ", "))
		if why != "" {
			p.line("      %s", p.dim(why))
		}
	}
}

func evidence(r explain.Ruling) string {
	switch {
	case r.Evidence == "":
		return ""
	case platform.Known(r.Platform):
		return fmt.Sprintf("(%s, on %s)", r.Evidence, platform.Format(r.Platform))
	}
	return "(" + string(r.Evidence) + ")"
}

// blame writes where a failure comes from.
func (p *page) blame(f *launch.Failure) {
	if f == nil {
		return
	}
	if f.Layer != "" {
		p.line("      %s %s", p.dim("layer"), f.Layer)
	}
	if f.CreatedBy != "" {
		p.line("      %s %s", p.dim("from "), printable(f.CreatedBy))
	}
}

// lookedAt writes what was found of each image, in a line each.
func (p *page) lookedAt(subjects []explain.Subject) {
	for i, s := range subjects {
		if i == 0 {
			p.line("")
		}
		on := "on " + platform.Format(s.Need.Platform)
		if s.Need.Target != nil {
			on = "on " + s.Need.Target.Title + " (" + platform.Format(s.Need.Platform) + ")"
		}
		switch {
		case s.Err != nil:
			p.line("  %s %s could not be read: %s", p.unsure("?"), printable(s.Name), printable(s.Err.Error()))
			continue
		case s.Start == nil && s.Selected != nil:
			p.line("  %s %s could not be read for %s", p.unsure("?"), printable(s.Name), platform.Format(s.Need.Platform))
			continue
		case s.Start == nil:
			p.line("  %s %s has nothing that starts %s", p.bad("✗"), printable(s.Name), on)
			continue
		}
		verdict := p.verdict(s.Start)
		p.line("  %s %s %s %s", p.dim("looked at"), printable(s.Name), on+": "+verdict, p.dim("("+size(s.Start.Fetched)+" of "+size(s.Start.Total)+")"))
		if s.Named != nil {
			p.line("  %s %s in it: %s", p.dim("looked at"), "the program that the text names,", p.verdict(s.Named))
		}
	}
}
