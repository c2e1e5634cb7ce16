package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

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
	if flags.all && len(flags.platforms)+len(flags.targets) > 0 {
		return nil, usagef("--all copies everything, and --platform and --for a part: write one of them")
	}
	if flags.convert && len(flags.targets) == 0 {
		return nil, usagef("--convert converts to what a deploy target demands: name it with --for")
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

// platforms are those that were asked for.
func (c *choice) platforms() []platform.Platform {
	var ps []platform.Platform
	for _, need := range c.needs {
		ps = append(ps, need.Platform)
	}
	return ps
}

// open reads as much of an image as says what is to be copied: configs only where the
// index leaves a platform to them, and not for a copy of everything to where indexes
// are taken.
func (c *choice) open(ctx context.Context, opening *image.Opening, indexes bool) (*image.Image, error) {
	im, err := opening.ManifestsFor(ctx, c.platforms(), image.OnlyOptions{})
	if err != nil || c.all() && indexes || !slices.ContainsFunc(im.Images(), func(m *image.Manifest) bool { return m.Declared == nil }) {
		return im, err
	}
	whole := *im
	whole.Manifests = opening.Configs(ctx, im.Manifests)
	return &whole, ctx.Err()
}

// selection is what of im is to be copied from one reference to another.
func (c *choice) selection(im *image.Image, from string, dst store.Reference) (*image.Selection, error) {
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
	if opts.Plain {
		if err := c.onePlain(im, from, dst); err != nil {
			return nil, err
		}
	}
	return im.Only(wants, opts)
}

// onePlain makes sure that one manifest is what everybody asked for, where somebody
// takes no index. It says who, and what to type.
func (c *choice) onePlain(im *image.Image, from string, dst store.Reference) error {
	manifests := map[digest.Digest]platform.Platform{}
	for _, need := range c.needs {
		m, err := im.Select(need.Platform)
		if err != nil {
			return err
		}
		manifests[m.Descriptor.Digest] = need.Platform
	}
	if len(manifests) < 2 {
		return nil
	}
	ps := slices.Collect(maps.Values(manifests))
	platform.Sort(ps)
	what := fmt.Sprintf("%s are asked for, which takes an index, and ", formats(ps))
	if !dst.TakesIndex() {
		return fmt.Errorf("%sa %s takes one platform: copy each to a destination of its own", what, dst.Transport)
	}
	var refuse, commands []string
	for _, need := range c.needs {
		t := need.Target
		if t == nil || t.Accepts.Index == target.Yes {
			continue
		}
		says := t.Title + " takes none"
		if t.Accepts.Index != target.No {
			says = t.Title + " is not known to take one"
		}
		if !slices.Contains(refuse, says) {
			refuse = append(refuse, says)
		}
		name := t.Name + "/" + need.Platform.Architecture
		own := dst
		own.Tag += "-" + t.Name + "-" + need.Platform.Architecture
		commands = append(commands, fmt.Sprintf("berth copy %s %s --for %s", from, own, name))
	}
	return fmt.Errorf("%s%s: copy what it runs under a tag of its own:\n  %s", what, strings.Join(refuse, ", "), strings.Join(commands, "\n  "))
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
