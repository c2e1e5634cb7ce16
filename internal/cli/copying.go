package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/image"
	"berth/report"
	"berth/store"
	"berth/store/registry"
	"berth/transfer"
)

// copying is one copy.
type copying struct {
	app    *app
	choice *choice
	flags  copyFlags
	from   string
	srcRef store.Reference
	src    store.Source
	// siblings are set where other images are copied beside this one.
	siblings *transfer.Siblings
	// opening is the source, opened.
	opening *image.Opening
	// content is where blobs are from, those that were converted too.
	content convertible
	legs    []*leg
}

// leg is the way to one destination.
type leg struct {
	*copying
	ref store.Reference
	dst store.Destination
	// current is what the destination had.
	current func(context.Context) (store.Descriptor, error)
	copied  *report.Copied
	// err is why nothing arrived here, which is no reason for the others to stop.
	err error
}

// plan says what would be copied.
func (c *copying) plan(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	im, err := c.opening.Manifests(ctx)
	if err != nil {
		return err
	}
	whole := *im
	whole.Manifests = c.opening.Configs(ctx, im.Manifests)
	return c.planOf(ctx, &whole, c.legs)
}

// begin opens the source.
func (c *copying) begin(ctx context.Context) (err error) {
	c.opening, err = image.Begin(ctx, c.src, c.srcRef.Identifier())
	c.content.BlobReader = c.opening
	return err
}

// planOf plans the ways to legs.
func (c *copying) planOf(ctx context.Context, im *image.Image, legs []*leg) error {
	planned := map[digest.Digest]*report.Copied{} // by the root of the selection
	for _, l := range legs {
		selection, err := c.choice.selection(im, c.from, l.ref)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", c.from, err)}
		}
		root := selection.Root.Descriptor.Digest
		if planned[root] == nil {
			var dst store.Destination
			if len(legs) == 1 {
				dst = l.dst
			}
			if planned[root], err = c.planned(ctx, im, selection, dst); err != nil {
				return err
			}
		}
		copied := *planned[root]
		l.copied = &copied
	}
	return nil
}

// planned is the plan of a selection. dst takes what is converted, and may be nil.
func (c *copying) planned(ctx context.Context, im *image.Image, selection *image.Selection, dst store.Destination) (*report.Copied, error) {
	copied := &report.Copied{Selection: selection}
	var err error
	if c.flags.convert {
		c.sayConverting(selection)
		if copied.Converted, err = c.convert(ctx, selection, dst); err != nil {
			return nil, err
		}
	}
	if copied.Converted != nil {
		copied.Selection = copied.Converted.Selection
		c.content.converted = append(c.content.converted, copied.Converted)
	}
	var opts transfer.PlanOptions
	if c.flags.referrers {
		if copied.Attachments, err = c.attached(ctx, im, copied); err != nil {
			return nil, err
		}
		opts.Attached = copied.Attachments.Found
	}
	copied.Plan, err = transfer.New(copied.Selection, opts)
	return copied, err
}

// attached finds what is about a selection, and what is about what the selection was
// made of.
func (c *copying) attached(ctx context.Context, im *image.Image, copied *report.Copied) (*report.Attachments, error) {
	found, err := image.FindAttached(ctx, c.src, copied.Selection.Digests())
	if err != nil {
		return nil, err
	}
	a := &report.Attachments{Attachments: found}
	var made []digest.Digest
	if root := im.Root.Descriptor.Digest; root != copied.Selection.Root.Descriptor.Digest {
		made = append(made, root)
	}
	if copied.Converted != nil {
		for _, one := range copied.Converted.Conversions {
			if !slices.Contains(made, one.From) {
				made = append(made, one.From)
			}
		}
	}
	left, err := image.FindAttached(ctx, c.src, made)
	if err != nil {
		return nil, err
	}
	a.Left = left.Found
	return a, nil
}

