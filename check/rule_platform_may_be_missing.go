package check

import (
	"errors"
	"fmt"
	"strings"

	"berth/image"
	"berth/platform"
	"berth/workload"
)

var platformMayBeMissing = Rule{
	ID:   "BER014",
	Name: "platform-may-be-missing",
	Doc:  "The workload may land on several platforms, and the image lacks one of them.",
	Check: func(s *Subject) []Finding {
		var none *image.NoPlatformError
		if _, err := s.Image.Select(s.Need.Platform); !errors.As(err, &none) || none.Unread > 0 || !s.elsewhere() {
			return nil
		}
		f := Finding{
			Severity: Warning,
			Message: fmt.Sprintf("%s has only %s, and the workload may land on %s: it starts on some nodes and not on others",
				s.Name, formats(none.Have), platform.Format(s.Need.Platform)),
			Why: s.Need.Why,
			Fixes: append([]Fix{{
				Title:   "build it for all of them",
				Command: fmt.Sprintf("docker buildx build --platform %s --tag %s --push .", strings.ReplaceAll(formats(s.mayLandOn()), " ", ""), s.destination("")),
			}}, s.restrictions()...),
		}
		return []Finding{f}
	},
}

// mayLandOn are all platforms that the container of s may land on.
func (s *Subject) mayLandOn() []platform.Platform {
	if s.Origin == nil {
		return []platform.Platform{s.Need.Platform}
	}
	var ps []platform.Platform
	for _, peer := range s.Origin.Peers {
		if peer.Origin.Container == s.Origin.Container {
			ps = append(ps, peer.Need.Platform)
		}
	}
	return ps
}

// elsewhere tells whether the image has another platform that the container may land on.
func (s *Subject) elsewhere() bool {
	for _, p := range s.mayLandOn() {
		if _, err := s.Image.Select(p); err == nil {
			return true
		}
	}
	return false
}

// restrictions are the fixes that keep the workload to a platform that all its images
// have.
func (s *Subject) restrictions() []Fix {
	var fixes []Fix
	for _, p := range s.mayLandOn() {
		if s.Origin.Workload.SetPlatform == nil || !s.Origin.workloadHas(p) {
			continue
		}
		fixes = append(fixes, s.setPlatform(p)...)
	}
	return fixes
}

// setPlatform is the fix that lets the workload run on p, where the file can say so.
func (s *Subject) setPlatform(p platform.Platform) []Fix {
	edits, err := s.Origin.Workload.SetPlatform(p)
	fix := Fix{
		Title:   "or run it on " + platform.Format(p) + ", which all images of the " + s.Origin.Workload.Kind + " have",
		Command: fixCommand(s.Origin.File, ""),
		Edits:   edits,
	}
	switch {
	case err != nil: // it is to be done by hand, and the error says where
		fix.Title, fix.Command = fix.Title+": "+err.Error(), ""
	case len(edits) == 0:
		return nil
	}
	return []Fix{fix}
}

// fixCommand is the command that edits a file, or empty for one that is none.
func fixCommand(f *workload.File, flags string) string {
	if f.Name == workload.Stdin {
		return ""
	}
	return "berth fix " + flags + quoted(f.Name)
}
