package check

import (
	"fmt"
	"strings"

	"berth/target"
)

var mediaTypeRefused = Rule{
	ID:   "BER008",
	Name: "media-type-refused",
	Doc:  "The image is in OCI media types, and the target takes Docker's only.",
	Check: func(s *Subject) []Finding {
		t := s.Need.Target
		if t == nil || t.Accepts.OCI != target.No {
			return nil
		}
		mediaType := s.Image.Root.Descriptor.MediaType
		if !strings.HasPrefix(mediaType, "application/vnd.oci.") {
			return nil
		}
		return []Finding{{
			Severity: Error,
			Message:  fmt.Sprintf("%s has the media type %s, and %s takes Docker's media types only", s.Name, mediaType, t.Title),
			Why:      s.sourceOf("oci"),
			Fixes: []Fix{{
				Title:   "build it with Docker's media types",
				Command: fmt.Sprintf("docker buildx build --provenance=false --sbom=false --output type=image,name=%s,oci-mediatypes=false,push=true .", s.destination("")),
			}},
		}}
	},
}
