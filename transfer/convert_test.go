package transfer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/transfer"
)

// zstdLayer is a layer of one file, packed with zstd.
func zstdLayer(body string) imagetest.Layer {
	return imagetest.ZstdLayer(imagetest.File{Name: "app", Mode: 0o755, Body: body})
}

// packed is amd64 with layers of gzip, zstd and none, which arm64 has too, and arm/v7
// of gzip alone; the first and the last have attestations.
func packed() *imagetest.Memory {
	m := imagetest.New()
	image := func(p string, layers ...imagetest.Layer) store.Descriptor {
		return m.AddImage(imagetest.Image{Configured: platform.MustParse(p), Layers: layers}, "")
	}
	plain := imagetest.TarLayer(imagetest.File{Name: "plain", Body: "plain"})
	amd64 := image("linux/amd64", layer("gzip"), zstdLayer("shared"), plain)
	arm64 := image("linux/arm64", zstdLayer("shared"), zstdLayer(incompressible(100<<10)))
	armv7 := image("linux/arm/v7", layer("gzip"))
	m.AddIndex("v1", "", m.AddAttestation(amd64), amd64, arm64, armv7, m.AddAttestation(armv7))
	return m
}

func convert(t *testing.T, src *end, form transfer.Form, opts transfer.ConvertOptions) *transfer.Converted {
	t.Helper()
	c, err := transfer.Convert(t.Context(), src, open(t, newEnd(src.Memory)).All(), form, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConvert(t *testing.T) {
	for _, c := range []struct {
		name         string
		form         transfer.Form
		conversions  int
		attestations int
		root, image  string
	}{
		{"gzip", transfer.Form{Gzip: true}, 2, 1, v1.MediaTypeImageIndex, v1.MediaTypeImageManifest},
		{"Docker", transfer.Form{Docker: true}, 3, 0, imagetest.DockerList, imagetest.DockerManifest},
		{"nothing demanded", transfer.Form{}, 0, 2, v1.MediaTypeImageIndex, v1.MediaTypeImageManifest},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst := newEnd(packed()), newEnd(imagetest.New())
			got := convert(t, src, c.form, transfer.ConvertOptions{})
			if len(got.Conversions) != c.conversions {
				t.Errorf("conversions: %+v", got.Conversions)
			}
			if again := convert(t, src, c.form, transfer.ConvertOptions{}); again.Selection.Root.Descriptor.Digest != got.Selection.Root.Descriptor.Digest {
				t.Error("the same image became something else")
			}
			if _, err := planOf(t, got.Selection).Run(t.Context(), got, dst, transfer.Options{Tag: "v1"}); err != nil {
				t.Fatal(err)
			}
			wantWhole(t, dst.Memory, "v1", got.Selection.Root.Descriptor.Digest)
			im := open(t, dst)
			if im.Root.Descriptor.MediaType != c.root || len(im.Images()) != 3 || len(im.Manifests)-3 != c.attestations {
				t.Errorf("%s of %d images and %d manifests", im.Root.Descriptor.MediaType, len(im.Images()), len(im.Manifests))
			}
			for _, m := range im.Images() {
				if m.Descriptor.MediaType != c.image || m.Err != nil || m.Declared == nil || m.Configured == nil || !platform.Equal(*m.Declared, *m.Configured) {
					t.Errorf("%+v", m)
				}
				for i, d := range m.Layers {
					if c.form == (transfer.Form{}) {
						continue
					}
					raw, err := store.ReadBlob(t.Context(), dst, d, 1<<20)
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(d.MediaType, "gzip") {
						z, err := gzip.NewReader(bytes.NewReader(raw))
						if err != nil {
							t.Fatal(err)
						}
						if raw, err = io.ReadAll(z); err != nil {
							t.Fatal(err)
						}
					}
					if strings.Contains(d.MediaType, "zstd") || digest.FromBytes(raw) != m.Config.RootFS.DiffIDs[i] || c.form.Docker && d.MediaType != imagetest.DockerLayer {
						t.Errorf("%s: layer %d is %s, and unpacks to %s", platform.Format(m.Platform()), i, d.MediaType, digest.FromBytes(raw))
					}
				}
			}
		})
	}
}

// streams is an end that takes blobs whose digest comes last.
type streams struct {
	*end
	failures atomic.Int32
}

func (s *streams) PushStream(ctx context.Context, _ digest.Digest, open func(context.Context) (io.ReadCloser, error)) (store.Descriptor, error) {
	for {
		r, err := open(ctx)
		if err != nil {
			return store.Descriptor{}, err
		}
		if s.failures.Add(-1) >= 0 {
			if err := r.Close(); err != nil {
				return store.Descriptor{}, err
			}
			continue
		}
		raw, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return store.Descriptor{}, err
		}
		return s.AddBlob("", raw), nil
	}
}

