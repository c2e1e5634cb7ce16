package check

import (
	"slices"

	"berth/platform"
	"berth/workload"
)

var defaultPlatform = Rule{
	ID:    "BER015",
	Name:  "default-platform",
	Doc:   "No file says the platform; the target's default decides.",
	needs: nothing,
	Check: func(s *Subject) []Finding {
		if s.Origin == nil || s.Origin.Workload.Requirement.Certainty != workload.Default || s.Origin.Container != &s.Origin.Workload.Containers[0] {
			return nil // said once for a workload
		}
		if slices.ContainsFunc(s.Origin.Peers, func(peer *Subject) bool { return peer.Image != nil && peer.Selected == nil }) {
			return nil // platform-missing says why
		}
		f := Finding{
			Severity: Notice,
			Message:  s.Origin.Workload.String() + " does not say its platform, and runs on the default of " + s.targetName() + ", " + platform.Format(s.Need.Platform),
			Pos:      &s.Origin.Workload.Pos,
			Why:      s.Need.Why,
			Fixes:    []Fix{},
		}
		if s.Origin.Workload.SetPlatform != nil {
			if edits, err := s.Origin.Workload.SetPlatform(s.Need.Platform); err == nil && len(edits) > 0 {
				f.Fixes = append(f.Fixes, Fix{Title: "say it in the file", Command: fixCommand(s.Origin.File, "--defaults "), Edits: edits})
			}
		}
		return []Finding{f}
	},
}
