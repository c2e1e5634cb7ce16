package transfer

import (
	"context"
	"slices"
)

// task is one step of a run.
type task struct {
	do func(ctx context.Context) error
	// weight is what the task takes of the limit while it runs. With none it runs
	// outside of it: a gate that reads what blobs bring along would otherwise wait for
	// itself.
	weight int

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

// execute runs tasks, those that run side by side weighing at most jobs, each when
// those that it waits for are done. One that weighs more on its own runs alone. What was waiting goes before what was not: a manifest is one small
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
	free := jobs
	start := func(t *task) {
		running++
		free -= min(t.weight, jobs)
		go func() { ends <- end{t, t.do(ctx)} }()
	}
	var ready []*task
	for _, t := range tasks {
		switch {
		case t.waits > 0:
		case t.weight == 0:
			start(t)
		default:
			ready = append(ready, t)
		}
	}
	var first error
	for {
		for ; len(ready) > 0 && min(ready[0].weight, jobs) <= free && ctx.Err() == nil; ready = ready[1:] {
			start(ready[0])
		}
		if running == 0 {
			break
		}
		e := <-ends
		running--
		free += min(e.task.weight, jobs)
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
