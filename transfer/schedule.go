package transfer

import (
	"context"
	"slices"
)

// task is one step of a run.
type task struct {
	do func(ctx context.Context) error
	// unlimited tasks run outside of the limit. A gate that reads what blobs bring
	// along would otherwise wait for itself.
	unlimited bool

	waits int     // how many tasks must be done before this one
	feeds []*task // the tasks that wait for this one
}

// after makes t wait for others.
func (t *task) after(others ...*task) {
	for _, o := range others {
		o.feeds = append(o.feeds, t)
	}
	t.waits += len(others)
}

// execute runs tasks, at most jobs at a time, each when those that it waits for
// are done. What was waiting goes before what was not: a manifest is one small
// request, and others may wait for it in turn.
//
// It returns when nothing runs any more: the first failure, after which no task
// is started and the context of the others is cancelled.
func execute(ctx context.Context, tasks []*task, jobs int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		task *task
		err  error
	}
	ends := make(chan end)
	running := 0
	start := func(t *task) {
		running++
		go func() { ends <- end{t, t.do(ctx)} }()
	}
	var ready []*task
	for _, t := range tasks {
		switch {
		case t.waits > 0:
		case t.unlimited:
			start(t)
		default:
			ready = append(ready, t)
		}
	}
	var first error
	for {
		for ; jobs > 0 && len(ready) > 0 && ctx.Err() == nil; ready = ready[1:] {
			jobs--
			start(ready[0])
		}
		if running == 0 {
			break
		}
		e := <-ends
		running--
		if !e.task.unlimited {
			jobs++
		}
		if e.err != nil {
			if first == nil {
				first = e.err
			}
			cancel()
			continue
		}
		for _, t := range e.task.feeds {
			if t.waits--; t.waits == 0 {
				ready = slices.Insert(ready, 0, t)
			}
		}
	}
	if first == nil {
		first = ctx.Err()
	}
	return first
}
