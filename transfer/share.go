package transfer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

const (
	// shareWindow is how far one destination may be ahead of another within a blob: two
	// of the pieces in which bodies are sent, so that neither waits for the other's
	// every read.
	shareWindow = 256 << 10
	// maxWindows bounds the windows of all blobs that are being shared: one for each of
	// [DefaultJobs].
	maxWindows = DefaultJobs * shareWindow
	// sharePatience is how long a destination may hold up the others over one blob, less
	// the time in which it does not. It is longer than a registry takes to open an upload, and short beside a copy
	// that is worth sharing.
	sharePatience = 5 * time.Second
)

// Shared is one source for several runs at the same time: a blob that several of them
// send is fetched once. [Shared.Reader] is what each run gets for its source.
//
// Each run has a schedule and failures of its own. Those that send the same blob at
// about the same time read it through a window, at the pace of the slowest. One that
// holds up the others for 5 seconds more than it does not, because it stalls or has not
// half their speed, reads from the source by itself from then on, and so does one that
// has to send a blob again from its start; the others go on.
type Shared struct {
	ctx    context.Context
	cancel context.CancelFunc
	src    store.BlobReader
	pumps  sync.WaitGroup

	mu      sync.Mutex
	lanes   []*lane
	blobs   map[digest.Digest]*sharedBlob
	windows int64 // bytes of all windows
}

