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

// placed is a blob on a registry, or in one repository of it.
type placed struct {
	host, repository string
	digest           digest.Digest
}

// sibling is who sends a blob, or has sent it.
type sibling struct {
	repository string
	done       chan struct{}
	err        error
}

// push pushes content to the repository on host, by the one who has it already or by
// push. A nil receiver leaves it to push, and so does what is not on a registry: it shares nothing.
func (s *Siblings) push(ctx context.Context, host, repository string, content store.Content, push func(context.Context, store.Content) (store.Outcome, error)) (store.Outcome, error) {
	if s == nil || host == "" {
		return push(ctx, content)
	}
	here := placed{host, repository, content.Descriptor.Digest}
	mine, _, err := s.claim(ctx, here, repository)
	if err != nil {
		return "", err
	}
	if mine == nil {
		return store.Present, nil
	}
	outcome, err := s.pushFirst(ctx, host, repository, content, push)
	s.settle(here, mine, err)
	return outcome, err
}

// pushFirst is push by the first who needs the blob in the repository: it is mounted where
// another repository has it.
func (s *Siblings) pushFirst(ctx context.Context, host, repository string, content store.Content, push func(context.Context, store.Content) (store.Outcome, error)) (store.Outcome, error) {
	anywhere := placed{host: host, digest: content.Descriptor.Digest}
	mine, from, err := s.claim(ctx, anywhere, repository)
	if err != nil {
		return "", err
	}
	if mine == nil {
		content.MountFrom = from
		return push(ctx, content)
	}
	outcome, err := push(ctx, content)
	s.settle(anywhere, mine, err)
	return outcome, err
}

// claim makes the caller the one who sends a blob, which it then settles; or waits for who
// does, and returns nil and the repository that has it.
func (s *Siblings) claim(ctx context.Context, key placed, repository string) (*sibling, string, error) {
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
			return mine, "", nil
		}
		s.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
		if other.err == nil {
			return nil, other.repository, nil
		}
	}
}

// settle tells who waits that the blob is there, or that it is theirs to send.
func (s *Siblings) settle(key placed, mine *sibling, err error) {
	if err != nil {
		s.mu.Lock()
		delete(s.blobs, key)
		s.mu.Unlock()
	}
	mine.err = err
	close(mine.done)
}
