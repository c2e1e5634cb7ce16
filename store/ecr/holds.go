package ecr

import (
	"context"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"berth/store"
)

const (
	// batch is how many digests BatchCheckLayerAvailability takes at most ("Amazon ECR
	// API Reference", November 2026).
	batch = 100
	// worthIt is from how many blobs on to ask for all at once. That is a round trip
	// before the first upload starts, where a HEAD beside each upload's start is none;
	// of many blobs the HEADs, and the uploads that are started and left behind, count
	// against the account's rates.
	worthIt = 8
)

var _ store.Holder = (*Repository)(nil)

// Holds implements store.Holder. It asks the API, and only where its credentials were
// used to log in: looking for others takes seconds where there are none.
func (r *Repository) Holds(ctx context.Context, blobs []store.Descriptor) map[digest.Digest]bool {
	r.client.mu.Lock()
	loaded, ok := r.client.used[r.at]
	r.client.mu.Unlock()
	if !ok || len(blobs) < worthIt {
		return nil
	}
	var digests []string
	for _, d := range blobs {
		digests = append(digests, d.Digest.String())
	}
	name := r.name()
	ask := func(ctx context.Context, digests []string) (available []string, err error) {
		if r.at.Public {
			answer, err := ecrpublic.NewFromConfig(loaded).BatchCheckLayerAvailability(ctx, &ecrpublic.BatchCheckLayerAvailabilityInput{RepositoryName: &name, LayerDigests: digests})
			if err != nil {
				return nil, err
			}
			for _, layer := range answer.Layers {
				if layer.LayerDigest != nil && layer.LayerAvailability == publictypes.LayerAvailabilityAvailable {
					available = append(available, *layer.LayerDigest)
				}
			}
			return available, nil
		}
		answer, err := ecr.NewFromConfig(loaded).BatchCheckLayerAvailability(ctx, &ecr.BatchCheckLayerAvailabilityInput{RegistryId: &r.at.Account, RepositoryName: &name, LayerDigests: digests})
		if err != nil {
			return nil, err
		}
		for _, layer := range answer.Layers {
			if layer.LayerDigest != nil && layer.LayerAvailability == types.LayerAvailabilityAvailable {
				available = append(available, *layer.LayerDigest)
			}
		}
		return available, nil
	}
	var mu sync.Mutex
	held := map[digest.Digest]bool{}
	group, ctx := errgroup.WithContext(ctx)
	for part := range slices.Chunk(digests, batch) {
		group.Go(func() error {
			available, err := ask(ctx, part)
			mu.Lock()
			defer mu.Unlock()
			for _, d := range available {
				held[digest.Digest(d)] = true
			}
			return err
		})
	}
	// Without the permission, or with the repository missing, each upload finds out for
	// itself: nothing that an error says is needed.
	_ = group.Wait()
	return held
}
