package imagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"berth/store"
)

// Middleware stands between a client and a registry: it counts, it delays, it
// answers wrongly.
type Middleware = func(http.Handler) http.Handler

// Registry serves an empty registry in memory on a loopback port that the kernel
// chooses, until the test ends, and returns its host:port. The first middleware
// sees a request first.
//
// [Distribution] is a real one, and slower to start.
func Registry(tb testing.TB, middleware ...Middleware) string {
	tb.Helper()
	return Serve(tb, NewRegistry(), middleware...)
}

// Serve is [Registry] for a handler that there is already.
func Serve(tb testing.TB, handler http.Handler, middleware ...Middleware) string {
	tb.Helper()
	for _, wrap := range slices.Backward(middleware) {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// NewRegistry is the handler of an empty registry in memory: that of
// go-containerregistry, and as strict as real registries in what it leaves out.
// Blobs belong to a repository and can be mounted from another, ranges may be
// open, pieces of an upload come in order and a session is used once, a manifest is
// refused while something that it refers to is missing, and one that is deleted takes
// its tags along.
func NewRegistry() http.Handler {
	blobs := &blobs{content: map[string][]byte{}}
	return &strict{
		blobs:   blobs,
		uploads: uploads{blobs: blobs, sessions: map[string]*upload{}},
		next:    registry.New(registry.WithBlobHandler(blobs), registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))),
	}
}

type strict struct {
	blobs   *blobs
	uploads uploads
	next    http.Handler
}

var registryPath = regexp.MustCompile(`^/v2/(.+)/(blobs|manifests)/([^/]+)/?$`)

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.uploads.serve(w, r) {
		return
	}
	part := registryPath.FindStringSubmatch(r.URL.Path)
	if part == nil {
		s.next.ServeHTTP(w, r)
		return
	}
	repository, kind, name := part[1], part[2], part[3]
	switch {
	case kind == "blobs" && r.Method == http.MethodGet && r.Header.Get("Range") != "":
		raw, ok := s.blobs.find(repository, name)
		if !ok {
			break
		}
		w.Header().Set("Docker-Content-Digest", name)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw))
		return
	case kind == "blobs" && r.Method == http.MethodPost && r.URL.Query().Has("mount"):
		mount := r.URL.Query().Get("mount")
		raw, ok := s.blobs.find(r.URL.Query().Get("from"), mount)
		if !ok {
			s.uploads.begin(w, repository)
			return
		}
		s.blobs.keep(repository, mount, raw)
		w.Header().Set("Location", "/v2/"+repository+"/blobs/"+mount)
		w.Header().Set("Docker-Content-Digest", mount)
		w.WriteHeader(http.StatusCreated)
		return
	case kind == "manifests" && r.Method == http.MethodDelete && strings.Contains(name, ":"):
		s.untag(repository, name)
	case kind == "manifests" && r.Method == http.MethodPut:
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, store.MaxManifestSize))
		if err != nil {
			refuse(w, http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", err)
			return
		}
		if code, err := s.complete(repository, name, raw); err != nil {
			refuse(w, http.StatusBadRequest, code, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
	}
	s.next.ServeHTTP(w, r)
}

// untag deletes the tags of a manifest.
func (s *strict) untag(repository, digest string) {
	ask := func(method, path string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		s.next.ServeHTTP(answer, httptest.NewRequest(method, "/v2/"+repository+path, http.NoBody))
		return answer
	}
	var list struct{ Tags []string }
	if json.Unmarshal(ask(http.MethodGet, "/tags/list").Body.Bytes(), &list) != nil {
		return // there is no such repository
	}
	for _, tag := range list.Tags {
		if ask(http.MethodHead, "/manifests/"+tag).Header().Get("Docker-Content-Digest") == digest {
			ask(http.MethodDelete, "/manifests/"+tag)
		}
	}
}

// complete tells whether a manifest may be stored. That the children of an index
// are there is checked by the handler underneath.
func (s *strict) complete(repository, name string, raw []byte) (code string, err error) {
	if strings.Contains(name, ":") && digest.FromBytes(raw).String() != name {
		return "DIGEST_INVALID", fmt.Errorf("%s is not the digest of what was sent", name)
	}
	var manifest struct {
		Config *store.Descriptor
		Layers []store.Descriptor
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return "MANIFEST_INVALID", err
	}
	refers := manifest.Layers
	if manifest.Config != nil {
		refers = append(refers, *manifest.Config)
	}
	for _, d := range refers {
		if _, ok := s.blobs.find(repository, d.Digest.String()); !ok && len(d.URLs) == 0 {
			return "MANIFEST_BLOB_UNKNOWN", fmt.Errorf("%s has no blob %s", repository, d.Digest)
		}
	}
	return "", nil
}

// refuse answers as the distribution-spec has it, "Error Codes".
func refuse(w http.ResponseWriter, status int, code string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, err)
}

// blobs implements the three BlobHandler interfaces of package registry, whose own
// handler knows no repositories and reads an upload while it holds its lock.
type blobs struct {
	mu      sync.Mutex
	content map[string][]byte // by repository@digest
}

func (b *blobs) find(repository, digest string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	raw, ok := b.content[repository+"@"+digest]
	return raw, ok
}

func (b *blobs) keep(repository, digest string, raw []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.content[repository+"@"+digest] = raw
}

// Stat implements registry.BlobStatHandler.
func (b *blobs) Stat(_ context.Context, repository string, h v1.Hash) (int64, error) {
	raw, ok := b.find(repository, h.String())
	if !ok {
		return 0, registry.ErrNotFound
	}
	return int64(len(raw)), nil
}

// Get implements registry.BlobHandler.
func (b *blobs) Get(_ context.Context, repository string, h v1.Hash) (io.ReadCloser, error) {
	raw, ok := b.find(repository, h.String())
	if !ok {
		return nil, registry.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// Put implements registry.BlobPutHandler. For a PUT the repository comes with
// "/blobs" at its end.
func (b *blobs) Put(_ context.Context, repository string, h v1.Hash, r io.ReadCloser) error {
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	b.keep(strings.TrimSuffix(repository, "/blobs"), h.String(), raw)
	return nil
}

// Traffic records the requests that its Middleware saw. It is safe for concurrent use.
type Traffic struct {
	mu       sync.Mutex
	requests []string
}

// Record is a [Middleware].
func (t *Traffic) Record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		t.requests = append(t.requests, r.Method+" "+r.URL.RequestURI())
		t.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// Requests returns "METHOD /path?query" of every request so far, in the order of
// their arrival.
func (t *Traffic) Requests() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// Writes returns those of the requests that could have changed something.
func (t *Traffic) Writes() []string {
	return slices.DeleteFunc(t.Requests(), func(s string) bool {
		return strings.HasPrefix(s, "GET ") || strings.HasPrefix(s, "HEAD ")
	})
}

// Instead is a [Middleware] that answers a request with handler where match says
// so, which sees "METHOD /path".
func Instead(match *regexp.Regexp, handler http.HandlerFunc) Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match.MatchString(r.Method + " " + r.URL.Path) {
				handler(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Status answers every request with an error of the distribution-spec.
func Status(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, status, code, errors.New(strings.ToLower(http.StatusText(status))))
	}
}
