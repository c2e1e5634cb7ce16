package imagetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// What a test may rely on in a registry holds for the one in memory and for a real
// one alike.
func TestRegistries(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...Middleware) string{"memory": Registry, "distribution": Distribution} {
		t.Run(name, func(t *testing.T) {
			var traffic Traffic
			c := client{T: t, base: "http://" + start(t, traffic.Record)}
			hello := digest.FromString("hello").String()
			manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":5},"layers":[]}`, v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, hello)

			c.do("PUT", "/v2/a/b/manifests/v1", manifest, 400)
			c.do("GET", "/v2/a/b/manifests/v1", "", 404)
			c.upload("/v2/a/b", "hello")
			c.do("HEAD", "/v2/a/b/blobs/"+hello, "", 200)
			c.do("HEAD", "/v2/c/blobs/"+hello, "", 404)
			c.do("PUT", "/v2/c/manifests/v1", manifest, 400)
			c.do("POST", "/v2/c/blobs/uploads/?from=a/b&mount="+digest.FromString("x").String(), "", 202)
			c.do("POST", "/v2/c/blobs/uploads/?from=a/b&mount="+hello, "", 201)
			c.do("PUT", "/v2/c/manifests/"+digest.FromString("x").String(), manifest, 400)
			c.do("PUT", "/v2/c/manifests/v1", manifest, 201)
			if got := c.do("GET", "/v2/c/manifests/v1", "", 200); got != manifest {
				t.Errorf("manifest = %s", got)
			}
			c.rangeHeader = "bytes=2-"
			if got := c.do("GET", "/v2/a/b/blobs/"+hello, "", 206); got != "llo" {
				t.Errorf("range = %q", got)
			}
			c.rangeHeader = "bytes=1-9999"
			if got := c.do("GET", "/v2/a/b/blobs/"+hello, "", 206); got != "ello" {
				t.Errorf("range past the end = %q", got)
			}
			if writes := traffic.Writes(); len(writes) != 8 || writes[0] != "PUT /v2/a/b/manifests/v1" {
				t.Errorf("recorded writes: %q", writes)
			}
			if !slices.Contains(traffic.Requests(), "HEAD /v2/c/blobs/"+hello) {
				t.Errorf("recorded requests: %q", traffic.Requests())
			}
		})
	}
}

