package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

const (
	// DefaultJobs is how many requests are in flight without [Options.Jobs]: all small
	// blobs of a usual image, whose time is that of their round trips, and few enough
	// for registries not to throttle. ECR's service quotas allow 100 uploads to be
	// started per second.
	DefaultJobs = 64
	// largeBlob is from where on a blob takes longer to send than to ask for: at 50 ms
	// of round-trip time, some 20 MB/s. It counts as two requests, because more than 32
	// side by side only take each other's bandwidth.
	largeBlob = 1 << 20
)

// Options is how [Plan.Run] runs. With the zero value the root is pushed by its
// digest, without a tag.
type Options struct {
	// Tag is the tag that is to name the root.
	Tag string
	// Digest is what the destination's reference asks for, where it names a digest:
	// a root of any other digest is refused before anything is written.
	Digest digest.Digest
	// Jobs is how many blobs and manifests are in flight, blobs of 1 MiB and more
	// counting as two; zero means [DefaultJobs].
	Jobs int
	// MountFrom is the source's repository where both ends are on one registry:
	// blobs are mounted from there instead of sent.
	MountFrom string
	// MountFor says it of each blob, where a plan has several sources. Nil means
	// MountFrom for all of them.
	MountFor func(digest.Digest) string
	// Siblings are other runs that go on beside this one; nil where there are none. With
	// them Host and Repository say where the destination is.
	Siblings         *Siblings
	Host, Repository string
	// Current answers what the tag (without one: the root's digest) names in the
	// destination before the run, or store.ErrNotFound. Nil means that the run asks.
	// Whoever asked while the image was being opened saves a round trip.
	Current func(ctx context.Context) (store.Descriptor, error)
	// Gate is asked whether the tag may be written, side by side with the blobs and
	// outside of Jobs. Where it returns an error the run ends: no tag is written,
	// what was sent by then stays, and the error is part of Run's (use errors.As).
	// Nil agrees. It is not asked where nothing is to be written, see
	// [Result.Unchanged].
	Gate func(ctx context.Context) error
	// Sent are blobs that the destination has got for this run already: they count as
	// copied, and it is not asked about them.
	Sent map[digest.Digest]bool
	// Feed is asked who wants to look at a blob that is being read from its first byte
	// on. What it returns gets all that is read, and is closed when no more comes; it
	// must neither fail nor wait. Nil, as an answer too, means nobody.
	Feed func(store.Descriptor) io.WriteCloser
	// Progress is told how far the run has come. It is called by many goroutines at
	// once, often, and must return fast.
	Progress func(Event)
}

// Run makes dst hold everything that the plan says, with blobs from src.
//
// Where the tag names the root already, nothing is sent. That is as good as
// sending everything, as long as whoever wrote the tag wrote it last, as Run does
// and as registries demand that refuse a manifest whose content they do not have;
// blobs that the destination lost since are not found this way.
//
// The first failure stops everything and is the one returned: a [*CopyError], the
// gate's error, or the context's. The result is never nil, and after a failure it
// tells how far the run came. That the tag names the root in the end, the destination
// has acknowledged: see store.Pusher.
func (p *Plan) Run(ctx context.Context, src store.BlobReader, dst store.Destination, opts Options) (*Result, error) {
	r := &run{plan: p, src: src, dst: dst, opts: opts, result: Result{Root: p.Root, Rewritten: p.Rewritten, Dropped: p.Dropped}}
	if l, ok := src.(*lane); ok {
		defer l.end()
	}
	err := r.run(ctx)
	return &r.result, err
}

// run is the state of one Run.
type run struct {
	plan *Plan
	src  store.BlobReader
	dst  store.Destination
	opts Options

	before  digest.Digest // what the tag named before, empty for nothing
	held    map[digest.Digest]bool
	tagging bool // the push of the root has begun

	mu     sync.Mutex
	result Result
}

func (r *run) run(ctx context.Context) error {
	root := r.plan.Root
	if r.opts.Digest != "" && r.opts.Digest != root.Digest {
		return fmt.Errorf("the destination is to be %s, and what is to be copied is %s: nothing was written", r.opts.Digest, root.Digest)
	}
	before, err := r.current(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return r.interrupted(ctx, &CopyError{End: Destination, Descriptor: root, Err: fmt.Errorf("asking what %s names: %w", r.name(), err)})
	case before.Digest == root.Digest:
		r.result.Unchanged = true
	}
	var tasks []*task
	if !r.result.Unchanged {
		r.before = before.Digest
		for _, d := range r.plan.Skipped {
			r.result.Skipped.add(d)
		}
		r.askHolder(ctx)
		tasks = r.tasks()
	} else {
		tasks = r.attaching(nil)
	}
	if err := execute(ctx, tasks, r.opts.jobs()); err != nil {
		return r.interrupted(ctx, r.blame(ctx, err))
	}
	return nil
}

