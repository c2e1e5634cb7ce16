package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"berth/internal/imagetest"
)

// kills is how many moments TestKilled kills at; BERTH_KILLS sets another number.
const kills = 15

// TestKilled kills the built command, as kill -9 does, at random moments of a copy to a
// real registry, and then lets it finish. Whatever the moment, the tag is not there or
// is whole; afterwards it is whole, and no blob that the registry had committed was
// sent again.
func TestKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		imagetest.Missing(t, "signals", "run the tests on Linux or macOS")
	}
	n := kills
	if s := os.Getenv("BERTH_KILLS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("BERTH_KILLS: %v", err)
		}
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	image := everywhere()
	program := build(t)
	source := push(t, image, imagetest.Registry(t), "app") + ":v1"
	direct := imagetest.Distribution(t)
	watch := &watched{}
	destination := imagetest.Proxy(t, direct, watch.middleware)

	// copy runs the command, and kills it at an event where that is not zero.
	copy := func(repository string, at int) (killed bool) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "copy", source, destination+"/"+repository+":v1")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		started := make(chan struct{}) // it may send before Start returns
		watch.begin(at, func() {
			<-started
			_ = cmd.Process.Kill() // it may have ended
		})
		err := cmd.Start()
		close(started)
		if err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		watch.end()
		if err != nil && at == 0 {
			t.Fatalf("%v\n%s", err, &said)
		}
		return err != nil
	}

	copy("whole", 0)
	events := watch.events
	if !complete(t, direct, "whole", "v1") {
		t.Fatal("no tag")
	}
	inTheMiddle := 0
	for i := range n {
		repository := fmt.Sprintf("killed%d", i)
		at := 1 + random.IntN(events)
		if copy(repository, at) && complete(t, direct, repository, "v1") {
			t.Logf("killed at event %d: the tag was there already", at)
		}
		committed := watch.committed(repository)
		if len(committed) > 0 {
			inTheMiddle++
		}
		copy(repository, 0)
		if !complete(t, direct, repository, "v1") {
			t.Fatalf("killed at event %d of %d, and finished: no tag", at, events)
		}
		arrived(t, direct+"/"+repository+":v1", manifest(t, image, "v1"))
		for d, times := range watch.sent(repository) {
			if committed[d] && times > 1 {
				t.Errorf("killed at event %d of %d: %s was committed, and sent again", at, events, d)
			}
		}
	}
	t.Logf("killed at %d of %d events, %d times with blobs committed", n, events, inTheMiddle)
}

// watched is a registry of which it is known what was sent to it, and which does
// something at an event: a request, a piece of its body, an answer.
type watched struct {
	mu       sync.Mutex
	requests sync.WaitGroup
	events   int
	at       int
	do       func()
	puts     map[string]int  // uploads of a blob that had a body, by repository@digest
	done     map[string]bool // those that the registry answered with 201
}

func (w *watched) begin(at int, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events, w.at, w.do = 0, at, do
}

// end waits until the registry has answered all that was asked: what it still commits
// after its client has gone counts.
func (w *watched) end() { w.requests.Wait() }

func (w *watched) event() {
	w.mu.Lock()
	w.events++
	now, do := w.events == w.at, w.do
	w.mu.Unlock()
	if now {
		do()
	}
}

func (w *watched) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		defer w.requests.Done()
		w.event()
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
		key := repository + "@" + r.URL.Query().Get("digest")
		if r.Method == http.MethodPut && r.URL.Query().Has("digest") {
			w.mu.Lock()
			if w.puts == nil {
				w.puts, w.done = map[string]int{}, map[string]bool{}
			}
			w.puts[key]++
			w.mu.Unlock()
		}
		r.Body = &eventful{r.Body, w}
		answer := &status{ResponseWriter: out}
		defer func() {
			// The proxy panics where its client has gone, and the registry had answered.
			if answer.code == http.StatusCreated && r.Method == http.MethodPut {
				w.mu.Lock()
				w.done[key] = true
				w.mu.Unlock()
			}
			w.event()
		}()
		next.ServeHTTP(answer, r)
	})
}

// committed are the blobs of a repository that the registry has said it has.
func (w *watched) committed(repository string) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[string]bool{}
	for key := range w.done {
		if d, ok := strings.CutPrefix(key, repository+"@"); ok {
			found[d] = true
		}
	}
	return found
}

// sent is how often each blob of a repository was sent.
func (w *watched) sent(repository string) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := map[string]int{}
	for key, n := range w.puts {
		if d, ok := strings.CutPrefix(key, repository+"@"); ok {
			found[d] = n
		}
	}
	return found
}

type eventful struct {
	io.ReadCloser
	watch *watched
}

func (e *eventful) Read(p []byte) (int, error) {
	e.watch.event()
	return e.ReadCloser.Read(p)
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}