// TestConformance holds both registries to what the distribution-spec asks in its four
// categories (pull, push, content discovery, content management), as far as tests rely
// on it. The numbers are its endpoints ("end-1" …).
func TestConformance(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...Middleware) string{"memory": Registry, "distribution": Distribution} {
		t.Run(name, func(t *testing.T) {
			c := client{T: t, base: "http://" + start(t)}
			one, two := "hello", "a second blob"
			ofOne, ofTwo := digest.FromString(one).String(), digest.FromString(two).String()
			manifest := func(digest string, size int) string {
				return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`, v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, digest, size)
			}

			t.Run("pull", func(t *testing.T) {
				c := c.of(t)
				c.do("GET", "/v2/", "", 200) // end-1
				c.upload("/v2/pull", one)
				c.do("PUT", "/v2/pull/manifests/v1", manifest(ofOne, len(one)), 201)
				response, raw := c.send("GET", "/v2/pull/blobs/"+ofOne, "") // end-2
				c.wants(response, 200, "Content-Length", fmt.Sprint(len(one)))
				if raw != one {
					t.Errorf("blob = %q", raw)
				}
				response, _ = c.send("HEAD", "/v2/pull/blobs/"+ofOne, "")
				c.wants(response, 200, "Content-Length", fmt.Sprint(len(one)))
				c.do("GET", "/v2/pull/blobs/"+ofTwo, "", 404)
				d := digest.FromString(manifest(ofOne, len(one))).String()
				for _, reference := range []string{"v1", d} { // end-3
					response, raw = c.send("GET", "/v2/pull/manifests/"+reference, "")
					c.wants(response, 200, "Docker-Content-Digest", d)
					c.wants(response, 200, "Content-Type", v1.MediaTypeImageManifest)
					if digest.FromString(raw).String() != d {
						t.Errorf("manifest = %q", raw)
					}
					response, _ = c.send("HEAD", "/v2/pull/manifests/"+reference, "")
					c.wants(response, 200, "Docker-Content-Digest", d)
				}
				c.do("GET", "/v2/pull/manifests/none", "", 404)
				c.do("GET", "/v2/none/manifests/v1", "", 404)
				for header, want := range map[string]string{"bytes=0-0": "h", "bytes=1-3": "ell", "bytes=4-": "o"} {
					c.rangeHeader = header
					if got := c.do("GET", "/v2/pull/blobs/"+ofOne, "", 206); got != want {
						t.Errorf("%s = %q", header, got)
					}
				}
				c.rangeHeader = "bytes=5-9"
				c.do("GET", "/v2/pull/blobs/"+ofOne, "", 416)
			})

			t.Run("push in pieces", func(t *testing.T) {
				c := c.of(t)
				at := c.session("/v2/pieces") // end-4a
				at = c.piece(at, two[:5], "0-4", 202)
				c.piece(at, two[9:], "9-12", 416) // end-5: out of order
				response, _ := c.send("GET", at, "")
				c.wants(response, 204, "Range", "0-4") // end-13
				at = c.piece(at, two[5:], "5-12", 202)
				c.do("PUT", with(at, ofOne), "", 400) // not what was sent
				at = c.piece(c.session("/v2/pieces"), two, "", 202)
				c.do("PUT", with(at, ofTwo), "", 201) // end-6
				if got := c.do("GET", "/v2/pieces/blobs/"+ofTwo, "", 200); got != two {
					t.Errorf("blob = %q", got)
				}
				at = c.session("/v2/pieces")
				c.do("PUT", with(at, ofOne), one, 201) // in one piece
				c.do("PUT", with(at, ofOne), one, 404) // a session is used once
				c.do("PUT", with(c.session("/v2/pieces"), ofOne), two, 400)
			})

			t.Run("push", func(t *testing.T) {
				c := c.of(t)
				c.do("PUT", "/v2/push/manifests/v1", manifest(ofOne, len(one)), 400)
				c.do("POST", "/v2/push/blobs/uploads/?mount="+ofOne+"&from=none", "", 202)
				c.do("POST", "/v2/push/blobs/uploads/?mount="+ofOne+"&from=pull", "", 201) // end-11
				response, _ := c.send("PUT", "/v2/push/manifests/v1", manifest(ofOne, len(one)))
				c.wants(response, 201, "Docker-Content-Digest", digest.FromString(manifest(ofOne, len(one))).String()) // end-7
				index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, ofTwo)
				c.mediaType = v1.MediaTypeImageIndex
				if response, _ := c.send("PUT", "/v2/push/manifests/index", index); response.StatusCode/100 != 4 {
					t.Errorf("an index over nothing: %s", response.Status)
				}
			})

			t.Run("content discovery", func(t *testing.T) {
				c := c.of(t)
				c.upload("/v2/tags", one)
				for _, tag := range []string{"v1", "v2", "latest"} {
					c.do("PUT", "/v2/tags/manifests/"+tag, manifest(ofOne, len(one)), 201)
				}
				var list struct{ Tags []string }
				for path, want := range map[string]string{ // end-8
					"/v2/tags/tags/list":             "[latest v1 v2]",
					"/v2/tags/tags/list?n=2":         "[latest v1]",
					"/v2/tags/tags/list?n=1&last=v1": "[v2]",
				} {
					if err := json.Unmarshal([]byte(c.do("GET", path, "", 200)), &list); err != nil || fmt.Sprint(list.Tags) != want {
						t.Errorf("%s: %v, %v", path, list.Tags, err)
					}
				}
				// The referrers API (end-12), or the tag in its place: distribution has none.
				response, raw := c.send("GET", "/v2/tags/referrers/"+ofTwo, "")
				if response.StatusCode != 404 && (response.StatusCode != 200 || !strings.Contains(raw, `"manifests":[]`)) {
					t.Errorf("referrers of nothing: %s %s", response.Status, raw)
				}
				if response.StatusCode == 404 {
					return
				}
				subject := digest.FromString(manifest(ofOne, len(one))).String()
				referrer := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"a/b","config":{"mediaType":"a/b","digest":%q,"size":5},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":1}}`, v1.MediaTypeImageManifest, ofOne, v1.MediaTypeImageManifest, subject)
				c.do("PUT", "/v2/tags/manifests/"+digest.FromString(referrer).String(), referrer, 201)
				if raw := c.do("GET", "/v2/tags/referrers/"+subject, "", 200); !strings.Contains(raw, digest.FromString(referrer).String()) {
					t.Errorf("referrers = %s", raw)
				}
			})

			t.Run("content management", func(t *testing.T) {
				c := c.of(t)
				c.upload("/v2/gone", one)
				c.do("PUT", "/v2/gone/manifests/v1", manifest(ofOne, len(one)), 201)
				d := digest.FromString(manifest(ofOne, len(one))).String()
				c.do("DELETE", "/v2/gone/manifests/"+d, "", 202) // end-9
				c.do("GET", "/v2/gone/manifests/"+d, "", 404)
				c.do("GET", "/v2/gone/manifests/v1", "", 404)
			})
		})
	}
}

