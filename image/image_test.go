package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

func platformImage(p string) imagetest.Image {
	return imagetest.Image{
		Configured: platform.MustParse(p),
		Config:     v1.ImageConfig{Entrypoint: []string{"/app"}},
		Layers:     []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: p})},
		History:    []v1.History{{CreatedBy: "ENV X=1", EmptyLayer: true}, {CreatedBy: "COPY app /app"}},
	}
}

// fixture is an index of amd64, arm64 and arm/v7, the first two with attestations.
func fixture(mediaType string) (*imagetest.Memory, []store.Descriptor) {
	m := imagetest.New()
	var entries []store.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64", "linux/arm/v7"} {
		img := platformImage(p)
		img.Docker = mediaType == imagetest.DockerList
		entries = append(entries, m.AddImage(img, ""))
	}
	entries = append(entries, m.AddAttestation(entries[0]), m.AddAttestation(entries[1]))
	m.AddIndex("v1", mediaType, entries...)
	return m, entries
}

func open(t *testing.T, m *imagetest.Memory, reference string) *image.Image {
	t.Helper()
	im, err := image.Open(context.Background(), m, reference)
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range im.Manifests {
		if child.Err != nil {
			t.Fatalf("%s: %v", child.Descriptor.Digest, child.Err)
		}
	}
	return im
}

func TestOpenIndex(t *testing.T) {
	for _, mediaType := range []string{"", imagetest.DockerList} {
		m, entries := fixture(mediaType)
		im := open(t, m, "v1")
		if !im.IsIndex || len(im.Manifests) != 5 || len(im.Images()) != 3 {
			t.Fatalf("index %t, %d manifests, %d images", im.IsIndex, len(im.Manifests), len(im.Images()))
		}
		first := im.Manifests[0]
		if platform.Format(*first.Declared) != "linux/amd64" || platform.Format(*first.Configured) != "linux/amd64" {
			t.Errorf("declared %v, configured %v", first.Declared, first.Configured)
		}
		if diff := cmp.Diff([]string{"COPY app /app"}, first.CreatedBy()); diff != "" {
			t.Errorf("history: %s", diff)
		}
		if a := im.Attestations(entries[1].Digest); len(a) != 1 || a[0].Kind != image.KindAttestation || a[0].Configured != nil {
			t.Errorf("attestations of arm64: %+v", a)
		}
		if len(im.Attestations(entries[2].Digest)) != 0 {
			t.Error("arm/v7 has an attestation of another platform")
		}
	}
}

func TestOpenLoneManifest(t *testing.T) {
	m := imagetest.New()
	m.AddImage(platformImage("linux/arm64"), "v1")
	im := open(t, m, "v1")
	if im.IsIndex || len(im.Manifests) != 1 {
		t.Fatalf("index %t, %d manifests", im.IsIndex, len(im.Manifests))
	}
	if im.Manifests[0].Declared != nil {
		t.Errorf("a lone manifest declares %v", im.Manifests[0].Declared)
	}
	if got := platform.Format(im.Manifests[0].Platform()); got != "linux/arm64" {
		t.Errorf("platform = %s", got)
	}
}

func TestOpenTellsDeclaredFromConfigured(t *testing.T) {
	m := imagetest.New()
	img := platformImage("linux/amd64")
	img.Declared = platform.MustParse("linux/arm64")
	m.AddIndex("v1", "", m.AddImage(img, ""))
	got := open(t, m, "v1").Manifests[0]
	if platform.Format(*got.Declared) != "linux/arm64" || platform.Format(*got.Configured) != "linux/amd64" {
		t.Errorf("declared %v, configured %v", got.Declared, got.Configured)
	}
}

