package check

import (
	"context"

	"golang.org/x/sync/errgroup"

	"berth/image"
	"berth/launch"
	"berth/store"
	"berth/target"
)

// atOnce bounds how many images, or platforms of one image, are read side by side. Each
// holds a few layer streams open; a registry sees at most a few dozen requests.
const atOnce = 8

// Ask is a question that [Gather] collects the facts for.
type Ask struct {
	Reference store.Reference
	// Name is the reference as it was given.
	Name string
	// Needs are the targets that the image is to run on.
	Needs []target.Need
	// Override is what is started of it instead of what its config says.
	Override launch.Override
}

// GatherOptions is how facts are gathered. Its zero value proves nothing.
type GatherOptions struct {
	// Prove reads the bytes of what each target would start.
	Prove bool
	// Prover is how they are read.
	Prover Prover
}

// Gather opens the images that are asked about, each once, and proves what each
// target would start. It returns a subject for each need, in order. What could not be
// read is in the subjects; the error is that of ctx.
func Gather(ctx context.Context, open func(store.Reference) (store.Source, error), asks []Ask, opts GatherOptions) ([]*Subject, error) {
	perAsk := make([][]*Subject, len(asks))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, ask := range asks {
		group.Go(func() error {
			perAsk[i] = gather(ctx, open, ask, opts)
			return nil
		})
	}
	_ = group.Wait() // failures are in the subjects
	var subjects []*Subject
	for _, s := range perAsk {
		subjects = append(subjects, s...)
	}
	return subjects, ctx.Err()
}

func gather(ctx context.Context, open func(store.Reference) (store.Source, error), ask Ask, opts GatherOptions) []*Subject {
	var subjects []*Subject
	for _, need := range ask.Needs {
		subjects = append(subjects, &Subject{Reference: ask.Reference, Name: ask.Name, Need: need, Override: ask.Override})
	}
	src, err := open(ask.Reference)
	var im *image.Image
	if err == nil {
		im, err = image.Open(ctx, src, ask.Reference.Identifier())
	}
	for _, s := range subjects {
		s.Image, s.Err = im, err
		if err != nil {
			s.Image = nil
			continue
		}
		s.Select()
	}
	if opts.Prove && err == nil {
		opts.Prover.Subjects(ctx, src, subjects)
	}
	return subjects
}

// Select finds the manifest of s.Image that the target takes.
func (s *Subject) Select() {
	// Nothing for the platform is no error here: it is what a rule will say.
	s.Selected, _ = s.Image.Select(s.Need.Platform)
}

// HostOf is the host that a need runs images on.
func HostOf(need target.Need) launch.Host {
	host := launch.Host{Platform: need.Platform}
	if need.Target != nil {
		host.Compat, host.CompatUnknown = need.Target.Compat, need.Target.CompatUnknown
	}
	return host
}

// HostFor is a host of a manifest's own platform, for when no target was named.
func HostFor(m *image.Manifest) launch.Host {
	return launch.Host{Platform: m.Platform()}
}
