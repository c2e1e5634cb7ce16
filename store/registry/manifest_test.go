package registry

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store"
)

const minimal = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

// serveManifest answers with that body, and with what set does to the header.
func serveManifest(t *testing.T, body string, header map[string]string) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		for name, value := range header {
			w.Header().Set(name, value)
		}
		_, _ = w.Write([]byte(body))
	})
}

func TestManifestIsRefused(t *testing.T) {
	index := map[string]string{"Content-Type": v1.MediaTypeImageIndex}
	with := func(name, value string) map[string]string {
		return map[string]string{"Content-Type": v1.MediaTypeImageIndex, name: value}
	}
	right := digest.FromString(minimal)
	wrong := digest.FromString("something else")
	for name, c := range map[string]struct {
		body      string
		header    map[string]string
		reference string
		category  error
		says      string
	}{
		"HTML":                      {body: "<!DOCTYPE html><html>log in", header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, says: "does not answer as a registry: it sent an HTML page"},
		"HTML under another name":   {body: "<html>log in", header: index, says: "it sent an HTML page"},
		"no JSON":                   {body: "hello", header: index, says: "it is not a JSON object"},
		"half of it":                {body: minimal[:20], header: index, says: "cannot be read"},
		"empty":                     {header: index, says: "it is not a JSON object"},
		"over the bound":            {body: minimal + strings.Repeat(" ", store.MaxManifestSize), header: index, category: store.ErrTooLarge, says: "4194304"},
		"another digest":            {body: minimal, header: index, reference: wrong.String(), category: store.ErrCorrupt, says: "it is " + right.String()},
		"a header that disagrees":   {body: minimal, header: with("Docker-Content-Digest", wrong.String()), category: store.ErrCorrupt, says: wrong.String()},
		"a header against digest":   {body: minimal, header: with("Docker-Content-Digest", wrong.String()), reference: right.String(), category: store.ErrCorrupt, says: "its Docker-Content-Digest header says " + wrong.String()},
		"a type that disagrees":     {body: minimal, header: map[string]string{"Content-Type": v1.MediaTypeImageManifest}, says: "its Content-Type says application/vnd.oci.image.manifest.v1+json and its body says application/vnd.oci.image.index.v1+json"},
		"no type at all":            {body: `{"schemaVersion":2}`, header: map[string]string{"Content-Type": "application/json"}, says: "neither its Content-Type"},
		"control characters inside": {body: `{"mediaType":"\u001b[2J"}`, header: index, says: "its body says"},
		"a digest that is none":     {reference: "sha256:12", says: "sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.reference == "" {
				c.reference = "v1"
			}
			client := newClient(t, Options{})
			host := serveManifest(t, c.body, c.header)
			_, err := client.Repository(host, "app").Manifest(t.Context(), c.reference)
			wantError(t, err, c.category, c.says)
			if client.Requests() > 1 {
				t.Errorf("%d requests for what will not change", client.Requests())
			}
		})
	}
}

// A body without an announced length is bounded too.
func TestManifestOfUnknownLength(t *testing.T) {
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
		w.(http.Flusher).Flush()
		for range store.MaxManifestSize/1024 + 2 {
			if _, err := w.Write(make([]byte, 1024)); err != nil {
				return
			}
		}
	})
	_, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrTooLarge, "more than the 4194304 bytes")
}

func TestManifestType(t *testing.T) {
	const schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	for name, c := range map[string]struct {
		body, contentType, want string
	}{
		"header and body":   {minimal, v1.MediaTypeImageIndex, v1.MediaTypeImageIndex},
		"with a parameter":  {minimal, v1.MediaTypeImageIndex + "; charset=utf-8", v1.MediaTypeImageIndex},
		"header alone":      {`{"schemaVersion":2}`, v1.MediaTypeImageManifest, v1.MediaTypeImageManifest},
		"body alone":        {minimal, "", v1.MediaTypeImageIndex},
		"a header of files": {minimal, "application/octet-stream", v1.MediaTypeImageIndex},
		"schema 1":          {`{"schemaVersion":1,"signatures":[]}`, schema1, schema1},
	} {
		t.Run(name, func(t *testing.T) {
			host := serveManifest(t, c.body, map[string]string{"Content-Type": c.contentType})
			manifest, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
			if err != nil {
				t.Fatal(err)
			}
			if manifest.Descriptor.MediaType != c.want || string(manifest.Raw) != c.body || manifest.Descriptor.Digest != digest.FromString(c.body) {
				t.Errorf("%+v", manifest)
			}
		})
	}
}

