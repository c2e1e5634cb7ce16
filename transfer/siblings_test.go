package transfer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
	"berth/transfer"
)

// registryOf is the repositories of one registry, between which blobs are mounted.
type registryOf struct {
	mu           sync.Mutex
	repositories map[string]*end
	mounted      map[string]int
}

// at is a repository.
func (r *registryOf) at(name string) *end {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.repositories[name]; ok {
		return e
	}
	e := newEnd(imagetest.New())
	e.outcome = func(c store.Content) (store.Outcome, error) {
		r.mu.Lock()
		from := r.repositories[c.MountFrom]
		r.mu.Unlock()
		if from != nil && from != e {
			if raw, err := store.ReadBlob(context.Background(), from.Memory, c.Descriptor, 1<<20); err == nil {
				e.AddBlob("", raw)
				r.mu.Lock()
				r.mounted[name]++
				r.mu.Unlock()
				return store.Mounted, nil
			}
		}
		return e.Memory.PushBlob(context.Background(), c)
	}
	r.repositories[name] = e
	return e
}

// Three images over one base go to two repositories: the base is read once.
func TestSiblings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := incompressible(4096)
		registry := &registryOf{repositories: map[string]*end{}, mounted: map[string]int{}}
		var siblings transfer.Siblings
		var all sync.WaitGroup
		opened := map[digest.Digest]int{}
		var mu sync.Mutex
		for tag, repository := range map[string]string{"one": "a", "two": "a", "three": "b"} {
			m := imagetest.New()
			m.AddIndex("v1", "", addImage(m, "linux/amd64", base, tag), addImage(m, "linux/arm64", base, tag+"arm"))
			src := newEnd(m)
			plan := planAll(t, src)
			dst := registry.at(repository)
			src.before = func(_ context.Context, o op) error {
				if o.kind == "open" {
					mu.Lock()
					opened[o.digest]++
					mu.Unlock()
				}
				return nil
			}
			all.Go(func() {
				opts := transfer.Options{Tag: tag, Siblings: &siblings, Host: "r", Repository: repository}
				if _, err := plan.Run(t.Context(), src, dst, opts); err != nil {
					t.Error(err)
				}
				wantWhole(t, dst.Memory, tag, plan.Root.Digest)
			})
		}
		all.Wait()
		for d, n := range opened {
			if n > 1 {
				t.Errorf("%s was read %d times", d, n)
			}
		}
		if got := registry.mounted["a"] + registry.mounted["b"]; got != 1 {
			t.Errorf("%d blobs were mounted, want the base, once", got)
		}
	})
}

// What one of them could not send, another does.
func TestSiblingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newEnd(lone())
		plan := planAll(t, src)
		failing, working := newEnd(imagetest.New()), newEnd(imagetest.New())
		release := make(chan struct{})
		failing.outcome = func(store.Content) (store.Outcome, error) {
			<-release
			return "", errBoom
		}
		var siblings transfer.Siblings
		var all sync.WaitGroup
		all.Go(func() {
			_, err := plan.Run(t.Context(), src, failing, transfer.Options{Tag: "v1", Siblings: &siblings, Host: "r", Repository: "a"})
			if !errors.Is(err, errBoom) {
				t.Error(err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			result, err := plan.Run(t.Context(), src, working, transfer.Options{Tag: "v1", Siblings: &siblings, Host: "r", Repository: "b"})
			if err != nil || result.Copied.Blobs != len(plan.Blobs) {
				t.Errorf("%v, %+v", err, result)
			}
		})
		synctest.Wait()
		if sent := working.did("blob"); len(sent) > 0 {
			t.Errorf("it did not wait: %v", sent)
		}
		close(release)
		all.Wait()
		wantWhole(t, working.Memory, "v1", plan.Root.Digest)
	})
}

// What is no registry shares nothing: each of two layouts gets all blobs.
func TestSiblingsOfLayouts(t *testing.T) {
	var siblings transfer.Siblings
	for range 2 {
		src := newEnd(lone())
		plan, dst := planAll(t, src), newEnd(imagetest.New())
		if _, err := plan.Run(t.Context(), src, dst, transfer.Options{Tag: "v1", Siblings: &siblings}); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, dst.Memory, "v1", plan.Root.Digest)
	}
}
