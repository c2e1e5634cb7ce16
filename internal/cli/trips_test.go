package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
)

// away is a network on which every answer comes a second after its request, by a clock
// that stands still meanwhile: what a command takes is the number of its round trips.
type away map[string]http.Handler

func (a away) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Second)
	recorder := httptest.NewRecorder()
	arrived := r.Clone(r.Context()) // as a server sees it
	arrived.URL.Scheme, arrived.URL.Host = "", ""
	if r.Body == nil {
		arrived.Body = http.NoBody
	}
	a[r.Host].ServeHTTP(recorder, arrived)
	return recorder.Result(), arrived.Body.Close()
}

// run runs berth on the network, and returns how many round trips and requests that took.
func (a away) run(t *testing.T, args ...string) (trips int, requests int64) {
	t.Helper()
	var out bytes.Buffer
	berth := &app{stdout: &out, stderr: &out}
	berth.stores.client = registry.New(registry.Options{Transport: a})
	root := berth.root()
	root.SetArgs(args)
	started := time.Now()
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, &out)
	}
	return int(time.Since(started) / time.Second), berth.requests()
}

// small is an image of so many small layers.
func small(p string, layers int) imagetest.Image {
	img := imagetest.Image{Configured: platform.MustParse(p)}
	for i := range layers {
		img.Layers = append(img.Layers, imagetest.GzipLayer(imagetest.File{Name: "file", Body: fmt.Sprint(p, i)}))
	}
	return img
}

// Every registry asks for a token first, which takes the first two round trips.
func TestCopyRoundTrips(t *testing.T) {
	const src, dst = "src.localhost", "dst.localhost"
	lone := imagetest.New()
	lone.AddImage(small("linux/amd64", 10), "v1")
	index := imagetest.New()
	var entries []store.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64"} {
		d := index.AddImage(small(p, 5), "")
		entries = append(entries, d, index.AddAttestation(d))
	}
	index.AddIndex("v1", "", entries...)

	for _, c := range []struct {
		name  string
		image *imagetest.Memory
		args  []string
		// trips are those of the slowest chain of requests.
		trips int
	}{
		// manifest · blobs from the source beside their uploads' start · blobs · manifest
		{"one image of 10 layers", lone, []string{src + "/app:v1", dst + "/app:v1"}, 2 + 4},
		// index · manifests · as above · index
		{"8 platforms × 5 layers + 8 attestations", index, []string{src + "/app:v1", dst + "/app:v1"}, 2 + 6},
		// index · manifests · mounts · manifests · index
		{"another repository of the registry", index, []string{src + "/app:v1", src + "/other:v1"}, 2 + 5},
		{"one platform", index, []string{src + "/app:v1", dst + "/app:v1", "--platform", "linux/arm64", "--prove=never"}, 2 + 6},
		// index beside what the destination has
		{"nothing changed", index, []string{src + "/app:v1", src + "/app:v1"}, 2 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near := imagetest.NewRegistry()
				setup := registry.New(registry.Options{Transport: away{src: near}})
				if err := c.image.PushTo(t.Context(), setup.Repository(src, "app")); err != nil {
					t.Fatal(err)
				}
				network := away{src: imagetest.Bearer(near), dst: imagetest.Bearer(imagetest.NewRegistry())}
				trips, requests := network.run(t, append([]string{"copy"}, c.args...)...)
				t.Logf("%d round trips, %d requests", trips, requests)
				if trips > c.trips {
					t.Errorf("%d round trips, want at most %d", trips, c.trips)
				}
			})
		})
	}
}

// startable is an image of so many layers of 64 KiB, whose program needs a loader: one of the
// lowest layer, which is below all of them.
func startable(p platform.Platform, layers int) imagetest.Image {
	const loader = "/lib/ld.so"
	img := imagetest.Image{Configured: p, Config: v1.ImageConfig{Entrypoint: []string{"/app"}}}
	for i := range layers {
		files := []imagetest.File{{Name: "file", Body: noise(64 << 10)}}
		switch i {
		case 0:
			files = append(files, imagetest.File{Name: "lib/ld.so", Mode: 0o755, Body: string(imagetest.ELF(p, ""))})
		case layers - 1:
			files = append(files, imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(p, loader))})
		}
		for j := range files { // so that no two layers are the same
			files[j].Body += platform.Format(p) + fmt.Sprint(i)
		}
		img.Layers = append(img.Layers, imagetest.GzipLayer(files...))
	}
	return img
}

// A proof of all platforms at once, which has to read every layer.
func TestProveRoundTrips(t *testing.T) {
	const src = "src.localhost"
	index := imagetest.New()
	var entries []store.Descriptor
	for _, p := range []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/386", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"} {
		entries = append(entries, index.AddImage(startable(platform.MustParse(p), 5), ""))
	}
	index.AddIndex("v1", "", entries...)
	synctest.Test(t, func(t *testing.T) {
		near := imagetest.NewRegistry()
		if err := index.PushTo(t.Context(), registry.New(registry.Options{Transport: away{src: near}}).Repository(src, "app")); err != nil {
			t.Fatal(err)
		}
		// index · manifests · configs · the highest layer · the others
		trips, requests := away{src: imagetest.Bearer(near)}.run(t, "prove", src+"/app:v1", "--no-cache")
		t.Logf("%d round trips, %d requests", trips, requests)
		if trips > 2+5 {
			t.Errorf("%d round trips, want at most %d", trips, 2+5)
		}
	})
}
