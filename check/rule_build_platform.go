package check

import (
	"fmt"

	"berth/platform"
	"berth/workload"
)

var buildPlatform = Rule{
	ID:    "BER017",
	Name:  "build-platform",
	Doc:   "The image is built for another platform than the one it is to run on, or for that of whoever builds it.",
	needs: nothing,
	Check: func(s *Subject) []Finding {
		if s.Origin == nil || s.Origin.Container.Build == nil || !platform.Known(s.Need.Platform) {
			return nil
		}
		b, need := s.Origin.Container.Build, platform.Format(s.Need.Platform)
		f := Finding{Pos: &b.Pos, Why: s.Need.Why, Fixes: []Fix{{Title: "build it for " + need}}}
		switch {
		case len(b.Platforms) == 0:
			f.Severity = Warning
			f.Message = fmt.Sprintf("%s is built for the platform of the machine that builds it, and %s needs %s", s.Name, s.targetName(), need)
		case platform.Best(s.Need.Platform, b.Platforms) < 0:
			f.Severity = Error
			f.Message = fmt.Sprintf("%s is built for %s, and %s needs %s", s.Name, formats(b.Platforms), s.targetName(), need)
		default:
			return nil
		}
		return []Finding{f}
	},
}

// A mistake of a deployment file becomes a finding of the rule that it names.
func mistakes(id, name string, severity Severity, doc string) Rule {
	return Rule{ID: id, Name: name, Doc: doc, File: func(r *workload.Reading) []Finding {
		var findings []Finding
		for _, m := range r.Mistakes {
			if m.Rule == name {
				f := Finding{Severity: severity, Message: m.Message, Pos: &m.Pos, Snippet: r.File.LineAt(m.Pos), Fixes: []Fix{}}
				if m.Fix != "" {
					fix := Fix{Title: m.Fix, Edits: m.Edits}
					if len(m.Edits) > 0 {
						fix.Command = fixCommand(r.File, "")
					}
					f.Fixes = append(f.Fixes, fix)
				}
				findings = append(findings, f)
			}
		}
		return findings
	}}
}
