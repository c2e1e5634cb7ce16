package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"berth/check"
	"berth/image"
	"berth/report"
	"berth/store"
	"berth/store/registry"
	"berth/target"
	"berth/transfer"
)

// index is the parent of what is done with indexes.
func (a *app) index() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Make a multi-platform index of images built apart",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q: write berth index create DESTINATION SOURCE…", "index "+args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.indexCreate())
	return cmd
}

// indexFlags are what berth index create is asked for.
type indexFlags struct {
	prove       string
	annotations []string
	dryRun      bool
	jobs        int
}

func (a *app) indexCreate() *cobra.Command {
	var flags indexFlags
	cmd := &cobra.Command{
		Use:   "create DESTINATION SOURCE…",
		Short: "Make a multi-platform index of images built apart, one runner per architecture",
		Long: `Make a multi-platform index of images that were built apart, one runner per architecture.

The platform of each entry is that of the image's own config. A SOURCE may be an index
itself: its entries are taken in unchanged, with their attestations. SOURCEs may be in
other repositories, registries, OCI layouts and archives: what the destination does not
have is copied, or mounted. A SOURCE of the destination's own repository may be written
as :TAG or sha256:DIGEST alone. They stay where they are.

Refused are two images of one platform, and an image whose index entry, config and
executables do not name the same machine, or that provably fails to start. The tag is
written last.`,
		Example: `berth index create HOST/app:v1 HOST/app:v1-amd64 HOST/app:v1-arm64
berth index create HOST/app:v1 sha256:DIGEST sha256:DIGEST
berth index create HOST/app:v1 oci:build-amd64 oci:build-arm64
berth index create HOST/app:v1 :v1 HOST/riscv/app:v1`,
		Args: arguments(2, -1, "a DESTINATION and one or several SOURCEs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runIndexCreate(cmd.Context(), args[0], args[1:], flags)
		},
	}
	a.cacheFlag(cmd)
	cmd.Flags().StringVar(&flags.prove, "prove", "auto", "refuse the tag where an image provably fails to start or is mislabelled (auto), also where that cannot be told (always), or never")
	cmd.Flags().StringArrayVar(&flags.annotations, "annotation", nil, "annotation KEY=VALUE of the index (repeatable)")
	cmd.Flags().BoolVarP(&flags.dryRun, "dry-run", "n", false, "say what would be written, and write nothing")
	cmd.Flags().IntVarP(&flags.jobs, "jobs", "j", transfer.DefaultJobs, "how many requests at once; layers of 1 MiB and more count as two")
	a.repositoryFlags(cmd)
	return cmd
}

func (a *app) runIndexCreate(ctx context.Context, to string, from []string, flags indexFlags) error {
	started := time.Now()
	if err := a.checkCopying(flags.prove, flags.jobs); err != nil {
		return err
	}
	annotations, err := keyValues("--annotation", flags.annotations)
	if err != nil {
		return err
	}
	as := &assembling{app: a, flags: flags, annotations: annotations}
	if err := as.references(to, from); err != nil {
		return err
	}
	if as.dst.Path == store.Standard {
		a.stores.stdout, a.stdout = a.stdout, a.stderr // what is said must not get into the archive
	}
	f, err := a.format()
	if err != nil {
		return err
	}
	made, err := as.run(ctx)
	if err != nil {
		return err
	}
	made.Requests, made.Seconds = a.requests(), time.Since(started).Seconds()
	if a.quiet {
		_, err := fmt.Fprintln(a.stdout, made.Plan.Root.Digest)
		return err
	}
	return f.Index(made)
}

// checkCopying checks the flags that all commands have that copy.
func (a *app) checkCopying(prove string, jobs int) error {
	switch prove {
	case "auto", "always", "never":
	default:
		return usagef("--prove %q is not known: write auto, always or never", prove)
	}
	if jobs < 1 {
		return usagef("--jobs %d: at least 1 is needed", jobs)
	}
	return a.repositories.check()
}

// keyValues reads the values of a flag that has KEY=VALUE.
func keyValues(flag string, values []string) (map[string]string, error) {
	pairs := map[string]string{}
	for _, s := range values {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usagef("%s %q: write KEY=VALUE, such as org.opencontainers.image.version=1.2.3", flag, s)
		}
		if _, twice := pairs[key]; twice {
			return nil, usagef("%s: %q is given twice", flag, key)
		}
		pairs[key] = value
	}
	return pairs, nil
}

