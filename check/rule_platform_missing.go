package check

import (
	"errors"
	"fmt"

	"berth/image"
	"berth/platform"
)

var platformMissing = Rule{
	ID:   "BER001",
	Name: "platform-missing",
	Doc:  "The image has nothing for the platform that the target runs.",
	Check: func(s *Subject) []Finding {
		_, err := s.Image.Select(s.Need.Platform)
		var none *image.NoPlatformError
		// With an entry that could not be read, the platform may be there: an unknown.
		if !errors.As(err, &none) || none.Unread > 0 || s.elsewhere() {
			return nil // or platform-may-be-missing
		}
		have := "no platform at all"
		if len(none.Have) > 0 {
			have = "only " + formats(none.Have)
		}
		fixes := []Fix{
			{Title: "copy it again from where it came from, with what " + s.targetName() + " runs", Command: fmt.Sprintf("berth copy SOURCE-IMAGE %s --for %s", s.destination(""), s.forFlag())},
			{Title: "or build it for " + platform.Format(s.Need.Platform), Command: fmt.Sprintf("docker buildx build --platform %s --tag %s --push .", platform.Format(s.Need.Platform), s.destination(""))},
		}
		return []Finding{{
			Severity: Error,
			Message:  fmt.Sprintf("%s has %s, and %s needs %s", s.Name, have, s.targetName(), platform.Format(s.Need.Platform)),
			Why:      s.Need.Why,
			Fixes:    append(fixes, s.otherPlatforms(none.Have)...),
		}}
	},
}

// otherPlatforms are the fixes that change the target instead of the image: only
// platforms that the target runs, and that all images of a workload have.
func (s *Subject) otherPlatforms(have []platform.Platform) []Fix {
	t := s.Need.Target
	if t == nil || t.DeclaredIn == "" {
		return nil
	}
	candidates := t.Runs
	if len(candidates) == 0 && s.Origin != nil {
		candidates = have // it is up to machines that the target does not determine
	}
	var fixes []Fix
	for _, runs := range candidates {
		if platform.Best(runs, have) < 0 {
			continue
		}
		if s.Origin != nil {
			if s.Origin.Workload.SetPlatform != nil && s.Origin.workloadHas(runs) {
				fixes = append(fixes, s.setPlatform(runs)...)
			}
			continue
		}
		fixes = append(fixes, Fix{
			Title:   fmt.Sprintf("or let %s run %s: set %s", t.Title, platform.Format(runs), t.DeclaredIn),
			Command: fmt.Sprintf("berth check %s --for %s/%s", s.Name, t.Name, runs.Architecture),
		})
	}
	return fixes
}
