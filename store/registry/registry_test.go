package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is in every credential and every signed URL of these tests.
const secret = "hunter2"

// waits records what would have been slept, and does not sleep.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	return ctx.Err()
}

func (w *waits) list() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// newClient makes a client that does not sleep.
func newClient(t *testing.T, options Options) *Client {
	t.Helper()
	if options.Retry.Sleep == nil {
		options.Retry.Sleep = new(waits).sleep
	}
	c := New(options)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// serve serves handler on loopback and returns host:port.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// first answers the first n requests that begin with match ("PUT /v2/app/blobs")
// by handler, and leaves the rest to the registry.
func first(n int64, match string, handler http.HandlerFunc) imagetest.Middleware {
	var seen atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Method+" "+r.URL.Path, match) && seen.Add(1) <= n {
				handler(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// reset breaks the connection instead of an answer.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// count counts the requests of traffic that begin with prefix.
func count(traffic *imagetest.Traffic, prefix string) int {
	n := 0
	for _, request := range traffic.Requests() {
		if strings.HasPrefix(request, prefix) {
			n++
		}
	}
	return n
}

// content is raw as something to push. opened counts how often it was opened.
func content(raw []byte) (c store.Content, opened *atomic.Int64) {
	opened = new(atomic.Int64)
	return store.Content{
		Descriptor: descriptor(raw),
		Open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
			opened.Add(1)
			return io.NopCloser(bytes.NewReader(raw[offset:])), nil
		},
	}, opened
}

func descriptor(raw []byte) store.Descriptor {
	return store.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// bytesOf is n bytes that are not all alike.
func bytesOf(n int) []byte {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(i * i >> 3)
	}
	return raw
}

// wantError checks the category, what the text says, and that it holds no secret
// and no control character.
func wantError(t *testing.T, err, category error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if category != nil && !errors.Is(err, category) {
		t.Errorf("%v: is not %q", err, category)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, secret) {
			t.Errorf("the secret is in %s", text)
		}
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("%q has a control character", err)
	}
}

// image pushes a small image of two platforms as app:v1 and returns its index.
func image(t *testing.T, r *Repository) (memory *imagetest.Memory, index store.Descriptor) {
	t.Helper()
	memory = imagetest.New()
	var entries []store.Descriptor
	for _, name := range []string{"linux/amd64", "linux/arm64"} {
		p, err := platform.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		layer := imagetest.GzipLayer(imagetest.File{Name: "bin/app", Mode: 0o755, Body: name})
		entries = append(entries, memory.AddImage(imagetest.Image{Configured: p, Layers: []imagetest.Layer{layer}}, ""))
	}
	index = memory.AddIndex("v1", "", entries...)
	if err := memory.PushTo(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return memory, index
}

func TestRepository(t *testing.T) {
	traffic := new(imagetest.Traffic)
	host := imagetest.Registry(t, traffic.Record)
	c := newClient(t, Options{})
	r := c.Repository(host, "team/app")
	memory, index := image(t, r)

	manifest, err := r.Manifest(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Descriptor.Digest != index.Digest || manifest.Descriptor.MediaType != v1.MediaTypeImageIndex || manifest.Descriptor.Size != index.Size {
		t.Errorf("v1 is %+v, want %+v", manifest.Descriptor, index)
	}
	if desc, err := r.Resolve(t.Context(), "v1"); err != nil || desc.Digest != index.Digest || desc.Size != index.Size || desc.MediaType != index.MediaType {
		t.Errorf("Resolve: %+v, %v", desc, err)
	}
	if _, err := r.Manifest(t.Context(), index.Digest.String()); err != nil {
		t.Error(err)
	}
	if got, want := c.Requests(), int64(len(traffic.Requests())); got != want {
		t.Errorf("%d requests counted, and %d arrived", got, want)
	}
	for _, request := range traffic.Requests() {
		if request == "GET /v2/" {
			t.Error("a registry without authentication was asked about it")
		}
	}
	before := c.Requests()
	if err := memory.PushTo(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	// Four blobs that are there cost one request each, two manifests and an index one each and the tag one.
	if got := c.Requests() - before; got != 8 {
		t.Errorf("pushing what is there took %d requests, want 8", got)
	}
	_, err = r.Manifest(t.Context(), "v2")
	wantError(t, err, store.ErrNotFound, "fetching manifest "+host+"/team/app:v2: not found: the registry says MANIFEST_UNKNOWN")
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Host != host || failed.Repository != "team/app" || failed.Status != http.StatusNotFound || failed.Code != "MANIFEST_UNKNOWN" {
		t.Errorf("%#v", failed)
	}
}

func TestDockerHub(t *testing.T) {
	var asked string
	c := newClient(t, Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = r.URL.String()
		return answer(http.StatusNotFound, nil, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`), nil
	})})
	_, err := c.Repository("docker.io", "library/alpine").Manifest(t.Context(), "3")
	wantError(t, err, store.ErrNotFound, "docker.io/library/alpine:3")
	if asked != "https://registry-1.docker.io/v2/library/alpine/manifests/3" {
		t.Errorf("asked %s", asked)
	}
	if strings.Contains(err.Error(), "registry-1") {
		t.Errorf("%v: names the wire's host", err)
	}
}

func TestObserve(t *testing.T) {
	var mu sync.Mutex
	var seen []Exchange
	host := imagetest.Registry(t)
	c := newClient(t, Options{Observe: func(e Exchange) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, e)
	}})
	blob, _ := content([]byte("x"))
	if _, err := c.Repository(host, "app").PushBlob(t.Context(), blob); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0].Method != http.MethodPost || seen[0].Status != http.StatusAccepted || seen[1].Status != http.StatusCreated {
		t.Errorf("%+v", seen)
	}
	for _, e := range seen {
		if strings.Contains(e.URL, "?") {
			t.Errorf("%s has its query", e.URL)
		}
	}
	if c.Sent() != 1 {
		t.Errorf("%d bytes sent", c.Sent())
	}
}

// roundTripper is a network in a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	return f(r)
}

func answer(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}
