package transfer

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// Siblings are runs that go on side by side, of images that have blobs in common and go
// to repositories of the same registries: the plan of all images is one graph, in which
// each digest is sent to a registry once. Whoever needs a blob that a sibling is sending
// waits for it; then it is there, or is mounted from the sibling's repository.
//
// Where a sibling fails, the next that needs the blob sends it. The zero value is ready
// to use, and safe for concurrent use.
type Siblings struct {
	mu    sync.Mutex
	blobs map[placed]*sibling
}

// placed is a blob on a registry.
type placed struct {
	host   string
	digest digest.Digest
}

// sibling is who sends a blob, or has sent it.
type sibling struct {
	repository string
	done       chan struct{}
	err        error
}

// push pushes content to the repository on host, by the one who has it already or by
// push. A nil receiver leaves it to push.
func (s *Siblings) push(ctx context.Context, host, repository string, content store.Content, push func(context.Context, store.Content) (store.Outcome, error)) (store.Outcome, error) {
	if s == nil {
		return push(ctx, content)
	}
	key := placed{host, content.Descriptor.Digest}
	for {
		s.mu.Lock()
		other := s.blobs[key]
		if other == nil {
			mine := &sibling{repository: repository, done: make(chan struct{})}
			if s.blobs == nil {
				s.blobs = map[placed]*sibling{}
			}
			s.blobs[key] = mine
			s.mu.Unlock()
			outcome, err := push(ctx, content)
			if err != nil {
				s.mu.Lock()
				delete(s.blobs, key)
				s.mu.Unlock()
			}
			mine.err = err
			close(mine.done)
			return outcome, err
		}
		s.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		switch {
		case other.err != nil: // it is this one's now, or another's
		case other.repository == repository:
			return store.Present, nil
		default:
			content.MountFrom = other.repository
			return push(ctx, content)
		}
	}
}
