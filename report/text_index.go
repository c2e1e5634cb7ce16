package report

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/image"
	"berth/launch"
	"berth/platform"
)

func (f *textFormat) Index(x *Indexed) error {
	p := f.page()
	switch {
	case x.DryRun:
		p.line("%s would be %s", p.bold(printable(x.Destination)), contents(x.Selection))
	case x.Result.Unchanged:
		p.line("%s %s is there already, %s: nothing was sent", p.good("✓"), p.bold(printable(x.Destination)), contents(x.Selection))
	default:
		p.line("%s %s is %s", p.good("✓"), p.bold(printable(x.Destination)), contents(x.Selection))
	}
	p.line("  %s", x.Plan.Root.Digest)
	p.line("")
	whole := x.Selection.Image()
	starts := map[digest.Digest]*check.Start{}
	for _, s := range x.Starts {
		starts[s.Manifest.Descriptor.Digest] = s
	}
	var rows [][]string
	header := []string{"PLATFORM", "FROM", "DIGEST"}
	if len(starts) > 0 {
		header = []string{"PLATFORM", "START", "FROM", "DIGEST"}
	}
	for _, m := range x.Selection.Manifests {
		what := platform.Format(m.Platform())
		if m.Kind != image.KindImage {
			what = string(m.Kind)
			if of := about(whole, m); of != "" {
				what += " " + of
			}
		}
		row := []string{what, printable(x.From[m.Descriptor.Digest]), m.Descriptor.Digest.String()}
		if len(starts) > 0 {
			verdict := ""
			if start, ok := starts[m.Descriptor.Digest]; ok {
				verdict = p.verdict(start)
			}
			row = slices.Insert(row, 1, verdict)
		}
		rows = append(rows, row)
	}
	p.table(header, rows)
	p.line("")
	for _, s := range x.Starts {
		if proof := proofOf(s); proof.Verdict == launch.Unknown {
			p.line("  %s whether it starts on %s could not be proven: %s", p.unsure("?"), platform.Format(s.Host.Platform), printable(proof.Reason))
		}
	}
	if x.DryRun {
		if n := len(x.Plan.Blobs); n > 0 {
			p.line("  %s in %s would be copied, less what is there already", size(x.Plan.Bytes()), count(n, "blob"))
		}
		p.line("  nothing was written")
		return f.flush(p)
	}
	if r := x.Result; !r.Unchanged {
		// What is in the destination's repository was not looked at blob by blob.
		if len(x.Plan.Blobs) > 0 {
			p.line("  copied %s, mounted %s, already there %s", tally(r.Copied.Blobs, r.Copied.Bytes), tally(r.Mounted.Blobs, r.Mounted.Bytes), tally(r.Present.Blobs, r.Present.Bytes))
		} else {
			p.line("  all images are in the repository already: only the index was written")
		}
	}
	p.line("  %s", p.dim(fmt.Sprintf("%d requests, %.1f s", x.Requests, x.Seconds)))
	return f.flush(p)
}