// assembling is one index on its way.
type assembling struct {
	app         *app
	flags       indexFlags
	annotations map[string]string
	dst         store.Reference
	parts       []*part
}

// part is one of its sources.
type part struct {
	name    string
	ref     store.Reference
	opening *image.Opening
	image   *image.Image
	// near is set where it is in the destination's own repository.
	near bool
}

// references reads what was written.
func (as *assembling) references(to string, from []string) (err error) {
	if as.dst, err = store.ParseReference(to); err != nil {
		return usageError{fmt.Errorf("destination: %w", err)}
	}
	switch {
	case !as.dst.TakesIndex():
		return usagef("destination: %s: a %s takes one platform and no index: write to a registry, oci:DIR or oci-archive:FILE", as.dst, as.dst.Transport)
	case as.dst.Digest != "":
		return usagef("destination: %s names a digest, and the index has none before it is made: write a tag", as.dst)
	case as.dst.Tag == "":
		as.dst.Tag = "latest"
	}
	for _, name := range from {
		ref, err := sourceOf(as.dst, name)
		if err != nil {
			return usageError{fmt.Errorf("source: %w", err)}
		}
		as.parts = append(as.parts, &part{name: name, ref: ref})
	}
	return nil
}

// sourceOf reads a source. What names a tag or a digest alone is in the destination's
// own repository, as docker buildx imagetools create has it.
func sourceOf(dst store.Reference, name string) (store.Reference, error) {
	alone := strings.TrimPrefix(name, "@")
	if d := digest.Digest(alone); d.Validate() == nil {
		return dst.WithDigest(d), nil
	}
	if tag, ok := strings.CutPrefix(name, ":"); ok {
		near := dst
		near.Tag = ""
		return store.ParseReference(near.String() + ":" + tag)
	}
	return store.ParseReference(name)
}

// run makes the index. Everything is asked for at once: what the destination has, all
// sources, and then all that they hold.
func (as *assembling) run(ctx context.Context) (*report.Indexed, error) {
	var dst store.Destination
	var current func(context.Context) (store.Descriptor, error)
	if !as.flags.dryRun {
		var err error
		if dst, err = as.app.destination(ctx, as.dst); err != nil {
			return nil, err
		}
		if err := as.intend(); err != nil {
			return nil, err
		}
		current = ask(ctx, func(ctx context.Context) (store.Descriptor, error) { return dst.Resolve(ctx, as.dst.Tag) })
	}
	if err := as.open(ctx); err != nil {
		return nil, err
	}
	made, err := as.assemble()
	if err != nil || as.flags.dryRun {
		return made, err
	}
	src := as.content()
	subjects := as.subjects(made)
	gate := func(ctx context.Context) error { return as.gate(ctx, src, subjects, made) }
	progress := as.app.progress(nil, made.Plan)
	made.Result, err = made.Plan.Run(ctx, src, dst, transfer.Options{
		Tag: as.dst.Tag, Jobs: as.flags.jobs, MountFor: src.mountFor(as.dst),
		Current: current, Gate: gate, Progress: progress.of(0),
	})
	progress.end()
	if err == nil && made.Result.Unchanged {
		// The run had no tag to write, and so did not ask.
		if err = gate(ctx); err != nil {
			err = fmt.Errorf("%s is there already, and: %w", as.dst, err)
		}
	}
	return made, err
}

// intend tells the client what all ends will need on the destination's registry.
func (as *assembling) intend() error {
	if as.dst.Transport != store.Docker {
		return nil
	}
	client, err := as.app.registries()
	if err != nil {
		return err
	}
	scopes := []string{registry.PushScope(as.dst.Repository)}
	for _, p := range as.parts {
		if from := mountFrom(p.ref, as.dst); from != "" && from != as.dst.Repository {
			scopes = append(scopes, registry.PullScope(from))
		}
	}
	client.Intend(as.dst.Host, scopes...)
	return nil
}

// open opens all sources at once. All that cannot be read are told, because each is
// another runner's to mend.
func (as *assembling) open(ctx context.Context) error {
	failed := make([]error, len(as.parts))
	var group errgroup.Group
	for i, p := range as.parts {
		group.Go(func() error {
			failed[i] = p.open(ctx, as.app, as.dst)
			return nil
		})
	}
	_ = group.Wait() // failures are in failed
	if ctx.Err() != nil {
		return fmt.Errorf("stopped before %s was written: %w", as.dst, ctx.Err())
	}
	return errors.Join(failed...)
}

