package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"berth/check"
	"berth/workload"
)

func (a *app) fix() *cobra.Command {
	flags := new(checkFlags)
	var write, defaults bool
	cmd := &cobra.Command{
		Use:   "fix FILE|FOLDER|-…",
		Short: "Edit deployment files so that the check passes: a diff, unless --write",
		Long: `Edit deployment files so that the check passes. What it writes is a diff, for git apply
or patch; with --write it edits the files. Nothing but what must change is touched.

A workload's platform is changed only to one that all its images have and that its
target runs, and only where the check then says nothing against it. What no edit mends
is listed with the command that does.

Exit code 0 means that nothing is left to mend after these edits.`,
		Example: `berth fix .
berth fix --write deploy/task.json
berth fix --defaults . | git apply`,
		Args: arguments(1, -1, "files or folders, such as . for this one"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.mend(cmd.Context(), flags, args, write, defaults)
		},
	}
	a.checkFlags(cmd, flags)
	cmd.Flags().BoolVarP(&write, "write", "w", false, "edit the files")
	cmd.Flags().BoolVar(&defaults, "defaults", false, "write down the platforms that targets choose by default, too")
	return cmd
}

func (a *app) mend(ctx context.Context, flags *checkFlags, args []string, write, defaults bool) error {
	run, err := a.checking(flags, args)
	if err != nil {
		return err
	}
	if len(run.asked.images) > 0 {
		return usagef("%s is an image, and fix edits deployment files (berth check says what to do about an image)", run.asked.images[0])
	}
	if write && slices.ContainsFunc(run.asked.readings, func(r *workload.Reading) bool { return r.File.Name == workload.Stdin }) {
		return usagef("-: standard input cannot be edited: leave --write out, or name the file")
	}
	before, err := run.report(ctx)
	if err != nil {
		return err
	}
	least := check.Warning
	if defaults {
		least = check.Notice
	}
	mended := before.Mend(least)
	after, files, err := run.edited(ctx, before, mended, least)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		now, err := run.data(name)
		if err != nil {
			return err
		}
		if err := a.mendFile(name, now, files[name], write); err != nil {
			return err
		}
	}
	a.left(after, least)
	return run.answer(after)
}

// edited makes the edits in memory and checks again. Edits of a file that leave as many
// findings as before are not made: something else is wrong there.
func (c *checking) edited(ctx context.Context, before *check.Report, mended check.Mended, least check.Severity) (*check.Report, map[string][]byte, error) {
	files := map[string][]byte{}
	for name, edits := range mended.Edits {
		now, err := c.data(name)
		if err != nil {
			return nil, nil, err
		}
		data, err := workload.Apply(now, edits)
		if err != nil {
			return nil, nil, err
		}
		files[name] = data
	}
	for len(files) > 0 {
		again, err := c.with(files)
		if err != nil {
			return nil, nil, err
		}
		after, err := again.report(ctx)
		if err != nil {
			return nil, nil, err
		}
		var worse []string
		for name := range files {
			// A file that another includes has no findings of its own.
			was, is := counted(before, name, least), counted(after, name, least)
			if is > was || is == was && is > 0 || len(after.Problems()) > len(before.Problems()) {
				worse = append(worse, name)
			}
		}
		if len(worse) == 0 {
			return after, files, nil
		}
		for _, name := range worse {
			delete(files, name)
		}
	}
	return before, nil, nil
}

// with is the same run over files as they would be.
func (c *checking) with(files map[string][]byte) (*checking, error) {
	again := *c
	again.subjects = nil
	again.asked = &asked{folders: c.asked.folders}
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	opts.ReadDir = dirReader()
	opts.ReadFile = func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return data, nil
		}
		return readFile(name)
	}
	for _, r := range c.asked.readings {
		if r.Format != nil {
			data, ok := files[r.File.Name]
			if !ok {
				data = r.File.Data // what it includes may be another
			}
			r = workload.Read(workload.NewFile(r.File.Name, data), opts)
		}
		again.asked.readings = append(again.asked.readings, r)
	}
	again.subjects = check.Deployed(again.asked.readings, c.needs)
	return &again, again.prepare()
}

// data is what a file had when it was read, or has: one that another includes.
func (c *checking) data(name string) ([]byte, error) {
	for _, r := range c.asked.readings {
		if r.File.Name == name {
			return r.File.Data, nil
		}
	}
	return readFile(name)
}

// counted is how many findings of a file count.
func counted(r *check.Report, name string, least check.Severity) int {
	n := 0
	for _, f := range r.Findings() {
		if f.Ignored == "" && f.Severity.AtLeast(least) && f.Pos != nil && f.Pos.File == name {
			n++
		}
	}
	for _, p := range r.Problems() {
		if p.Pos.File == name {
			n++
		}
	}
	return n
}

// mendFile writes the diff of a file, or the file.
func (a *app) mendFile(name string, before, after []byte, write bool) error {
	if !write {
		_, err := a.stdout.Write(diff.Diff("a/"+name, before, "b/"+name, after))
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	now, err := readFile(name)
	if err != nil {
		return err
	}
	if string(now) != string(before) {
		return fmt.Errorf("%s was changed while it was checked: run berth fix again", name)
	}
	if err := replaceFile(name, after, info.Mode().Perm()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stderr, "berth: edited %s\n", name)
	return err
}

// left says what no edit mends.
func (a *app) left(after *check.Report, least check.Severity) {
	for _, f := range after.Mend(least).Left {
		at := "image"
		if f.Pos != nil {
			at = f.Pos.String()
		}
		fmt.Fprintf(a.stderr, "berth: no edit mends %s: %s %s: %s\n", at, f.Rule, f.Name, f.Message)
		for _, fix := range f.Fixes {
			fmt.Fprintf(a.stderr, "  fix: %s\n", fix.Title)
			if fix.Command != "" {
				fmt.Fprintf(a.stderr, "       %s\n", fix.Command)
			}
		}
	}
	for _, p := range after.Problems() {
		fmt.Fprintf(a.stderr, "berth: %s: %s\n", p.Pos, p.Message)
	}
}
