package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store"
)

// TestBadSource gives every command that reads an image one that cannot be read.
// Each must end with the code, say what was asked and what is wrong, print no
// result, and a copy must write nothing.
func TestBadSource(t *testing.T) {
	image := everywhere()
	original := manifest(t, image, "v1")
	arm64 := index(t, original).Manifests[1].Digest.String()
	manifests := regexp.MustCompile(`/manifests/`)
	for _, c := range []struct {
		name     string
		answer   imagetest.Middleware
		from     string // instead of the registry's image
		code     int
		says     []string
		flags    []string
		partial  bool // what is known is printed all the same
		retried  bool // and takes its time, so that one command has to do
		copyOnly bool
	}{
		{name: "malformed reference", from: "Team/Hello", code: 2, says: []string{"Team/Hello", "team/hello"}},
		{name: "URL", from: "https://example.com/app", code: 2, says: []string{"https://"}},
		{name: "empty reference", from: "", code: 2, says: []string{"empty"}},
		{name: "unknown transport", from: "containers-storage:app", code: 2, says: []string{"not supported", "oci:"}},
		{name: "unknown host", from: "no-such-host.invalid/app:v1", code: 3, says: []string{"no-such-host.invalid"}},
		{name: "nothing listens", from: refusing(t) + "/app:v1", code: 3, says: []string{"connection refused"}},
		{name: "no such folder", from: "oci:" + filepath.Join(t.TempDir(), "nothing"), code: 3, says: []string{"nothing"}},
		{name: "no such tag", from: "team/hello:v9", code: 3, says: []string{"v9", "not found"}},
		{name: "no such repository", from: "team/goodbye:v1", code: 3, says: []string{"team/goodbye", "not found"}},
		{name: "401", answer: imagetest.Instead(manifests, imagetest.Status(401, "UNAUTHORIZED")), code: 3, says: []string{"team/hello", "docker login"}},
		{name: "403", answer: imagetest.Instead(manifests, imagetest.Status(403, "DENIED")), code: 3, says: []string{"team/hello", "denied"}},
		{name: "429", answer: imagetest.Instead(manifests, imagetest.Status(429, "TOOMANYREQUESTS")), code: 3, says: []string{"team/hello", "rate limited"}, retried: true},
		{name: "500", answer: imagetest.Instead(manifests, imagetest.Status(500, "UNKNOWN")), code: 3, says: []string{"team/hello", "500"}, retried: true},
		{name: "HTML", answer: imagetest.Instead(regexp.MustCompile(``), page), code: 3, says: []string{"registry"}},
		{name: "HTML for a manifest", answer: imagetest.Instead(manifests, page), code: 3, says: []string{"team/hello", "not answer as a registry"}},
		{name: "truncated", answer: imagetest.Instead(manifests, serveManifest(v1.MediaTypeImageIndex, original[:len(original)/2])), code: 3, says: []string{"team/hello"}},
		{name: "connection cut", answer: imagetest.Instead(manifests, cut(v1.MediaTypeImageIndex, original)), code: 3, says: []string{"team/hello"}, retried: true},
		{name: "another manifest", answer: imagetest.Instead(regexp.MustCompile("/manifests/"+arm64), serveManifest(v1.MediaTypeImageManifest, `{"schemaVersion":2}`)), code: 3, says: []string{arm64, "does not match"}, flags: []string{"--platform", "linux/arm64"}, partial: true},
		{name: "over 4 MiB", answer: imagetest.Instead(manifests, serveManifest(v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]`+strings.Repeat(" ", store.MaxManifestSize)+`}`)), code: 3, says: []string{"too large"}},
		{name: "unknown media type", answer: imagetest.Instead(manifests, serveManifest("application/vnd.example.cake+json", `{}`)), code: 3, says: []string{"application/vnd.example.cake+json"}},
		{name: "schema 1", answer: imagetest.Instead(manifests, serveManifest("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`)), code: 3, says: []string{"schema 1"}},
		{name: "no such platform", flags: []string{"--platform", "linux/mips64le"}, code: 2, says: []string{"linux/mips64le", "linux/amd64", "linux/s390x"}},
		{name: "no platform", flags: []string{"--platform", "arm64"}, code: 2, says: []string{"arm64", "linux/arm64"}},
		{name: "no such target", flags: []string{"--for", "lambada"}, code: 2, says: []string{"lambada", "lambda"}, copyOnly: true},
		{name: "truncated blob", answer: imagetest.Instead(regexp.MustCompile("GET .*/blobs/"), cut("application/octet-stream", strings.Repeat("x", 100))), code: 3, says: []string{"team/hello"}, copyOnly: true},
		{name: "another blob", answer: imagetest.Instead(regexp.MustCompile("GET .*/blobs/"), serveManifest("application/octet-stream", "x")), code: 3, says: []string{"team/hello"}, copyOnly: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var middleware []imagetest.Middleware
			host := imagetest.Registry(t)
			push(t, image, host, "team/hello")
			if c.answer != nil {
				middleware = append(middleware, c.answer)
			}
			front := imagetest.Proxy(t, host, middleware...)
			source := c.from
			switch {
			case c.from == "" && c.name != "empty reference":
				source = front + "/team/hello:v1"
			case strings.HasPrefix(c.from, "team/"):
				source = front + "/" + c.from
			}
			var toDestination imagetest.Traffic
			destination := imagetest.Registry(t, toDestination.Record) + "/copy:v1"

			commands := [][]string{append([]string{"copy", source, destination}, c.flags...)}
			if !c.copyOnly && !c.retried {
				commands = append(commands, append([]string{"inspect", source}, c.flags...), append([]string{"prove", source}, c.flags...))
			}
			for _, args := range commands {
				r := berth(t.Context(), args...).wants(t, c.code, c.says...)
				if r.stdout != "" && !c.partial {
					t.Errorf("%s printed a result:\n%s", args[0], r.stdout)
				}
				if strings.Count(r.stderr, "\n") > 4 {
					t.Errorf("%s says more than an error and a hint:\n%s", args[0], r.stderr)
				}
			}
			for _, request := range toDestination.Writes() {
				if strings.Contains(request, "/manifests/") || !c.copyOnly {
					t.Errorf("written: %s", request)
				}
			}
		})
	}
}

