package cli

import (
	"context"
	"fmt"

	"berth/check"
	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/store"
)

// gate decides whether a copy may write its tag.
type gate struct {
	mode      string // of --prove
	src       store.Source
	manifests []*image.Manifest
	hostOf    func(*image.Manifest) launch.Host
	// starts are the proofs, once ask has returned.
	starts []*check.Start
}

// refusal says why a tag was not written.
type refusal struct {
	start *check.Start
}

func (r *refusal) Error() string {
	host := platform.Format(r.start.Host.Platform)
	switch {
	case r.start.Err != nil:
		return fmt.Sprintf("the tag was not written: whether the image for %s starts could not be proven: %v", host, r.start.Err)
	case r.start.Proof.Verdict == launch.Unknown:
		return fmt.Sprintf("the tag was not written: whether the image for %s starts could not be proven: %s", host, r.start.Proof.Reason)
	}
	f := r.start.Proof.Failure
	return fmt.Sprintf("the tag was not written: the image for %s does not start: %s (%s)", host, f.Message, f.Detail)
}

// definite tells whether the image is known not to start.
func (r *refusal) definite() bool {
	return r.start.Proof != nil && r.start.Proof.Verdict == launch.Fails
}

func (g *gate) ask(ctx context.Context) error {
	if g.mode == "never" {
		return nil
	}
	hosts := make([]launch.Host, len(g.manifests))
	for i, m := range g.manifests {
		hosts[i] = g.hostOf(m)
	}
	starts, err := check.ProveAll(ctx, g.src, g.manifests, hosts)
	if err != nil {
		return err
	}
	g.starts = starts
	for _, s := range starts {
		r := &refusal{s}
		if r.definite() || g.mode == "always" && (s.Err != nil || s.Proof.Verdict == launch.Unknown) {
			return r
		}
	}
	return nil
}
