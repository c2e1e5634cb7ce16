package check

import (
	"errors"
	"slices"

	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
)

// Run applies the rules over subjects to each, in order.
func Run(subjects []*Subject) []Result {
	var results []Result
	for _, s := range subjects {
		results = append(results, run(s))
	}
	return results
}

var severities = []Severity{Error, Warning, Notice}

// AtLeast tells whether s is as bad as other, or worse.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(severities, s) <= slices.Index(severities, other)
}

func run(s *Subject) Result {
	r := Result{Subject: s, Findings: []Finding{}, Unknowns: []string{}}
	var blocking []string
	switch {
	case s.Open != "":
		r.Unknowns = append(r.Unknowns, s.Open)
	case errors.Is(s.Err, store.ErrOffline):
		r.Unknowns = append(r.Unknowns, s.Err.Error())
	case s.Err != nil:
		blocking = append(blocking, s.Err.Error())
	}
	for _, rule := range Rules() {
		if rule.Check == nil || !rule.appliesTo(s) {
			continue
		}
		for _, f := range rule.Check(s) {
			f.Rule, f.Name = rule.ID, rule.Name
			s.locate(&f)
			r.Findings = append(r.Findings, f)
		}
	}
	if s.Image != nil {
		var open []string
		blocking, open = unknowns(s)
		r.Unknowns = append(r.Unknowns, open...)
	}
	r.Unknowns = append(append([]string{}, blocking...), r.Unknowns...)
	r.Failed = len(blocking) > 0
	r.conclude()
	return r
}

// appliesTo tells whether what the rule looks at is known.
func (r Rule) appliesTo(s *Subject) bool {
	switch r.needs {
	case nothing:
		return true
	case anImage:
		return s.Image != nil
	}
	return s.Image != nil && platform.Known(s.Need.Platform)
}

// conclude sorts the findings and sums them up.
func (r *Result) conclude() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	s := r.Subject
	switch {
	case slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error }):
		r.Verdict = RunsNot
	case r.Failed, s.Err != nil, s.Start != nil && s.Start.Err != nil, s.Open != "", !platform.Known(s.Need.Platform):
		r.Verdict = Unknown
	default:
		r.Verdict = Runs
	}
}

// locate says where in a deployment file f is.
func (s *Subject) locate(f *Finding) {
	if s.Origin == nil {
		return
	}
	if f.Pos == nil {
		pos := s.Origin.imagePos()
		f.Pos = &pos
	}
	f.Snippet = s.Origin.File.LineAt(*f.Pos)
	if pos := s.Origin.Workload.Requirement.Pos; f.Why != "" && pos.Line > 0 {
		f.WhyPos = &pos
	}
}

// unknowns are what keeps berth from a verdict, and what is merely not known of
// the target.
func unknowns(s *Subject) (blocking, open []string) {
	switch {
	case !platform.Known(s.Need.Platform):
		open = append(open, s.undetermined())
	case s.Selected == nil:
		for _, m := range s.Image.Manifests {
			if m.Err != nil && m.Declared == nil {
				blocking = append(blocking, "a manifest of the index could not be read, and may be the one that is needed: "+m.Err.Error())
			}
		}
	case s.Selected.Err != nil:
		blocking = append(blocking, "the manifest for "+platform.Format(s.Need.Platform)+" could not be read: "+s.Selected.Err.Error())
	case s.Start == nil: // nothing was to be proven
	case errors.Is(s.Start.Err, store.ErrOffline):
		open = append(open, "whether it starts: "+s.Start.Err.Error())
	case s.Start.Err != nil:
		blocking = append(blocking, "its bytes could not be read: "+s.Start.Err.Error())
	case s.Start.Proof.Verdict == launch.Unknown:
		blocking = append(blocking, "whether it starts: "+s.Start.Proof.Reason)
	}
	if s.Origin != nil && s.Origin.Container.Process.Unknown != "" {
		open = append(open, "whether it starts: what it runs is not known, "+s.Origin.Container.Process.Unknown)
	}
	if t := s.Need.Target; t != nil && platform.Known(s.Need.Platform) && s.Image.IsIndex && t.Accepts.Index == target.Unknown {
		open = append(open, "whether "+t.Title+" accepts a multi-platform index: no source says so (berth copy --for "+t.Name+" makes a plain manifest)")
	}
	return blocking, open
}

// Known tells whether s is one of the severities.
func (s Severity) Known() bool { return slices.Contains(severities, s) }