func TestManifestIsAskedForInEveryForm(t *testing.T) {
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for _, mediaType := range []string{v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, imagetest.DockerList, imagetest.DockerManifest, "application/vnd.docker.distribution.manifest.v1+json"} {
			if !strings.Contains(r.Header.Get("Accept"), mediaType) {
				t.Errorf("Accept: %s lacks %s", r.Header.Get("Accept"), mediaType)
			}
		}
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("Accept-Encoding: %s", r.Header.Get("Accept-Encoding"))
		}
		_, _ = w.Write([]byte(minimal))
	})
	// net/http calls it text/plain, and then the body counts.
	if _, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
}

func TestTruncatedManifest(t *testing.T) {
	truncated := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
		w.Header().Set("Content-Length", fmt.Sprint(len(minimal)))
		_, _ = w.Write([]byte(minimal[:30]))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	host := imagetest.Registry(t, first(2, "GET /v2/app/manifests", truncated))
	r := newClient(t, Options{}).Repository(host, "app")
	image(t, r)
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	_, err := newClient(t, Options{}).Repository(serve(t, truncated), "app").Manifest(t.Context(), "v1")
	wantError(t, err, nil, "unexpected EOF", "tried 5 times")
}

func TestResolveWithoutHead(t *testing.T) {
	for name, head := range map[string]http.HandlerFunc{
		"405":       imagetest.Status(http.StatusMethodNotAllowed, "UNSUPPORTED"),
		"no digest": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", v1.MediaTypeImageIndex) },
		"no type":   func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Docker-Content-Digest", "sha256:x") },
	} {
		t.Run(name, func(t *testing.T) {
			traffic := new(imagetest.Traffic)
			r := newClient(t, Options{}).Repository(imagetest.Registry(t, traffic.Record, first(1, "HEAD", head)), "app")
			_, index := image(t, r)
			desc, err := r.Resolve(t.Context(), "v1")
			if err != nil || desc.Digest != index.Digest || desc.Size != index.Size {
				t.Errorf("%+v, %v", desc, err)
			}
			if count(traffic, "GET") != 1 {
				t.Errorf("%q", traffic.Requests())
			}
		})
	}
	r := newClient(t, Options{}).Repository(imagetest.Registry(t), "app")
	_, err := r.Resolve(t.Context(), "v1")
	wantError(t, err, store.ErrNotFound, "resolving", "app:v1: not found")
	_, err = r.Resolve(t.Context(), "sha256:x")
	wantError(t, err, nil, "sha256:x")
}

func TestResolveDisagrees(t *testing.T) {
	want, got := digest.FromString("a"), digest.FromString("b")
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
		w.Header().Set("Docker-Content-Digest", got.String())
		w.Header().Set("Content-Length", "7")
	})
	_, err := newClient(t, Options{}).Repository(host, "app").Resolve(t.Context(), want.String())
	wantError(t, err, store.ErrCorrupt, got.String())
}

func TestPushManifest(t *testing.T) {
	raw := []byte(minimal)
	desc := descriptor(raw)
	desc.MediaType = v1.MediaTypeImageIndex
	for name, c := range map[string]struct {
		fault    http.HandlerFunc
		times    int64
		category error
		says     string
		requests int
	}{
		"blobs not seen yet": {fault: imagetest.Status(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"), times: 3, requests: 4},
		"blobs never seen":   {fault: imagetest.Status(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"), times: 9, says: "MANIFEST_BLOB_UNKNOWN", requests: 5},
		"refused":            {fault: imagetest.Status(http.StatusBadRequest, "MANIFEST_INVALID"), times: 9, says: "MANIFEST_INVALID", requests: 1},
		"denied":             {fault: imagetest.Status(http.StatusForbidden, "DENIED"), times: 9, category: store.ErrDenied, says: "anonymous", requests: 1},
		"too large":          {fault: imagetest.Status(http.StatusRequestEntityTooLarge, "SIZE_INVALID"), times: 9, category: store.ErrTooLarge, says: "SIZE_INVALID", requests: 1},
		"stored as another": {times: 9, category: store.ErrCorrupt, says: "the registry stored it as sha256:e3b0", requests: 1, fault: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest.FromString("").String())
			w.WriteHeader(http.StatusCreated)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			traffic := new(imagetest.Traffic)
			r := newClient(t, Options{}).Repository(imagetest.Registry(t, traffic.Record, first(c.times, "PUT", c.fault)), "app")
			err := r.PushManifest(t.Context(), desc, raw, "v1")
			if c.says == "" && err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				wantError(t, err, c.category, "pushing manifest", c.says)
			}
			if n := len(traffic.Requests()); n != c.requests {
				t.Errorf("%d requests, want %d: %q", n, c.requests, traffic.Requests())
			}
		})
	}
	r := newClient(t, Options{}).Repository(imagetest.Registry(t), "app")
	wantError(t, r.PushManifest(t.Context(), desc, []byte("{}"), "v1"), store.ErrCorrupt)
	large := make([]byte, store.MaxManifestSize+1)
	wantError(t, r.PushManifest(t.Context(), descriptor(large), large, "v1"), store.ErrTooLarge)
}

// A registry that does not say what it stored is asked.
func TestPushManifestReadsBack(t *testing.T) {
	raw := []byte(minimal)
	desc := descriptor(raw)
	desc.MediaType = v1.MediaTypeImageIndex
	for name, c := range map[string]struct {
		tag, holds, says string
		requests         int64
	}{
		"as sent":         {"v1", minimal, "", 2},
		"by digest":       {"", minimal, "", 1},
		"overtaken":       {"v1", `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{}}`, "someone else may be writing it", 2},
		"gone in no time": {"v1", "", "verifying what was pushed", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			host := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				switch {
				case r.Method == http.MethodPut:
					w.WriteHeader(http.StatusCreated)
				case c.holds == "":
					http.NotFound(w, r)
				default:
					w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
					fmt.Fprint(w, c.holds)
				}
			})
			err := newClient(t, Options{}).Repository(host, "app").PushManifest(t.Context(), desc, raw, c.tag)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("err = %v, want %q", err, c.says)
			}
			if n := requests.Load(); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
		})
	}
}

