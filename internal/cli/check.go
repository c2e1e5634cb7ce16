package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"berth/check"
	"berth/store"
	"berth/target"
	"berth/workload"
)

// checkFlags are those of check and of fix.
type checkFlags struct {
	targets          []string
	labelsOnly       bool
	offline          bool
	config           string
	cluster          string
	clusterPlatforms []string
	parameters       map[string]string
	lock             string
	strict           bool
	failOn           string
	proving          *provingFlags
}

func (a *app) check() *cobra.Command {
	flags := new(checkFlags)
	cmd := &cobra.Command{
		Use:   "check IMAGE|FILE|FOLDER|-…",
		Short: "Check whether images run where they are deployed, and say what to do",
		Long: `Check whether images run where they are deployed: whether the platform is there,
whether the target takes this kind of image, whether labels and bytes agree, and
whether it starts. Every finding says why, and what to type.

What is checked are images, against the targets of --for, or deployment files, which
say by themselves where their images run: ` + wrapped(formatTitles()) + `.
A folder is looked through for them, - is one on standard input. A name that exists as
a file or a folder is one; docker://NAME is always an image.

It reads as much of the layers as makes the answer certain. With --budget it stops
there; what could still change the answer makes it sampled or unknown. With --strict it
reads and verifies whole layers.

Findings can be ignored, with a reason: a comment "berth:ignore RULE REASON" on the line
or before it, or in ` + configName + `, which also has defaults for flags.`,
		Example: `berth check .
berth check grafana/grafana --for apprunner
berth check HOST/app:v1 HOST/worker:v1 --for fargate/arm64 --for lambda
helm template chart | berth check - --cluster-platforms linux/amd64,linux/arm64
berth check deploy/ -o sarif > berth.sarif`,
		Args: arguments(1, -1, "images, files or folders, such as . for this one"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			run, err := a.checking(flags, args)
			if err != nil {
				return err
			}
			report, err := run.report(cmd.Context())
			if err != nil {
				return err
			}
			if err := f.Check(report); err != nil {
				return err
			}
			answer := run.answer(report)
			if run.lock == nil {
				return answer
			}
			run.lock.take(run.subjects)
			if err := run.lock.write(); err != nil {
				if answer != errNo {
					return err
				}
				a.complain(err)
			}
			return answer
		},
	}
	a.checkFlags(cmd, flags)
	cmd.Flags().StringVar(&flags.lock, "lock", "", "file of digests: check those, and add the digests of images that are not in it")
	cmd.Flags().BoolVar(&flags.strict, "strict", false, "leave nothing open: read and verify whole layers, and exit with 3 on anything that is not known")
	cmd.Flags().StringVar(&flags.failOn, "fail-on", "", "the least severity that makes the exit code 1: error (the default), warning or notice")
	return cmd
}

// checkFlags adds the flags that check and fix share.
func (a *app) checkFlags(cmd *cobra.Command, f *checkFlags) {
	cmd.Flags().StringArrayVar(&f.targets, "for", nil, "the deploy target of images, and of workloads whose file leaves the platform open: NAME[/ARCH] or a platform (repeatable)")
	cmd.Flags().BoolVar(&f.labelsOnly, "labels-only", false, "do not read the bytes: trust what the image claims")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "ask no registry: only what the files say, and what was read before")
	cmd.Flags().StringVar(&f.config, "config", "", "file of defaults and ignores ("+configName+")")
	cmd.Flags().StringVar(&f.cluster, "cluster", "", "the target of Kubernetes workloads, such as eks")
	cmd.Flags().StringSliceVar(&f.clusterPlatforms, "cluster-platforms", nil, "the platforms of a cluster's nodes, such as linux/amd64,linux/arm64")
	cmd.Flags().StringToStringVar(&f.parameters, "parameter-overrides", nil, "values of CloudFormation parameters: NAME=VALUE,…")
	f.proving = a.provingFlags(cmd)
	a.targetsFlag(cmd)
}

// checking is one run of check.
type checking struct {
	app      *app
	flags    *checkFlags
	config   *config
	asked    *asked
	lock     *lock
	needs    []target.Need
	subjects []*check.Subject
}

