package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

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
	dryRun             bool
	jobs               int
}

func (a *app) copy() *cobra.Command {
	var flags copyFlags
	cmd := &cobra.Command{
		Use:   "copy SOURCE DESTINATION",
		Short: "Copy an image: all of it, or exactly what a target needs",
		Long: `Copy an image between registries, OCI layouts and archives, without Docker; and between
these and a Docker daemon.

A SOURCE or a DESTINATION is HOST/REPOSITORY[:TAG][@DIGEST] for a registry, oci:DIR[:TAG],
oci-archive:FILE[:TAG], docker-archive:FILE[:NAME[:TAG]] (what docker save writes), or
docker-daemon:NAME[:TAG]. The FILE - is standard input or standard output. A docker-archive
and a Docker daemon take one platform.

Without --for and --platform everything is copied, bit for bit. With --for it is what
the deploy target runs, in the form that it accepts; with --platform exactly these,
with their attestations, in an index whose entries are unchanged.

The tag is written last, once everything it names is there, and with --for or
--platform only when what was chosen does not provably fail to start.`,
		Example: `berth copy grafana/grafana HOST/grafana
berth copy grafana/grafana HOST/grafana:v1 --for apprunner
berth copy grafana/grafana:11.0.0 oci:grafana --platform linux/amd64 --platform linux/arm64
docker buildx build -o type=oci,dest=- . | berth copy oci-archive:- HOST/app:v1 --for lambda
berth copy HOST/app:v1 docker-daemon:app:v1 --platform linux/amd64`,
		Args: arguments(2, 2, "a SOURCE and a DESTINATION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runCopy(cmd.Context(), args[0], args[1], flags)
		},
	}
	cmd.Flags().StringArrayVar(&flags.platforms, "platform", nil, "copy exactly this platform (os/arch[/variant], repeatable)")
	cmd.Flags().StringArrayVar(&flags.targets, "for", nil, "copy what this deploy target runs: NAME[/ARCH] or a platform (repeatable)")
	cmd.Flags().StringVar(&flags.prove, "prove", "auto", "refuse the tag where the image provably fails to start (auto), also where that cannot be told (always), or never")
	cmd.Flags().BoolVarP(&flags.dryRun, "dry-run", "n", false, "say what would be copied, and write nothing")
	cmd.Flags().IntVarP(&flags.jobs, "jobs", "j", transfer.DefaultJobs, "how many requests at once; layers of 1 MiB and more count as two")
	a.repositoryFlags(cmd)
	a.targetsFlag(cmd)
	return cmd
}

func (a *app) runCopy(ctx context.Context, from, to string, flags copyFlags) error {
	started := time.Now()
	choice, err := a.choice(flags)
	if err != nil {
		return err
	}
	srcRef, dstRef, err := ends(from, to)
	if err != nil {
		return err
	}
	if dstRef.Path == store.Standard {
		a.stores.stdout, a.stdout = a.stdout, a.stderr // what is said must not get into the archive
	}
	f, err := a.format()
	if err != nil {
		return err
	}
	src, err := a.source(ctx, srcRef)
	if err != nil {
		return err
	}
	c := &copying{app: a, choice: choice, flags: flags, from: from, srcRef: srcRef, dstRef: dstRef, src: src}
	var copied *report.Copied
	if flags.dryRun {
		copied, err = c.plan(ctx)
	} else {
		copied, err = c.run(ctx)
	}
	if err != nil {
		return err
	}
	copied.Source, copied.Destination, copied.DryRun = from, dstRef.String(), flags.dryRun
	copied.Requests, copied.Seconds = a.requests(), time.Since(started).Seconds()
	if a.quiet {
		_, err := fmt.Fprintln(a.stdout, copied.Plan.Root.Digest)
		return err
	}
	return f.Copy(copied)
}

// copying is one copy.
type copying struct {
	app            *app
	choice         *choice
	flags          copyFlags
	from           string
	srcRef, dstRef store.Reference
	src            store.Source
}

// plan says what would be copied.
func (c *copying) plan(ctx context.Context) (*report.Copied, error) {
	im, err := image.Open(ctx, c.src, c.srcRef.Identifier())
	if err != nil {
		return nil, err
	}
	return c.planOf(im)
}

