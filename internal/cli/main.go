// Package cli is the command line of berth: its subcommands, one file each, and
// what they share. It is the only room that knows flags, the environment and
// exit codes; [Main] is all that a program needs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"charm.land/fang/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/report"
)

// The exit codes. A definite no beats a could-not-tell.
const (
	exitYes     = 0 // it will run, it was copied
	exitNo      = 1 // it will not run
	exitUsage   = 2 // wrong usage
	exitUnknown = 3 // berth could not tell: network, authentication, a broken file, over a bound
)

// errNo is returned by a command whose answer, already written, is no.
var errNo = errors.New("the answer is no")

// errIncomplete is part of the answer where an image was copied and what is about it
// was not.
var errIncomplete = errors.New("the destination does not take them")

// errUnknown is returned by a command that could not tell, and has said so.
var errUnknown = errors.New("could not tell")

// usageError is wrong usage. Its text says what to type instead.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs berth with args, which leave the program's name out, and returns the
// exit code. Results go to stdout, everything else to stderr.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := fang.Execute(ctx, root, fang.WithVersion(version()), fang.WithErrorHandler(
		func(io.Writer, fang.Styles, error) {}))
	a.quotas()
	return a.exit(ctx, errors.Join(err, a.close()))
}

// exit writes what is still to be said about err, and gives its code.
func (a *app) exit(ctx context.Context, err error) int {
	var usage usageError
	var refused *refusal
	switch {
	case err == nil:
		return exitYes
	case errors.As(err, &refused) && refused.definite():
		a.complain(err)
		return exitNo
	case errors.Is(err, errIncomplete):
		a.complain(err)
		return exitNo
	case errors.Is(err, errNo):
		return exitNo
	case errors.Is(err, errUnknown):
		return exitUnknown
	case errors.As(err, &usage):
		a.complain(err)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintf(a.stderr, "berth: interrupted: %s\n", err)
		return exitUnknown
	}
	a.complain(err)
	return exitUnknown
}

// complain writes an error and, where there is one, the hint that helps.
func (a *app) complain(err error) {
	if several := failures(nil); errors.As(err, &several) {
		for _, err := range several {
			a.complain(err)
		}
		return
	}
	fmt.Fprintf(a.stderr, "berth: %s\n", err)
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(a.stderr, "  %s\n", hint)
	}
}

// version is what the Go toolchain recorded when it built the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// app is one run of the command line.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	command        string // the subcommand that runs
	output, color  string
	quiet          bool
	registryConfig string
	targetFiles    []string
	noCache        bool
	repositories   repositoryFlags

	stores       stores
	cacheFolders cacheFolders
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "Make sure that a container image runs where it is deployed",
		Long: `berth makes sure that a container image runs where it is deployed.

It reads what an image claims, proves from its bytes what would happen at start,
knows what each deploy target needs, and copies exactly that. It needs no Docker.

Exit codes: 0 it will run, or it was copied; 1 it will not; 2 wrong usage; 3 berth could not tell.`,
		Example: `# Will it run on App Runner?
berth check grafana/grafana --for apprunner
# Put exactly what App Runner runs into a registry of yours
berth copy grafana/grafana HOST/grafana --for apprunner
# Look at its bytes instead of its labels
berth prove HOST/grafana`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef("unknown command %q%s (berth --help lists them)", args[0], hint)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (%s --help lists the flags)", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	a.outputFlag(flags, root.Name())
	flags.StringVar(&a.color, "color", "auto", "colour the text: auto, always or never")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no progress; of a copy, only the digest")
	flags.StringVar(&a.registryConfig, "registry-config", "", "file of settings per registry: plain HTTP, certificates, mirrors")
	root.AddCommand(a.inspect(), a.prove(), a.check(), a.fix(), a.copy(), a.index(), a.explain(), a.targets())
	for _, cmd := range root.Commands() {
		// In place of the one for all: not every command has every format.
		a.outputFlag(cmd.Flags(), cmd.Name())
		if cmd.Name() == "fix" {
			cmd.Flags().Lookup("output").Hidden = true
		}
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		a.command = cmd.Name()
		if a.command == "fix" && a.output != "text" {
			return usagef("fix writes a diff: it has no --output (berth check has)")
		}
		return nil
	}
	return root
}

// outputFlag adds --output with the formats that a command has.
func (a *app) outputFlag(flags *pflag.FlagSet, command string) {
	names := report.Names(command)
	flags.StringVarP(&a.output, "output", "o", names[0], "format of the result: "+report.Either(names))
}

// args makes sure that a command gets from least to most arguments, and names
// them when it does not.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return usagef("%s takes %s, and got %d arguments (%s --help shows examples)", cmd.CommandPath(), names, len(args), cmd.CommandPath())
	}
}

// format is the output format that the flags ask for.
func (a *app) format() (report.Format, error) {
	color := false
	switch a.color {
	case "always":
		color = true
	case "never":
	case "auto":
		color = colorprofile.Detect(a.stdout, os.Environ()) > colorprofile.Ascii
	default:
		return nil, usagef("--color %q is not known: write auto, always or never", a.color)
	}
	f, err := report.New(a.command, a.output, a.stdout, report.Options{Color: color, Version: version()})
	if err != nil {
		return nil, usageError{err}
	}
	return f, nil
}
