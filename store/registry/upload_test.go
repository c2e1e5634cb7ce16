package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"berth/internal/imagetest"
	"berth/store"
)

// without takes the wish to mount out of requests, as a registry does that knows
// no mounting.
func without(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = r.URL.Query().Get("digest")
		if r.URL.RawQuery != "" {
			r.URL.RawQuery = "digest=" + r.URL.RawQuery
		}
		next.ServeHTTP(w, r)
	})
}

func TestPushBlob(t *testing.T) {
	for name, c := range map[string]struct {
		size int
		// there is pushed before, from is pushed to another repository before.
		there, from bool
		middleware  []imagetest.Middleware
		want        store.Outcome
		requests    []string
		opened      int64
	}{
		"new and small":           {size: 1000, want: store.Copied, requests: []string{"POST ?mount", "PUT"}, opened: 1},
		"new and large":           {size: 100_000, want: store.Copied, requests: []string{"HEAD", "POST ?mount", "PUT"}, opened: 1},
		"empty":                   {size: 0, want: store.Copied, requests: []string{"POST ?mount", "PUT"}, opened: 1},
		"there":                   {size: 1000, there: true, want: store.Present, requests: []string{"POST ?mount"}, opened: 1},
		"there, without mounting": {size: 100_000, there: true, middleware: []imagetest.Middleware{without}, want: store.Present, requests: []string{"HEAD", "POST ?mount"}, opened: 1},
		"there, small, without mounting": {
			size: 1000, there: true, middleware: []imagetest.Middleware{without},
			want: store.Copied, requests: []string{"POST ?mount", "PUT"}, opened: 1,
		},
		"elsewhere":                   {size: 100_000, from: true, want: store.Mounted, requests: []string{"POST ?mount"}},
		"elsewhere, without mounting": {size: 100_000, from: true, middleware: []imagetest.Middleware{without}, want: store.Copied, requests: []string{"POST ?mount", "PUT"}, opened: 1},
		"mounting is refused": {
			size: 1000, from: true, middleware: []imagetest.Middleware{first(1, "POST /v2/app", imagetest.Status(http.StatusForbidden, "DENIED"))},
			want: store.Copied, requests: []string{"POST ?mount", "POST", "PUT"}, opened: 1,
		},
		"mounting fails for now": {
			size: 1000, from: true, middleware: []imagetest.Middleware{first(1, "POST /v2/app", imagetest.Status(http.StatusServiceUnavailable, ""))},
			want: store.Mounted, requests: []string{"POST ?mount", "POST ?mount"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			traffic := new(imagetest.Traffic)
			host := imagetest.Registry(t)
			other := newClient(t, Options{})
			blob, opened := content(bytesOf(c.size))
			for repository, wanted := range map[string]bool{"app": c.there, "other": c.from} {
				if !wanted {
					continue
				}
				if _, err := other.Repository(host, repository).PushBlob(t.Context(), blob); err != nil {
					t.Fatal(err)
				}
				opened.Store(0)
			}
			if c.from {
				blob.MountFrom = "other"
			}
			handler := forward(host)
			for _, wrap := range c.middleware {
				handler = wrap(handler)
			}
			r := newClient(t, Options{}).Repository(serve(t, traffic.Record(handler).ServeHTTP), "app")
			outcome, err := r.PushBlob(t.Context(), blob)
			if err != nil {
				t.Fatal(err)
			}
			if outcome != c.want || opened.Load() != c.opened {
				t.Errorf("%s and opened %d times, want %s and %d", outcome, opened.Load(), c.want, c.opened)
			}
			if got := shape(traffic); got != strings.Join(c.requests, ", ") {
				t.Errorf("%s, want %s", got, c.requests)
			}
			if got, err := store.ReadBlob(t.Context(), other.Repository(host, "app"), blob.Descriptor, 1<<20); err != nil {
				t.Errorf("%d bytes arrived: %v", len(got), err)
			}
		})
	}
}

// shape is the requests of a push, without what varies; HEAD and POST run side by
// side, and HEAD is put first.
func shape(traffic *imagetest.Traffic) string {
	var all []string
	for _, request := range traffic.Requests() {
		method, path, _ := strings.Cut(request, " ")
		if strings.Contains(path, "mount=") {
			method += " ?mount"
		}
		if method == http.MethodHead {
			all = append([]string{method}, all...)
		} else {
			all = append(all, method)
		}
	}
	return strings.Join(all, ", ")
}

// A registry that says so once with one request is not asked with two afterwards.
func TestPushBlobLearns(t *testing.T) {
	traffic := new(imagetest.Traffic)
	host := imagetest.Registry(t, traffic.Record)
	image(t, newClient(t, Options{}).Repository(host, "app"))
	one, _ := content(bytesOf(70_000))
	two, opened := content(bytesOf(80_000))
	client := newClient(t, Options{})
	r := client.Repository(host, "app")
	for _, blob := range []store.Content{one, two, one} {
		if _, err := r.PushBlob(t.Context(), blob); err != nil {
			t.Fatal(err)
		}
	}
	before, openedBefore := client.Requests(), opened.Load()
	if outcome, err := r.PushBlob(t.Context(), two); err != nil || outcome != store.Present {
		t.Fatal(outcome, err)
	}
	if client.Requests() != before+1 || opened.Load() != openedBefore {
		t.Errorf("%d requests, opened %d times; want one and none", client.Requests()-before, opened.Load()-openedBefore)
	}
}

