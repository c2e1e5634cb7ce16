package check

import (
	"fmt"

	"berth/target"
)

var indexRefused = Rule{
	ID:   "BER002",
	Name: "index-refused",
	Doc:  "The reference is a multi-platform index, and the target takes single-platform manifests only.",
	Check: func(s *Subject) []Finding {
		t := s.Need.Target
		if t == nil || !s.Image.IsIndex || t.Accepts.Index != target.No || s.onlyForAttestations() {
			return nil
		}
		return []Finding{{
			Severity: Error,
			Message:  fmt.Sprintf("%s is an index of %s, and %s takes single-platform manifests only", s.Name, count(len(s.Image.Images()), "platform"), t.Title),
			Why:      s.sourceOf("index"),
			Details:  s.manifestDetail(),
			Fixes:    []Fix{s.plainCopy()},
		}}
	},
}

// onlyForAttestations tells whether an index exists only because a single image
// comes with attestations.
func (s *Subject) onlyForAttestations() bool {
	images := len(s.Image.Images())
	return s.Image.IsIndex && images == 1 && len(s.Image.Manifests) > images
}

// plainCopy is the fix for a target that takes no index.
func (s *Subject) plainCopy() Fix {
	return Fix{
		Title:   "copy the one manifest that " + s.targetName() + " runs, under a tag of its own",
		Command: fmt.Sprintf("berth copy %s %s --for %s", s.Name, s.destination("-"+s.Need.Platform.Architecture), s.forFlag()),
	}
}

func (s *Subject) manifestDetail() []string {
	if s.Selected == nil {
		return nil
	}
	return []string{"the manifest that it could run is " + s.Selected.Descriptor.Digest.String()}
}
