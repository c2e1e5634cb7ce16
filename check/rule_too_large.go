package check

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

var tooLarge = Rule{
	ID:   "BER010",
	Name: "too-large",
	Doc:  "The image is larger than the target allows. Compressed layers that are over the limit by themselves prove it.",
	Check: func(s *Subject) []Finding {
		t := s.Need.Target
		if t == nil || s.Selected == nil || t.Accepts.MaxUncompressed == 0 || s.Selected.Size() <= t.Accepts.MaxUncompressed {
			return nil
		}
		return []Finding{{
			Severity: Error,
			Message: fmt.Sprintf("%s has %s of compressed layers, and %s allows %s uncompressed", s.Name,
				humanize.IBytes(uint64(s.Selected.Size())), t.Title, humanize.IBytes(uint64(t.Accepts.MaxUncompressed))),
			Why:      s.sourceOf("size"),
			Manifest: s.Selected.Descriptor.Digest,
			Fixes:    []Fix{{Title: "leave out of the image what it does not need at run time: a multi-stage build, a smaller base"}},
		}}
	},
}