func (p *part) open(ctx context.Context, a *app, dst store.Reference) error {
	src, err := a.source(ctx, p.ref)
	if err != nil {
		return err
	}
	// What a mirror has the registry itself need not have.
	mirrored, ok := src.(interface{ Mirrored() bool })
	from := mountFrom(p.ref, dst)
	p.near = from != "" && from == dst.Repository && ok && !mirrored.Mirrored()
	if p.opening, err = image.Begin(ctx, src, p.ref.Identifier()); err != nil {
		return err
	}
	im, err := p.opening.Manifests(ctx)
	if err != nil {
		return err
	}
	whole := *im
	whole.Manifests = p.opening.Configs(ctx, im.Manifests)
	p.image = &whole
	return nil
}

// assemble makes the index of what was opened.
func (as *assembling) assemble() (*report.Indexed, error) {
	var parts []image.Part
	made := &report.Indexed{Destination: as.dst.String(), From: map[digest.Digest]string{}, DryRun: as.flags.dryRun}
	near := map[digest.Digest]bool{}
	for _, p := range as.parts {
		parts = append(parts, image.Part{Name: p.name, Image: p.image})
		for _, m := range p.image.Manifests {
			if m.Err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, m.Err)
			}
			made.From[m.Descriptor.Digest] = p.name
			near[m.Descriptor.Digest] = near[m.Descriptor.Digest] || p.near
		}
	}
	var err error
	if made.Selection, err = image.Assemble(parts, image.AssembleOptions{Annotations: as.annotations}); err != nil {
		return nil, usageError{err}
	}
	made.Plan, err = transfer.New(made.Selection, transfer.PlanOptions{Held: func(d digest.Digest) bool { return near[d] }})
	return made, err
}

// subjects are all images of the index, each held against the platform of its entry.
func (as *assembling) subjects(made *report.Indexed) []*check.Subject {
	var subjects []*check.Subject
	whole := made.Selection.Image()
	for _, m := range whole.Images() {
		need := target.Need{Platform: m.Platform(), Why: "its entry in the index"}
		subjects = append(subjects, &check.Subject{Reference: as.dst, Name: made.From[m.Descriptor.Digest], Need: need, Image: whole, Selected: m})
	}
	return subjects
}

// labelsDisagree is the rule that an index is refused by although an image that breaks
// it may run: an index is made of what its images say.
const labelsDisagree = "labels-disagree"

// gate decides whether the tag may be written.
func (as *assembling) gate(ctx context.Context, src store.BlobReader, subjects []*check.Subject, made *report.Indexed) error {
	if as.flags.prove == "never" {
		return nil
	}
	as.app.prover(nil).Subjects(ctx, src, subjects)
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range subjects {
		if s.Start != nil {
			made.Starts = append(made.Starts, s.Start)
		}
	}
	for _, r := range check.Run(subjects) {
		for i, f := range r.Findings {
			if f.Name == labelsDisagree && r.Verdict != check.RunsNot {
				r.Verdict, r.Findings = check.RunsNot, append([]check.Finding{f}, append(r.Findings[:i:i], r.Findings[i+1:]...)...)
			}
		}
		if r.Verdict == check.RunsNot || as.flags.prove == "always" && r.Verdict == check.Unknown {
			return &refusal{r}
		}
	}
	return nil
}

// content is where each blob is read from.
type content map[digest.Digest]*part

func (as *assembling) content() content {
	c := content{}
	for _, p := range as.parts {
		for _, m := range p.image.Manifests {
			for _, d := range append([]store.Descriptor{m.ConfigDescriptor}, m.Layers...) {
				// Of several the one that blobs can be mounted from.
				if known, ok := c[d.Digest]; !ok || mountFrom(known.ref, as.dst) == "" {
					c[d.Digest] = p
				}
			}
		}
	}
	return c
}

// Blob implements store.BlobReader.
func (c content) Blob(ctx context.Context, d store.Descriptor, offset int64) (io.ReadCloser, error) {
	p, ok := c[d.Digest]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w: no source refers to it", d.Digest, store.ErrNotFound)
	}
	return p.opening.Blob(ctx, d, offset)
}

// mountFor tells the repository of dst's registry that each blob can be mounted from.
func (c content) mountFor(dst store.Reference) func(digest.Digest) string {
	return func(d digest.Digest) string {
		if p, ok := c[d]; ok {
			return mountFrom(p.ref, dst)
		}
		return ""
	}
}
