package cli

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/opencontainers/go-digest"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"berth/store"
	"berth/transfer"
)

const (
	// lineEvery is how often a log hears of a copy: not at all of a short one, and a
	// hundred times of one that takes a quarter of an hour.
	lineEvery = 10 * time.Second
	// drawEvery is how often a bar is told how far it is: a little faster than it is drawn.
	drawEvery = 100 * time.Millisecond
	// maxBars are the bars of blobs that are shown at once: what one looks at. A terminal
	// of few lines gets fewer.
	maxBars = 8
	// barBlob is how large a blob has to be for a bar of its own. Smaller ones are gone
	// before they are drawn.
	barBlob = 1 << 20
)

// progress shows how far copies have come: on a terminal a bar for each large blob that
// is under way and one for all; elsewhere a line now and then.
type progress struct {
	to io.Writer // nil shows nothing
	// names are those of the destinations, where there are several.
	names []string
	total int64
	now   func() time.Time

	// On a terminal.
	container *mpb.Progress
	whole     *mpb.Bar
	maxBars   int

	mu            sync.Mutex
	read          map[onItsWay]*way
	sum           int64
	blobs, ended  int
	bars          map[onItsWay]*blobBar
	started, last time.Time // of what was shown
}

// onItsWay is a blob of the i-th plan.
type onItsWay struct {
	i      int
	digest digest.Digest
}

// way is how far a blob has come.
type way struct {
	since  time.Time
	offset int64
}

// blobBar is the bar of a blob.
type blobBar struct {
	*mpb.Bar
	drawn time.Time
}

// progress starts to show how far the runs of plans have come. names tells several apart.
func (a *app) progress(names []string, plans ...*transfer.Plan) *progress {
	p := &progress{read: map[onItsWay]*way{}, bars: map[onItsWay]*blobBar{}, now: time.Now}
	if len(names) > 1 {
		p.names = names
	}
	for _, plan := range plans {
		p.total += min(plan.Bytes(), math.MaxInt64-p.total)
		p.blobs += len(plan.Blobs)
		for _, r := range plan.Referrers {
			p.total += min(r.Bytes(), math.MaxInt64-p.total)
		}
	}
	if a.quiet || p.total == 0 {
		return p
	}
	p.to, p.started = a.stderr, p.now()
	p.last = p.started
	if !isTerminal(a.stderr) {
		return p
	}
	p.maxBars = maxBars
	if _, height, err := term.GetSize(int(a.stderr.(*os.File).Fd())); err == nil {
		p.maxBars = max(0, min(maxBars, height-2)) // with the line of all, and the one being written to
	}
	p.container = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(30))
	p.whole = p.container.New(p.total, mpb.BarStyle(), mpb.BarPriority(math.MaxInt), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("copying", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.CountersKiloByte("% .1f of % .1f", decor.WCSyncSpace),
			decor.AverageSpeed(decor.SizeB1000(0), "% .1f", decor.WCSyncSpace),
			decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace), decor.Name(" left"),
		))
	return p
}

// of is what the run of the i-th plan tells.
func (p *progress) of(i int) func(transfer.Event) {
	return func(e transfer.Event) { p.event(i, e) }
}

// event is called by many goroutines at once.
func (p *progress) event(i int, e transfer.Event) {
	if p.to == nil || e.Kind != transfer.BlobRead && e.Kind != transfer.BlobDone {
		return
	}
	blob := onItsWay{i, e.Descriptor.Digest}
	done := e.Kind == transfer.BlobDone
	offset := e.Offset
	if done {
		offset = e.Descriptor.Size
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	w := p.read[blob]
	if w == nil {
		w = &way{since: now}
		p.read[blob] = w
	}
	p.sum += offset - w.offset
	w.offset = offset
	if done {
		p.ended++
	}
	if p.container != nil {
		p.draw(blob, e.Descriptor, w, done, now)
	} else if now.Sub(p.last) >= lineEvery {
		p.last = now
		p.line(now)
	}
}

// draw brings the bars up to date. p.mu is held.
func (p *progress) draw(blob onItsWay, d store.Descriptor, w *way, done bool, now time.Time) {
	if now.Sub(p.last) >= drawEvery || p.sum >= p.total {
		p.last = now
		p.whole.SetCurrent(p.sum)
	}
	bar := p.bars[blob]
	switch {
	case bar != nil && done:
		bar.Abort(true)
		delete(p.bars, blob)
	case bar != nil && now.Sub(bar.drawn) >= drawEvery:
		bar.drawn = now
		bar.SetCurrent(w.offset)
	case bar == nil && !done && d.Size >= barBlob && len(p.bars) < p.maxBars:
		name := d.Digest.Encoded()[:12]
		if p.names != nil {
			name += " → " + p.names[blob.i]
		}
		bar = &blobBar{p.container.New(d.Size, mpb.BarStyle(), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(
				decor.CountersKiloByte("% .1f of % .1f", decor.WCSyncSpace),
				decor.NewAverageSpeed(decor.SizeB1000(0), "% .1f", w.since, decor.WCSyncSpace),
			)), now}
		bar.SetCurrent(w.offset)
		p.bars[blob] = bar
	}
}

// line writes how far it is. p.mu is held.
func (p *progress) line(now time.Time) {
	rate := float64(p.sum) / now.Sub(p.started).Seconds()
	left := ""
	if rate > 0 && p.sum < p.total {
		left = fmt.Sprintf(", %s left", time.Duration(float64(p.total-p.sum)/rate*float64(time.Second)).Round(time.Second))
	}
	// A log that cannot be written to is no reason to end a copy.
	_, _ = fmt.Fprintf(p.to, "copying: %s of %s, %d of %d blobs, %s/s%s\n", humanize.Bytes(uint64(max(0, p.sum))), humanize.Bytes(uint64(p.total)), p.ended, p.blobs, humanize.Bytes(uint64(max(0, rate))), left)
}

// end takes the bars off the screen. Nothing is told any more.
func (p *progress) end() {
	if p.container == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, bar := range p.bars {
		bar.Abort(true)
	}
	p.whole.Abort(true)
	p.container.Wait()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
