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
	// Emulates are platforms that hosts run by emulation, beside what is known of each.
	Emulates []platform.Platform
	// Strict reads layers to their ends, also those that an answer does not need, and verifies
	// them. What is not what its digests say is not proven.
	Strict bool
	// Cache has layers that were read before, whichever repository they came from. Nil is none.
	Cache rootfs.Cache
	// Pool is where layers are shared. It is that of one repository, the one that images are
	// read from; nil is a pool for each call.
	Pool *rootfs.Pool
}

// NewPool returns a pool for one repository.
func (p Prover) NewPool() *rootfs.Pool {
	return rootfs.NewPool(rootfs.PoolOptions{Cache: p.Cache, Fresh: p.Strict, Keep: launch.Keep})
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
	return p.all(ctx, src, []start{{m, host, p.Override}})[0]
}

// start is what is to be proven.
type start struct {
	manifest *image.Manifest
	host     launch.Host
	override launch.Override
}

// all proves starts, in order. Layers that several have are read once.
func (p Prover) all(ctx context.Context, src store.BlobReader, starts []start) []*Start {
	pool := p.Pool
	if pool == nil {
		pool = p.NewPool()
	}
	proven := make([]*Start, len(starts))
	systems := make([]*rootfs.FS, len(starts))
	for i, s := range starts {
		s.host.Emulates = append(s.host.Emulates[:len(s.host.Emulates):len(s.host.Emulates)], p.Emulates...)
		proven[i] = &Start{Manifest: s.manifest, Host: s.host, Process: launch.FromConfig(s.override.Apply(s.manifest.Config.Config)), Total: s.manifest.Size()}
		if proven[i].Err = provable(s.manifest, s.host); proven[i].Err == nil {
			// All of them from the start on, so that what one has read is kept for the next.
			systems[i] = p.open(pool, src, s.manifest)
		}
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	if p.MaxFetch > 0 {
		group.SetLimit(1) // how far a budget goes must not depend on who comes first
	}
	for i, fsys := range systems {
		if fsys == nil {
			continue
		}
		group.Go(func() error {
			p.prove(ctx, fsys, proven[i])
			return nil
		})
	}
	_ = group.Wait() // failures are in the starts
	for i, fsys := range systems {
		if fsys == nil {
			continue
		}
		// A proof that read less of a layer does not know what another found out about it.
		if again := p.open(pool, src, starts[i].manifest); again.Refused() != nil {
			p.prove(ctx, again, proven[i])
		} else {
			_ = again.Close() // nothing was read
		}
	}
	return proven
}

func (p Prover) open(pool *rootfs.Pool, src store.BlobReader, m *image.Manifest) *rootfs.FS {
	return pool.New(layersOf(src, m), rootfs.Options{MaxFetch: p.MaxFetch})
}

// prove proves one start, and closes its file system.
func (p Prover) prove(ctx context.Context, fsys *rootfs.FS, s *Start) {
	defer fsys.Close()
	if p.Strict {
		// What cannot be unpacked is for the proof to say.
		if err := fsys.Verify(ctx); err != nil && fsys.Refused() == nil {
			s.Proof, s.Err, s.Fetched = nil, err, s.Fetched+fsys.Fetched()
			return
		}
	}
	s.Proof, s.Err = launch.Prove(ctx, fsys, s.Process, s.Host)
	fsys.Remember(ctx)
	s.Fetched += fsys.Fetched()
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
	var starts []start
	var chosen []*Subject
	for _, s := range subjects {
		if s.Selected != nil && s.Selected.Err == nil {
			chosen = append(chosen, s)
			starts = append(starts, start{s.Selected, HostOf(s.Need), s.Override})
		}
	}
	for i, proven := range p.all(ctx, src, starts) {
		chosen[i].Start = proven
	}
}

// All proves manifests side by side, each on the host at its place in hosts. The error is
// that of ctx.
func (p Prover) All(ctx context.Context, src store.BlobReader, manifests []*image.Manifest, hosts []launch.Host) ([]*Start, error) {
	starts := make([]start, len(manifests))
	for i, m := range manifests {
		starts[i] = start{m, hosts[i], p.Override}
	}
	return p.all(ctx, src, starts), ctx.Err()
}
