package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"berth/check"
	"berth/image"
	"berth/report"
	"berth/store"
	"berth/store/registry"
	"berth/transfer"
)

// copyFlags are what berth copy is asked for.
type copyFlags struct {
	platforms, targets []string
	prove              string
	all, dryRun        bool
	referrers, convert bool
	jobs               int
	list               string
}

func (a *app) copy() *cobra.Command {
	var flags copyFlags
	cmd := &cobra.Command{
		Use:   "copy SOURCE DESTINATION… | --from-file LIST",
		Short: "Copy an image: all of it, or exactly what a target needs",
		Long: `Copy an image between registries, OCI layouts and archives, without Docker; and between
these and a Docker daemon.

A SOURCE or a DESTINATION is HOST/REPOSITORY[:TAG][@DIGEST] for a registry, oci:DIR[:TAG],
oci-archive:FILE[:TAG], docker-archive:FILE[:NAME[:TAG]] (what docker save writes), or
docker-daemon:NAME[:TAG]. The FILE - is standard input or standard output. A docker-archive
and a Docker daemon take one platform.

Without --for and --platform everything is copied, bit for bit (--all says so
explicitly). With --for it is what the deploy target runs, in the form that it accepts,
and with several --for what all of them run; with --platform exactly these, with their
attestations, in an index whose entries are unchanged.

With --referrers comes what is about the image or its platforms: what the registry lists
as their referrers, and what cosign keeps under tags of its own. What the destination has
of that kind stays.

With --convert an image is brought into the form that a target of --for demands, where
it has another: layers packed with gzip, Docker's media types. Its digest is another one
then, and signatures and attestations do not cover it.

Several DESTINATIONs get the same at the same time, and the source is read once. Where
one of them fails, the others are written all the same.

With --from-file many images are copied in one go: each line of LIST has a SOURCE and its
DESTINATIONs, and # starts a comment. A blob that several of them have is sent once. Where
one of them fails, the others are copied all the same.

The tag is written last, once everything it names is there, and with --for or
--platform only when what was chosen does not provably fail to start.`,
		Example: `berth copy grafana/grafana HOST/grafana
berth copy grafana/grafana HOST/grafana:v1 --for apprunner
berth copy grafana/grafana:11.0.0 oci:grafana --platform linux/amd64 --platform linux/arm64
berth copy HOST/app:v1 EAST/app:v1 WEST/app:v1 oci-archive:app.tar
docker buildx build -o type=oci,dest=- . | berth copy oci-archive:- HOST/app:v1 --for lambda
berth copy HOST/app:v1 docker-daemon:app:v1 --platform linux/amd64
berth copy --from-file images.txt --for fargate --for eks/arm64`,
		Args: func(cmd *cobra.Command, args []string) error {
			if flags.list != "" && len(args) == 0 {
				return nil
			}
			if flags.list != "" {
				return usagef("--from-file says what is copied: leave %s out, or --from-file", strings.Join(args, " "))
			}
			return arguments(2, -1, "a SOURCE and at least one DESTINATION")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.list != "" {
				return a.runCopyList(cmd.Context(), flags)
			}
			return a.runCopy(cmd.Context(), args[0], args[1:], flags)
		},
	}
	cmd.Flags().StringArrayVar(&flags.platforms, "platform", nil, "copy exactly this platform (os/arch[/variant], repeatable)")
	cmd.Flags().StringArrayVar(&flags.targets, "for", nil, "copy what this deploy target runs: NAME[/ARCH] or a platform (repeatable)")
	cmd.Flags().BoolVar(&flags.all, "all", false, "copy everything, bit for bit, as is done without --for and --platform")
	cmd.Flags().BoolVar(&flags.convert, "convert", false, "where a target of --for demands it: layers of zstd become gzip, OCI media types Docker's; the digest is another one then")
	cmd.Flags().BoolVar(&flags.referrers, "referrers", false, "copy what refers to the image too: signatures, SBOMs and other attachments, and what refers to those")
	cmd.Flags().StringVar(&flags.prove, "prove", "auto", "refuse the tag where the image provably fails to start (auto), also where that cannot be told (always), or never")
	cmd.Flags().BoolVarP(&flags.dryRun, "dry-run", "n", false, "say what would be copied, and write nothing")
	cmd.Flags().StringVar(&flags.list, "from-file", "", "file of lines SOURCE DESTINATION…, or - for standard input: copy many images in one go")
	a.repositoryFlags(cmd)
	cmd.Flags().IntVarP(&flags.jobs, "jobs", "j", transfer.DefaultJobs, "how many requests at once, for each destination; layers of 1 MiB and more count as two")
	a.targetsFlag(cmd)
	a.cacheFlag(cmd)
	return cmd
}

func (a *app) runCopy(ctx context.Context, from string, to []string, flags copyFlags) error {
	choice, err := a.choice(flags)
	if err != nil {
		return err
	}
	srcRef, dstRefs, err := ends(from, to)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(dstRefs, func(r store.Reference) bool { return r.Path == store.Standard }) {
		a.stores.stdout, a.stdout = a.stdout, a.stderr // what is said must not get into the archive
	}
	f, err := a.format()
	if err != nil {
		return err
	}
	c := &copying{app: a, choice: choice, flags: flags, from: from, srcRef: srcRef}
	copies, failed, err := c.copies(ctx, dstRefs)
	if err != nil {
		return err
	}
	if err := a.sayCopied(f, copies); err != nil {
		return err
	}
	if len(failed) == 0 {
		return nil
	}
	return failed
}

