package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/store"
)

func (f *textFormat) Copy(c *Copied) error {
	p := f.page()
	f.copied(p, c)
	if !c.DryRun {
		p.line("  %s", p.dim(cost(c.Requests, c.Seconds)))
	}
	return f.flush(p)
}

func (f *textFormat) Copies(c *Copies) error {
	p := f.page()
	failed, planned := 0, false
	for _, copied := range c.Copies {
		if copied.Err != nil {
			failed++
			p.line("%s %s is not written", p.bad("✗"), p.bold(printable(copied.Destination)))
			continue
		}
		f.copied(p, copied)
		planned = copied.DryRun
	}
	switch {
	case planned:
		return f.flush(p)
	case failed > 0:
		p.line("%d of %s written; %s", len(c.Copies)-failed, count(len(c.Copies), "destination"), cost(c.Requests, c.Seconds))
	default:
		p.line("%s written; %s", count(len(c.Copies), "destination"), cost(c.Requests, c.Seconds))
	}
	return f.flush(p)
}

// cost is what closes a copy. One of several side by side has no requests of its own.
func cost(requests int64, seconds float64) string {
	if requests == 0 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return fmt.Sprintf("%d requests, %.1f s", requests, seconds)
}

// copied says what one copy did.
func (f *textFormat) copied(p *page, c *Copied) {
	switch {
	case c.DryRun:
		p.line("%s would be copied to %s", p.bold(printable(c.Source)), p.bold(printable(c.Destination)))
	case c.Result.Unchanged:
		p.line("%s %s is there already: nothing was sent", p.good("✓"), p.bold(printable(c.Destination)))
	default:
		p.line("%s %s", p.good("✓"), p.bold(printable(c.Destination)))
	}
	p.line("  %s", c.Plan.Root.Digest)
	p.line("  %s", contents(c.Selection))
	if c.Plan.Rewritten && (c.Converted == nil || len(c.Converted.Conversions) == 0) {
		p.line("  %s", p.unsure("the index is a new one, of the chosen entries: its digest differs from the source's, and signatures over that do not cover it"))
	}
	p.conversions(c)
	if left := leftOut(c.Selection); left != "" {
		p.line("  %s", p.dim("left out: "+left))
	}
	if c.DryRun {
		p.line("  %s in %s and %s, less what is there already; nothing was written", size(c.Plan.Bytes()), count(len(c.Plan.Blobs), "blob"), count(len(c.Plan.Manifests), "manifest"))
		p.attachments(c)
		return
	}
	for _, s := range c.Starts {
		proof := proofOf(s)
		host := platform.Format(s.Host.Platform)
		switch proof.Verdict {
		case launch.Starts:
			p.line("  %s starts on %s (%s)", p.good("✓"), host, proof.Evidence)
		case launch.Unknown:
			p.line("  %s whether it starts on %s could not be proven: %s", p.unsure("?"), host, printable(proof.Reason))
		}
	}
	if !c.Result.Unchanged {
		r := c.Result
		p.line("  copied %s, mounted %s, already there %s", tally(r.Copied.Blobs, r.Copied.Bytes), tally(r.Mounted.Blobs, r.Mounted.Bytes), tally(r.Present.Blobs, r.Present.Bytes))
		if r.Skipped.Blobs > 0 {
			p.line("  %s", p.unsure(fmt.Sprintf("not copied: %s of non-distributable layers, which engines fetch from their own urls", tally(r.Skipped.Blobs, r.Skipped.Bytes))))
		}
	}
	p.attachments(c)
}

