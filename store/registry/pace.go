package registry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// pace is how many requests of one kind may wait for a registry's answer at once: any
// number until it says that there are too many. Then it is half as many as there were,
// and one more for each round of them that passes (additive increase, multiplicative
// decrease, as TCP has it). Registries limit rates and not numbers (ECR lets 10
// manifests be put per second), and this finds them without knowing.
//
// The zero value is ready to use.
type pace struct {
	mu sync.Mutex
	// limit is zero where nothing has been said against any number.
	limit   float64
	running int
	waiting []chan struct{}
	// cut counts the cuts, so that all who are refused at one time halve it once.
	cut int
	// passed counts the answers that were others.
	passed int
}

// unpaced is the limit from which on there is none: more than callers have in flight.
const unpaced = 256

// enter waits for its turn, and returns what leave wants to know.
func (p *pace) enter(ctx context.Context) (cut int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free() {
		p.running++
		return p.cut, nil
	}
	mine := make(chan struct{})
	p.waiting = append(p.waiting, mine)
	p.mu.Unlock()
	select {
	case <-mine:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	if err == nil {
		return p.cut, nil
	}
	if i := slices.Index(p.waiting, mine); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else { // the turn came meanwhile, and is another's now
		p.running--
		p.wake()
	}
	return 0, err
}

// leave says that an answer has come, and whether it was that there are too many. It
// returns how many got through so far.
func (p *pace) leave(cut int, tooMany bool) (passed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !tooMany:
		p.passed++
		if p.limit > 0 {
			p.limit += 1 / p.limit
		}
		if p.limit >= unpaced {
			p.limit = 0
		}
	case cut == p.cut:
		if p.limit == 0 {
			p.limit = float64(p.running)
		}
		p.limit = max(1, p.limit/2)
		p.cut++
	}
	p.running--
	p.wake()
	return p.passed
}

func (p *pace) free() bool { return p.limit == 0 || p.running < int(p.limit) }

// wake gives turns away, in the order in which they were asked for.
func (p *pace) wake() {
	for len(p.waiting) > 0 && p.free() {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.running++
	}
}

// paceOf is the pace of requests like c. Each kind has its own, because registries have
// a rate for each; and because content that is being sent waits for content that is
// being fetched, which may be of the same registry.
func (e *endpoint) paceOf(c call) *pace {
	kind := c.method
	for _, part := range []string{"/manifests/", "/blobs/"} {
		if strings.Contains(c.url.Path, part) {
			kind += " " + part
		}
	}
	if c.once {
		kind = "upload" // wherever it goes
	}
	e.paces.Lock()
	defer e.paces.Unlock()
	if e.paces.of == nil {
		e.paces.of = map[string]*pace{}
	}
	p := e.paces.of[kind]
	if p == nil {
		p = &pace{}
		e.paces.of[kind] = p
	}
	return p
}

// throttled tells whether an answer says that there are too many requests: 429, and
// what AWS says with other statuses ("Amazon ECR API Reference", Common Errors).
func throttled(status int, code string) bool {
	return status == http.StatusTooManyRequests || code == "TOOMANYREQUESTS" || code == "ThrottlingException"
}