// Share makes one source of src for the runs of plans. The caller closes it once all
// runs have ended.
func Share(ctx context.Context, src store.BlobReader, plans ...*Plan) *Shared {
	s := &Shared{src: src, blobs: map[digest.Digest]*sharedBlob{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	for _, plan := range plans {
		l := &lane{shared: s}
		s.lanes = append(s.lanes, l)
		blobs := plan.Blobs
		for _, r := range plan.Referrers {
			blobs = append(blobs[:len(blobs):len(blobs)], r.plan.Blobs...)
		}
		for _, d := range blobs {
			if _, inMemory := plan.configs[d.Digest]; inMemory {
				continue
			}
			b := s.blobs[d.Digest]
			if b == nil {
				b = &sharedBlob{shared: s, desc: d, expected: map[*lane]bool{}, readers: map[*sharedReader]bool{}, changed: make(chan struct{})}
				s.blobs[d.Digest] = b
			}
			b.expected[l] = true
		}
	}
	for d, b := range s.blobs {
		if len(b.expected) < 2 {
			delete(s.blobs, d)
		}
	}
	return s
}

// Reader is the source for the run of the i-th plan. It serves that run alone, and only
// once.
func (s *Shared) Reader(i int) store.BlobReader { return s.lanes[i] }

// Close ends what is being read, and returns when nothing is read any more.
func (s *Shared) Close() {
	s.cancel()
	for _, l := range s.lanes {
		l.end()
	}
	s.pumps.Wait()
}

// lane is one run's view of the source.
type lane struct {
	shared *Shared
	// alone is set once it held up the others for too long. shared.mu guards it.
	alone bool
}

// Blob implements store.BlobReader.
func (l *lane) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	s := l.shared
	s.mu.Lock()
	b := s.blobs[desc.Digest]
	if b == nil || l.alone || b.desc.Size != desc.Size || !b.join(offset) {
		s.mu.Unlock()
		return s.src.Blob(ctx, desc, offset)
	}
	delete(b.expected, l)
	r := &sharedReader{ctx: ctx, lane: l, blob: b, offset: offset}
	b.readers[r] = true
	b.tell()
	err := b.wait(ctx, func() bool { return b.opened || r.detached })
	if err == nil && b.end == offset {
		err = b.err
	}
	s.mu.Unlock()
	if err == io.EOF { // of a blob without a byte
		err = nil
	}
	if err != nil {
		// It failed for another reason than this one's: nothing is lost by closing it.
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// leave says that the lane will not ask for a blob, or not again.
func (l *lane) leave(d digest.Digest) {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	if b := l.shared.blobs[d]; b != nil && b.expected[l] {
		delete(b.expected, l)
		b.tell()
	}
}

// end says that the lane will ask for nothing more.
func (l *lane) end() {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	l.goAlone()
}

// goAlone takes the lane out of what the others wait for: it reads by itself from now
// on, and goes on by itself where it is in the middle of a blob. shared.mu is held.
func (l *lane) goAlone() {
	l.alone = true
	for _, b := range l.shared.blobs {
		delete(b.expected, l)
		for r := range b.readers {
			if r.lane == l {
				r.detached = true
				delete(b.readers, r)
			}
		}
		b.tell()
	}
}

// sharedBlob is a blob that several lanes send. shared.mu guards it.
type sharedBlob struct {
	shared *Shared
	desc   store.Descriptor
	// expected are the lanes that have not come yet, readers those that are here.
	expected map[*lane]bool
	readers  map[*sharedReader]bool
	// window holds the bytes from base to end, each at its offset modulo the length.
	window    []byte
	base, end int64
	// reserved is what the window takes of [maxWindows].
	reserved int64
	// opened is set when the source has answered; err is how it ended, io.EOF at its end.
	opened bool
	err    error
	// held is how long one reader has waited for others, less the time since in which
	// none did; awake is when that was counted last.
	held    time.Duration
	awake   time.Time
	changed chan struct{} // closed when something changes
}

// tell wakes up whoever waits for a change.
func (b *sharedBlob) tell() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait returns once done says so, or ctx ends. shared.mu is held, but for the waiting.
func (b *sharedBlob) wait(ctx context.Context, done func() bool) error {
	for !done() {
		changed := b.changed
		b.shared.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		b.shared.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// join tells whether the blob can be read through the window from offset on, and starts
// to fetch it for the first one who does.
func (b *sharedBlob) join(offset int64) bool {
	if b.window != nil {
		return b.base <= offset && offset <= b.end
	}
	s := b.shared
	size := min(b.desc.Size, shareWindow)
	if s.windows+size > maxWindows {
		// What waits for the late alone makes room.
		for _, other := range s.blobs {
			if other.window != nil && len(other.readers) == 0 {
				s.windows -= other.reserved
				other.reserved = 0
				clear(other.expected)
				other.tell()
			}
		}
	}
	if offset > 0 || s.windows+size > maxWindows || s.ctx.Err() != nil {
		delete(s.blobs, b.desc.Digest)
		return false
	}
	s.windows += size
	b.window, b.reserved = make([]byte, size), size
	s.pumps.Go(b.pump)
	return true
}

// pump fetches the blob until it is whole or nobody wants it any more.
func (b *sharedBlob) pump() {
	s := b.shared
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	from, err := s.src.Blob(ctx, b.desc, 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	b.opened, b.err, b.awake = true, err, time.Now()
	b.tell()
	for b.err == nil && b.room(ctx) {
		at := b.end % max(1, int64(len(b.window)))
		free := min(int64(len(b.window))-at, int64(len(b.window))-(b.end-b.base))
		s.mu.Unlock()
		var n int
		if free == 0 { // all is here, and its end is still to be seen
			if _, err = io.ReadFull(from, make([]byte, 1)); err == nil {
				err = fmt.Errorf("%w: there are more than its %d bytes", store.ErrCorrupt, b.desc.Size)
			}
		} else {
			n, err = from.Read(b.window[at : at+free])
		}
		s.mu.Lock()
		b.end += int64(n)
		b.err = err
		b.tell()
	}
	if from != nil {
		// What was read was read well, or not wanted: an error here changes nothing.
		_ = from.Close()
	}
	// What is whole stays for those who come late.
	for b.wanted() && s.ctx.Err() == nil {
		if b.wait(ctx, func() bool { return !b.wanted() }) != nil {
			break
		}
	}
	s.windows -= b.reserved
	delete(s.blobs, b.desc.Digest)
}

// wanted tells whether anybody is here or to come.
func (b *sharedBlob) wanted() bool { return len(b.expected)+len(b.readers) > 0 }

// room waits until the window has room, and is false once nobody wants more. Whoever
// holds up another for too long is sent its own way.
func (b *sharedBlob) room(ctx context.Context) bool {
	for {
		if !b.wanted() || ctx.Err() != nil {
			return false
		}
		b.base = b.floor()
		if b.end-b.base < int64(len(b.window)) || b.end >= b.desc.Size {
			return true
		}
		hungry := false
		for r := range b.readers {
			hungry = hungry || r.offset == b.end
		}
		if hungry && b.held >= sharePatience {
			b.detachSlowest()
			continue
		}
		b.sleep(ctx, hungry)
	}
}

// sleep waits for a change. While a reader is hungry that is counted, and has an end.
func (b *sharedBlob) sleep(ctx context.Context, hungry bool) {
	changed, started := b.changed, time.Now()
	b.held, b.awake = max(0, b.held-started.Sub(b.awake)), started
	var late <-chan time.Time
	if hungry {
		timer := time.NewTimer(sharePatience - b.held)
		defer timer.Stop()
		late = timer.C
	}
	b.shared.mu.Unlock()
	select {
	case <-changed:
	case <-late:
	case <-ctx.Done():
	}
	b.shared.mu.Lock()
	if hungry {
		b.awake = time.Now()
		b.held += b.awake.Sub(started)
	}
}

// floor is the first byte that somebody still wants.
func (b *sharedBlob) floor() int64 {
	if len(b.expected) > 0 {
		return b.base // they start at the beginning, where it still is
	}
	floor := b.end
	for r := range b.readers {
		floor = min(floor, r.offset)
	}
	return floor
}

// detachSlowest sends those for whom the others wait their own way.
func (b *sharedBlob) detachSlowest() {
	for l := range b.expected {
		l.goAlone()
	}
	for r := range b.readers {
		if r.offset == b.base && r.offset < b.end {
			r.lane.goAlone()
		}
	}
	b.tell()
}

// sharedReader is a lane reading a blob.
type sharedReader struct {
	ctx      context.Context
	lane     *lane
	blob     *sharedBlob
	offset   int64         // shared.mu guards it
	detached bool          // shared.mu guards it
	own      io.ReadCloser // once detached
}

// Read implements io.Reader.
func (r *sharedReader) Read(p []byte) (int, error) {
	if r.own != nil {
		return r.own.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	b, s := r.blob, r.lane.shared
	s.mu.Lock()
	err := b.wait(r.ctx, func() bool { return r.detached || r.offset < b.end || b.err != nil })
	if err == nil && !r.detached {
		defer s.mu.Unlock()
		if r.offset == b.end {
			return 0, b.err
		}
		at := r.offset % int64(len(b.window))
		n := copy(p[:min(int64(len(p)), b.end-r.offset)], b.window[at:])
		r.offset += int64(n)
		b.tell()
		return n, nil
	}
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	own, err := s.src.Blob(r.ctx, b.desc, r.offset)
	if err != nil {
		return 0, err
	}
	r.own = own
	return own.Read(p)
}

// Close implements io.Closer.
func (r *sharedReader) Close() error {
	s := r.lane.shared
	s.mu.Lock()
	if r.blob.readers[r] {
		delete(r.blob.readers, r)
		r.blob.tell()
	}
	s.mu.Unlock()
	if r.own != nil {
		return r.own.Close()
	}
	return nil
}
