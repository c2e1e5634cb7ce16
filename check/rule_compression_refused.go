package check

import (
	"fmt"
	"strings"

	"berth/target"
)

var compressionRefused = Rule{
	ID:   "BER009",
	Name: "compression-refused",
	Doc:  "A layer is compressed with zstd, and the target does not unpack that.",
	Check: func(s *Subject) []Finding {
		t := s.Need.Target
		if t == nil || s.Selected == nil || t.Accepts.Zstd != target.No {
			return nil
		}
		for _, layer := range s.Selected.Layers {
			if !strings.HasSuffix(layer.MediaType, "+zstd") {
				continue
			}
			return []Finding{{
				Severity: Error,
				Message:  fmt.Sprintf("%s has a layer compressed with zstd, and %s does not take that", s.Name, t.Title),
				Why:      s.sourceOf("zstd"),
				Details:  []string{"layer " + layer.Digest.String()},
				Manifest: s.Selected.Descriptor.Digest,
				Fixes: []Fix{{
					Title:   "build it with gzip",
					Command: fmt.Sprintf("docker buildx build --output type=image,name=%s,compression=gzip,force-compression=true,push=true .", s.destination("")),
				}},
			}}
		}
		return nil
	},
}
