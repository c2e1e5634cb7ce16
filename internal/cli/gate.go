package cli

import (
	"context"
	"fmt"
	"strings"

	"berth/check"
	"berth/store"
)

// gate decides whether a copy may write its tag: not over what is known not to run
// where it was asked for.
type gate struct {
	mode string // of --prove
	src  store.BlobReader
	// read reads what was asked for to the end, and fails where that cannot be.
	read     func(context.Context) ([]*check.Subject, error)
	subjects []*check.Subject
}

func (g *gate) ask(ctx context.Context) (err error) {
	if g.subjects, err = g.read(ctx); err != nil || g.mode == "never" {
		return err
	}
	check.ProveSubjects(ctx, g.src, g.subjects)
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, r := range check.Run(g.subjects) {
		if r.Verdict == check.RunsNot || g.mode == "always" && r.Verdict == check.Unknown {
			return &refusal{r}
		}
	}
	return nil
}

// starts are the proofs that were made.
func (g *gate) starts() []*check.Start {
	var starts []*check.Start
	for _, s := range g.subjects {
		if s.Start != nil {
			starts = append(starts, s.Start)
		}
	}
	return starts
}

// refusal says why a tag may not be written.
type refusal struct{ result check.Result }

func (r *refusal) Error() string {
	var b strings.Builder
	if !r.definite() {
		fmt.Fprintf(&b, "--prove=always, and for %s berth cannot tell %s", r.result.Subject.Name, r.result.Unknowns[0])
		return b.String()
	}
	f := r.result.Findings[0]
	fmt.Fprintf(&b, "%s (%s %s)", f.Message, f.Rule, f.Name)
	for _, d := range f.Details {
		b.WriteString("\n  " + d)
	}
	for _, fix := range f.Fixes {
		b.WriteString("\n  fix: " + fix.Title)
		if fix.Command != "" {
			b.WriteString("\n       " + fix.Command)
		}
	}
	return b.String()
}

// definite tells whether it is known not to run.
func (r *refusal) definite() bool { return r.result.Verdict == check.RunsNot }
