package cli

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store/registry"
)

// An image that was seen before costs nothing of its layers, whatever happened to the cache
// in between.
func TestCache(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(cacheVariable, folder)
	ref := deep(t, imagetest.Registry(t))
	prove := func(want int64, args ...string) string {
		t.Helper()
		code, out := run(append([]string{"prove", ref, "-o", "json"}, args...)...)
		start := strings.Index(out, "{")
		if start < 0 {
			t.Fatal(out)
		}
		evidence, fetched := evidenceIn(t, out[start:])
		if code != exitYes || evidence != "proven" || (fetched == 0) != (want == 0) {
			t.Errorf("%q: exit code %d, %s, %d bytes fetched\n%s", args, code, evidence, fetched, out)
		}
		return out[:start]
	}
	prove(1, "--no-cache")
	prove(1)
	prove(0)
	prove(1, "--no-cache")
	prove(1, "--strict")
	if code, out := run("check", ref, "--for", "linux/amd64", "-o", "json"); code != exitYes || !strings.Contains(out, `"fetched": 0`) {
		t.Errorf("check: exit code %d\n%s", code, out)
	}
	files, err := filepath.Glob(filepath.Join(folder, "layers", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 1
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prove(1)
	prove(0)
	// A cache that cannot be written is a warning.
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(cacheVariable, blocked)
	if said := prove(1); strings.Count(said, "warning") != 1 || !strings.Contains(said, "--no-cache") {
		t.Errorf("%q", said)
	}
}

// What an answer does not need is read and verified all the same where that is asked for.
func TestStrict(t *testing.T) {
	host := imagetest.Registry(t)
	m := imagetest.New()
	img := fixture(t, m)
	wrong := img.Layers[0]
	wrong.DiffID = img.Layers[1].DiffID
	img.Layers[0] = wrong
	m.AddImage(img, "wrong-diff-id")
	img.Layers[0] = imagetest.GzipLayer(imagetest.File{Name: "a", Body: "1"}, imagetest.File{Name: "b"}, imagetest.File{Name: "a", Body: "2"})
	m.AddImage(img, "twice")
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "strict")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		tag          string
		lax, strict  int
		says         string
		strictChecks int
	}{
		{"right", exitYes, exitYes, "starts (proven)", exitYes},
		{"wrong-diff-id", exitYes, exitNo, "wrong diff id", exitNo},
		{"twice", exitYes, exitNo, "duplicates of file paths not supported", exitNo},
	} {
		ref := host + "/strict:" + test.tag
		if code, out := run("prove", ref, "--no-cache"); code != test.lax {
			t.Errorf("prove %s: exit code %d\n%s", test.tag, code, out)
		}
		if code, out := run("prove", ref, "--strict"); code != test.strict || !strings.Contains(out, test.says) {
			t.Errorf("prove --strict %s: exit code %d\n%s", test.tag, code, out)
		}
		if code, out := run("check", ref, "--for", "linux/amd64", "--strict"); code != test.strictChecks {
			t.Errorf("check --strict %s: exit code %d\n%s", test.tag, code, out)
		}
	}
	if code, out := run("prove", host+"/strict:right", "--strict", "--budget", "1MiB"); code != exitUsage || !strings.Contains(out, "write one of them") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// A layer that is not what its digest says is never fine.
func TestStrictCorrupt(t *testing.T) {
	host := imagetest.Registry(t, corrupting(t))
	m := imagetest.New()
	fixture(t, m)
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "strict")); err != nil {
		t.Fatal(err)
	}
	ref := host + "/strict:right"
	if code, out := run("prove", ref, "--no-cache"); code != exitYes {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out := run("prove", ref, "--strict"); code != exitUnknown || !strings.Contains(out, "cannot tell: layer sha256:") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// fixture is an image whose program is above a base that no answer needs. It adds it as "right".
func fixture(t *testing.T, m *imagetest.Memory) imagetest.Image {
	t.Helper()
	amd64 := platform.MustParse("linux/amd64")
	img := program(amd64, amd64)
	img.Layers = []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "data", Body: noise(100 << 10)}), img.Layers[len(img.Layers)-1]}
	img.History = nil
	m.AddImage(img, "right")
	return img
}

// corrupting serves other bytes for the base of fixture.
func corrupting(t *testing.T) imagetest.Middleware {
	t.Helper()
	base := fixture(t, imagetest.New()).Layers[0]
	other := bytes.Clone(base.Raw)
	other[len(other)/2] ^= 1
	return imagetest.Instead(regexp.MustCompile("^GET .*/blobs/"+digest.FromBytes(base.Raw).String()), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(other) // whoever reads it ends where it wants
	})
}

// What a dynamic program needs of its libraries is remembered with the layers that have them,
// also of programs that nobody asked about before.
func TestCacheOfLibraries(t *testing.T) {
	t.Setenv(cacheVariable, t.TempDir())
	host, amd64 := imagetest.Registry(t), platform.MustParse("linux/amd64")
	base := imagetest.GzipLayer(imagetest.DebianFiles(t, amd64, "bash", "libc6", "libtinfo6", "dash")...)
	m := imagetest.New()
	var small int64
	for tag, script := range map[string]string{"other": "#!/bin/none\n", "bash": "#!/bin/bash\n", "dash": "#!/bin/dash\n"} {
		top := imagetest.GzipLayer(imagetest.File{Name: "start", Mode: 0o755, Body: script})
		small = max(small, int64(len(top.Raw)))
		m.AddImage(imagetest.Image{Configured: amd64, Config: v1.ImageConfig{Entrypoint: []string{"/start"}}, Layers: []imagetest.Layer{base, top}}, tag)
	}
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "debian")); err != nil {
		t.Fatal(err)
	}
	all := int64(len(base.Raw)) + small + 10 // tops differ by a byte or two
	for _, test := range []struct {
		tag         string
		args        []string
		code        int
		least, most int64
	}{
		{"bash", []string{"--no-cache"}, exitYes, all / 2, all}, // nothing is read twice
		{"other", nil, exitNo, all / 2, all},
		{"bash", nil, exitYes, 1, small},
		{"bash", nil, exitYes, 0, 0},
		{"dash", nil, exitYes, 1, small},
		{"dash", nil, exitYes, 0, 0},
	} {
		code, out := run(append([]string{"prove", host + "/debian:" + test.tag, "-o", "json"}, test.args...)...)
		_, fetched := evidenceIn(t, out)
		if code != test.code || fetched < test.least || fetched > test.most || strings.Contains(out, "not all of the libraries") {
			t.Errorf("%s %q: exit code %d, %d bytes of %d\n%s", test.tag, test.args, code, fetched, all, out)
		}
		t.Logf("%s %q: %d bytes of %d", test.tag, test.args, fetched, all)
	}
	if code, out := run("prove", host+"/debian:bash"); code != exitYes || !strings.Contains(out, " 0 B of ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