// A registry that does not mount from the repository itself is asked by HEAD alone,
// once something was found there.
func TestPushBlobLearnsToAsk(t *testing.T) {
	host := imagetest.Registry(t, without)
	client := newClient(t, Options{})
	r := client.Repository(host, "app")
	blob, _ := content(bytesOf(70_000))
	for i, want := range []int64{3, 2, 1} {
		before := client.Requests()
		if _, err := r.PushBlob(t.Context(), blob); err != nil {
			t.Fatal(err)
		}
		if got := client.Requests() - before; got != want {
			t.Errorf("push %d took %d requests, want %d", i+1, got, want)
		}
	}
	other, _ := content(bytesOf(80_000))
	if outcome, err := r.PushBlob(t.Context(), other); err != nil || outcome != store.Copied {
		t.Error(outcome, err)
	}
}

// The registry of the distribution project does as the one in memory does.
func TestDistribution(t *testing.T) {
	client := newClient(t, Options{})
	host := imagetest.Distribution(t)
	r := client.Repository(host, "team/app")
	_, index := image(t, r)
	blob, _ := content(bytesOf(500_000))
	mounted := blob
	mounted.MountFrom = "team/app"
	empty, _ := content(nil)
	for i, push := range []struct {
		to       *Repository
		blob     store.Content
		want     store.Outcome
		requests int64
	}{
		{r, blob, store.Copied, 3},
		{r, blob, store.Present, 2},
		{r, blob, store.Present, 1},
		{client.Repository(host, "team/copy"), mounted, store.Mounted, 1},
		{r, empty, store.Copied, 2},
	} {
		before := client.Requests()
		outcome, err := push.to.PushBlob(t.Context(), push.blob)
		if err != nil || outcome != push.want || client.Requests()-before != push.requests {
			t.Errorf("push %d: %s with %d requests, %v; want %s with %d", i+1, outcome, client.Requests()-before, err, push.want, push.requests)
		}
	}
	reader, err := client.Repository(host, "team/copy").Blob(t.Context(), blob.Descriptor, 499_000)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, bytesOf(500_000)[499_000:]) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	if desc, err := r.Resolve(t.Context(), "v1"); err != nil || desc.Digest != index.Digest {
		t.Errorf("%+v, %v", desc, err)
	}
	_, err = client.Repository(host, "team/none").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrNotFound, "the registry says")
}

