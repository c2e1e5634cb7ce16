package image_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

// counting counts what is read of a store.
type counting struct {
	*imagetest.Memory

	mu    sync.Mutex
	reads map[string]int
}

func (c *counting) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[what]++
}

func (c *counting) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	c.count(reference)
	return c.Memory.Manifest(ctx, reference)
}

func (c *counting) Blob(ctx context.Context, d store.Descriptor, offset int64) (io.ReadCloser, error) {
	c.count(d.Digest.String())
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.Memory.Blob(ctx, d, offset)
}

func TestOpeningStepByStep(t *testing.T) {
	m, entries := fixture("")
	src := &counting{Memory: m, reads: map[string]int{}}
	o, err := image.Begin(t.Context(), src, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Entries(); len(got) != 5 || got[0].Descriptor.Digest != entries[0].Digest || got[0].Declared == nil || got[3].Kind != image.KindAttestation {
		t.Errorf("entries: %+v", got)
	}
	if len(src.reads) != 1 {
		t.Errorf("the root alone was to be read: %v", src.reads)
	}

	im, err := o.Manifests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := im.Manifests[0]
	if len(src.reads) != 1+5 || len(first.Layers) != 1 || first.Configured != nil || first.RawConfig != nil {
		t.Errorf("manifests, and no configs: %v, %+v", src.reads, first)
	}

	whole := o.Configs(t.Context(), im.Manifests)
	if whole[0].Configured == nil || whole[3].RawConfig != nil || len(src.reads) != 1+5+3 {
		t.Errorf("configs of images: %v, %+v", src.reads, whole[0])
	}
	if first.Configured != nil {
		t.Error("what was there before has changed")
	}
	// From here on configs come from memory, and layers from the source.
	for _, d := range []store.Descriptor{first.ConfigDescriptor, first.Layers[0]} {
		r, err := o.Blob(t.Context(), d, 2)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil || int64(len(raw)) != d.Size-2 {
			t.Errorf("%s: %d bytes of %d, %v", d.Digest, len(raw), d.Size-2, err)
		}
	}
	if n := src.reads[first.ConfigDescriptor.Digest.String()]; n != 1 {
		t.Errorf("the config was read %d times", n)
	}
	if n := src.reads[first.Layers[0].Digest.String()]; n != 1 {
		t.Errorf("the layer was read %d times", n)
	}
}

// Whoever gives up on a config says nothing about it to the others.
func TestOpeningAfterSomeoneGaveUp(t *testing.T) {
	m, _ := fixture("")
	src := &counting{Memory: m, reads: map[string]int{}}
	o, err := image.Begin(t.Context(), src, "v1")
	if err != nil {
		t.Fatal(err)
	}
	im, err := o.Manifests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	config := im.Manifests[0].ConfigDescriptor
	if _, err := o.Blob(gone, config, 0); err == nil {
		t.Fatal("it was read in spite of all")
	}
	if whole := o.Configs(t.Context(), im.Manifests); whole[0].Err != nil || whole[0].Configured == nil {
		t.Error(whole[0].Err)
	}
}

func TestOpeningTellsWhichConfigIsMissing(t *testing.T) {
	m, _ := fixture("")
	im := open(t, m, "v1")
	missing := im.Manifests[1].ConfigDescriptor.Digest
	m.Remove(missing)
	o, err := image.Begin(t.Context(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	im, err = o.Manifests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole := o.Configs(t.Context(), im.Manifests)
	for i, w := range whole {
		if bad := i == 1; (w.Err != nil) != bad || bad && !strings.Contains(w.Err.Error(), missing.String()) {
			t.Errorf("manifest %d: %v", i, w.Err)
		}
	}
}

// Registries count what is read: of an index nothing is read that nobody asked for.
func TestOpeningReadsWhatIsAskedFor(t *testing.T) {
	arm64 := []platform.Platform{platform.MustParse("linux/arm64")}
	m := imagetest.New()
	add := func(p string) store.Descriptor {
		return m.AddImage(imagetest.Image{Configured: platform.MustParse(p)}, "")
	}
	one, two := add("linux/amd64"), add("linux/arm64")
	ofOne, ofTwo := m.AddAttestation(one), m.AddAttestation(two)
	m.AddIndex("v1", "", one, two, ofOne, ofTwo)
	silent := add("linux/s390x")
	silent.Platform = nil
	m.AddIndex("undeclared", "", one, two, silent, ofTwo)

	for _, c := range []struct {
		name, tag string
		wants     []platform.Platform
		opts      image.OnlyOptions
		reads     []store.Descriptor
	}{
		{"one platform", "v1", arm64, image.OnlyOptions{}, []store.Descriptor{two, ofTwo}},
		{"without attestations", "v1", arm64, image.OnlyOptions{NoAttestations: true}, []store.Descriptor{two}},
		{"plain", "v1", arm64, image.OnlyOptions{Plain: true}, []store.Descriptor{two}},
		{"everything", "v1", nil, image.OnlyOptions{}, []store.Descriptor{one, two, ofOne, ofTwo}},
		{"one may be anything", "undeclared", arm64, image.OnlyOptions{}, []store.Descriptor{one, two, silent, ofTwo}},
		{"nothing for it", "v1", []platform.Platform{platform.MustParse("linux/riscv64")}, image.OnlyOptions{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := &counting{Memory: m, reads: map[string]int{}}
			o, err := image.Begin(t.Context(), src, c.tag)
			if err != nil {
				t.Fatal(err)
			}
			im, err := o.ManifestsFor(t.Context(), c.wants, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{c.tag: 1}
			for _, d := range c.reads {
				want[d.Digest.String()] = 1
			}
			if diff := cmp.Diff(want, src.reads); diff != "" {
				t.Error(diff)
			}
			if c.wants == nil || len(c.reads) == 0 || c.tag != "v1" {
				return
			}
			selection, err := im.Only(c.wants, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range selection.Manifests {
				if m.Raw == nil {
					t.Errorf("%s is selected and was not read", m.Descriptor.Digest)
				}
			}
		})
	}

	src := &counting{Memory: m, reads: map[string]int{}}
	im, err := image.OpenImages(t.Context(), src, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if len(src.reads) != 5 || len(im.Manifests) != 4 || im.Manifests[2].Kind != image.KindAttestation || im.Images()[1].Configured == nil {
		t.Errorf("the index, two images and their configs were to be read: %v", src.reads)
	}
}
