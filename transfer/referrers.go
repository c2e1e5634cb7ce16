package transfer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/store"
)

// Referrer is something about a manifest of a plan.
type Referrer struct {
	store.Referrer
	// Type is its artifact type.
	Type string

	plan *Plan // of itself and what it refers to
}

func attach(a *image.Attached, opts PlanOptions) (*Referrer, error) {
	plan, err := New(a.Image.All(), PlanOptions{NonDistributable: opts.NonDistributable})
	if err != nil {
		return nil, err
	}
	return &Referrer{Referrer: store.Referrer{Manifest: a.Image.Root, Subject: a.Subject, Tag: a.Tag}, Type: a.Type, plan: plan}, nil
}

// Bytes is the sum of the sizes of its blobs.
func (r *Referrer) Bytes() int64 { return r.plan.Bytes() }

// attaching are the tasks that bring the plan's referrers, each after its subject as
// manifests has it. Those of one subject come in their order, which lists keep.
func (r *run) attaching(manifests map[digest.Digest]*task) []*task {
	if len(r.plan.Referrers) == 0 {
		return nil
	}
	var tasks []*task
	r.result.Referrers = make([]Attached, len(r.plan.Referrers))
	done := map[digest.Digest]*task{} // the last task of each subject, and of each referrer
	lists := map[digest.Digest]func(context.Context) (map[digest.Digest]bool, error){}
	var sent sent
	for i, a := range r.plan.Referrers {
		result := &r.result.Referrers[i]
		result.Referrer = a
		if lists[a.Subject] == nil {
			lists[a.Subject] = r.listed(a.Subject)
		}
		content := &task{do: func(ctx context.Context) (err error) {
			if err = r.look(ctx, result, lists[a.Subject]); err != nil || result.Outcome != "" || result.Err != nil {
				for _, d := range a.plan.Blobs {
					r.leave(d.Digest)
				}
				return err
			}
			return r.pushContent(ctx, a.plan, &sent)
		}, weight: 1}
		push := &task{do: func(ctx context.Context) error {
			if result.Outcome != "" || result.Err != nil {
				return nil
			}
			return r.pushReferrer(ctx, result)
		}, weight: 1}
		push.after(content)
		for _, first := range []*task{manifests[a.Subject], done[a.Subject]} {
			if first != nil {
				push.after(first)
			}
		}
		done[a.Subject], done[a.Descriptor.Digest] = push, push
		tasks = append(tasks, content, push)
	}
	return tasks
}

// listed is what the destination lists as about subject. It asks once.
func (r *run) listed(subject digest.Digest) func(context.Context) (map[digest.Digest]bool, error) {
	var once sync.Once
	var listed map[digest.Digest]bool
	var err error
	return func(ctx context.Context) (map[digest.Digest]bool, error) {
		once.Do(func() {
			lister, ok := r.dst.(store.ReferrerLister)
			if !ok {
				return
			}
			var found []store.Descriptor
			found, err = lister.Referrers(ctx, subject)
			if errors.Is(err, store.ErrNotFound) { // the repository is yet to be made
				err = nil
			}
			listed = map[digest.Digest]bool{}
			for _, d := range found {
				listed[d.Digest] = true
			}
		})
		return listed, err
	}
}

// look finds out whether the destination has a referrer, or another one in its place.
func (r *run) look(ctx context.Context, a *Attached, listed func(context.Context) (map[digest.Digest]bool, error)) error {
	d := a.Descriptor.Digest
	if a.Tag == "" {
		found, err := listed(ctx)
		if err == nil && found[d] {
			// A list may name what is not there any more.
			if _, err = r.dst.Resolve(ctx, d.String()); err == nil {
				a.Outcome = store.Present
			}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return &CopyError{End: Destination, Descriptor: a.Descriptor, Err: err}
		}
		return nil
	}
	there, err := r.dst.Manifest(ctx, a.Tag)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return &CopyError{End: Destination, Descriptor: a.Descriptor, Err: err}
	case there.Descriptor.Digest == d:
		a.Outcome = store.Present
	case !contains(a.Raw, there.Raw):
		a.Err = fmt.Errorf("the destination has another one under the tag %s, with what this one does not have: it is left as it is", a.Tag)
	}
	return nil
}

// contains tells whether a manifest has all the layers of another one. cosign adds a
// layer for each signature.
func contains(raw, other []byte) bool {
	var has, had struct{ Layers []store.Descriptor }
	if err := cmp.Or(json.Unmarshal(raw, &has), json.Unmarshal(other, &had)); err != nil {
		return false
	}
	return !slices.ContainsFunc(had.Layers, func(d store.Descriptor) bool {
		return !slices.ContainsFunc(has.Layers, func(h store.Descriptor) bool { return h.Digest == d.Digest })
	})
}

// sent is what was sent for referrers, each digest once: many have the same config.
type sent struct {
	mu      sync.Mutex
	content map[digest.Digest]func() error
}

func (s *sent) once(d digest.Digest, do func() error) error {
	s.mu.Lock()
	if s.content == nil {
		s.content = map[digest.Digest]func() error{}
	}
	if s.content[d] == nil {
		s.content[d] = sync.OnceValue(do)
	}
	do = s.content[d]
	s.mu.Unlock()
	return do()
}

// pushContent pushes what a referrer refers to.
func (r *run) pushContent(ctx context.Context, plan *Plan, sent *sent) error {
	for _, d := range plan.Blobs {
		if err := sent.once(d.Digest, func() error { return r.pushBlob(ctx, d) }); err != nil {
			return err
		}
	}
	for _, m := range plan.Manifests[:len(plan.Manifests)-1] {
		err := sent.once(m.Descriptor.Digest, func() error { return r.dst.PushManifest(ctx, m.Descriptor, m.Raw, "") })
		if err != nil {
			return &CopyError{End: Destination, Descriptor: m.Descriptor, Err: err}
		}
	}
	return nil
}

// pushReferrer pushes a referrer. That the destination takes none of its kind is no
// failure of the run.
func (r *run) pushReferrer(ctx context.Context, a *Attached) error {
	pusher, ok := r.dst.(store.ReferrerPusher)
	if !ok {
		a.Err = store.ErrUnsupported
		return nil
	}
	err := pusher.PushReferrer(ctx, a.Referrer.Referrer)
	switch {
	case errors.Is(err, store.ErrUnsupported), errors.Is(err, store.ErrImmutable):
		a.Err = err
		return nil
	case err != nil:
		return &CopyError{End: Destination, Descriptor: a.Descriptor, Err: err}
	}
	a.Outcome = store.Copied
	r.tell(Event{Kind: ManifestDone, Descriptor: a.Descriptor})
	return nil
}