func (o Options) mountFrom(d digest.Digest) string {
	if o.MountFor != nil {
		return o.MountFor(d)
	}
	return o.MountFrom
}

func (o Options) jobs() int {
	if o.Jobs > 0 {
		return o.Jobs
	}
	return DefaultJobs
}

// name is what the destination is to know the root by.
func (r *run) name() string {
	if r.opts.Tag != "" {
		return r.opts.Tag
	}
	return r.plan.Root.Digest.String()
}

func (r *run) current(ctx context.Context) (store.Descriptor, error) {
	if r.opts.Current != nil {
		return r.opts.Current(ctx)
	}
	return r.dst.Resolve(ctx, r.name())
}

// tasks are the steps of the run and what each waits for. The blobs come first,
// in the plan's order; the root waits for everything.
func (r *run) tasks() []*task {
	var tasks []*task
	blobs := map[digest.Digest]*task{}
	for _, d := range r.plan.Blobs {
		blobs[d.Digest] = &task{do: func(ctx context.Context) error { return r.pushBlob(ctx, d) }, weight: weight(d)}
		tasks = append(tasks, blobs[d.Digest])
	}
	if r.opts.Gate != nil {
		tasks = append(tasks, &task{do: r.askGate})
	}
	manifests := map[digest.Digest]*task{}
	for _, m := range r.plan.Manifests {
		t := &task{do: func(ctx context.Context) error { return r.pushManifest(ctx, m) }, weight: 1}
		if m.Descriptor.Digest == r.plan.Root.Digest {
			if r.isSubject(m.Descriptor.Digest) {
				// What is about the root comes after it, and before its tag is written.
				early := &task{do: func(ctx context.Context) error { return r.pushEarly(ctx, m) }, weight: 1}
				early.after(tasks...)
				manifests[m.Descriptor.Digest] = early
				tasks = append(tasks, early)
			}
			tasks = append(tasks, r.attaching(manifests)...)
			t.after(tasks...)
		} else {
			refers := r.plan.refers[m.Descriptor.Digest]
			for _, d := range refers.blobs {
				t.after(blobs[d])
			}
			for _, d := range refers.manifests {
				if child, ok := manifests[d]; ok { // else the destination holds it
					t.after(child)
				}
			}
		}
		manifests[m.Descriptor.Digest] = t
		tasks = append(tasks, t)
	}
	return tasks
}

// isSubject tells whether a referrer of the plan is about a manifest.
func (r *run) isSubject(d digest.Digest) bool {
	return slices.ContainsFunc(r.plan.Referrers, func(a *Referrer) bool { return a.Subject == d })
}

// pushEarly pushes the root without its tag.
func (r *run) pushEarly(ctx context.Context, m store.Manifest) error {
	if err := r.dst.PushManifest(ctx, m.Descriptor, m.Raw, ""); err != nil {
		return &CopyError{End: Destination, Descriptor: m.Descriptor, Err: err}
	}
	return nil
}

// askHolder asks for all blobs at once where the destination can tell.
func (r *run) askHolder(ctx context.Context) {
	if holder, ok := r.dst.(store.Holder); ok && len(r.plan.Blobs) > 0 {
		r.held = holder.Holds(ctx, r.plan.Blobs)
	}
}

// weight is how many requests a blob counts as.
func weight(d store.Descriptor) int {
	if d.Size >= largeBlob {
		return 2
	}
	return 1
}

func (r *run) askGate(ctx context.Context) error {
	if err := r.opts.Gate(ctx); err != nil {
		return fmt.Errorf("%s is not written: %w", r.name(), err)
	}
	return nil
}

func (r *run) pushManifest(ctx context.Context, m store.Manifest) error {
	tag := ""
	if m.Descriptor.Digest == r.plan.Root.Digest {
		tag, r.tagging = r.opts.Tag, true
	}
	err := r.dst.PushManifest(ctx, m.Descriptor, m.Raw, tag)
	if errors.Is(err, store.ErrImmutable) {
		err = fmt.Errorf("tag %s%s cannot be moved: %w", tag, r.was(), err)
	}
	if err != nil {
		return &CopyError{End: Destination, Descriptor: m.Descriptor, Err: err}
	}
	r.mu.Lock()
	r.result.Manifests++
	r.mu.Unlock()
	r.tell(Event{Kind: ManifestDone, Descriptor: m.Descriptor})
	return nil
}

func (r *run) was() string {
	if r.before == "" {
		return ""
	}
	return fmt.Sprintf(" names %s and", r.before)
}

// interrupted puts the context's end in the place of what it brought about.
func (r *run) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
		return err
	}
	err = ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	if r.tagging {
		return fmt.Errorf("stopped while %s was being written; all that it refers to is there: %w", r.name(), err)
	}
	return fmt.Errorf("stopped before %s was written: %w", r.name(), err)
}

func (r *run) tell(e Event) {
	if r.opts.Progress != nil {
		r.opts.Progress(e)
	}
}
