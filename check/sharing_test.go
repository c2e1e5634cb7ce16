package check

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
)

// imageFor is an image of a platform that starts /app, from these layers.
func imageFor(p string, layers ...imagetest.Layer) imagetest.Image {
	return imagetest.Image{Configured: platform.MustParse(p), Config: v1.ImageConfig{Entrypoint: []string{"/app"}}, Layers: layers}
}

func elf(p, interp string) imagetest.File {
	return imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse(p), interp))}
}

// proveIndex proves all images of an index.
func proveIndex(t *testing.T, p Prover, images ...imagetest.Image) []*Start {
	t.Helper()
	m := imagetest.New()
	index(images...)(m)
	im, err := image.Open(t.Context(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	var hosts []launch.Host
	for _, m := range im.Images() {
		hosts = append(hosts, HostFor(m))
	}
	starts, err := p.All(t.Context(), m, im.Images(), hosts)
	if err != nil {
		t.Fatal(err)
	}
	return starts
}

// A layer that platforms share is read once.
func TestSharedLayer(t *testing.T) {
	shared := imagetest.GzipLayer(imagetest.File{Name: "data", Body: strings.Repeat("data", 100_000)})
	var images []imagetest.Image
	var own int64
	for _, p := range []string{"linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7"} {
		top := imagetest.GzipLayer(elf(p, ""))
		own += int64(len(top.Raw))
		images = append(images, imageFor(p, top, shared)) // the program is below the layer
	}
	var sum int64
	for _, s := range proveIndex(t, Prover{}, images...) {
		if s.Proof == nil || s.Proof.Verdict != launch.Starts {
			t.Errorf("%+v, %v", s.Proof, s.Err)
		}
		sum += s.Fetched
	}
	if want := own + int64(len(shared.Raw)); sum != want {
		t.Errorf("%d bytes fetched, want %d", sum, want)
	}
}

// What one platform's proof finds out about a layer holds for the others, whoever comes first, and
// although they need not read so far.
func TestSharedRefusal(t *testing.T) {
	broken := imagetest.TarLayer(elf("linux/amd64", ""), imagetest.File{Name: "pad", Body: strings.Repeat("x", 1<<20)}, imagetest.File{Name: "lost", Type: '1', Link: "nothing"})
	for range 5 {
		starts := proveIndex(t, Prover{}, imageFor("linux/amd64", broken), imageFor("linux/386", broken, imagetest.GzipLayer(elf("linux/386", "/lib/ld.so"))))
		for _, s := range starts {
			if s.Proof == nil || s.Proof.Failure == nil || s.Proof.Failure.Cause != launch.CauseUnpack {
				t.Errorf("%s: %+v, %v", platform.Format(s.Host.Platform), s.Proof, s.Err)
			}
		}
	}
}

// The same program under two platforms is found, whether or not its layers are the same.
func TestSamePrograms(t *testing.T) {
	amd64 := elf("linux/amd64", "")
	for name, test := range map[string]struct {
		arm imagetest.Image
		say string
	}{
		"layers of their own":   {imageFor("linux/arm64", imagetest.GzipLayer(amd64, imagetest.File{Name: "more"})), "is the same program for"},
		"one layer":             {imageFor("linux/arm64", imagetest.GzipLayer(amd64)), "the layer that brings /app (linux/amd64) is the same for"},
		"programs of their own": {imageFor("linux/arm64", imagetest.GzipLayer(elf("linux/arm64", ""))), ""},
	} {
		m := imagetest.New()
		index(imageFor("linux/amd64", imagetest.GzipLayer(amd64)), test.arm)(m)
		ref, err := store.ParseReference("example.com/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		subjects := Asked(ref, "example.com/app:v1", []target.Need{{Platform: platform.MustParse("linux/amd64")}, {Platform: platform.MustParse("linux/arm64")}})
		if err := Gather(t.Context(), func(store.Reference) (store.Source, error) { return m, nil }, subjects, GatherOptions{Prove: true}); err != nil {
			t.Fatal(err)
		}
		for i, r := range Run(subjects) {
			var said []string
			for _, f := range r.Findings {
				if f.Rule == "BER007" {
					said = append(said, f.Message)
				}
			}
			if got := fmt.Sprint(said); (len(said) == 1) != (test.say != "") || !strings.Contains(got, test.say) {
				t.Errorf("%s, subject %d: %s", name, i, got)
			}
		}
	}
}