// copies copies to all destinations, or with --dry-run plans to. The error is one that
// concerns all of them; those of each are in failed.
func (c *copying) copies(ctx context.Context, dstRefs []store.Reference) (copies *report.Copies, failed failures, err error) {
	a, flags, started := c.app, c.flags, time.Now()
	if c.src, err = a.source(ctx, c.srcRef); err != nil {
		return nil, nil, err
	}
	for _, ref := range dstRefs {
		if flags.referrers && !ref.TakesIndex() {
			return nil, nil, usagef("--referrers: a %s has no place for what is about an image: leave %s or --referrers out", ref.Transport, ref)
		}
		c.legs = append(c.legs, &leg{copying: c, ref: ref})
	}
	if flags.dryRun {
		err = c.plan(ctx)
	} else {
		err = c.run(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	copies = &report.Copies{Source: c.from, Requests: a.requests(), Seconds: time.Since(started).Seconds()}
	if c.siblings != nil {
		copies.Requests = 0 // they are those of all images
	}
	for _, l := range c.legs {
		copied := l.copied
		if l.err != nil {
			if len(c.legs) == 1 {
				return nil, nil, l.err
			}
			copied = &report.Copied{Err: l.err}
			failed = append(failed, fmt.Errorf("%s: %w", l.ref, l.err))
		}
		copied.Source, copied.Destination, copied.DryRun = c.from, l.ref.String(), flags.dryRun
		copied.Requests, copied.Seconds = copies.Requests, copies.Seconds
		copies.Copies = append(copies.Copies, copied)
	}
	for _, l := range c.legs {
		if l.err == nil {
			if err := l.incomplete(); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return copies, failed, nil
}

// incomplete is the answer where the destination does not take all that is about the
// image.
func (l *leg) incomplete() error {
	refused := 0
	if l.copied.Result != nil {
		for _, a := range l.copied.Result.Referrers {
			if a.Err != nil {
				refused++
			}
		}
	}
	if refused == 0 {
		return nil
	}
	return fmt.Errorf("%s is written, and %d of %d referrers are not: %w", l.ref, refused, len(l.copied.Result.Referrers), errIncomplete)
}

// sayCopied writes the result.
func (a *app) sayCopied(f report.Format, copies *report.Copies) error {
	switch {
	case a.quiet:
		for _, copied := range copies.Copies {
			if copied.Err != nil {
				continue
			}
			if _, err := fmt.Fprintln(a.stdout, copied.Plan.Root.Digest); err != nil {
				return err
			}
		}
		return nil
	case len(copies.Copies) == 1:
		return f.Copy(copies.Copies[0])
	}
	return f.Copies(copies)
}

// failures are those of several destinations.
type failures []error

func (f failures) Error() string   { return errors.Join(f...).Error() }
func (f failures) Unwrap() []error { return f }

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

// ends reads the references of a copy. No two destinations may be the same place.
func ends(from string, to []string) (src store.Reference, dsts []store.Reference, err error) {
	if src, err = store.ParseReference(from); err != nil {
		return src, nil, usageError{fmt.Errorf("source: %w", err)}
	}
	places := map[string]bool{}
	for _, arg := range to {
		dst, err := destination(src, arg)
		if err != nil {
			return src, nil, err
		}
		place := dst.String()
		if dst.Transport == store.OCIArchive || dst.Transport == store.DockerArchive {
			place = dst.Path // which holds one image
		}
		if places[place] {
			return src, nil, usagef("destination: %s is named twice", place)
		}
		places[place] = true
		dsts = append(dsts, dst)
	}
	return src, dsts, nil
}

// destination reads a destination. A layout or an archive without a name gets the
// source's.
func destination(src store.Reference, arg string) (store.Reference, error) {
	dst, err := store.ParseReference(arg)
	if err != nil {
		return dst, usageError{fmt.Errorf("destination: %w", err)}
	}
	if dst.Tag != "" || dst.Transport == store.Docker {
		return dst, nil
	}
	switch {
	case dst.Digest != "" && dst.Transport != store.OCILayout:
		return dst, usagef("destination: %s names a digest, and is written under a name: leave the digest out", dst)
	case dst.Digest != "":
	case dst.Transport == store.DockerArchive:
		if src.Repository != "" && src.Tag != "" {
			dst.Host, dst.Repository, dst.Tag = src.Host, src.Repository, src.Tag
		}
	default:
		// The tag of an archive may be a whole name.
		dst.Tag = src.Tag[strings.LastIndexAny(src.Tag, "/:@+")+1:]
		if dst.Tag == "" {
			dst.Tag = "latest"
		}
	}
	return dst, nil
}

// mountFrom is the repository that blobs can be mounted from: the source's, where
// both ends are on one registry.
func mountFrom(src, dst store.Reference) string {
	if src.Transport == store.Docker && dst.Transport == store.Docker && src.Host == dst.Host {
		return src.Repository
	}
	return ""
}

// ask starts a question and returns a function that waits for its answer, as often as
// it is called.
func ask(ctx context.Context, question func(context.Context) (store.Descriptor, error)) func(context.Context) (store.Descriptor, error) {
	type answer struct {
		desc store.Descriptor
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		desc, err := question(ctx)
		done <- answer{desc, err}
	}()
	return func(ctx context.Context) (store.Descriptor, error) {
		select {
		case a := <-done:
			done <- a
			return a.desc, a.err
		case <-ctx.Done():
			return store.Descriptor{}, ctx.Err()
		}
	}
}