type client struct {
	*testing.T
	base                               string
	rangeHeader, mediaType, pieceRange string
}

// of is c for a subtest.
func (c client) of(t *testing.T) client {
	c.T = t
	return c
}

// wants fails the test unless an answer has a status and a header.
func (c client) wants(response *http.Response, status int, header, value string) {
	c.Helper()
	if response.StatusCode != status || response.Header.Get(header) != value {
		c.Errorf("%s %s = %d, %s: %q; want %d, %q", response.Request.Method, response.Request.URL.Path, response.StatusCode, header, response.Header.Get(header), status, value)
	}
}

// session starts an upload.
func (c client) session(repository string) string {
	c.Helper()
	response, _ := c.send("POST", repository+"/blobs/uploads/", "")
	location, err := response.Location()
	if err != nil || response.StatusCode != 202 {
		c.Fatal(response.Status, err)
	}
	return location.RequestURI()
}

// piece sends a piece, and returns where the next goes.
func (c client) piece(at, body, span string, status int) string {
	c.Helper()
	c.mediaType, c.pieceRange = "application/octet-stream", span
	response, raw := c.send("PATCH", at, body)
	if response.StatusCode != status {
		c.Fatalf("PATCH %s = %d %s, want %d", span, response.StatusCode, raw, status)
	}
	if location, err := response.Location(); err == nil {
		return location.RequestURI()
	}
	return at
}

// with adds the digest that ends an upload.
func with(at, digest string) string {
	if strings.Contains(at, "?") {
		return at + "&digest=" + digest
	}
	return at + "?digest=" + digest
}

func (c client) do(method, path, body string, status int) string {
	c.Helper()
	response, raw := c.send(method, path, body)
	if response.StatusCode != status {
		c.Fatalf("%s %s = %d %s, want %d", method, path, response.StatusCode, raw, status)
	}
	return raw
}

func (c client) upload(repository, blob string) {
	c.Helper()
	response, _ := c.send("POST", repository+"/blobs/uploads/", "")
	location, err := response.Location()
	if err != nil {
		c.Fatal(err)
	}
	query := location.Query()
	query.Set("digest", digest.FromString(blob).String())
	c.do("PUT", location.Path+"?"+query.Encode(), blob, 201)
}

func (c client) send(method, path, body string) (*http.Response, string) {
	c.Helper()
	request, err := http.NewRequestWithContext(c.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	if c.mediaType == "" {
		c.mediaType = v1.MediaTypeImageManifest
	}
	request.Header.Set("Content-Type", c.mediaType)
	request.Header.Set("Accept", v1.MediaTypeImageManifest)
	if c.pieceRange != "" {
		request.Header.Set("Content-Range", c.pieceRange)
	}
	if c.rangeHeader != "" {
		request.Header.Set("Range", c.rangeHeader)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		c.Fatal(err)
	}
	return response, string(raw)
}

func TestInstead(t *testing.T) {
	c := client{T: t, base: "http://" + Registry(t, Instead(regexp.MustCompile("^PUT .*/manifests/"), Status(429, "TOOMANYREQUESTS")))}
	if got := c.do("PUT", "/v2/a/manifests/v1", "{}", 429); got != `{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}` {
		t.Errorf("answer = %s", got)
	}
	c.do("GET", "/v2/a/manifests/v1", "", 404)
}