func TestOpenKeepsGoingAroundAHole(t *testing.T) {
	m, entries := fixture("")
	m.Remove(entries[1].Digest)
	im, err := image.Open(context.Background(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(im.Manifests[1].Err, store.ErrNotFound) {
		t.Errorf("the missing manifest: %v", im.Manifests[1].Err)
	}
	if im.Manifests[0].Err != nil || im.Manifests[0].Configured == nil {
		t.Errorf("its neighbour: %v", im.Manifests[0].Err)
	}
}

func TestOpenNestedIndex(t *testing.T) {
	m := imagetest.New()
	amd64, arm64 := m.AddImage(platformImage("linux/amd64"), ""), m.AddImage(platformImage("linux/arm64"), "")
	inner := m.AddIndex("", "", arm64)
	m.AddIndex("v1", "", amd64, inner)
	im := open(t, m, "v1")
	if len(im.Manifests) != 2 || len(im.Nested) != 1 || im.Nested[0].Descriptor.Digest != inner.Digest {
		t.Errorf("%d manifests, nested %v", len(im.Manifests), im.Nested)
	}
}

func TestOpenRefuses(t *testing.T) {
	deep := func(m *imagetest.Memory) {
		d := m.AddImage(platformImage("linux/amd64"), "")
		for range 6 {
			d = m.AddIndex("", "", d)
		}
		m.AddIndex("v1", "", d)
	}
	raw := func(mediaType, body string) func(*imagetest.Memory) {
		return func(m *imagetest.Memory) { m.AddManifest(mediaType, []byte(body), "v1") }
	}
	for _, c := range []struct {
		name string
		make func(*imagetest.Memory)
		is   error
		says string
	}{
		{"nothing there", func(*imagetest.Memory) {}, store.ErrNotFound, "v1"},
		{"schema 1 by media type", raw("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`), image.ErrSchema1, "schema 1"},
		{"schema 1 by content", raw("application/json", `{"schemaVersion":1,"fsLayers":[]}`), image.ErrSchema1, "schema 1"},
		{"not JSON", raw(v1.MediaTypeImageManifest, `<html>`), image.ErrMalformed, "invalid character"},
		{"cut off", raw(v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"dig`), image.ErrMalformed, "unexpected end"},
		{"unknown media type", raw("application/vnd.acme.thing+json", `{"schemaVersion":2}`), image.ErrMalformed, "application/vnd.acme.thing+json"},
		{"both manifests and layers", raw(v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"layers":[]}`), image.ErrMalformed, "two different images"},
		{"served as another type", raw(v1.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"`+v1.MediaTypeImageManifest+`","manifests":[]}`), image.ErrMalformed, "served as"},
		{"manifests null", raw(v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":null}`), image.ErrMalformed, "no list of manifests"},
		{"no config", raw(v1.MediaTypeImageManifest, `{"schemaVersion":2,"layers":[]}`), image.ErrMalformed, "no config"},
		{"bad digest", raw(v1.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"digest":"md5:12","size":1}]}`), image.ErrMalformed, "digest"},
		{"negative size", raw(v1.MediaTypeImageManifest, fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":"sha256:%064d","size":-1},"layers":[]}`, 0)), image.ErrMalformed, "size of -1"},
		{"schemaVersion 3", raw(v1.MediaTypeImageIndex, `{"schemaVersion":3,"manifests":[]}`), image.ErrMalformed, "schemaVersion is 3"},
		{"six levels deep", deep, image.ErrMalformed, "nested more than"},
		{"too many manifests", func(m *imagetest.Memory) {
			d := m.AddImage(platformImage("linux/amd64"), "")
			m.AddIndex("v1", "", slicesRepeat(d, 1001)...)
		}, store.ErrTooLarge, "1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := imagetest.New()
			c.make(m)
			_, err := image.Open(context.Background(), m, "v1")
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("err = %v, want %v that says %q", err, c.is, c.says)
			}
		})
	}
}

func slicesRepeat(d store.Descriptor, n int) []store.Descriptor {
	var ds []store.Descriptor
	for range n {
		ds = append(ds, d)
	}
	return ds
}

func TestOpenHoldsChildrenAgainstTheirEntry(t *testing.T) {
	m := imagetest.New()
	d := m.AddImage(platformImage("linux/amd64"), "")
	d.Size++
	m.AddIndex("v1", "", d)
	im, err := image.Open(context.Background(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(im.Manifests[0].Err, store.ErrCorrupt) {
		t.Errorf("a wrong size in the entry: %v", im.Manifests[0].Err)
	}
}

func wants(ps ...string) []platform.Platform {
	var out []platform.Platform
	for _, p := range ps {
		out = append(out, platform.MustParse(p))
	}
	return out
}

func TestOnlyKeepsEntriesToTheByte(t *testing.T) {
	m, entries := fixture("")
	// An entry in an unusual layout, with HTML and an unknown field.
	odd := fmt.Sprintf(`{ "size":%d,"x":"<&>" ,"digest":%q,"mediaType":%q,"platform":{"architecture":"arm64","os":"linux"} }`,
		entries[1].Size, entries[1].Digest, entries[1].MediaType)
	first, _ := json.Marshal(entries[0])
	m.AddManifest(v1.MediaTypeImageIndex, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"annotations":{"a":"b"},"manifests":[%s,%s]}`, v1.MediaTypeImageIndex, first, odd), "odd")

	s, err := open(t, m, "odd").Only(wants("linux/arm64"), image.OnlyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(s.Root.Raw, []byte(odd)) {
		t.Errorf("the entry was rewritten: %s", s.Root.Raw)
	}
	if bytes.Contains(s.Root.Raw, first) {
		t.Errorf("amd64 is still there: %s", s.Root.Raw)
	}
	var index v1.Index
	if err := json.Unmarshal(s.Root.Raw, &index); err != nil || index.Annotations["a"] != "b" {
		t.Errorf("the new index: %v, annotations %v", err, index.Annotations)
	}
	if err := store.Verify(s.Root.Descriptor, s.Root.Raw); err != nil {
		t.Error(err)
	}
	if !s.Rewritten || len(s.Dropped) != 1 {
		t.Errorf("rewritten %t, %d dropped", s.Rewritten, len(s.Dropped))
	}
}

func TestOnly(t *testing.T) {
	m, entries := fixture("")
	im := open(t, m, "v1")
	for _, c := range []struct {
		name      string
		wants     []platform.Platform
		opts      image.OnlyOptions
		manifests int
		rewritten bool
		index     bool
	}{
		{"one with its attestation", wants("linux/arm64"), image.OnlyOptions{}, 2, true, true},
		{"one without", wants("linux/arm64"), image.OnlyOptions{NoAttestations: true}, 1, true, true},
		{"one that has none", wants("linux/arm/v7"), image.OnlyOptions{}, 1, true, true},
		{"two", wants("linux/arm64", "linux/amd64"), image.OnlyOptions{}, 4, true, true},
		{"the same twice", wants("linux/arm64", "linux/arm64/v8"), image.OnlyOptions{}, 2, true, true},
		{"all three is the image itself", wants("linux/arm64", "linux/amd64", "linux/arm/v7"), image.OnlyOptions{}, 5, false, true},
		{"plain", wants("linux/amd64"), image.OnlyOptions{Plain: true}, 1, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := im.Only(c.wants, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Manifests) != c.manifests || s.Rewritten != c.rewritten || image.IsIndexType(s.Root.Descriptor.MediaType) != c.index {
				t.Errorf("%d manifests, rewritten %t, root %s", len(s.Manifests), s.Rewritten, s.Root.Descriptor.MediaType)
			}
			if len(s.Manifests)+len(s.Dropped) != 5 {
				t.Errorf("%d selected and %d dropped of 5", len(s.Manifests), len(s.Dropped))
			}
		})
	}
	plain, err := im.Only(wants("linux/amd64"), image.OnlyOptions{Plain: true})
	if err != nil || plain.Root.Descriptor.Digest != entries[0].Digest {
		t.Errorf("plain: %v, %v", plain, err)
	}
}

func TestOnlyRefuses(t *testing.T) {
	m, _ := fixture("")
	im := open(t, m, "v1")
	lone := imagetest.New()
	lone.AddImage(platformImage("linux/arm64"), "v1")
	var none *image.NoPlatformError
	if _, err := im.Only(wants("linux/amd64", "linux/s390x"), image.OnlyOptions{}); !errors.As(err, &none) {
		t.Errorf("a platform that is not there: %v", err)
	} else if want := "nothing for linux/s390x: it has only linux/amd64, linux/arm/v7, linux/arm64"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	if _, err := open(t, lone, "v1").Only(wants("linux/amd64"), image.OnlyOptions{}); !errors.As(err, &none) {
		t.Errorf("another platform of a lone manifest: %v", err)
	}
	if _, err := im.Only(wants("linux/amd64", "linux/arm64"), image.OnlyOptions{Plain: true}); err == nil {
		t.Error("two platforms in one manifest")
	}
	if _, err := im.Only(nil, image.OnlyOptions{}); err == nil {
		t.Error("nothing asked for selected something")
	}
}

func FuzzOpen(f *testing.F) {
	m, _ := fixture("")
	root, _ := m.Manifest(context.Background(), "v1")
	f.Add(root.Raw)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}`))
	f.Add([]byte(`{"manifests":[null,1,{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m.AddManifest(v1.MediaTypeImageIndex, raw, "fuzz")
		im, err := image.Open(context.Background(), m, "fuzz")
		if err != nil {
			return
		}
		for _, c := range im.Manifests {
			_ = c.CreatedBy()
		}
		if s, err := im.Only(wants("linux/amd64"), image.OnlyOptions{}); err == nil && !json.Valid(s.Root.Raw) {
			t.Fatalf("the subset of %q is not JSON: %q", raw, s.Root.Raw)
		}
	})
}
