package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/store/ecr"
)

// repositoryFlags are how repositories that are missing are created. Registries other
// than Amazon ECR create them by themselves when they are pushed to.
type repositoryFlags struct {
	create, scan, immutable bool
}

// repositoryFlags adds them to a command that writes.
func (a *app) repositoryFlags(cmd *cobra.Command) {
	f := &a.repositories
	cmd.Flags().BoolVar(&f.create, "create-repository", false, "create the destination's repository on Amazon ECR where it is missing")
	cmd.Flags().BoolVar(&f.scan, "scan-on-push", false, "have a repository that is created scan what is pushed")
	cmd.Flags().BoolVar(&f.immutable, "immutable-tags", false, "let no tag of a repository that is created be moved")
}

// check refuses settings of a repository that is not to be created.
func (f *repositoryFlags) check() error {
	switch {
	case f.create:
	case f.scan:
		return usagef("--scan-on-push is for a repository that is created: add --create-repository")
	case f.immutable:
		return usagef("--immutable-tags is for a repository that is created: add --create-repository")
	}
	return nil
}

// settings are those of repositories to be created, or nil.
func (f *repositoryFlags) settings(a *app) *ecr.Settings {
	if !f.create {
		return nil
	}
	return &ecr.Settings{ScanOnPush: f.scan, ImmutableTags: f.immutable, Created: func(repository, how string) {
		if !a.quiet {
			fmt.Fprintf(a.stderr, "created %s: %s\n", repository, how)
		}
	}}
}
