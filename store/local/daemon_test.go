package local_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/imagetest"
	"berth/store/local"
)

// daemon answers as a Docker daemon, and remembers what it was asked.
type daemon struct {
	t       *testing.T
	answers map[string]func(http.ResponseWriter, *http.Request)
	asked   []string
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path[strings.Index(r.URL.Path[1:], "/")+1:] // without the version
	asked := path
	if platform := r.URL.Query()["platform"]; platform != nil {
		asked += " of " + strings.Join(platform, ",")
	}
	w.Header().Set("Api-Version", "1.50")
	if r.URL.Path == "/_ping" {
		return
	}
	d.asked = append(d.asked, asked)
	answer, ok := d.answers[path]
	if !ok {
		d.t.Errorf("asked for %s", r.URL)
		return
	}
	answer(w, r)
}

// fake starts a daemon that DOCKER_HOST names.
func fake(t *testing.T, answers map[string]func(http.ResponseWriter, *http.Request)) *daemon {
	t.Helper()
	d := &daemon{t: t, answers: answers}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	return d
}

func says(status int, v any) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(v); err != nil {
			panic(err)
		}
	}
}

type message struct {
	Message string `json:"message"`
}

// Docker 29 does not save an image of another platform unless told which.
func TestDaemonSavesAnotherPlatform(t *testing.T) {
	noLeak(t)
	saved := read(t, savedDocker(t, sample(), "single", app))
	arm64 := map[string]string{"os": "linux", "architecture": "arm64"}
	d := fake(t, map[string]func(http.ResponseWriter, *http.Request){
		"/images/get": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("platform") == "" {
				says(http.StatusNotFound, message{"unable to create manifests file: NotFound: content digest"})(w, r)
				return
			}
			if _, err := w.Write(saved); err != nil {
				t.Error(err)
			}
		},
		"/images/" + app + ":single/json": says(http.StatusOK, map[string]any{"Id": "sha256:x", "Manifests": []any{
			map[string]any{"Available": false, "Kind": "image", "ImageData": map[string]any{"Platform": map[string]string{"os": "linux", "architecture": "amd64"}}},
			map[string]any{"Available": true, "Kind": "image", "ImageData": map[string]any{"Platform": arm64}},
			map[string]any{"Available": true, "Kind": "attestation"},
		}}),
	})
	a, err := local.OpenDaemon(t.Context(), app, "single", local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	image(t, a, "single")
	closeIt(t, a)
	want := []string{"/images/get", "/images/" + app + ":single/json", `/images/get of {"architecture":"arm64","os":"linux"}`}
	if diff := cmp.Diff(want, d.asked); diff != "" {
		t.Error(diff)
	}
}

func TestDaemonThatBreaksOff(t *testing.T) {
	noLeak(t)
	saved := read(t, savedDocker(t, sample(), "single", app))
	fake(t, map[string]func(http.ResponseWriter, *http.Request){
		"/images/get": func(w http.ResponseWriter, _ *http.Request) {
			if _, err := w.Write(saved[:len(saved)/2]); err != nil {
				t.Error(err)
			}
			panic(http.ErrAbortHandler)
		},
	})
	temp := t.TempDir()
	if _, err := local.OpenDaemon(t.Context(), app, "single", local.Options{TempDir: temp}); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("%v", err)
	}
	if left := files(t, temp); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestDaemonThatLoadsSomethingElse(t *testing.T) {
	noLeak(t)
	for name, c := range map[string]struct {
		load, inspect any
		says          string
	}{
		"an error after 200": {map[string]string{"error": "no space left on device\x1b[2J"}, nil, "it refuses the image: no space left on device\uFFFD[2J"},
		"no JSON":            {"x", nil, "reading what it says about the image"},
		"another image":      {map[string]string{"stream": "Loaded image"}, map[string]any{"Id": "sha256:x", "RootFS": map[string]any{"Layers": []string{"sha256:x"}}}, "is not the image that was loaded"},
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, map[string]func(http.ResponseWriter, *http.Request){
				"/images/load": func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						t.Error(err)
					}
					says(http.StatusOK, c.load)(w, r)
				},
				"/images/" + app + ":single/json": says(http.StatusOK, c.inspect),
			})
			temp := t.TempDir()
			w, err := local.CreateDaemon(t.Context(), app, local.Options{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			err = pushSingle(t, sample(), w)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if _, err := w.Resolve(t.Context(), "single"); err == nil {
				t.Error("the image is said to be there")
			}
			closeIt(t, w)
			if left := files(t, temp); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// pushSingle pushes the image without an index that m has.
func pushSingle(t *testing.T, m *imagetest.Memory, w *local.DockerArchiveWriter) error {
	t.Helper()
	manifest, doc := image(t, m, "single")
	for _, d := range append(doc.Layers, doc.Config) {
		r, err := m.Blob(t.Context(), d, 0)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.PushBlob(t.Context(), imageContent(string(raw))); err != nil {
			t.Fatal(err)
		}
	}
	return w.PushManifest(t.Context(), manifest.Descriptor, manifest.Raw, "single")
}

func TestNoDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	check := func(err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "Docker daemon at unix://"+socket) || !strings.Contains(err.Error(), "start Docker, or set DOCKER_HOST") {
			t.Errorf("%v", err)
		}
	}
	_, err := local.OpenDaemon(t.Context(), app, "v1", local.Options{})
	check(err)
	_, err = local.CreateDaemon(t.Context(), app, local.Options{})
	check(err)
	t.Setenv("DOCKER_HOST", "nonsense")
	if _, err = local.OpenDaemon(t.Context(), app, "v1", local.Options{}); err == nil || !strings.Contains(err.Error(), "DOCKER_HOST") {
		t.Errorf("%v", err)
	}
}