func (c *copying) planOf(im *image.Image) (*report.Copied, error) {
	selection, err := c.choice.selection(im, c.dstRef)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", c.from, err)}
	}
	plan, err := transfer.New(selection, transfer.PlanOptions{})
	return &report.Copied{Selection: selection, Plan: plan}, err
}

// run copies. Whatever waits for a registry does so beside everything else that can be
// known by then: what the destination has is asked while the source is opened, and
// blobs are on their way while the configs are read.
func (c *copying) run(ctx context.Context) (*report.Copied, error) {
	dst, err := c.app.destination(ctx, c.dstRef)
	if err != nil {
		return nil, err
	}
	if err := c.intend(); err != nil {
		return nil, err
	}
	name := c.dstRef.Tag
	if name == "" {
		name = c.dstRef.Digest.String()
	}
	current := ask(ctx, func(ctx context.Context) (store.Descriptor, error) { return dst.Resolve(ctx, name) })
	opening, err := image.Begin(ctx, c.src, c.srcRef.Identifier())
	if err != nil {
		return nil, err
	}
	root := opening.Root.Descriptor.Digest
	if c.choice.all() && (c.dstRef.Digest == "" || c.dstRef.Digest == root) {
		// An answer that cannot be had is the run's to tell.
		if held, err := current(ctx); err == nil && held.Digest == root {
			return unchanged(opening), nil
		}
	}
	im, err := c.choice.open(ctx, opening, c.dstRef)
	if err != nil {
		return nil, err
	}
	copied, err := c.planOf(im)
	if err != nil {
		return nil, err
	}
	gate := &gate{mode: c.flags.prove, src: opening, read: func(ctx context.Context) ([]*check.Subject, error) {
		whole := *copied.Selection
		whole.Manifests = opening.Configs(ctx, whole.Manifests)
		for _, m := range whole.Manifests {
			if m.Err != nil {
				return nil, &transfer.CopyError{End: transfer.Source, Descriptor: m.Descriptor, Err: m.Err}
			}
		}
		copied.Selection = &whole
		return c.choice.subjects(c.srcRef, c.from, &whole), nil
	}}
	progress := c.app.progress(copied.Plan)
	copied.Result, err = copied.Plan.Run(ctx, opening, dst, transfer.Options{
		Tag: c.dstRef.Tag, Digest: c.dstRef.Digest, Jobs: c.flags.jobs, MountFrom: mountFrom(c.srcRef, c.dstRef),
		Current: current, Gate: gate.ask, Progress: progress.event,
	})
	progress.end()
	if err == nil && copied.Result.Unchanged {
		// The run had no tag to write, and so did not ask.
		if err = gate.ask(ctx); err != nil {
			err = fmt.Errorf("%s is there already, and: %w", c.dstRef, err)
		}
	}
	copied.Starts = gate.starts()
	return copied, err
}

// intend tells the client what both ends will need on the destination's registry.
func (c *copying) intend() error {
	if c.dstRef.Transport != store.Docker {
		return nil
	}
	client, err := c.app.registries()
	if err != nil {
		return err
	}
	scopes := []string{registry.PushScope(c.dstRef.Repository)}
	if from := mountFrom(c.srcRef, c.dstRef); from != "" && from != c.dstRef.Repository {
		scopes = append(scopes, registry.PullScope(from))
	}
	client.Intend(c.dstRef.Host, scopes...)
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

// ends reads both references of a copy. A layout or an archive without a name gets the
// source's.
func ends(from, to string) (src, dst store.Reference, err error) {
	if src, err = store.ParseReference(from); err != nil {
		return src, dst, usageError{fmt.Errorf("source: %w", err)}
	}
	if dst, err = store.ParseReference(to); err != nil {
		return src, dst, usageError{fmt.Errorf("destination: %w", err)}
	}
	if dst.Tag != "" || dst.Transport == store.Docker {
		return src, dst, nil
	}
	switch {
	case dst.Digest != "" && dst.Transport != store.OCILayout:
		return src, dst, usagef("destination: %s names a digest, and is written under a name: leave the digest out", dst)
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
	return src, dst, nil
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
