package check

import (
	"fmt"

	"berth/platform"
)

var fallbackPlatform = Rule{
	ID:   "BER011",
	Name: "fallback-platform",
	Doc:  "The image has no entry for the platform itself; the engine falls back to one for an older machine.",
	Check: func(s *Subject) []Finding {
		if s.Selected == nil || sameMachine(s.Selected.Platform(), s.Need.Platform) {
			return nil
		}
		return []Finding{{
			Severity: Warning,
			Message: fmt.Sprintf("%s has nothing for %s itself: the engine takes %s, which only some of these machines run",
				s.Name, platform.Format(s.Need.Platform), platform.Format(s.Selected.Platform())),
			Why:      s.Need.Why,
			Manifest: s.Selected.Descriptor.Digest,
			Fixes: []Fix{{
				Title:   "build it for " + platform.Format(s.Need.Platform),
				Command: fmt.Sprintf("docker buildx build --platform %s --tag %s --push .", platform.Format(s.Need.Platform), s.destination("")),
			}},
		}}
	},
}
