package explain

import (
	"strings"

	"berth/target"
)

// byMediaType rules on OCI media types: a target that is known to take them rules them
// out.
func byMediaType(r *Ruling, s Subject, is func(bool, string, string)) {
	mediaType := s.Image.Root.Descriptor.MediaType
	t := s.Need.Target
	switch {
	case !strings.HasPrefix(mediaType, "application/vnd.oci."):
		r.Why = "its media type is " + mediaType
	case t == nil || t.Accepts.OCI == target.Unknown:
		r.Status, r.Why = Possible, "its media type is "+mediaType
	default:
		is(t.Accepts.OCI == target.No, "its media type is "+mediaType+", and "+t.Title+" takes Docker's only", t.Title+" takes OCI media types")
	}
}

// byCompression rules on zstd layers, by their media types.
func byCompression(s Subject, is func(bool, string, string)) {
	zstd, layers := 0, 0
	for _, m := range s.Image.Images() {
		if s.Selected != nil && m != s.Selected {
			continue
		}
		for _, l := range m.Layers {
			layers++
			if strings.HasSuffix(l.MediaType, "+zstd") || strings.HasSuffix(l.MediaType, ".zstd") {
				zstd++
			}
		}
	}
	none := "none of its layers is declared as zstd"
	switch {
	case zstd == 0:
		is(false, "", none)
	case zstd < layers:
		is(true, count(zstd, "layer")+" of "+count(layers, "layer")+" are zstd, the rest are not", none)
	default:
		is(true, "its layers are zstd", none)
	}
}
