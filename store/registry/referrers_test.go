package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store"
)

const subject = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

// about is a referrer of subject, whose blobs m has.
func about(m *imagetest.Memory, text string) store.Referrer {
	blob := m.AddBlob("text/plain", []byte(text))
	raw, err := json.Marshal(v1.Manifest{
		MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/example", Config: blob, Layers: []store.Descriptor{blob},
		Subject: &store.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: subject, Size: 2}, Annotations: map[string]string{"text": text},
	})
	if err != nil {
		panic(err)
	}
	raw = bytes.Replace(raw, []byte("{"), []byte(`{"schemaVersion":2,`), 1)
	d := m.AddManifest(v1.MediaTypeImageManifest, raw, "")
	return store.Referrer{Manifest: store.Manifest{Descriptor: d, Raw: raw}, Subject: subject}
}

// notes is a registry that says which subject it has taken note of.
func notes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			w.Header().Set("OCI-Subject", subject.String())
		}
		next.ServeHTTP(w, r)
	})
}

var (
	lists     = regexp.MustCompile("/referrers/")
	noListing = imagetest.Instead(lists, imagetest.Status(http.StatusNotFound, "NOT_FOUND"))
)

func TestReferrers(t *testing.T) {
	for name, c := range map[string]struct {
		wrap []imagetest.Middleware
		// tagged is whether the index under the referrers tag is kept.
		tagged bool
	}{
		"listed and noted":          {[]imagetest.Middleware{notes}, false},
		"listed, not noted":         {nil, true},
		"not listed":                {[]imagetest.Middleware{noListing}, true},
		"not allowed":               {[]imagetest.Middleware{imagetest.Instead(lists, imagetest.Status(http.StatusMethodNotAllowed, "UNSUPPORTED"))}, true},
		"an answer of another kind": {[]imagetest.Middleware{imagetest.Instead(lists, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })}, true},
	} {
		t.Run(name, func(t *testing.T) {
			host := imagetest.Registry(t, c.wrap...)
			client := New(Options{})
			defer client.CloseIdleConnections()
			r := client.Repository(host, "app")
			m := imagetest.New()
			one, two := about(m, "one"), about(m, "two")
			if err := m.PushTo(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if found, err := client.Repository(host, "empty").Referrers(t.Context(), subject); err != nil && !errors.Is(err, store.ErrNotFound) || len(found) > 0 {
				t.Errorf("before: %v, %v", found, err)
			}
			for _, referrer := range []store.Referrer{one, two, one} {
				if err := r.PushReferrer(t.Context(), referrer); err != nil {
					t.Fatal(err)
				}
			}
			// A client that has not learned anything about it yet.
			fresh := New(Options{})
			defer fresh.CloseIdleConnections()
			found, err := fresh.Repository(host, "app").Referrers(t.Context(), subject)
			if err != nil || len(found) != 2 {
				t.Fatalf("found %v, %v", found, err)
			}
			for _, d := range found {
				// The registry of the tests lists the config's media type.
				if d.Annotations["text"] == "" || !strings.HasPrefix(name, "listed") && d.ArtifactType != "application/example" {
					t.Errorf("%+v", d)
				}
			}
			if _, err := r.Resolve(t.Context(), store.ReferrersTag(subject)); c.tagged != (err == nil) {
				t.Errorf("the referrers tag: %v", err)
			}
		})
	}
}