// conversions says what was made of what.
func (p *page) conversions(c *Copied) {
	switch {
	case c.Converted == nil:
		return
	case len(c.Converted.Conversions) == 0:
		p.line("  %s", p.dim("nothing had to be converted"))
		return
	}
	for _, one := range c.Converted.Conversions {
		var how []string
		if one.Layers > 0 {
			how = append(how, count(one.Layers, "layer")+" packed with gzip")
		}
		if one.Docker {
			how = append(how, "Docker's media types")
		}
		p.line("  converted %s: %s", platform.Format(one.Platform), strings.Join(how, ", "))
		p.line("    %s → %s", one.From, one.To)
	}
	p.line("  %s", p.unsure("the digests are other ones than the source's: signatures and attestations over those do not cover them"))
	if names, others := kinds(c.Converted.Dropped); len(names)+len(others) > 0 {
		p.line("  %s", p.unsure("left out, because they are about the old digests: "+strings.Join(append(names, others...), ", ")))
	}
}

// attachments says what became of what is about the image.
func (p *page) attachments(c *Copied) {
	a := c.Attachments
	if a == nil {
		return
	}
	if len(a.Found) == 0 {
		p.line("  %s", p.dim("nothing refers to the image"))
	} else if c.Result == nil {
		p.line("  with %s: %s", count(len(a.Found), "referrer"), attachedTypes(a.Found))
	} else {
		copied, present := 0, 0
		for _, r := range c.Result.Referrers {
			switch r.Outcome {
			case store.Copied:
				copied++
			case store.Present:
				present++
			}
		}
		p.line("  referrers: copied %d, already there %d: %s", copied, present, attachedTypes(a.Found))
		for _, r := range c.Result.Referrers {
			if r.Err != nil {
				p.line("  %s %s %s about %s is not copied: %s", p.bad("✗"), printable(attachedType(r.Type, r.Tag)), r.Descriptor.Digest, r.Subject, printable(r.Err.Error()))
			}
		}
	}
	for _, err := range a.Unread {
		p.line("  %s", p.unsure("not copied: "+printable(err.Error())))
	}
	if len(a.Left) > 0 {
		p.line("  %s", p.unsure(fmt.Sprintf("left out: %s about the source's index, which is not what is copied: %s", count(len(a.Left), "referrer"), attachedTypes(a.Left))))
	}
}

// attachedTypes are the types of what is attached, with how many there are of each.
func attachedTypes(attached []*image.Attached) string {
	n := map[string]int{}
	for _, a := range attached {
		n[attachedType(a.Type, a.Tag)]++
	}
	var types []string
	for _, t := range slices.Sorted(maps.Keys(n)) {
		types = append(types, fmt.Sprintf("%d × %s", n[t], printable(t)))
	}
	return strings.Join(types, ", ")
}

// attachedType is what people call a type. What is found by a tag has that of a usual
// config, and its tag says more.
func attachedType(artifactType, tag string) string {
	switch {
	case strings.HasSuffix(tag, ".sig"):
		return "cosign signature"
	case strings.HasSuffix(tag, ".att"):
		return "cosign attestation"
	case strings.HasSuffix(tag, ".sbom"):
		return "cosign SBOM"
	}
	return artifactType
}

func tally(blobs int, bytes int64) string {
	if blobs == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s (%s)", count(blobs, "blob"), size(bytes))
}

// contents says what a selection is.
func contents(s *image.Selection) string {
	what := "a single manifest"
	if image.IsIndexType(s.Root.Descriptor.MediaType) {
		what = "an index"
	}
	names, others := kinds(s.Manifests)
	if len(names)+len(others) == 0 {
		return what
	}
	return what + " of " + strings.Join(append(names, others...), ", ")
}

func leftOut(s *image.Selection) string {
	names, others := kinds(s.Dropped)
	return strings.Join(append(names, others...), ", ")
}

// kinds are the platforms of the images among manifests, and how many of the rest.
func kinds(manifests []*image.Manifest) (names, others []string) {
	attestations, artifacts := 0, 0
	for _, m := range manifests {
		switch m.Kind {
		case image.KindAttestation:
			attestations++
		case image.KindArtifact:
			artifacts++
		default:
			names = append(names, platform.Format(m.Platform()))
		}
	}
	if attestations > 0 {
		others = append(others, count(attestations, "attestation"))
	}
	if artifacts > 0 {
		others = append(others, count(artifacts, "artifact"))
	}
	return names, others
}
