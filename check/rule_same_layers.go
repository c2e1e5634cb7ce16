package check

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/platform"
)

var sameLayers = Rule{
	ID:   "BER007",
	Name: "same-layers",
	Doc:  "Two platforms of an index share the layer that brings an executable: it can be right for one of them only.",
	Check: func(s *Subject) []Finding {
		if s.Selected == nil || s.Start == nil || s.Start.Proof == nil {
			return nil
		}
		var findings []Finding
		seen := map[digest.Digest]bool{}
		for _, step := range s.Start.Proof.Steps {
			if step.Platform == "" || step.Layer == "" || seen[step.Layer] {
				continue
			}
			seen[step.Layer] = true
			others := s.othersWith(step.Layer)
			if len(others) == 0 {
				continue
			}
			findings = append(findings, Finding{
				Severity: Warning,
				Message: fmt.Sprintf("%s: the layer that brings %s (%s) is the same for %s and %s, and cannot be right for all of them",
					s.Name, step.Path, step.Platform, platform.Format(s.Selected.Platform()), strings.Join(others, ", ")),
				Details:  []string{"layer " + step.Layer.String()},
				Manifest: s.Selected.Descriptor.Digest,
				Fixes:    []Fix{{Title: "build each platform's program for its own platform: GOARCH=$TARGETARCH, or a builder stage without --platform=$BUILDPLATFORM"}},
			})
		}
		return findings
	},
}

// othersWith are the platforms of other machines whose images have a layer.
func (s *Subject) othersWith(layer digest.Digest) []string {
	var others []string
	for _, m := range s.Image.Images() {
		if sameMachine(m.Platform(), s.Selected.Platform()) || !hasLayer(m, layer) {
			continue
		}
		others = append(others, platform.Format(m.Platform()))
	}
	return others
}

func hasLayer(m *image.Manifest, layer digest.Digest) bool {
	for _, l := range m.Layers {
		if l.Digest == layer {
			return true
		}
	}
	return false
}
