package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/check"
	"berth/image"
	"berth/launch"
	"berth/report"
	"berth/target"
)

func (a *app) prove() *cobra.Command {
	var platformFlags, forFlags []string
	var proving *provingFlags
	cmd := &cobra.Command{
		Use:   "prove IMAGE",
		Short: "Prove from an image's bytes whether it starts",
		Long: `Prove from an image's bytes, without pulling it, what happens when it is started:
for every platform on a host of its own kind, for --platform, or on the hosts of
the deploy targets of --for.

It reads as much of the layers as makes the answer certain. With --budget it stops
there; what could still change the answer makes it sampled instead of proven.`,
		Example: `berth prove grafana/grafana
berth prove HOST/app:v1 --platform linux/arm64
berth prove HOST/app:v1 --for fargate -o json
berth prove HOST/app:v1 --budget 8MiB`,
		Args: arguments(1, 1, "an IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			wants, err := platforms(platformFlags)
			if err != nil {
				return err
			}
			needs, err := a.needs(forFlags)
			if err != nil {
				return err
			}
			for _, p := range wants {
				needs = append(needs, target.Need{Platform: p, Why: "asked for"})
			}
			src, im, err := a.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			manifests, hosts, err := toProve(im, needs)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", args[0], err)}
			}
			starts, err := a.prover(proving).All(cmd.Context(), src, manifests, hosts)
			if err != nil {
				return err
			}
			if err := f.Proofs(&report.Proved{Name: args[0], Image: im, Starts: starts}); err != nil {
				return err
			}
			return startsAnswer(starts)
		},
	}
	cmd.Flags().StringArrayVar(&platformFlags, "platform", nil, "prove what an engine of this platform would take (repeatable)")
	cmd.Flags().StringArrayVar(&forFlags, "for", nil, "prove it on the hosts of this deploy target (repeatable)")
	proving = a.provingFlags(cmd, 0)
	a.targetsFlag(cmd)
	return cmd
}

// toProve are the manifests that the needs select, each with its host; without
// needs all images, each on a host of its own platform.
func toProve(im *image.Image, needs []target.Need) ([]*image.Manifest, []launch.Host, error) {
	var manifests []*image.Manifest
	var hosts []launch.Host
	if len(needs) == 0 {
		for _, m := range im.Images() {
			manifests, hosts = append(manifests, m), append(hosts, check.HostFor(m))
		}
		if len(manifests) == 0 {
			return nil, nil, fmt.Errorf("it has no image in it, so there is nothing to start")
		}
		return manifests, hosts, nil
	}
	for _, need := range needs {
		m, err := im.Select(need.Platform)
		if err != nil {
			return nil, nil, err
		}
		manifests, hosts = append(manifests, m), append(hosts, check.HostOf(need))
	}
	return manifests, hosts, nil
}

// startsAnswer is the answer of several proofs together.
func startsAnswer(starts []*check.Start) error {
	answer := error(nil)
	for _, s := range starts {
		switch {
		case s.Proof != nil && s.Proof.Verdict == launch.Fails:
			return errNo
		case s.Proof == nil || s.Proof.Verdict == launch.Unknown:
			answer = errUnknown
		}
	}
	return answer
}
