package check

import (
	"fmt"

	"berth/platform"
)

var labelsDisagree = Rule{
	ID:   "BER004",
	Name: "labels-disagree",
	Doc:  "The index entry and the image's own config name different platforms: one of them is wrong.",
	Check: func(s *Subject) []Finding {
		m := s.Selected
		if m == nil || m.Declared == nil || m.Configured == nil || !platform.Known(*m.Configured) || sameMachine(*m.Declared, *m.Configured) {
			return nil
		}
		f := Finding{
			Severity: Warning,
			Message:  fmt.Sprintf("%s: the index says %s and the config of that manifest says %s", s.Name, platform.Format(*m.Declared), platform.Format(*m.Configured)),
			Manifest: m.Descriptor.Digest,
			Fixes: []Fix{{
				Title: "build it again; in the Dockerfile look for a final stage FROM --platform=$BUILDPLATFORM, and for ARG TARGETARCH with a default",
			}},
		}
		if proven := s.Start.Proven(); platform.Known(proven) {
			f.Details = []string{"its bytes are " + platform.Format(proven)}
		}
		return []Finding{f}
	},
}

// sameMachine tells whether two labels mean the same machine. A variant that only
// one of them names is no disagreement: configs often leave it out.
func sameMachine(a, b platform.Platform) bool {
	a, b = platform.Normalize(a), platform.Normalize(b)
	return a.OS == b.OS && a.Architecture == b.Architecture
}
