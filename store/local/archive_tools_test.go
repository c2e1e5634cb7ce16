package local_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/local"
)

// ids are the digests of the config and the diff IDs of an image that skopeo sees.
func ids(t *testing.T, reference string) string {
	t.Helper()
	return imagetest.Skopeo(t, "inspect", "--config", "--raw", reference)
}

func TestSkopeoReadsOCIArchive(t *testing.T) {
	m := sample()
	path := savedOCI(t, m, "multi")
	if got, want := digest.FromString(imagetest.Skopeo(t, "inspect", "--raw", "oci-archive:"+path+":multi")), m.Tags()["multi"]; got != want {
		t.Errorf("skopeo reads multi as %s, want %s", got, want)
	}
	dir := filepath.Join(t.TempDir(), "dir")
	imagetest.Skopeo(t, "copy", "--all", "oci-archive:"+path, "dir:"+dir)
	if got, want := digest.FromBytes(read(t, filepath.Join(dir, "manifest.json"))), m.Tags()["multi"]; got != want {
		t.Errorf("skopeo copies multi as %s, want %s", got, want)
	}
}

func TestSkopeoWritesOCIArchive(t *testing.T) {
	m := sample()
	path := filepath.Join(t.TempDir(), "image.tar")
	imagetest.Skopeo(t, "copy", "--all", "oci:"+written(t, m)+":multi", "oci-archive:"+path+":localhost/app:v1")
	a := openOCI(t, path, local.Options{})
	for _, reference := range []string{"localhost/app:v1", ""} {
		if got, err := a.Manifest(t.Context(), reference); err != nil || got.Descriptor.Digest != m.Tags()["multi"] {
			t.Errorf("%q is %+v, %v", reference, got, err)
		}
	}
	copyAll(t, a, imagetest.New(), m.Tags()["multi"].String())
}

func TestSkopeoReadsDockerArchive(t *testing.T) {
	m := sample()
	_, want := image(t, m, "single")
	path := savedDocker(t, m, "single", app)
	for _, reference := range []string{"docker-archive:" + path, "docker-archive:" + path + ":app:single"} {
		if got := digest.FromString(ids(t, reference)); got != want.Config.Digest {
			t.Errorf("%s: the image ID is %s, want %s", reference, got, want.Config.Digest)
		}
	}
	// skopeo reads the layers, and holds them against their diff IDs.
	dir := filepath.Join(t.TempDir(), "dir")
	imagetest.Skopeo(t, "copy", "docker-archive:"+path, "dir:"+dir)
}

func TestSkopeoWritesDockerArchive(t *testing.T) {
	m := sample()
	_, want := image(t, m, "single")
	path := filepath.Join(t.TempDir(), "image.tar")
	registry := imagetest.Registry(t)
	layout := filepath.Join(t.TempDir(), "layout")
	copyAll(t, m, create(t, layout), "single")
	imagetest.Crane(t, "push", layout, registry+"/app:single")
	imagetest.Skopeo(t, "copy", "--src-tls-verify=false", "docker://"+registry+"/app:single", "docker-archive:"+path+":localhost/app:v1")
	a := openDocker(t, path, "localhost/app")
	_, doc := image(t, a, "v1")
	if doc.Config.Digest != want.Config.Digest {
		t.Errorf("the image ID is %s, want %s", doc.Config.Digest, want.Config.Digest)
	}
	copyAll(t, a, imagetest.New(), "v1")
}

func TestCraneWritesArchives(t *testing.T) {
	m := sample()
	_, want := image(t, m, "single")
	registry := imagetest.Registry(t)
	layout := filepath.Join(t.TempDir(), "layout")
	copyAll(t, m, create(t, layout), "single")
	imagetest.Crane(t, "push", layout, registry+"/app:single")
	path := filepath.Join(t.TempDir(), "image.tar")
	imagetest.Crane(t, "pull", registry+"/app:single", path)
	a := openDocker(t, path, registry+"/app")
	_, doc := image(t, a, "single")
	if doc.Config.Digest != want.Config.Digest || doc.Layers[0].Digest != want.Layers[0].Digest {
		t.Errorf("config %s and layer %s, want %s and %s", doc.Config.Digest, doc.Layers[0].Digest, want.Config.Digest, want.Layers[0].Digest)
	}
	copyAll(t, a, imagetest.New(), "single")
}

func TestCraneReadsDockerArchive(t *testing.T) {
	m := sample()
	_, want := image(t, m, "single")
	registry := imagetest.Registry(t)
	imagetest.Crane(t, "push", savedDocker(t, m, "single", app), registry+"/app:v1")
	if got := digest.FromString(imagetest.Crane(t, "config", registry+"/app:v1")); got != want.Config.Digest {
		t.Errorf("the image ID is %s, want %s", got, want.Config.Digest)
	}
}

