package check

import (
	"fmt"

	"berth/launch"
	"berth/platform"
)

var doesNotStart = Rule{
	ID:   "BER006",
	Name: "does-not-start",
	Doc:  "The image has the right platform, and its start fails all the same.",
	Check: func(s *Subject) []Finding {
		if s.Start == nil || s.Start.Proof == nil || s.Start.Proof.Verdict != launch.Fails {
			return nil
		}
		if _, _, ok := s.mislabelled(); ok {
			return nil // BER005 says it better
		}
		failure := s.Start.Proof.Failure
		f := Finding{
			Severity: Error,
			Message:  fmt.Sprintf("%s does not start on %s: %s", s.Name, platform.Format(s.Need.Platform), failure.Message),
			Details:  failureDetails(failure)[1:],
			Manifest: s.Selected.Descriptor.Digest,
			Fixes:    []Fix{},
		}
		if failure.Fix != "" {
			f.Fixes = append(f.Fixes, Fix{Title: failure.Fix})
		}
		return []Finding{f}
	},
}
