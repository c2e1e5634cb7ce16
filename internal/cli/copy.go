package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/report"
	"berth/store"
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

// Error is a line for each.
func (f failures) Error() string { return errors.Join(f...).Error() }

// Unwrap makes [errors.Is] and [errors.As] look at each.
func (f failures) Unwrap() []error { return f }

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