// runnable is an image with a program of its own, in two layers that are the same.
func runnable(t *testing.T) *imagetest.Memory {
	t.Helper()
	p := platform.MustParse("linux/amd64")
	program := imagetest.GoProgram(t, p, `package main
import "os"
func main() { b, _ := os.ReadFile("/greeting"); os.Stdout.Write(b) }`)
	greeting := imagetest.GzipLayer(imagetest.File{Name: "greeting", Body: "it runs\n"})
	m := imagetest.New()
	img := imagetest.Image{
		Configured: p,
		Layers:     []imagetest.Layer{greeting, imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(program)}), greeting},
	}
	img.Config.Entrypoint = []string{"/app"}
	d := m.AddImage(img, "v1")
	found, err := m.Manifest(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"v2", "v3", "v4"} {
		m.AddManifest(d.MediaType, found.Raw, tag)
	}
	return m
}

func TestDocker(t *testing.T) {
	engine := imagetest.Docker(t)
	host := strings.TrimSpace(engine.Run(t, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}", "default"))
	t.Setenv("DOCKER_HOST", host)
	m := runnable(t)
	_, want := image(t, m, "v1")
	run := func(t *testing.T, reference string) {
		t.Helper()
		if got := engine.Run(t, "run", "--rm", "--network=none", reference); got != "it runs\n" {
			t.Errorf("%s says %q", reference, got)
		}
		if got := strings.TrimSpace(engine.Run(t, "image", "inspect", "--format", "{{.Id}}", reference)); got != want.Config.Digest.String() {
			t.Errorf("%s has the ID %s, want %s", reference, got, want.Config.Digest)
		}
	}
	load := func(t *testing.T, tag string) {
		t.Helper()
		w, err := local.CreateDaemon(t.Context(), app, local.Options{TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		copyAll(t, m, w, tag)
		if got, err := w.Resolve(t.Context(), tag); err != nil || got.Digest != m.Tags()["v1"] {
			t.Errorf("Resolve = %s, %v", got.Digest, err)
		}
		closeIt(t, w)
	}

	t.Run("docker load", func(t *testing.T) {
		if out := engine.Run(t, "load", "-i", savedDocker(t, m, "v1", app)); out != "Loaded image: app:v1\n" {
			t.Errorf("docker load says %q", out)
		}
		run(t, "app:v1")
	})
	t.Run("docker load without a name", func(t *testing.T) {
		if out := engine.Run(t, "load", "-i", savedDocker(t, m, "v1", "")); out != "Loaded image ID: "+want.Config.Digest.String()+"\n" {
			t.Errorf("docker load says %q", out)
		}
	})
	t.Run("to the daemon", func(t *testing.T) {
		load(t, "v2")
		run(t, "app:v2")
	})
	t.Run("docker save", func(t *testing.T) {
		load(t, "v3")
		path := filepath.Join(t.TempDir(), "saved.tar")
		engine.Run(t, "save", "-o", path, "app:v3")
		a := openDocker(t, path, app)
		_, doc := image(t, a, "v3")
		if doc.Config.Digest != want.Config.Digest || len(doc.Layers) != 3 {
			t.Errorf("docker save has %+v", doc)
		}
		copyAll(t, a, imagetest.New(), "v3")
	})
	t.Run("from the daemon", func(t *testing.T) {
		load(t, "v4")
		for _, reference := range [][2]string{{app, "v4"}, {"", want.Config.Digest.String()}} {
			temp := t.TempDir()
			a, err := local.OpenDaemon(t.Context(), reference[0], reference[1], local.Options{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			_, doc := image(t, a, reference[1])
			if doc.Config.Digest != want.Config.Digest {
				t.Errorf("%s has %+v", reference, doc)
			}
			copyAll(t, a, imagetest.New(), reference[1])
			closeIt(t, a)
			if left := files(t, temp); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		}
	})
	t.Run("an image that is not there", func(t *testing.T) {
		_, err := local.OpenDaemon(t.Context(), app, "no", local.Options{})
		if !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "image "+app+":no not found; docker image ls") {
			t.Errorf("%v", err)
		}
	})
	t.Run("what the daemon refuses", func(t *testing.T) {
		w, err := local.CreateDaemon(t.Context(), app, local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer closeIt(t, w)
		const noTar = "this is no tar archive"
		bad := imagetest.New()
		bad.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{{MediaType: v1.MediaTypeImageLayer, Raw: []byte(noTar), DiffID: digest.FromString(noTar)}}}, "v5")
		if err := bad.PushTo(t.Context(), w); err == nil || !strings.Contains(err.Error(), "it refuses the image: ") {
			t.Errorf("%v", err)
		}
	})
}
