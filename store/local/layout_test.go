package local_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/local"
)

// sample is a repository with an index of two platforms and an attestation under
// "multi", and a Docker manifest under "single".
func sample() *imagetest.Memory {
	m := imagetest.New()
	image := func(p, body string, docker bool, tag string) store.Descriptor {
		return m.AddImage(imagetest.Image{
			Configured: platform.MustParse(p),
			Layers:     []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "etc/motd", Body: body})},
			Docker:     docker,
		}, tag)
	}
	amd64, arm64 := image("linux/amd64", "x86", false, ""), image("linux/arm64", "arm", false, "")
	m.AddIndex("multi", "", amd64, arm64, m.AddAttestation(amd64))
	image("linux/amd64", "docker", true, "single")
	return m
}

// written is the sample as a layout.
func written(t *testing.T, m *imagetest.Memory) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	l := create(t, dir)
	if err := m.PushTo(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return dir
}

func create(t *testing.T, dir string) *local.Layout {
	t.Helper()
	l, err := local.CreateLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLayout(t, l) })
	return l
}

func open(t *testing.T, dir string) *local.Layout {
	t.Helper()
	l, err := local.OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLayout(t, l) })
	return l
}

func closeLayout(t *testing.T, l *local.Layout) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files are the paths of all files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(dir)+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestRoundTrip(t *testing.T) {
	m := sample()
	l := open(t, written(t, m))
	for tag, d := range m.Tags() {
		want, err := m.Manifest(t.Context(), tag)
		if err != nil {
			t.Fatal(err)
		}
		for _, reference := range []string{tag, d.String()} {
			got, err := l.Manifest(t.Context(), reference)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Manifest(%s): %s", reference, diff)
			}
			desc, err := l.Resolve(t.Context(), reference)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Descriptor, desc); diff != "" {
				t.Errorf("Resolve(%s): %s", reference, diff)
			}
		}
	}
	// And back: what the layout has is what the memory had.
	back := imagetest.New()
	for tag := range m.Tags() {
		copyAll(t, l, back, tag)
	}
	if diff := cmp.Diff(m.Tags(), back.Tags()); diff != "" {
		t.Error(diff)
	}
}

func TestOpenLayoutRefuses(t *testing.T) {
	const marker, empty = `{"imageLayoutVersion":"1.0.0"}`, `{"schemaVersion":2,"manifests":[]}`
	for _, c := range []struct {
		name  string
		files map[string]string
		says  string
		is    error
	}{
		{"no folder", nil, "folder not found; `berth copy IMAGE oci:", store.ErrNotFound},
		{"an empty folder", map[string]string{"../x": ""}, "oci-layout not found: the folder is no OCI layout", store.ErrNotFound},
		{"no index", map[string]string{"oci-layout": marker}, "index.json not found", store.ErrNotFound},
		{"a marker that is no JSON", map[string]string{"oci-layout": "1.0.0", "index.json": empty}, "oci-layout file is not JSON", nil},
		{"a version to come", map[string]string{"oci-layout": `{"imageLayoutVersion":"2.0.0"}`, "index.json": empty}, `layout version "2.0.0", and only 1.0.0 is known`, nil},
		{"no version", map[string]string{"oci-layout": `{}`, "index.json": empty}, `layout version ""`, nil},
		{"an endless marker", map[string]string{"oci-layout": strings.Repeat(" ", 70<<10), "index.json": empty}, "at most 65536 bytes", store.ErrTooLarge},
		{"a truncated index", map[string]string{"oci-layout": marker, "index.json": `{"schemaVersion":2,"manif`}, "index.json is no image index", nil},
		{"an index that is a list", map[string]string{"oci-layout": marker, "index.json": `[]`}, "index.json is no image index", nil},
		{"an index without manifests", map[string]string{"oci-layout": marker, "index.json": `{}`}, "it has no manifests", nil},
		{"an entry that is a text", map[string]string{"oci-layout": marker, "index.json": `{"manifests":["a"]}`}, "manifests[0]", nil},
		{"an index over the bound", map[string]string{"oci-layout": marker, "index.json": strings.Repeat(" ", store.MaxManifestSize+1)}, "at most 4194304 bytes", store.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "layout")
			for name, content := range c.files {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, name), content)
			}
			_, err := local.OpenLayout(dir)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%q does not say %q and the folder", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%q is not %v", err, c.is)
			}
		})
	}
}

func TestOpenLayoutOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	write(t, file, "x")
	for name, open := range map[string]func(string) (*local.Layout, error){"open": local.OpenLayout, "create": local.CreateLayout} {
		if _, err := open(file); err == nil || !strings.Contains(err.Error(), "it is a file, and a layout is a folder") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreateLayoutRefusesOtherFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "thesis.txt"), "x")
	_, err := local.CreateLayout(dir)
	if err == nil || !strings.Contains(err.Error(), `not empty (it has "thesis.txt"); name a new or an empty folder`) {
		t.Errorf("%v", err)
	}
}

func TestCreateLayoutRefusesABrokenLayout(t *testing.T) {
	dir := written(t, sample())
	write(t, filepath.Join(dir, "index.json"), `{"manifests":[`)
	if _, err := local.CreateLayout(dir); err == nil || !strings.Contains(err.Error(), "index.json is no image index") {
		t.Errorf("%v", err)
	}
}

func TestCreateLayoutWritesNothingByItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	l := create(t, dir)
	if _, err := l.Resolve(t.Context(), "v1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Resolve: %v, want not found", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

// An interrupted copy leaves blobs and temporary files; the next one goes on.
func TestCreateLayoutGoesOn(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".berth-ABC"), "half")
	write(t, filepath.Join(dir, "blobs", "sha256", "x"), "x")
	if err := sample().PushTo(t.Context(), create(t, dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Manifest(t.Context(), "multi"); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	l, err := local.OpenLayout(written(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := l.Manifest(context.Background(), "multi"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Manifest after Close: %v", err)
	}
}