// run copies. Whatever waits for a registry does so beside everything else that can be
// known by then: what the destinations have is asked while the source is opened, and
// blobs are on their way while the configs are read.
//
// The error is one that concerns all; that of a destination is in its leg.
func (c *copying) run(ctx context.Context) error {
	if err := c.open(ctx); err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	var open []*leg
	for _, l := range c.legs {
		if l.err == nil && !l.unchanged(ctx, c.opening) {
			open = append(open, l)
		}
	}
	if len(open) == 0 {
		return nil
	}
	indexes := !slices.ContainsFunc(open, func(l *leg) bool { return !l.ref.TakesIndex() })
	im, err := c.choice.open(ctx, c.opening, indexes)
	if err != nil {
		return err
	}
	var plans []*transfer.Plan
	var names []string
	if err := c.planOf(ctx, im, open); err != nil {
		return err
	}
	for _, l := range open {
		plans = append(plans, l.copied.Plan)
		names = append(names, l.ref.String())
	}
	prover := c.app.prover(nil)
	prover.Pool = prover.NewPool()
	gates := c.gates(ctx, prover, open)
	feeds := c.feeds(prover, open)
	progress := c.app.progress(names, plans...)
	readers, unshare := c.readers(ctx, open)
	defer unshare()
	var running sync.WaitGroup
	for i, l := range open {
		tell := progress.of(i)
		opts := transfer.Options{
			Sent: l.sent(),
			Feed: feeds.of,
			Progress: func(e transfer.Event) {
				if e.Kind == transfer.BlobDone {
					feeds.done(i, e.Descriptor.Digest)
				}
				tell(e)
			},
		}
		running.Go(func() {
			l.err = l.run(ctx, readers[i], gates[l.copied.Plan.Root.Digest], opts, func() { feeds.end(i) })
		})
	}
	running.Wait()
	progress.end()
	for _, g := range gates {
		g.end()
	}
	for _, l := range open {
		gates[l.copied.Plan.Root.Digest].tell(l.copied)
	}
	return nil
}

// open opens all destinations and starts to ask what they have. A destination that
// cannot be opened is left out, unless it is the only one or named wrongly.
func (c *copying) open(ctx context.Context) error {
	for _, l := range c.legs {
		l.dst, l.err = c.app.destination(ctx, l.ref)
		if usage := (usageError{}); l.err != nil && (len(c.legs) == 1 || errors.As(l.err, &usage)) {
			return l.err
		}
	}
	if err := c.intend(); err != nil {
		return err
	}
	for _, l := range c.legs {
		if l.err == nil {
			name := l.ref.Tag
			if name == "" {
				name = l.ref.Digest.String()
			}
			l.current = ask(ctx, func(ctx context.Context) (store.Descriptor, error) { return l.dst.Resolve(ctx, name) })
		}
	}
	return nil
}

// unchanged tells whether everything is to be copied to where it is already.
func (l *leg) unchanged(ctx context.Context, opening *image.Opening) bool {
	root := opening.Root.Descriptor.Digest
	if !l.choice.all() || l.flags.referrers || l.ref.Digest != "" && l.ref.Digest != root {
		return false
	}
	// An answer that cannot be had is the run's to tell.
	held, err := l.current(ctx)
	if err != nil || held.Digest != root {
		return false
	}
	l.copied = unchanged(opening)
	return true
}

// gates are what decides over the tags: one gate for each root.
func (c *copying) gates(ctx context.Context, prover check.Prover, legs []*leg) map[digest.Digest]*gate {
	gates := map[digest.Digest]*gate{}
	for _, l := range legs {
		root := l.copied.Plan.Root.Digest
		if gates[root] != nil {
			continue
		}
		gates[root] = newGate(ctx, c.flags.prove, prover, &c.content, func(ctx context.Context) (*image.Selection, []*check.Subject, error) {
			whole := *l.copied.Selection
			whole.Manifests = c.opening.Configs(ctx, whole.Manifests)
			for _, m := range whole.Manifests {
				if m.Err != nil {
					return nil, nil, &transfer.CopyError{End: transfer.Source, Descriptor: m.Descriptor, Err: m.Err}
				}
			}
			return &whole, c.choice.subjects(c.srcRef, c.from, &whole), nil
		})
	}
	return gates
}