// checking reads the files and folders that args name.
func (a *app) checking(flags *checkFlags, args []string) (*checking, error) {
	c := &checking{app: a, flags: flags}
	var err error
	if c.config, err = readConfig(flags.config); err != nil {
		return nil, err
	}
	a.targetFiles = append(c.config.Targets, a.targetFiles...)
	flags.strict = flags.strict || c.config.Strict
	flags.proving.strict = flags.strict
	if err := flags.proving.validate(); err != nil {
		return nil, err
	}
	flags.failOn = orDefault(flags.failOn, orDefault(c.config.FailOn, string(check.Error)))
	if !check.Severity(flags.failOn).Known() {
		return nil, usagef("--fail-on %q is not known: write error, warning or notice", flags.failOn)
	}
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	if c.asked, err = a.asked(args, opts, c.config.Exclude); err != nil {
		return nil, err
	}
	if len(flags.targets) == 0 {
		flags.targets = c.config.For
	}
	if c.needs, err = a.needs(flags.targets); err != nil {
		return nil, err
	}
	if len(c.asked.images) > 0 && len(c.needs) == 0 {
		return nil, usagef("%s is an image, and check needs its deploy target: --for NAME, such as --for fargate or --for linux/arm64 (berth targets lists them)", c.asked.images[0])
	}
	for _, arg := range c.asked.images {
		ref, err := store.ParseReference(arg)
		if err != nil {
			return nil, usageError{err}
		}
		c.subjects = append(c.subjects, check.Asked(ref, arg, c.needs)...)
	}
	c.subjects = append(c.subjects, check.Deployed(c.asked.readings, c.needs)...)
	return c, c.prepare()
}

// options are what the flags and the configuration say beside the files.
func (c *checking) options() (workload.Options, error) {
	opts := workload.Options{Parameters: map[string]string{}, Env: environment()}
	var err error
	if opts.Targets, err = c.app.targetSet(); err != nil {
		return opts, err
	}
	for _, values := range []map[string]string{c.config.Parameters, c.flags.parameters} {
		for name, value := range values {
			opts.Parameters[name] = value
		}
	}
	names := c.flags.clusterPlatforms
	if len(names) == 0 {
		names = c.config.ClusterPlatforms
	}
	if opts.ClusterPlatforms, err = platforms(names); err != nil {
		return opts, err
	}
	if name := orDefault(c.flags.cluster, c.config.Cluster); name != "" {
		if opts.Cluster, err = opts.Targets.Find(name); err != nil {
			return opts, usageError{err}
		}
	}
	return opts, nil
}

// environment is what Compose files interpolate.
func environment() map[string]string {
	env := map[string]string{}
	for _, kv := range os.Environ() {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env
}

// prepare has what is locked looked at as it was locked.
func (c *checking) prepare() error {
	if c.flags.lock == "" {
		return nil
	}
	var err error
	if c.lock, err = readLock(c.flags.lock); err != nil {
		return err
	}
	c.lock.apply(c.subjects)
	return nil
}

// report finds everything out.
func (c *checking) report(ctx context.Context) (*check.Report, error) {
	open := func(ref store.Reference) (store.Source, error) { return c.source(ctx, ref) }
	opts := check.GatherOptions{Prove: !c.flags.labelsOnly, Prover: c.app.prover(c.flags.proving)}
	if err := check.Gather(ctx, open, c.subjects, opts); err != nil {
		return nil, err
	}
	if len(c.asked.readings) == 0 && len(c.asked.folders) > 0 && len(c.asked.images) == 0 {
		fmt.Fprintf(c.app.stderr, "berth: no deployment file in %s: looked for %s\n", strings.Join(c.asked.folders, ", "), formatTitles())
	}
	return check.Examine(check.Facts{Subjects: c.subjects, Readings: c.asked.readings, Ignores: c.config.Ignores}), nil
}

// source opens an image: of a registry, with what is remembered of it.
func (c *checking) source(ctx context.Context, ref store.Reference) (store.Source, error) {
	if ref.Transport == store.Docker && c.flags.offline {
		return c.app.remembered(nil, ref), nil
	}
	src, err := c.app.source(ctx, ref)
	if err != nil || ref.Transport != store.Docker {
		return src, err
	}
	return c.app.remembered(src, ref), nil
}

// answer is what the exit code says: a definite no before a could-not-tell.
func (c *checking) answer(report *check.Report) error {
	var unknown error
	for _, f := range report.Findings() {
		if f.Ignored == "" && f.Severity.AtLeast(check.Severity(c.flags.failOn)) {
			return errNo
		}
	}
	for _, r := range report.Results {
		if r.Failed && r.Verdict == check.Unknown || c.flags.strict && len(r.Unknowns) > 0 {
			unknown = errUnknown
		}
	}
	for _, p := range report.Problems() {
		if !p.Open || c.flags.strict {
			unknown = errUnknown
		}
	}
	if c.flags.strict && len(c.subjects) == 0 && unknown == nil && len(c.asked.readings) == 0 {
		unknown = errUnknown // nothing was checked
	}
	return unknown
}

// wrapped breaks a text into lines that help shows well.
func wrapped(s string) string {
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(s) {
		switch {
		case i == 0, width+len(word) >= 80:
			b.WriteString("\n")
			width = 0
		default:
			b.WriteString(" ")
		}
		b.WriteString(word)
		width += len(word) + 1
	}
	return b.String()
}
