package cli

import (
	"io"
	"math"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"berth/transfer"
)

// progress shows how far a copy has come: a bar on a terminal, nothing elsewhere.
type progress struct {
	container *mpb.Progress
	bar       *mpb.Bar

	mu   sync.Mutex
	read map[onItsWay]int64
	sum  int64
}

// onItsWay is a blob of the i-th plan.
type onItsWay struct {
	i      int
	digest digest.Digest
}

// progress starts to show how far the runs of plans have come.
func (a *app) progress(plans ...*transfer.Plan) *progress {
	p := &progress{read: map[onItsWay]int64{}}
	total := int64(0)
	for _, plan := range plans {
		total += min(plan.Bytes(), math.MaxInt64-total)
	}
	if a.quiet || !isTerminal(a.stderr) || total == 0 {
		return p
	}
	p.container = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40))
	p.bar = p.container.New(total, mpb.BarStyle(), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("copying ")),
		mpb.AppendDecorators(decor.CountersKiloByte("% .1f of % .1f"), decor.Name("  "), decor.AverageSpeed(decor.SizeB1000(0), "% .1f")))
	return p
}

// of is what the run of the i-th plan tells.
func (p *progress) of(i int) func(transfer.Event) {
	return func(e transfer.Event) { p.event(i, e) }
}

// event is called by many goroutines at once.
func (p *progress) event(i int, e transfer.Event) {
	if p.bar == nil {
		return
	}
	offset := e.Offset
	switch e.Kind {
	case transfer.BlobRead:
	case transfer.BlobDone:
		offset = e.Descriptor.Size
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	blob := onItsWay{i, e.Descriptor.Digest}
	p.sum += offset - p.read[blob]
	p.read[blob] = offset
	p.bar.SetCurrent(p.sum)
}

// end takes the bar off the screen.
func (p *progress) end() {
	if p.bar == nil {
		return
	}
	p.bar.Abort(true)
	p.container.Wait()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