// readers are what each leg reads from: together, what several need is fetched once. A
// docker-archive and a Docker daemon take one blob after the other, and would hold up
// the others. The caller ends the sharing.
func (c *copying) readers(ctx context.Context, legs []*leg) (readers []store.BlobReader, unshare func()) {
	var together []int
	var plans []*transfer.Plan
	for i, l := range legs {
		readers = append(readers, &c.content)
		if l.ref.TakesIndex() {
			together, plans = append(together, i), append(plans, l.copied.Plan)
		}
	}
	if len(together) < 2 {
		return readers, func() {}
	}
	shared := transfer.Share(ctx, &c.content, plans...)
	for n, i := range together {
		readers[i] = shared.Reader(n)
	}
	return readers, shared.Close
}

// feeds announces what the proof can learn from what is copied.
func (c *copying) feeds(prover check.Prover, legs []*leg) *feeds {
	subjects := make([][]*check.Subject, len(legs))
	if c.flags.prove != "never" {
		for i, l := range legs {
			subjects[i] = c.choice.subjects(c.srcRef, c.from, l.copied.Selection)
		}
	}
	return announce(prover.Pool, subjects)
}

// run copies to one destination. It calls ended once nothing is copied any more.
func (l *leg) run(ctx context.Context, src store.BlobReader, gate *gate, opts transfer.Options, ended func()) (err error) {
	opts.Tag, opts.Digest, opts.Jobs, opts.MountFrom = l.ref.Tag, l.ref.Digest, l.flags.jobs, mountFrom(l.srcRef, l.ref)
	opts.Siblings, opts.Host, opts.Repository = l.siblings, l.ref.Host, l.ref.Repository
	opts.Current, opts.Gate = l.current, func(ctx context.Context) error { return l.choice.convertHint(l.flags, gate.ask(ctx)) }
	l.copied.Result, err = l.copied.Plan.Run(ctx, src, l.dst, opts)
	ended()
	if err == nil && l.copied.Result.Unchanged {
		// The run had no tag to write, and so did not ask.
		if err = gate.ask(ctx); err != nil {
			err = fmt.Errorf("%s is there already, and: %w", l.ref, err)
		}
	}
	return err
}

// sent is what the destination has got while it was converted.
func (l *leg) sent() map[digest.Digest]bool {
	if l.copied.Converted == nil {
		return nil
	}
	return l.copied.Converted.Sent
}

// intend tells the client what will be needed on each destination's registry.
func (c *copying) intend() error {
	scopes := map[string][]string{}
	for _, l := range c.legs {
		if l.ref.Transport != store.Docker || l.err != nil {
			continue
		}
		scopes[l.ref.Host] = append(scopes[l.ref.Host], registry.PushScope(l.ref.Repository))
		if from := mountFrom(c.srcRef, l.ref); from != "" && from != l.ref.Repository {
			scopes[l.ref.Host] = append(scopes[l.ref.Host], registry.PullScope(from))
		}
	}
	if len(scopes) == 0 {
		return nil
	}
	client, err := c.app.registries()
	if err != nil {
		return err
	}
	for host, needed := range scopes {
		slices.Sort(needed)
		client.Intend(host, slices.Compact(needed)...)
	}
	return nil
}

// unchanged is a copy of everything to where it is already. Nothing below the root was
// read.
func unchanged(opening *image.Opening) *report.Copied {
	root := opening.Root
	return &report.Copied{
		Selection: &image.Selection{Root: root, Manifests: opening.Entries()},
		Plan:      &transfer.Plan{Root: root.Descriptor},
		Result:    &transfer.Result{Root: root.Descriptor, Unchanged: true},
	}
}
