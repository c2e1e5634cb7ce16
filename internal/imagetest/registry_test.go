package imagetest

import (
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

type client struct {
	*testing.T
	base        string
	rangeHeader string
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
	request.Header.Set("Content-Type", v1.MediaTypeImageManifest)
	request.Header.Set("Accept", v1.MediaTypeImageManifest)
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