// TestBadDestination copies to where nothing can be written.
func TestBadDestination(t *testing.T) {
	image := everywhere()
	source := push(t, image, imagetest.Registry(t), "team/hello") + ":v1"
	writes := regexp.MustCompile(`^(POST|PUT|PATCH) `)
	for _, c := range []struct {
		name   string
		answer imagetest.Middleware
		says   []string
	}{
		{"401", imagetest.Instead(regexp.MustCompile(``), imagetest.Status(401, "UNAUTHORIZED")), []string{"docker login"}},
		{"401 for writes", imagetest.Instead(writes, imagetest.Status(401, "UNAUTHORIZED")), []string{"/copy", "docker login"}},
		{"403 for writes", imagetest.Instead(writes, imagetest.Status(403, "DENIED")), []string{"/copy", "denied"}},
		{"405 for writes", imagetest.Instead(writes, imagetest.Status(405, "UNSUPPORTED")), []string{"/copy", "405"}},
		{"429 for writes", imagetest.Instead(writes, imagetest.Status(429, "TOOMANYREQUESTS")), []string{"/copy", "rate limited"}},
		{"500 for writes", imagetest.Instead(writes, imagetest.Status(500, "UNKNOWN")), []string{"/copy", "500"}},
		{"507 for blobs", imagetest.Instead(regexp.MustCompile("^PUT .*/blobs/"), imagetest.Status(507, "UNKNOWN")), []string{"/copy", "507"}},
		{"400 for manifests", imagetest.Instead(regexp.MustCompile("^PUT .*/manifests/"), imagetest.Status(400, "MANIFEST_INVALID")), []string{"/copy", "400"}},
		{"400 for the tag", imagetest.Instead(regexp.MustCompile("^PUT .*/manifests/v1"), imagetest.Status(400, "TAG_INVALID")), []string{"/copy", "400"}},
		{"HTML", imagetest.Instead(regexp.MustCompile(``), page), []string{"/copy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := imagetest.Registry(t)
			r := berth(t.Context(), "copy", source, imagetest.Proxy(t, host, c.answer)+"/copy:v1").wants(t, 3, c.says...)
			if r.stdout != "" {
				t.Errorf("printed a result:\n%s", r.stdout)
			}
			untagged(t, host, "copy", "v1")
		})
	}

	t.Run("refused connection", func(t *testing.T) {
		berth(t.Context(), "copy", source, refusing(t)+"/copy:v1").wants(t, 3, "connection refused")
	})
	t.Run("malformed", func(t *testing.T) {
		berth(t.Context(), "copy", source, "Copy").wants(t, 2, "destination", "Copy")
	})
	t.Run("a file where the layout should be", func(t *testing.T) {
		berth(t.Context(), "copy", source, "oci:e2e_test.go").wants(t, 3, "e2e_test.go")
	})
}

// TestWrongUsage ends with code 2 and says what to type.
func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"cpoy"}, []string{"cpoy", "copy"}},
		{[]string{"copy", "one"}, []string{"SOURCE", "DESTINATION"}},
		{[]string{"copy", "a", "b", "--platfrom", "linux/amd64"}, []string{"platfrom"}},
		{[]string{"copy", "a", "b", "--platform", "linux/amd64", "--for", "lambda"}, []string{"--platform", "--for"}},
		{[]string{"copy", "a", "b", "--jobs", "0"}, []string{"--jobs"}},
		{[]string{"copy", "a", "b", "--prove", "sometimes"}, []string{"sometimes", "always"}},
		{[]string{"check", "a"}, []string{"--for"}},
		{[]string{"check", "a", "--for", "linux"}, []string{"linux"}},
		{[]string{"inspect"}, []string{"IMAGE"}},
		{[]string{"inspect", "a", "--output", "yaml"}, []string{"yaml", "json"}},
		{[]string{"inspect", "a", "--format", "{{"}, []string{"--format"}},
		{[]string{"targets", "lambada"}, []string{"lambada", "lambda"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			berth(t.Context(), c.args...).wants(t, 2, c.says...)
		})
	}
}

// refusing is the address of a port on which nothing listens.
func refusing(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// page answers as a web server that is no registry.
func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!DOCTYPE html><html><title>Welcome</title></html>")
}

func serveManifest(mediaType, raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		io.WriteString(w, raw)
	}
}

// cut promises raw and ends the connection in the middle of it.
func cut(mediaType, raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
		io.WriteString(w, raw[:len(raw)/2])
		panic(http.ErrAbortHandler)
	}
}

// untagged fails the test where the tag is there.
func untagged(t *testing.T, host, repository, tag string) {
	t.Helper()
	if r := berth(t.Context(), "inspect", host+"/"+repository+":"+tag); r.code != 3 || !strings.Contains(r.stderr, "not found") {
		t.Errorf("there is a tag, or nobody can tell:\n%s", r)
	}
}
