package cli

import (
	"io"
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
	read map[digest.Digest]int64
	sum  int64
}

// progress starts to show how far a plan's run has come.
func (a *app) progress(plan *transfer.Plan) *progress {
	p := &progress{read: map[digest.Digest]int64{}}
	if a.quiet || !isTerminal(a.stderr) || plan.Bytes() == 0 {
		return p
	}
	p.container = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40))
	p.bar = p.container.New(plan.Bytes(), mpb.BarStyle(), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("copying ")),
		mpb.AppendDecorators(decor.CountersKiloByte("% .1f of % .1f"), decor.Name("  "), decor.AverageSpeed(decor.SizeB1000(0), "% .1f")))
	return p
}

// event is called by many goroutines at once.
func (p *progress) event(e transfer.Event) {
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
	p.sum += offset - p.read[e.Descriptor.Digest]
	p.read[e.Descriptor.Digest] = offset
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