func TestImmutableTag(t *testing.T) {
	says := func(status int, code, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
		}
	}
	for name, refusal := range map[string]http.HandlerFunc{
		"ECR":     says(400, "TAG_INVALID", "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is immutable."),
		"ECR API": says(400, "ImageTagAlreadyExistsException", ""),
		"Harbor":  says(412, "PRECONDITION", "Failed to process request due to 'app:v1' configured as immutable."),
		"409":     says(409, "DENIED", ""),
	} {
		t.Run(name, func(t *testing.T) {
			host := imagetest.Registry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPut && r.URL.Path == "/v2/app/manifests/v1" && r.Header.Get("User-Agent") == "berth" {
						refusal(w, r)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			memory, index := image(t, newClient(t, Options{UserAgent: "the one before"}).Repository(host, "app"))
			r := newClient(t, Options{}).Repository(host, "app")
			same, err := memory.Manifest(t.Context(), "v1")
			if err != nil {
				t.Fatal(err)
			}
			if err := r.PushManifest(t.Context(), same.Descriptor, same.Raw, "v1"); err != nil {
				t.Errorf("what the tag stands for already: %v", err)
			}
			other := descriptor([]byte(minimal))
			other.MediaType = v1.MediaTypeImageIndex
			err = r.PushManifest(t.Context(), other, []byte(minimal), "v1")
			wantError(t, err, store.ErrImmutable, "app:v1: tag is immutable", "it stands for "+index.Digest.String())
		})
	}
}

func TestMirror(t *testing.T) {
	traffic := new(imagetest.Traffic)
	home, mirror := imagetest.Registry(t, traffic.Record), imagetest.Registry(t)
	_, index := image(t, newClient(t, Options{}).Repository(home, "app"))
	with := func(mirrors ...string) *Repository {
		return newClient(t, Options{Config: Config{Hosts: map[string]HostConfig{home: {Mirrors: mirrors}}}}).Repository(home, "app")
	}
	read := func(r *Repository) {
		t.Helper()
		manifest, err := r.Manifest(t.Context(), "v1")
		if err != nil {
			t.Fatal(err)
		}
		if manifest.Descriptor.Digest != index.Digest {
			t.Errorf("%s", manifest.Descriptor.Digest)
		}
		entry, err := r.Resolve(t.Context(), "v1")
		if err != nil || entry.Digest != index.Digest {
			t.Errorf("%+v, %v", entry, err)
		}
	}
	read(with(mirror))
	read(with(serve(t, reset)))
	read(with(serve(t, imagetest.Status(http.StatusServiceUnavailable, "")), mirror))
	image(t, newClient(t, Options{}).Repository(mirror, "app"))
	before := len(traffic.Requests())
	read(with(mirror))
	if n := len(traffic.Requests()) - before; n != 0 {
		t.Errorf("%d requests to the registry for what its mirror has", n)
	}
	image(t, with(mirror)) // writes go to the registry itself
	if len(traffic.Requests()) == before {
		t.Error("nothing was pushed to the registry itself")
	}
}
