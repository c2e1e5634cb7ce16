package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/check"
	"berth/image"
	"berth/platform"
	"berth/report"
	"berth/store"
	"berth/store/registry"
	"berth/target"
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
	cmd.Flags().IntVarP(&flags.jobs, "jobs", "j", transfer.DefaultJobs, "how many requests at once")
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
	var dst store.Destination
	var current func(context.Context) (store.Descriptor, error)
	if !flags.dryRun {
		if dst, err = a.destination(ctx, dstRef); err != nil {
			return err
		}
		current = ask(ctx, func(ctx context.Context) (store.Descriptor, error) { return a.current(ctx, srcRef, dstRef, dst) })
	}
	im, err := image.Open(ctx, src, srcRef.Identifier())
	if err != nil {
		return err
	}
	selection, err := choice.selection(im, dstRef)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", from, err)}
	}
	plan, err := transfer.New(selection, transfer.PlanOptions{})
	if err != nil {
		return err
	}
	copied := &report.Copied{Source: from, Destination: dstRef.String(), Selection: selection, Plan: plan, DryRun: flags.dryRun}
	if !flags.dryRun {
		gate := &gate{mode: flags.prove, src: src, subjects: choice.subjects(srcRef, from, selection)}
		progress := a.progress(plan)
		copied.Result, err = plan.Run(ctx, src, dst, transfer.Options{
			Tag: dstRef.Tag, Digest: dstRef.Digest, Jobs: flags.jobs, MountFrom: mountFrom(srcRef, dstRef),
			Current: current, Gate: gate.ask, Progress: progress.event,
		})
		progress.end()
		if err == nil && copied.Result.Unchanged {
			// The run had no tag to write, and so did not ask.
			if err = gate.ask(ctx); err != nil {
				err = fmt.Errorf("%s is there already, and: %w", dstRef, err)
			}
		}
		if err != nil {
			return err
		}
		copied.Starts = gate.starts()
	}
	copied.Requests, copied.Seconds = a.requests(), time.Since(started).Seconds()
	if a.quiet {
		_, err := fmt.Fprintln(a.stdout, plan.Root.Digest)
		return err
	}
	return f.Copy(copied)
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

// ask starts a question and returns a function that waits for its answer.
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
			return a.desc, a.err
		case <-ctx.Done():
			return store.Descriptor{}, ctx.Err()
		}
	}
}

// current is what the destination names now. It is asked while the source is being
// opened, and obtains the token for writing on the way.
func (a *app) current(ctx context.Context, src, dst store.Reference, to store.Destination) (store.Descriptor, error) {
	if dst.Transport == store.Docker {
		client, err := a.registries()
		if err != nil {
			return store.Descriptor{}, err
		}
		scopes := []string{registry.PushScope(dst.Repository)}
		if from := mountFrom(src, dst); from != "" && from != dst.Repository {
			scopes = append(scopes, registry.PullScope(from))
		}
		if err := client.Authorize(ctx, dst.Host, scopes...); err != nil {
			return store.Descriptor{}, err
		}
	}
	if dst.Tag != "" {
		return to.Resolve(ctx, dst.Tag)
	}
	return to.Resolve(ctx, dst.Digest.String())
}

// choice is what is to be copied of an image.
type choice struct {
	needs []target.Need
}

func (a *app) choice(flags copyFlags) (*choice, error) {
	switch flags.prove {
	case "auto", "always", "never":
	default:
		return nil, usagef("--prove %q is not known: write auto, always or never", flags.prove)
	}
	if flags.jobs < 1 {
		return nil, usagef("--jobs %d: at least 1 is needed", flags.jobs)
	}
	if len(flags.platforms) > 0 && len(flags.targets) > 0 {
		return nil, usagef("--platform and --for both say what to copy: write one of them")
	}
	needs, err := a.needs(flags.targets)
	if err != nil {
		return nil, err
	}
	c := &choice{needs}
	ps, err := platforms(flags.platforms)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		c.needs = append(c.needs, target.Need{Platform: p, Why: "asked for"})
	}
	return c, nil
}

func (c *choice) selection(im *image.Image, dst store.Reference) (*image.Selection, error) {
	if len(c.needs) == 0 {
		if im.IsIndex && !dst.TakesIndex() {
			return onlyImage(im, dst)
		}
		return im.All(), nil
	}
	var wants []platform.Platform
	opts := image.OnlyOptions{Plain: !dst.TakesIndex()}
	for _, need := range c.needs {
		wants = append(wants, need.Platform)
		// What is not known to be accepted is left out: a plain manifest runs everywhere.
		if t := need.Target; t != nil {
			opts.Plain = opts.Plain || t.Accepts.Index != target.Yes
			opts.NoAttestations = opts.NoAttestations || t.Accepts.Attestation == target.No
		}
	}
	return im.Only(wants, opts)
}

// onlyImage selects the image of an index with one, for a destination that takes one.
func onlyImage(im *image.Image, dst store.Reference) (*image.Selection, error) {
	images := im.Images()
	if len(images) != 1 {
		return nil, fmt.Errorf("the index has %s, and a %s takes one platform: choose it with --platform", formats(im.Platforms()), dst.Transport)
	}
	return im.Only([]platform.Platform{images[0].Platform()}, image.OnlyOptions{Plain: true})
}

// subjects are what was asked for by platform or target, and what the tag therefore
// depends on. A bit-for-bit copy asked for nothing.
func (c *choice) subjects(ref store.Reference, name string, s *image.Selection) []*check.Subject {
	var subjects []*check.Subject
	for _, need := range c.needs {
		subject := &check.Subject{Reference: ref, Name: name, Need: need, Image: s.Image()}
		subject.Select()
		subjects = append(subjects, subject)
	}
	return subjects
}
