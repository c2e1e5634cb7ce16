package report

import (
	"fmt"
	"strings"

	"berth/image"
	"berth/platform"
)

func (f *textFormat) Image(o *Opened) error {
	p := f.page()
	root := o.Image.Root.Descriptor
	p.line("%s", p.bold(printable(o.Name)))
	what := "a single manifest"
	if o.Image.IsIndex {
		what = "an index of " + count(len(o.Image.Images()), "image")
		if _, others := kinds(o.Image.Manifests); len(others) > 0 {
			what += " and " + strings.Join(others, ", ")
		}
	}
	p.line("  %s, %s", what, p.dim(root.MediaType))
	p.line("  %s", root.Digest)
	p.line("")
	var rows [][]string
	var broken []*image.Manifest
	for _, m := range o.Manifests {
		declared, configured := formatOrDash(m.Declared), formatOrDash(m.Configured)
		switch {
		case m.Kind != image.KindImage:
			declared, configured = string(m.Kind), ""
		case m.Err != nil:
			configured = p.unsure("unread")
			broken = append(broken, m)
		case declared != "-" && declared != configured:
			configured = p.bad(configured)
		}
		rows = append(rows, []string{declared, configured, size(m.Size()), fmt.Sprint(len(m.Layers)), about(o.Image, m), m.Descriptor.Digest.String()})
	}
	p.table([]string{"DECLARED", "CONFIGURED", "SIZE", "LAYERS", "ABOUT", "DIGEST"}, rows)
	for _, m := range broken {
		p.line("")
		p.line("%s %s could not be read: %s", p.unsure("?"), m.Descriptor.Digest, printable(m.Err.Error()))
	}
	return f.flush(p)
}

// about is the platform that an attestation is for, or how many an image has.
func about(im *image.Image, m *image.Manifest) string {
	if m.Kind == image.KindAttestation {
		for _, subject := range im.Images() {
			if subject.Descriptor.Digest == m.Attests {
				return "of " + platform.Format(subject.Platform())
			}
		}
		return "of nothing here"
	}
	if n := len(im.Attestations(m.Descriptor.Digest)); m.Kind == image.KindImage && n > 0 {
		return "attested"
	}
	return ""
}
