package check

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/rootfs"
	"berth/store"
	"berth/target"
)

// atOnce bounds how many images, or platforms of one image, are read side by side. Each
// holds a few layer streams open; a registry sees at most a few dozen requests.
const atOnce = 8

// Asked returns what is to be found out of one image: a subject for each need. name is
// the reference as it was given.
func Asked(ref store.Reference, name string, needs []target.Need) []*Subject {
	var subjects []*Subject
	for _, need := range needs {
		subjects = append(subjects, &Subject{Reference: ref, Name: name, Need: need})
	}
	return subjects
}

// GatherOptions is how facts are gathered. Its zero value proves nothing.
type GatherOptions struct {
	// Prove reads the bytes of what each target would start.
	Prove bool
	// Prover is how they are read.
	Prover Prover
}

// Gather opens the images of subjects, each once however often it occurs, and proves what
// each target would start. Subjects that are Open, or failed before, are left as they
// are. What could not be read is in the subjects; the error is that of ctx.
func Gather(ctx context.Context, open func(store.Reference) (store.Source, error), subjects []*Subject, opts GatherOptions) error {
	var order []string
	same := map[string][]*Subject{}
	for _, s := range subjects {
		if s.Open != "" || s.Err != nil {
			continue
		}
		key := s.Reference.String() + " " + s.Locked.String()
		if same[key] == nil {
			order = append(order, key)
		}
		same[key] = append(same[key], s)
	}
	pools := pools{prover: opts.Prover, open: map[store.Reference]*shared{}}
	for _, key := range order {
		pools.expect(same[key][0].Reference)
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, key := range order {
		group.Go(func() error {
			opts, ref := opts, same[key][0].Reference
			if opts.Prover.MaxFetch == 0 { // how far a budget goes must not depend on who comes first
				opts.Prover.Pool = pools.take(ref)
				defer pools.release(ref)
			}
			gather(ctx, open, same[key], opts)
			return nil
		})
	}
	_ = group.Wait() // failures are in the subjects
	return ctx.Err()
}

// pools are those of the repositories that are read, each for as long as an image of it is
// still to be read: what they hold is bounded for each of them.
type pools struct {
	prover Prover
	mu     sync.Mutex
	open   map[store.Reference]*shared
}

type shared struct {
	pool   *rootfs.Pool
	images int // still to be read
}

func repositoryOf(ref store.Reference) store.Reference {
	return store.Reference{Transport: ref.Transport, Host: ref.Host, Repository: ref.Repository, Path: ref.Path}
}

func (p *pools) expect(ref store.Reference) {
	repository := repositoryOf(ref)
	if p.open[repository] == nil {
		p.open[repository] = &shared{}
	}
	p.open[repository].images++
}

func (p *pools) take(ref store.Reference) *rootfs.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.open[repositoryOf(ref)]
	if s.pool == nil {
		s.pool = p.prover.NewPool()
	}
	return s.pool
}

func (p *pools) release(ref store.Reference) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.open[repositoryOf(ref)]; s.images > 1 {
		s.images--
	} else {
		delete(p.open, repositoryOf(ref))
	}
}

// gather opens the one image of subjects.
func gather(ctx context.Context, open func(store.Reference) (store.Source, error), subjects []*Subject, opts GatherOptions) {
	ref, locked := subjects[0].Reference, subjects[0].Locked
	src, err := open(ref)
	var im *image.Image
	var now digest.Digest
	if err == nil {
		im, now, err = openLocked(ctx, src, ref, locked)
	}
	for _, s := range subjects {
		s.Err = err
		if err == nil {
			s.Image, s.Now = im, now
			s.Select()
		}
	}
	if opts.Prove && err == nil {
		proveOnce(ctx, src, subjects, opts.Prover)
	}
}

// openLocked opens the image that was locked, or else the one that ref names, and says
// what ref names now.
func openLocked(ctx context.Context, src store.Source, ref store.Reference, locked digest.Digest) (*image.Image, digest.Digest, error) {
	if locked == "" || ref.Digest != "" {
		im, err := image.OpenImages(ctx, src, ref.Identifier())
		if err != nil {
			return nil, "", err
		}
		return im, im.Root.Descriptor.Digest, nil
	}
	im, err := image.OpenImages(ctx, src, locked.String())
	if err != nil {
		return nil, "", fmt.Errorf("as it was locked: %w", err)
	}
	if resolver, ok := src.(store.Resolver); ok {
		now, err := resolver.Resolve(ctx, ref.Identifier())
		if err != nil {
			return nil, "", err
		}
		return im, now.Digest, nil
	}
	return im, "", nil
}

// proveOnce proves subjects, those that start the same on the same host together. Where
// nothing determines a platform, each that the image has is proven.
func proveOnce(ctx context.Context, src store.BlobReader, subjects []*Subject, prover Prover) {
	anywhere := map[*Subject][]*Subject{}
	for _, s := range subjects {
		if platform.Known(s.Need.Platform) {
			continue
		}
		for _, m := range s.Image.Images() {
			on := *s
			on.Selected, on.Need.Platform = m, m.Platform()
			anywhere[s] = append(anywhere[s], &on)
		}
	}
	all := slices.Clone(subjects)
	for _, s := range subjects {
		all = append(all, anywhere[s]...)
	}
	prove(ctx, src, all, prover)
	for s, ons := range anywhere {
		for _, on := range ons {
			if on.Start != nil {
				s.Anywhere = append(s.Anywhere, on.Start)
			}
		}
	}
	for _, s := range subjects {
		for _, other := range all {
			if other.Start != nil && other.Selected != s.Selected {
				s.Beside = append(s.Beside, other.Start)
			}
		}
	}
}

// prove proves subjects that each have a platform, those that start the same together.
func prove(ctx context.Context, src store.BlobReader, subjects []*Subject, prover Prover) {
	var first []*Subject
	like := map[*Subject][]*Subject{}
	for _, s := range subjects {
		if !s.starts() {
			continue
		}
		if i := slices.IndexFunc(first, s.startsLike); i >= 0 {
			like[first[i]] = append(like[first[i]], s)
		} else {
			first = append(first, s)
		}
	}
	prover.Subjects(ctx, src, first)
	for s, others := range like {
		for _, other := range others {
			other.Start = s.Start
		}
	}
	for _, s := range subjects {
		if s.Origin != nil {
			s.Start = s.Start.withMounts(s.Origin.Container.Process.Mounts)
		}
	}
}

// starts tells whether there is a start that can be proven.
func (s *Subject) starts() bool {
	if s.Origin != nil && (s.Origin.Container.Pulled || s.Origin.Container.Process.Unknown != "") {
		return false
	}
	return s.Selected != nil && s.Selected.Err == nil
}

func (s *Subject) startsLike(other *Subject) bool {
	return s.Selected == other.Selected && s.Need.Target == other.Need.Target &&
		platform.Equal(s.Need.Platform, other.Need.Platform) && s.Override.Equal(other.Override)
}

// Select finds the manifest of s.Image that the target takes.
func (s *Subject) Select() {
	if platform.Known(s.Need.Platform) {
		// Nothing for the platform is no error here: it is what a rule will say.
		s.Selected, _ = s.Image.Select(s.Need.Platform)
	}
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
