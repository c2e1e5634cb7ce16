package check

import "berth/store"

var mutableTag = Rule{
	ID:    "BER016",
	Name:  "mutable-tag",
	Doc:   "The image is named by a tag that usually moves, so its platforms may change after the check.",
	needs: anImage,
	Check: func(s *Subject) []Finding {
		r := s.Reference
		if s.Origin == nil || s.Origin.Container.Pulled || r.Transport != store.Docker || r.Digest != "" || r.Tag != "latest" {
			return nil
		}
		pinned := r
		pinned.Digest = s.Image.Root.Descriptor.Digest
		return []Finding{{
			Severity: Notice,
			Message:  s.Name + " is the tag latest: what is deployed may be another image than what was checked",
			Fixes:    []Fix{{Title: "name the digest that was checked: " + pinned.String()}},
		}}
	},
}
