package local_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
)

func TestSkopeoReads(t *testing.T) {
	m := sample()
	dir := written(t, m)
	if got, want := digest.FromString(imagetest.Skopeo(t, "inspect", "--raw", "oci:"+dir+":multi")), m.Tags()["multi"]; got != want {
		t.Errorf("skopeo reads multi as %s, want %s", got, want)
	}
	got := imagetest.Skopeo(t, "--override-arch", "arm64", "inspect", "--format", "{{.Os}}/{{.Architecture}}", "oci:"+dir+":multi")
	if got != "linux/arm64\n" {
		t.Errorf("skopeo takes %s for arm64", got)
	}
}

func TestSkopeoWrites(t *testing.T) {
	m := sample()
	from, to := written(t, m), filepath.Join(t.TempDir(), "copy")
	imagetest.Skopeo(t, "copy", "--all", "oci:"+from+":multi", "oci:"+to+":multi")
	back := imagetest.New()
	copyAll(t, open(t, to), back, "multi")
	if got, want := back.Tags()["multi"], m.Tags()["multi"]; got != want {
		t.Errorf("multi is %s, want %s", got, want)
	}
	// Without a tag skopeo writes an entry without a name, and berth adds to that.
	unnamed := filepath.Join(t.TempDir(), "unnamed")
	imagetest.Skopeo(t, "copy", "--all", "oci:"+from+":multi", "oci:"+unnamed)
	if got, err := open(t, unnamed).Resolve(t.Context(), ""); err != nil || got.Digest != m.Tags()["multi"] {
		t.Errorf("the only image is %s, %v", got.Digest, err)
	}
	copyAll(t, m, create(t, unnamed), "multi")
	if diff := cmp.Diff([]string{"multi=" + m.Tags()["multi"].String()}, tags(t, unnamed)); diff != "" {
		t.Error(diff)
	}
	imagetest.Skopeo(t, "inspect", "--raw", "oci:"+unnamed)
}

// crane pushes a layout of one image, whatever its media type.
func TestCraneReads(t *testing.T) {
	m := sample()
	registry := imagetest.Registry(t)
	for tag, d := range m.Tags() {
		dir := filepath.Join(t.TempDir(), "layout")
		copyAll(t, m, create(t, dir), tag)
		imagetest.Crane(t, "push", dir, registry+"/app:"+tag)
		if got := strings.TrimSpace(imagetest.Crane(t, "digest", registry+"/app:"+tag)); got != d.String() {
			t.Errorf("crane pushed %s as %s, want %s", tag, got, d)
		}
	}
}

func TestCraneWrites(t *testing.T) {
	m := sample()
	registry := imagetest.Registry(t)
	from, to := filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "pulled")
	copyAll(t, m, create(t, from), "multi")
	imagetest.Crane(t, "push", from, registry+"/app:multi")
	imagetest.Crane(t, "pull", "--format=oci", registry+"/app:multi", to)
	back := imagetest.New()
	copyAll(t, open(t, to), back, "")
	if _, err := back.Manifest(t.Context(), m.Tags()["multi"].String()); err != nil {
		t.Error(err)
	}
}
