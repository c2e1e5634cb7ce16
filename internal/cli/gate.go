package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"berth/check"
	"berth/image"
	"berth/report"
	"berth/store"
)

// gate decides whether copies of one selection may write their tags: not over what is
// known not to run where it was asked for. It decides once, for all who ask.
type gate struct {
	ctx    context.Context
	cancel context.CancelFunc
	mode   string // of --prove
	prover check.Prover
	src    store.BlobReader
	// read reads what was asked for to the end, and fails where that cannot be.
	read func(context.Context) (*image.Selection, []*check.Subject, error)

	once sync.Once
	done chan struct{} // closed once the following is known
	err  error

	selection *image.Selection
	subjects  []*check.Subject
}

// newGate makes a gate. The caller ends it.
func newGate(ctx context.Context, mode string, prover check.Prover, src store.BlobReader, read func(context.Context) (*image.Selection, []*check.Subject, error)) *gate {
	g := &gate{mode: mode, prover: prover, src: src, read: read, done: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

// ask waits for the answer, until ctx ends: that of one who asks says nothing to the
// others.
func (g *gate) ask(ctx context.Context) error {
	g.once.Do(func() {
		go func() {
			defer close(g.done)
			g.err = g.decide(g.ctx)
		}()
	})
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the reading, and returns when nothing is read any more.
func (g *gate) end() {
	g.cancel()
	g.once.Do(func() { close(g.done) }) // nobody asked
	<-g.done
}

func (g *gate) decide(ctx context.Context) (err error) {
	if g.selection, g.subjects, err = g.read(ctx); err != nil || g.mode == "never" {
		return err
	}
	g.prover.Subjects(ctx, g.src, g.subjects)
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

// tell adds what was found out to a copy. The gate has ended.
func (g *gate) tell(copied *report.Copied) {
	if g.selection != nil {
		copied.Selection = g.selection
	}
	for _, s := range g.subjects {
		if s.Start != nil {
			copied.Starts = append(copied.Starts, s.Start)
		}
	}
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