func TestPushBlobStartsAgain(t *testing.T) {
	raw := bytesOf(200_000)
	half := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, int64(len(raw)/2))
			then(w, r)
		}
	}
	for name, fault := range map[string]http.HandlerFunc{
		"500":                  half(imagetest.Status(500, "")),
		"503":                  half(imagetest.Status(503, "")),
		"429":                  half(imagetest.Status(429, "")),
		"401":                  half(imagetest.Status(401, "UNAUTHORIZED")),
		"404":                  half(imagetest.Status(404, "BLOB_UPLOAD_UNKNOWN")),
		"416":                  half(imagetest.Status(416, "BLOB_UPLOAD_INVALID")),
		"reset":                half(reset),
		"500 before it begins": imagetest.Status(500, ""),
		"reset before it begins": func(w http.ResponseWriter, r *http.Request) {
			reset(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			traffic := new(imagetest.Traffic)
			host := imagetest.Registry(t, traffic.Record, first(2, "PUT /v2/app/blobs", fault))
			blob, opened := content(raw)
			r := newClient(t, Options{}).Repository(host, "app")
			outcome, err := r.PushBlob(t.Context(), blob)
			if err != nil || outcome != store.Copied {
				t.Fatal(outcome, err)
			}
			if opened.Load() != 3 || count(traffic, "POST") != 3 {
				t.Errorf("opened %d times for %d sessions, want 3 for 3", opened.Load(), count(traffic, "POST"))
			}
			if n := strings.Count(shape(traffic), "?mount"); n != 1 {
				t.Errorf("asked %d times whether it is there, want once", n)
			}
			sessions := map[string]bool{}
			for _, request := range traffic.Requests() {
				if strings.HasPrefix(request, "PUT") {
					sessions[request] = true
				}
			}
			if len(sessions) != 3 {
				t.Errorf("%d sessions were used, want 3", len(sessions))
			}
			if _, err := store.ReadBlob(t.Context(), r, blob.Descriptor, 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
}

// The token runs out while a body is under way: it is refreshed, and the blob sent
// again whole.
func TestTokenRunsOutDuringUpload(t *testing.T) {
	g := new(guard)
	host := imagetest.Registry(t, first(1, "PUT /v2/app/blobs", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		clear(g.tokens)
		g.mu.Unlock()
		g.protect(http.NotFoundHandler()).ServeHTTP(w, r)
	}), g.protect)
	blob, opened := content(bytesOf(200_000))
	r := newClient(t, Options{}).Repository(host, "app")
	if outcome, err := r.PushBlob(t.Context(), blob); err != nil || outcome != store.Copied {
		t.Fatal(outcome, err)
	}
	if g.issued != 2 || opened.Load() != 2 {
		t.Errorf("%d tokens, and opened %d times; want 2 and 2", g.issued, opened.Load())
	}
	if _, err := store.ReadBlob(t.Context(), r, blob.Descriptor, 1<<20); err != nil {
		t.Error(err)
	}
}

func TestPushBlobGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		match    string
		fault    http.HandlerFunc
		category error
		says     string
		opened   int64
	}{
		"upload always fails":   {"PUT /v2/app/blobs", imagetest.Status(503, "UNAVAILABLE"), nil, "(tried 5 times)", 5},
		"session always fails":  {"POST", imagetest.Status(503, "UNAVAILABLE"), nil, "(tried 5 times)", 5},
		"repository is missing": {"POST", imagetest.Status(404, "NAME_UNKNOWN"), store.ErrNotFound, "NAME_UNKNOWN", 1},
		"may not push":          {"POST", imagetest.Status(403, "DENIED"), store.ErrDenied, "DENIED", 1},
		"digest is refused":     {"PUT /v2/app/blobs", imagetest.Status(400, "DIGEST_INVALID"), store.ErrCorrupt, "what was read from the source is something else", 1},
		"no place to upload to": {"POST", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }, nil, "no place to upload to", 1},
		"a place that is no URL": {"POST", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "ftp://h/?"+secret)
			w.WriteHeader(http.StatusAccepted)
		}, nil, "the place to upload to is refused: it leads to a URL that is neither https nor http", 1},
		"redirect of a session": {"POST", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere?"+secret, http.StatusTemporaryRedirect)
		}, nil, "307", 1},
		"stored as another": {"PUT /v2/app/blobs", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			w.WriteHeader(http.StatusCreated)
		}, store.ErrCorrupt, "stored it as sha256:0000", 1},
	} {
		t.Run(name, func(t *testing.T) {
			blob, opened := content(bytesOf(1000))
			r := newClient(t, Options{}).Repository(imagetest.Registry(t, first(1000, c.match, c.fault)), "app")
			_, err := r.PushBlob(t.Context(), blob)
			wantError(t, err, c.category, "pushing blob", c.says)
			if opened.Load() != c.opened {
				t.Errorf("opened %d times, want %d", opened.Load(), c.opened)
			}
		})
	}
}

func TestPushBlobRefusesNonsense(t *testing.T) {
	r := newClient(t, Options{}).Repository(imagetest.Registry(t), "app")
	_, err := r.PushBlob(t.Context(), store.Content{Descriptor: store.Descriptor{Digest: "sha256:1"}})
	wantError(t, err, nil, "sha256:1")
	blob, _ := content([]byte("x"))
	blob.Descriptor.Size = -1
	_, err = r.PushBlob(t.Context(), blob)
	wantError(t, err, nil, "has the size -1")
}

// A registry that takes no content with PUT is sent it with PATCH, in one piece, and
// is not tried with PUT again.
func TestPushBlobPatches(t *testing.T) {
	var traffic imagetest.Traffic
	refusing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && r.ContentLength != 0 {
				imagetest.Status(http.StatusMethodNotAllowed, "UNSUPPORTED")(w, r)
				return
			}
			if r.Method == http.MethodPatch && r.Header.Get("Content-Range") != "" {
				t.Errorf("Content-Range: %s", r.Header.Get("Content-Range"))
			}
			next.ServeHTTP(w, r)
		})
	}
	repository := newClient(t, Options{}).Repository(imagetest.Registry(t, traffic.Record, refusing), "app")
	for i, want := range []string{"POST PUT POST PATCH PUT", "POST PATCH PUT"} {
		before := len(traffic.Requests())
		c, opened := content([]byte(fmt.Sprint("blob", i)))
		if outcome, err := repository.PushBlob(t.Context(), c); err != nil || outcome != store.Copied {
			t.Fatal(outcome, err)
		}
		var methods []string
		for _, request := range traffic.Requests()[before:] {
			method, _, _ := strings.Cut(request, " ")
			methods = append(methods, method)
		}
		if got := strings.Join(methods, " "); got != want || opened.Load() != int64(2-i) {
			t.Errorf("%s, opened %d times; want %s", got, opened.Load(), want)
		}
		raw, err := store.ReadBlob(t.Context(), repository, c.Descriptor, 100)
		if err != nil || string(raw) != fmt.Sprint("blob", i) {
			t.Errorf("%s, %v", raw, err)
		}
	}
}
