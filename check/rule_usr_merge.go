package check

import (
	"fmt"
	"slices"
	"strings"

	"berth/launch"
)

// mergedFolders are links to folders of the same names in /usr on distributions with a
// merged /usr (https://systemd.io/THE_CASE_FOR_THE_USR_MERGE; Debian's base-files and usrmerge).
var mergedFolders = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32"}

var usrMerge = Rule{
	ID:   "BER013",
	Name: "usr-merge-destroyed",
	Doc:  "A layer brings a folder where the layers below it have a link into /usr, and hides what is there.",
	Check: func(s *Subject) []Finding {
		if s.Start == nil || s.Start.Proof == nil {
			return nil
		}
		proof := s.Start.Proof
		var findings []Finding
		for _, w := range proof.Warnings {
			if w.Cause != launch.CauseLinkReplaced || !slices.Contains(mergedFolders, w.Path) {
				continue
			}
			f := Finding{
				Severity: Warning,
				Message:  fmt.Sprintf("a layer of %s makes %s a folder, which was a link to /usr%s: everything that the link led to is hidden", s.Name, w.Path, w.Path),
				Manifest: s.Selected.Descriptor.Digest,
				Fixes:    []Fix{{Title: "copy to /usr" + w.Path + " instead of " + w.Path + " in the Dockerfile, or make the archive that ADD or the build tool unpacks have its files below usr" + w.Path}},
			}
			if w.Layer != "" {
				f.Details = append(f.Details, "from layer "+w.Layer.String())
				if w.CreatedBy != "" {
					f.Details[0] += " (" + w.CreatedBy + ")"
				}
			}
			if proof.Failure != nil && strings.HasPrefix(proof.Failure.Path, w.Path+"/") {
				f.Severity = Error
				f.Details = append(f.Details, "this is why "+proof.Failure.Path+" is missing, without which it does not start")
			}
			findings = append(findings, f)
		}
		return findings
	},
}
