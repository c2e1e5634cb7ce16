package check

import (
	"fmt"

	"berth/target"
)

var attestationRefused = Rule{
	ID:   "BER003",
	Name: "attestation-refused",
	Doc:  "The image is an index only because of its build attestations, and the target refuses that.",
	Check: func(s *Subject) []Finding {
		t := s.Need.Target
		if t == nil || !s.onlyForAttestations() || t.Accepts.Index != target.No && t.Accepts.Attestation != target.No {
			return nil
		}
		return []Finding{{
			Severity: Error,
			Message:  fmt.Sprintf("%s holds a single platform, but its build attestation makes it an index, and %s takes none", s.Name, t.Title),
			Why:      s.sourceOf("attestation", "index"),
			Details:  s.manifestDetail(),
			Fixes: []Fix{
				s.plainCopy(),
				{Title: "or build it without attestations", Command: fmt.Sprintf("docker buildx build --provenance=false --sbom=false --tag %s --push .", s.destination(""))},
			},
		}}
	},
}
