package cli

import (
	"github.com/spf13/cobra"

	"berth/check"
	"berth/store"
)

func (a *app) check() *cobra.Command {
	var forFlags []string
	var labelsOnly, strict bool
	var proving *provingFlags
	cmd := &cobra.Command{
		Use:   "check IMAGE…",
		Short: "Check whether images run on deploy targets, and say what to do",
		Long: `Check whether images run on deploy targets: whether the platform is there, whether
the target takes this kind of image, whether labels and bytes agree, and whether
it starts. Every finding says why, and what to type.

It reads as much of the layers as makes the answer certain. With --budget it stops
there; what could still change the answer makes it sampled or unknown.`,
		Example: `berth check grafana/grafana --for apprunner
berth check HOST/app:v1 HOST/worker:v1 --for fargate/arm64 --for lambda
berth check oci:build --for linux/amd64 -o json`,
		Args: arguments(1, -1, "one or several IMAGEs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			if len(forFlags) == 0 {
				return usagef("check needs a deploy target: --for NAME, such as --for fargate or --for linux/arm64 (berth targets lists them)")
			}
			needs, err := a.needs(forFlags)
			if err != nil {
				return err
			}
			var subjects []*check.Subject
			for _, arg := range args {
				ref, err := store.ParseReference(arg)
				if err != nil {
					return usageError{err}
				}
				subjects = append(subjects, check.Asked(ref, arg, needs)...)
			}
			open := func(ref store.Reference) (store.Source, error) { return a.source(cmd.Context(), ref) }
			if err := check.Gather(cmd.Context(), open, subjects, check.GatherOptions{Prove: !labelsOnly, Prover: a.prover(proving)}); err != nil {
				return err
			}
			report := check.Examine(check.Facts{Subjects: subjects})
			if err := f.Check(report); err != nil {
				return err
			}
			return checkAnswer(report.Results, strict)
		},
	}
	cmd.Flags().StringArrayVar(&forFlags, "for", nil, "the deploy target: NAME[/ARCH] or a platform (repeatable)")
	cmd.Flags().BoolVar(&labelsOnly, "labels-only", false, "do not read the bytes: trust what the image claims")
	cmd.Flags().BoolVar(&strict, "strict", false, "anything that is not known makes the exit code 3")
	proving = a.provingFlags(cmd)
	a.targetsFlag(cmd)
	return cmd
}

func checkAnswer(results []check.Result, strict bool) error {
	answer := error(nil)
	for _, r := range results {
		switch {
		case r.Verdict == check.RunsNot:
			return errNo
		case r.Verdict == check.Unknown || strict && len(r.Unknowns) > 0:
			answer = errUnknown
		}
	}
	return answer
}