// What others have put into the index stays, also where they do it at the same time.
func TestReferrersTagIsShared(t *testing.T) {
	m := imagetest.New()
	mine, theirs, late := about(m, "mine"), about(m, "theirs"), about(m, "late")
	var other *Repository
	puts := 0
	race := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+store.ReferrersTag(subject)) {
				if puts++; puts == 2 { // ours: somebody writes over it an index without it
					raw, err := json.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []store.Descriptor{theirs.Descriptor, late.Descriptor}})
					if err != nil {
						t.Error(err)
					}
					raw = bytes.Replace(raw, []byte(`"schemaVersion":0`), []byte(`"schemaVersion":2`), 1)
					d := store.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
					if err := other.PushManifest(t.Context(), d, raw, store.ReferrersTag(subject)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	handler := noListing(imagetest.NewRegistry())
	other = New(Options{}).Repository(imagetest.Serve(t, handler), "app")
	defer other.endpoint.client.CloseIdleConnections()
	client := New(Options{})
	defer client.CloseIdleConnections()
	r := client.Repository(imagetest.Serve(t, handler, race), "app")
	if err := m.PushTo(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := r.PushReferrer(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if err := r.PushReferrer(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	found, err := r.Referrers(t.Context(), subject)
	if err != nil || len(found) != 3 || found[2].Digest != mine.Descriptor.Digest {
		t.Errorf("%v, %v", found, err)
	}
}

// pages answers with a list in pages, of which link says where the next is.
func pages(link func(page int) string, entries ...store.Descriptor) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page := 0
		if s := r.URL.Query().Get("page"); s != "" {
			if _, err := fmt.Sscan(s, &page); err != nil {
				panic(err)
			}
		}
		w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
		if next := link(page); next != "" {
			w.Header().Set("Link", next)
		}
		index := v1.Index{MediaType: v1.MediaTypeImageIndex}
		if page < len(entries) {
			index.Manifests = entries[page : page+1]
		}
		if err := json.NewEncoder(w).Encode(index); err != nil {
			panic(err)
		}
	}
}

func TestReferrersPages(t *testing.T) {
	m := imagetest.New()
	entries := []store.Descriptor{about(m, "a").Descriptor, about(m, "b").Descriptor, about(m, "a").Descriptor, {Digest: "md5:no"}}
	for _, c := range []struct {
		name string
		link func(page int) string
		want int
		says string
	}{
		{"all", func(page int) string {
			if page < 3 {
				return fmt.Sprintf(`</v2/app/referrers/%s?page=%d>; rel="next"`, subject, page+1)
			}
			return ""
		}, 2, ""},
		{"in circles", func(int) string { return `<?page=0>; rel=next` }, 0, "more than 256 pages"},
		{"elsewhere", func(int) string { return `<http://example.com/>; rel="next"` }, 0, "no place on the registry"},
		{"another relation", func(int) string { return `<?page=1>; rel="prev"` }, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := New(Options{Retry: Retry{Attempts: 1}})
			defer client.CloseIdleConnections()
			r := client.Repository(imagetest.Serve(t, pages(c.link, entries...)), "app")
			found, err := r.Referrers(t.Context(), subject)
			if len(found) != c.want || c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
}

func TestReferrerRefused(t *testing.T) {
	m := imagetest.New()
	one := about(m, "one")
	put := regexp.MustCompile("^PUT .*/manifests/")
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusBadRequest} {
		client := New(Options{})
		r := client.Repository(imagetest.Registry(t, imagetest.Instead(put, imagetest.Status(status, "UNSUPPORTED"))), "app")
		if err := r.PushReferrer(t.Context(), one); !errors.Is(err, store.ErrUnsupported) {
			t.Errorf("%d: %v", status, err)
		}
		client.CloseIdleConnections()
	}
}

func FuzzReferrersList(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"`+subject.String()+`","size":1}]}`), `</v2/x>; rel="next"`)
	f.Add([]byte(`{"manifests":null}`), "<>;rel=next")
	f.Add([]byte(`[`), `<%zz>; rel=next`)
	f.Fuzz(func(t *testing.T, body []byte, link string) {
		first := true
		client := New(Options{Retry: Retry{Attempts: 1}, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
			if first {
				w.Header()["Link"] = []string{link}
			}
			first = false
			_, _ = w.Write(body) // never fails
			return w.Result(), nil
		})})
		found, err := client.Repository("127.0.0.1:1", "app").Referrers(t.Context(), subject)
		for _, d := range found {
			if err := store.ValidDigest(d.Digest); err != nil {
				t.Error(err)
			}
		}
		if err != nil && len(found) > 0 {
			t.Errorf("both an error and a list: %v", err)
		}
	})
}
