package check

import (
	"fmt"

	"berth/launch"
	"berth/platform"
)

var startsNowhere = Rule{
	ID:    "BER026",
	Name:  "starts-nowhere",
	Doc:   "No file says which platform it will run on, and the image does not start on those that it has.",
	needs: anImage,
	Check: func(s *Subject) []Finding {
		var failed []*Start
		for _, start := range s.Anywhere {
			if start.Proof != nil && start.Proof.Verdict == launch.Fails {
				failed = append(failed, start)
			}
		}
		if len(failed) == 0 {
			return nil
		}
		first := failed[0]
		f := Finding{
			Severity: Error,
			Message:  fmt.Sprintf("%s starts on none of its platforms: on %s %s", s.Name, platform.Format(first.Host.Platform), first.Proof.Failure.Message),
			Details:  failureDetails(first.Proof.Failure)[1:],
			Manifest: first.Manifest.Descriptor.Digest,
			Fixes:    []Fix{},
		}
		if len(failed) < len(s.Anywhere) {
			f.Severity = Warning
			f.Message = fmt.Sprintf("%s does not start on %s, and no file says that it will not run there: %s",
				s.Name, platform.Format(first.Host.Platform), first.Proof.Failure.Message)
		}
		if fix := first.Proof.Failure.Fix; fix != "" {
			f.Fixes = append(f.Fixes, Fix{Title: fix})
		}
		return []Finding{f}
	},
}
