package cli

import (
	"context"
	"fmt"
	"slices"

	"berth/check"
	"berth/image"
	"berth/platform"
	"berth/store"
	"berth/target"
)

// choice is what is to be copied of an image.
type choice struct {
	needs []target.Need
}

func (a *app) choice(flags copyFlags) (*choice, error) {
	if err := a.checkCopying(flags.prove, flags.jobs); err != nil {
		return nil, err
	}
	if len(flags.platforms) > 0 && len(flags.targets) > 0 {
		return nil, usagef("--platform and --for both say what to copy: write one of them")
	}
	needs, err := a.needs(flags.targets)
	if err != nil {
		return nil, err
	}
	c := &choice{needs}
	ps, err := platforms(flags.platforms)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		c.needs = append(c.needs, target.Need{Platform: p, Why: "asked for"})
	}
	return c, nil
}

// all tells whether everything is to be copied, bit for bit.
func (c *choice) all() bool { return len(c.needs) == 0 }

// open reads as much of an image as says what is to be copied to dst: configs only
// where the index leaves a platform to them.
func (c *choice) open(ctx context.Context, opening *image.Opening, dst store.Reference) (*image.Image, error) {
	im, err := opening.Manifests(ctx)
	if err != nil || c.all() && dst.TakesIndex() || !slices.ContainsFunc(im.Images(), func(m *image.Manifest) bool { return m.Declared == nil }) {
		return im, err
	}
	whole := *im
	whole.Manifests = opening.Configs(ctx, im.Manifests)
	return &whole, ctx.Err()
}

func (c *choice) selection(im *image.Image, dst store.Reference) (*image.Selection, error) {
	if c.all() {
		if im.IsIndex && !dst.TakesIndex() {
			return onlyImage(im, dst)
		}
		return im.All(), nil
	}
	var wants []platform.Platform
	opts := image.OnlyOptions{Plain: !dst.TakesIndex()}
	for _, need := range c.needs {
		wants = append(wants, need.Platform)
		// What is not known to be accepted is left out: a plain manifest runs everywhere.
		if t := need.Target; t != nil {
			opts.Plain = opts.Plain || t.Accepts.Index != target.Yes
			opts.NoAttestations = opts.NoAttestations || t.Accepts.Attestation == target.No
		}
	}
	return im.Only(wants, opts)
}

// onlyImage selects the image of an index with one, for a destination that takes one.
func onlyImage(im *image.Image, dst store.Reference) (*image.Selection, error) {
	images := im.Images()
	if len(images) != 1 {
		return nil, fmt.Errorf("the index has %s, and a %s takes one platform: choose it with --platform", formats(im.Platforms()), dst.Transport)
	}
	return im.Only([]platform.Platform{images[0].Platform()}, image.OnlyOptions{Plain: true})
}

// subjects are what was asked for by platform or target, and what the tag therefore
// depends on. A bit-for-bit copy asked for nothing.
func (c *choice) subjects(ref store.Reference, name string, s *image.Selection) []*check.Subject {
	var subjects []*check.Subject
	for _, need := range c.needs {
		subject := &check.Subject{Reference: ref, Name: name, Need: need, Image: s.Image()}
		subject.Select()
		subjects = append(subjects, subject)
	}
	return subjects
}
