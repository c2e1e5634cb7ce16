package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// rated is a registry that takes so many requests of a kind in each second and is 50 ms
// away, by a clock that stands still meanwhile.
type rated struct {
	limits map[string]int // by method
	status int
	code   string

	mu      sync.Mutex
	second  map[string]int64
	taken   map[string]int
	refused int
}

func (r *rated) RoundTrip(request *http.Request) (*http.Response, error) {
	time.Sleep(50 * time.Millisecond)
	if request.Body != nil {
		if err := request.Body.Close(); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	limit, limited := r.limits[request.Method]
	if now := time.Now().Unix(); r.second[request.Method] != now {
		r.second[request.Method], r.taken[request.Method] = now, 0
	}
	if limited && r.taken[request.Method] >= limit {
		r.refused++
		return answer(r.status, http.Header{}, fmt.Sprintf(`{"errors":[{"code":%q,"message":"Rate exceeded"}]}`, r.code)), nil
	}
	r.taken[request.Method]++
	_, reference, _ := strings.Cut(request.URL.Path, "/manifests/")
	return answer(http.StatusCreated, http.Header{"Docker-Content-Digest": {reference}}, ""), nil
}

// 200 images are pushed to a registry that takes 10 manifests a second, as ECR does.
func TestRateLimit(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
	}{"429": {429, "TOOMANYREQUESTS"}, "AWS": {400, "ThrottlingException"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const manifests, limit = 200, 10
				registry := &rated{limits: map[string]int{"PUT": limit}, status: c.status, code: c.code, second: map[string]int64{}, taken: map[string]int{}}
				repository := New(Options{Transport: registry}).Repository("r.example", "app")
				var all sync.WaitGroup
				started := time.Now()
				for i := range manifests {
					raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"n":"%d"}}`, v1.MediaTypeImageIndex, i)
					all.Go(func() {
						d := store.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
						if err := repository.PushManifest(t.Context(), d, raw, ""); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				took, least := time.Since(started), manifests/limit*time.Second
				t.Logf("%s at the least, took %s, %d requests were refused", least, took, registry.refused)
				if took > 2*least {
					t.Errorf("took %s, and the limit allows %s", took, least)
				}
				if registry.refused > 4*manifests {
					t.Errorf("%d requests were refused", registry.refused)
				}
			})
		})
	}
}

// Where nobody gets through, a person is told soon.
func TestQuotaIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := &rated{limits: map[string]int{"GET": 0}, status: 429, code: "TOOMANYREQUESTS", second: map[string]int64{}, taken: map[string]int{}}
		repository := New(Options{Transport: registry}).Repository("r.example", "app")
		started := time.Now()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := repository.Manifest(t.Context(), "v1"); err == nil || !strings.Contains(err.Error(), "rate limited") || !strings.Contains(err.Error(), "tried 5 times") {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestPace(t *testing.T) {
	var p pace
	ctx := t.Context()
	enter := func() int {
		t.Helper()
		got, err := p.enter(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	var turns []int
	for range 40 {
		turns = append(turns, enter())
	}
	// All of one time halve it once.
	for _, one := range turns[:20] {
		p.leave(one, true)
	}
	if p.limit != 20 || p.running != 20 {
		t.Errorf("limit %g, running %d", p.limit, p.running)
	}
	waiting, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.enter(waiting); !errors.Is(err, context.Canceled) || len(p.waiting) != 0 {
		t.Errorf("%v, %d are waiting", err, len(p.waiting))
	}
	if passed := p.leave(turns[20], false); passed != 1 {
		t.Errorf("%d got through", passed)
	}
	// A round of them is one more.
	for _, one := range turns[21:] {
		p.leave(one, false)
	}
	if p.limit < 20.9 || p.limit > 21 || p.running != 0 {
		t.Errorf("limit %g, running %d", p.limit, p.running)
	}
	// It never comes to a standstill.
	for range 10 {
		p.leave(enter(), true)
	}
	if p.limit != 1 {
		t.Errorf("limit %g", p.limit)
	}
	// And is forgotten in the end.
	for range unpaced * unpaced {
		p.leave(enter(), false)
	}
	if p.limit != 0 {
		t.Errorf("limit %g", p.limit)
	}
}
