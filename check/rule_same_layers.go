package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/store"
)

var sameLayers = Rule{
	ID:   "BER007",
	Name: "same-layers",
	Doc:  "Two platforms of an index share the layer that brings an executable, or have the same executable in layers of their own: it can be right for one of them only.",
	Check: func(s *Subject) []Finding {
		if s.Selected == nil {
			return nil
		}
		if s.Start == nil || s.Start.Proof == nil {
			return sameByLabels(s)
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
				Fixes:    []Fix{ownPrograms},
			})
		}
		return append(findings, s.samePrograms()...)
	},
}

// samePrograms are the executables that another platform has too, in a layer of its own.
func (s *Subject) samePrograms() []Finding {
	var findings []Finding
	for _, step := range s.Start.Proof.Steps {
		if step.Print == "" {
			continue
		}
		var others []string
		for _, beside := range s.Beside {
			if beside.Proof == nil || sameMachine(beside.Manifest.Platform(), s.Selected.Platform()) {
				continue
			}
			has := func(other launch.Step) bool { return other.Print == step.Print && other.Layer != step.Layer }
			if name := platform.Format(beside.Manifest.Platform()); slices.ContainsFunc(beside.Proof.Steps, has) && !slices.Contains(others, name) {
				others = append(others, name)
			}
		}
		if len(others) == 0 {
			continue
		}
		slices.Sort(others)
		findings = append(findings, Finding{
			Severity: Warning,
			Message: fmt.Sprintf("%s: %s (%s) is the same program for %s and %s, in layers of their own, and cannot be right for all of them",
				s.Name, step.Path, step.Platform, platform.Format(s.Selected.Platform()), strings.Join(others, ", ")),
			Details:  []string{"layer " + step.Layer.String()},
			Manifest: s.Selected.Descriptor.Digest,
			Fixes:    []Fix{ownPrograms},
		})
	}
	return findings
}

// ownPrograms mends what is the same for platforms that differ.
var ownPrograms = Fix{Title: "build each platform's program for its own platform: GOARCH=$TARGETARCH, or a builder stage without --platform=$BUILDPLATFORM"}

// sameByLabels is what can be said without a look into the layers: another machine's
// image has the very same ones. Scripts and data alone would be a reason.
func sameByLabels(s *Subject) []Finding {
	for _, m := range s.Image.Images() {
		if sameMachine(m.Platform(), s.Selected.Platform()) || len(m.Layers) == 0 || !slices.EqualFunc(m.Layers, s.Selected.Layers, func(a, b store.Descriptor) bool { return a.Digest == b.Digest }) {
			continue
		}
		return []Finding{{
			Severity: Warning,
			Message: fmt.Sprintf("%s: all layers of %s and %s are the same, so that one of them has the wrong programs, unless there are none in it",
				s.Name, platform.Format(s.Selected.Platform()), platform.Format(m.Platform())),
			Manifest: s.Selected.Descriptor.Digest,
			Fixes:    []Fix{{Title: "look at its bytes", Command: "berth prove " + s.Name}},
		}}
	}
	return nil
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
