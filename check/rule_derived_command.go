package check

import (
	"fmt"

	"berth/launch"
	"berth/platform"
)

var derivedCommand = Rule{
	ID:   "BER012",
	Name: "derived-command-does-not-start",
	Doc:  "The entrypoint starts, and the program that it starts in turn does not.",
	Check: func(s *Subject) []Finding {
		if s.Start == nil || s.Start.Proof == nil || s.Start.Proof.Derived == nil || s.Start.Proof.Derived.Verdict != launch.Fails {
			return nil
		}
		d := s.Start.Proof.Derived
		f := Finding{
			Severity: Warning,
			Message:  fmt.Sprintf("%s starts on %s and ends at once: %s", s.Name, platform.Format(s.Need.Platform), d.Failure.Message),
			Manifest: s.Selected.Descriptor.Digest,
			Fixes:    []Fix{},
		}
		for _, hop := range d.Through {
			if hop.How != "" {
				f.Details = append(f.Details, hop.How)
			}
		}
		f.Details = append(f.Details, failureDetails(d.Failure)[1:]...)
		if DerivedIsCertain(d) {
			f.Severity = Error
		} else if d.Failure.Cause != launch.CauseNoCommand {
			f.Details = append(f.Details, "commands of a script run before that, which berth does not follow: they could change it")
		}
		if d.Failure.Fix != "" {
			f.Fixes = append(f.Fixes, Fix{Title: d.Failure.Fix})
		}
		return []Finding{f}
	},
}

// DerivedIsCertain tells whether what a wrapper starts is as sure to fail as the wrapper is
// what its name says. An image without a command may well be meant to be given one.
func DerivedIsCertain(d *launch.Derived) bool {
	return d != nil && d.Verdict == launch.Fails && d.Literal && d.Failure.Cause != launch.CauseNoCommand
}
