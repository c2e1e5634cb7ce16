package cli

import (
	"github.com/spf13/cobra"

	"berth/target"
)

func (a *app) targets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "targets [NAME]",
		Short: "Show what berth knows of deploy targets, with sources and dates",
		Example: `berth targets
berth targets lambda`,
		Args: arguments(0, 1, "at most one NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			set, err := a.targetSet()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return f.Targets(set.All())
			}
			t, err := set.Find(args[0])
			if err != nil {
				return usageError{err}
			}
			return f.Targets([]*target.Target{t})
		},
	}
	a.targetsFlag(cmd)
	return cmd
}

// targetsFlag adds --targets to a command that knows deploy targets.
func (a *app) targetsFlag(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&a.targetFiles, "targets", nil, "file of further deploy targets, in berth's schema (repeatable)")
}