func TestConvertSendsAsItPacks(t *testing.T) {
	src, dst := newEnd(packed()), &streams{end: newEnd(imagetest.New())}
	dst.failures.Store(1)
	var mu sync.Mutex
	kept := map[digest.Digest]store.Descriptor{}
	opts := transfer.ConvertOptions{To: dst, Keep: func(from digest.Digest, to store.Descriptor) {
		mu.Lock()
		defer mu.Unlock()
		kept[from] = to
	}}
	opts.Known = func(from digest.Digest) (store.Descriptor, bool) {
		mu.Lock()
		defer mu.Unlock()
		to, ok := kept[from]
		return to, ok
	}
	got := convert(t, src, transfer.Form{Gzip: true}, transfer.ConvertOptions{To: opts.To})
	if len(got.Sent) != 2 {
		t.Errorf("sent: %v", got.Sent)
	}
	plan := planOf(t, got.Selection)
	result, err := plan.Run(t.Context(), got, dst, transfer.Options{Tag: "v1", Sent: got.Sent})
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, dst.Memory, "v1", got.Selection.Root.Descriptor.Digest)
	if result.Copied.Blobs != len(plan.Blobs) || result.Present.Blobs != 0 {
		t.Errorf("%+v", result)
	}
	for d, n := range opened(src) {
		if n > 1+1 { // the failure
			t.Errorf("%s was opened %d times", d, n)
		}
	}

	// What is remembered is not read again.
	for i := range 2 {
		src := newEnd(src.Memory)
		measured := convert(t, src, transfer.Form{Gzip: true}, transfer.ConvertOptions{Known: opts.Known, Keep: opts.Keep})
		if measured.Selection.Root.Descriptor.Digest != got.Selection.Root.Descriptor.Digest || i == 1 && len(src.did("open")) > 0 {
			t.Errorf("round %d opened %v", i, src.did("open"))
		}
	}
}

func TestConvertRefusesWhatIsNotItself(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"other bytes":   func(raw []byte) []byte { return zstdLayer("something else").Raw },
		"bytes after":   func(raw []byte) []byte { return append(slices.Clone(raw), 0) },
		"bytes missing": func(raw []byte) []byte { return raw[:len(raw)-3] },
		"no zstd":       func(raw []byte) []byte { return bytes.Repeat([]byte("x"), len(raw)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := imagetest.New()
			m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{zstdLayer("a")}}, "v1")
			src := newEnd(m)
			src.bytes = func(_ digest.Digest, raw []byte) []byte { return change(raw) }
			im, err := image.Open(t.Context(), m, "v1")
			if err != nil {
				t.Fatal(err)
			}
			_, err = transfer.Convert(t.Context(), src, im.All(), transfer.Form{Gzip: true}, transfer.ConvertOptions{})
			var failed *transfer.CopyError
			if !errors.As(err, &failed) || failed.End != transfer.Source {
				t.Errorf("err = %v", err)
			}
		})
	}
	m := imagetest.New()
	lying := zstdLayer("a")
	lying.DiffID = digest.FromString("something else")
	m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{lying}}, "v1")
	if _, err := transfer.Convert(t.Context(), m, open(t, m).All(), transfer.Form{Gzip: true}, transfer.ConvertOptions{}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("err = %v", err)
	}
}

// What Docker's media types have no place for is left out, and what the OCI ones have
// besides stays where only layers are packed again.
func TestConvertKeepsTheRest(t *testing.T) {
	m := imagetest.New()
	d := m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{zstdLayer("a")}}, "")
	found, err := m.Manifest(t.Context(), d.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	raw := bytes.Replace(found.Raw, []byte("{"), []byte(`{"annotations":{"a":"<b>"},`), 1)
	m.AddManifest(v1.MediaTypeImageManifest, raw, "v1")
	for form, want := range map[transfer.Form]map[string]string{{Gzip: true}: {"a": "<b>"}, {Docker: true}: nil} {
		c := convert(t, newEnd(m), form, transfer.ConvertOptions{})
		var manifest v1.Manifest
		if err := json.Unmarshal(c.Selection.Root.Raw, &manifest); err != nil {
			t.Fatal(err)
		}
		if len(manifest.Annotations) != len(want) || manifest.Annotations["a"] != want["a"] {
			t.Errorf("%+v: annotations are %v", form, manifest.Annotations)
		}
	}
}

func FuzzConvert(f *testing.F) {
	f.Add(zstdLayer("a").Raw)
	f.Add(layer("a").Raw)
	f.Add([]byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x\x28\xb5\x2f\xfd"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := imagetest.New()
		m.AddImage(imagetest.Image{
			Configured: platform.MustParse("linux/amd64"),
			Layers:     []imagetest.Layer{{MediaType: v1.MediaTypeImageLayerZstd, Raw: raw, DiffID: digest.FromString("a")}},
		}, "v1")
		im, err := image.Open(t.Context(), m, "v1")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := transfer.Convert(t.Context(), m, im.All(), transfer.Form{Gzip: true}, transfer.ConvertOptions{}); err == nil && !bytes.Equal(raw, []byte("a")) {
			t.Errorf("%x became %s", raw, c.Selection.Root.Raw)
		}
	})
}
