package check

import (
	"fmt"

	"berth/launch"
	"berth/platform"
)

var labelAgainstBytes = Rule{
	ID:   "BER005",
	Name: "label-against-bytes",
	Doc:  "The image's labels name one platform, and its executable is for another.",
	Check: func(s *Subject) []Finding {
		label, proven, ok := s.mislabelled()
		if !ok {
			return nil
		}
		return []Finding{{
			Severity: Error,
			Message:  fmt.Sprintf("%s is labelled %s, and its executable is for %s", s.Name, platform.Format(label), platform.Format(proven)),
			Why:      s.Need.Why,
			Details:  failureDetails(s.Start.Proof.Failure),
			Manifest: s.Selected.Descriptor.Digest,
			Fixes: []Fix{
				{Title: "build it again so that the program is compiled for " + platform.Format(label) + "; in the Dockerfile look for ARG TARGETARCH with a default, TARGETARCH used without ARG in its stage, and a final stage FROM --platform=$BUILDPLATFORM"},
			},
		}}
	},
}

// mislabelled tells whether the selected manifest fails because its executable is
// for another machine than its labels say.
func (s *Subject) mislabelled() (label, proven platform.Platform, ok bool) {
	if s.Start == nil || s.Start.Proof == nil || s.Start.Proof.Verdict != launch.Fails {
		return label, proven, false
	}
	label, proven = s.Selected.Platform(), s.Start.Proven()
	return label, proven, platform.Known(proven) && !sameMachine(label, proven)
}

// failureDetails are the lines of evidence of a failed start.
func failureDetails(f *launch.Failure) []string {
	var details []string
	if f.Message != "" {
		details = append(details, "it fails with: "+f.Message)
	}
	if f.Detail != "" {
		details = append(details, f.Detail)
	}
	if f.Layer != "" {
		from := "from layer " + f.Layer.String()
		if f.CreatedBy != "" {
			from += " (" + f.CreatedBy + ")"
		}
		details = append(details, from)
	}
	return details
}
