package check

import (
	"context"
	"fmt"
	"io"

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

// Ask is a question that [Gather] collects the facts for.
type Ask struct {
	Reference store.Reference
	// Name is the reference as it was given.
	Name string
	// Needs are the targets that the image is to run on.
	Needs []target.Need
}

// GatherOptions is how facts are gathered. Its zero value proves nothing.
type GatherOptions struct {
	// Prove reads the bytes of what each target would start.
	Prove bool
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
		subjects = append(subjects, &Subject{Reference: ask.Reference, Name: ask.Name, Need: need})
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
		ProveSubjects(ctx, src, subjects)
	}
	return subjects
}

// Select finds the manifest of s.Image that the target takes.
func (s *Subject) Select() {
	// Nothing for the platform is no error here: it is what a rule will say.
	s.Selected, _ = s.Image.Select(s.Need.Platform)
}

// ProveSubjects proves, side by side, what each target would start of its image in
// src. Subjects for which nothing was selected are left as they are.
func ProveSubjects(ctx context.Context, src store.BlobReader, subjects []*Subject) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, s := range subjects {
		if s.Selected == nil || s.Selected.Err != nil {
			continue
		}
		group.Go(func() error {
			s.Start = Prove(ctx, src, s.Selected, HostOf(s.Need))
			return nil
		})
	}
	_ = group.Wait() // failures are in the starts
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

// Prove reads as much of a manifest's layers as it takes to say what happens when
// host starts its configured process.
func Prove(ctx context.Context, src store.BlobReader, m *image.Manifest, host launch.Host) *Start {
	s := &Start{Manifest: m, Host: host, Total: m.Size()}
	if m.Err != nil {
		s.Err = m.Err
		return s
	}
	if !platform.Known(host.Platform) {
		s.Err = fmt.Errorf("manifest %s says no platform, so there is no host to start it on: name one with --platform", m.Descriptor.Digest)
		return s
	}
	if n, diffs := len(m.Layers), len(m.Config.RootFS.DiffIDs); n != diffs {
		// containerd refuses to unpack it: "number of layers and diffIDs don't match".
		s.Err = fmt.Errorf("manifest %s has %d layers and its config %d diff_ids: engines refuse to unpack it", m.Descriptor.Digest, n, diffs)
		return s
	}
	layers := make([]rootfs.Layer, len(m.Layers))
	createdBy := m.CreatedBy()
	for i, d := range m.Layers {
		layers[i] = rootfs.Layer{
			Descriptor: d,
			DiffID:     m.Config.RootFS.DiffIDs[i],
			CreatedBy:  createdBy[i],
			Open: func(ctx context.Context, offset int64) (io.ReadCloser, error) {
				return src.Blob(ctx, d, offset)
			},
		}
	}
	fs := rootfs.New(layers, rootfs.Options{})
	defer fs.Close()
	s.Proof, s.Err = launch.Prove(ctx, fs, launch.FromConfig(m.Config.Config), host)
	s.Fetched = fs.Fetched()
	return s
}

// ProveAll proves manifests side by side, each on the host at its place in hosts.
func ProveAll(ctx context.Context, src store.BlobReader, manifests []*image.Manifest, hosts []launch.Host) ([]*Start, error) {
	starts := make([]*Start, len(manifests))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, m := range manifests {
		group.Go(func() error {
			starts[i] = Prove(ctx, src, m, hosts[i])
			return nil
		})
	}
	_ = group.Wait() // failures are in the starts
	return starts, ctx.Err()
}
