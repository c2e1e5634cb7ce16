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
)

// Prover reads the layers of images to say what happens at start. Its zero value reads
// whatever an answer needs.
type Prover struct {
	// MaxFetch is how many bytes of layers may be fetched for the proof of one image; zero
	// is no budget. A proof that the budget ended is sampled, or unknown.
	MaxFetch int64
	// Override is what is started instead of what configs say. Each subject has its own.
	Override launch.Override
}

// Prove reads as much of a manifest's layers as it takes to say what happens when
// host starts its process.
func Prove(ctx context.Context, src store.BlobReader, m *image.Manifest, host launch.Host) *Start {
	return Prover{}.Prove(ctx, src, m, host)
}

// ProveSubjects is [Prover.Subjects] of the zero Prover.
func ProveSubjects(ctx context.Context, src store.BlobReader, subjects []*Subject) {
	Prover{}.Subjects(ctx, src, subjects)
}

// ProveAll is [Prover.All] of the zero Prover.
func ProveAll(ctx context.Context, src store.BlobReader, manifests []*image.Manifest, hosts []launch.Host) ([]*Start, error) {
	return Prover{}.All(ctx, src, manifests, hosts)
}

// Prove is [Prove] as p reads.
func (p Prover) Prove(ctx context.Context, src store.BlobReader, m *image.Manifest, host launch.Host) *Start {
	process := launch.FromConfig(p.Override.Apply(m.Config.Config))
	s := &Start{Manifest: m, Host: host, Process: process, Total: m.Size()}
	if s.Err = provable(m, host); s.Err != nil {
		return s
	}
	fs := rootfs.New(layersOf(src, m), rootfs.Options{MaxFetch: p.MaxFetch})
	defer fs.Close()
	s.Proof, s.Err = launch.Prove(ctx, fs, process, host)
	s.Fetched = fs.Fetched()
	return s
}

// provable says why there is nothing to be read, or nothing that could be believed.
func provable(m *image.Manifest, host launch.Host) error {
	if m.Err != nil {
		return m.Err
	}
	if !platform.Known(host.Platform) {
		return fmt.Errorf("manifest %s says no platform, so there is no host to start it on: name one with --platform", m.Descriptor.Digest)
	}
	if n, diffs := len(m.Layers), len(m.Config.RootFS.DiffIDs); n != diffs {
		// containerd refuses to unpack it: "number of layers and diffIDs don't match".
		return fmt.Errorf("manifest %s has %d layers and its config %d diff_ids: engines refuse to unpack it", m.Descriptor.Digest, n, diffs)
	}
	return nil
}

// layersOf are the layers of a manifest, as src has them.
func layersOf(src store.BlobReader, m *image.Manifest) []rootfs.Layer {
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
	return layers
}

// Subjects proves, side by side, what each target would start of its image in src.
// Subjects for which nothing was selected are left as they are.
func (p Prover) Subjects(ctx context.Context, src store.BlobReader, subjects []*Subject) {
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, s := range subjects {
		if s.Selected == nil || s.Selected.Err != nil {
			continue
		}
		group.Go(func() error {
			own := p
			own.Override = s.Override
			s.Start = own.Prove(ctx, src, s.Selected, HostOf(s.Need))
			return nil
		})
	}
	_ = group.Wait() // failures are in the starts
}

// All proves manifests side by side, each on the host at its place in hosts. The error is
// that of ctx.
func (p Prover) All(ctx context.Context, src store.BlobReader, manifests []*image.Manifest, hosts []launch.Host) ([]*Start, error) {
	starts := make([]*Start, len(manifests))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, m := range manifests {
		group.Go(func() error {
			starts[i] = p.Prove(ctx, src, m, hosts[i])
			return nil
		})
	}
	_ = group.Wait() // failures are in the starts
	return starts, ctx.Err()
}
