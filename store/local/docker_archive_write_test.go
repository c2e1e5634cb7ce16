package local_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/local"
)

func TestDockerArchiveIsWrittenAsDockerDoes(t *testing.T) {
	raw, packed := layer("a")
	zstd := packed
	var buf bytes.Buffer
	z := newZstd(t, &buf)
	if _, err := io.WriteString(z, raw); err != nil {
		t.Fatal(err)
	}
	closeIt(t, z)
	zstd.MediaType, zstd.Raw = v1.MediaTypeImageLayerZstd, buf.Bytes()
	plain := imagetest.Layer{MediaType: v1.MediaTypeImageLayer, Raw: []byte(raw), DiffID: digest.FromString(raw)}
	other, otherPacked := layer("b")

	m := imagetest.New()
	m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{packed, zstd, otherPacked, plain}}, "v1")
	_, manifest := image(t, m, "v1")
	path := savedDocker(t, m, "v1", "localhost:5000/app")
	contents := map[string]string{}
	entries := names(t, read(t, path))
	for _, name := range entries {
		contents[name] = string(find(t, read(t, path), name))
	}
	blobs := []string{"blobs/sha256/" + manifest.Config.Digest.Encoded(), blobFile(raw).Name, blobFile(other).Name}
	if len(entries) != len(blobs)+1 {
		t.Errorf("entries: %s", entries)
	}
	if contents[blobs[1]] != raw || contents[blobs[2]] != other {
		t.Error("the layers are not what was packed")
	}
	want := toJSON([]item{{blobs[0], []string{"localhost:5000/app:v1"}, []string{blobs[1], blobs[1], blobs[2], blobs[1]}}})
	if diff := cmp.Diff(want, contents["manifest.json"]); diff != "" {
		t.Error(diff)
	}
	_, doc := image(t, openDocker(t, path, ""), "")
	if len(doc.Layers) != 4 || doc.Layers[0].Digest != doc.Layers[3].Digest {
		t.Errorf("layers: %+v", doc.Layers)
	}
}

func TestDockerArchiveWithoutName(t *testing.T) {
	m := sample()
	path := savedDocker(t, m, "single", "")
	if got := string(find(t, read(t, path), "manifest.json")); !strings.Contains(got, `"RepoTags":null`) {
		t.Error(got)
	}
	image(t, openDocker(t, path, ""), "")
}

func TestDockerArchiveRefusesAnIndex(t *testing.T) {
	for _, repository := range []string{app} {
		dir := t.TempDir()
		w, err := local.CreateDockerArchive(filepath.Join(dir, "image.tar"), repository, local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = sample().PushTo(t.Context(), w)
		if !errors.Is(err, local.ErrOneImage) || !strings.Contains(err.Error(), "--platform OS/ARCH") {
			t.Errorf("%v", err)
		}
		closeIt(t, w)
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left behind: %s", left)
		}
	}
}

func TestDockerArchivePushManifestRefuses(t *testing.T) {
	raw, packed := layer("a")
	otherRaw, _ := layer("b")
	good := config(raw)
	build := func(config, configType string, layers ...string) (store.Descriptor, []byte) {
		m := v1.Manifest{MediaType: oci, Config: store.Descriptor{MediaType: configType, Digest: digest.FromString(config), Size: int64(len(config))}}
		for _, l := range layers {
			m.Layers = append(m.Layers, store.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString(l), Size: int64(len(l))})
		}
		doc := toJSON(m)
		return store.Descriptor{MediaType: oci, Digest: digest.FromString(doc), Size: int64(len(doc))}, []byte(doc)
	}
	foreign := strings.ReplaceAll(toJSON(v1.Manifest{
		MediaType: oci, Config: store.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromString(good), Size: int64(len(good))},
		Layers: []store.Descriptor{{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: digest.FromString("x"), Size: 1}},
	}), "\n", "")
	for _, c := range []struct {
		name string
		make func() (store.Descriptor, []byte)
		says string
		is   error
	}{
		{"a Helm chart", func() (store.Descriptor, []byte) { return build(good, "application/vnd.cncf.helm.config.v1+json") }, "is not a container image", nil},
		{"no config", func() (store.Descriptor, []byte) { return build("nothing", v1.MediaTypeImageConfig) }, "config", store.ErrNotFound},
		{"a config that is no JSON", func() (store.Descriptor, []byte) { return build("hello", v1.MediaTypeImageConfig) }, "invalid character", nil},
		{"more layers than the config says", func() (store.Descriptor, []byte) {
			return build(good, v1.MediaTypeImageConfig, string(packed.Raw), string(packed.Raw))
		}, "it has 2 layers, and its config says 1", store.ErrCorrupt},
		{
			"another layer than the config says", func() (store.Descriptor, []byte) { return build(good, v1.MediaTypeImageConfig, otherRaw) },
			"unpacks to " + digest.FromString(otherRaw).String(), store.ErrCorrupt,
		},
		{"a layer that is not there", func() (store.Descriptor, []byte) { return build(good, v1.MediaTypeImageConfig, "no") }, "layer", store.ErrNotFound},
		{"a layer that is elsewhere", func() (store.Descriptor, []byte) {
			return store.Descriptor{MediaType: oci, Digest: digest.FromString(foreign), Size: int64(len(foreign))}, []byte(foreign)
		}, "not to be distributed", store.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w, err := local.CreateDockerArchive(filepath.Join(dir, "image.tar"), app, local.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, content := range []string{good, "hello", string(packed.Raw), otherRaw} {
				if _, err := w.PushBlob(t.Context(), imageContent(content)); err != nil {
					t.Fatal(err)
				}
			}
			desc, doc := c.make()
			err = w.PushManifest(t.Context(), desc, doc, "v1")
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v does not say %q, or is not %v", err, c.says, c.is)
			}
			closeIt(t, w)
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestDockerArchivePushBlobRefuses(t *testing.T) {
	_, packed := layer("a")
	gzipped := string(packed.Raw)
	broken := errors.New("connection reset")
	cut := gzipped[:len(gzipped)-10]
	for name, c := range map[string]struct {
		content store.Content
		is      error
	}{
		"other content": {contentFrom(gzipped, func() io.Reader {
			return strings.NewReader(strings.Replace(gzipped, gzipped[20:40], gzipped[10:30], 1))
		}), store.ErrCorrupt},
		"less":                    {contentFrom(gzipped, func() io.Reader { return strings.NewReader(cut) }), store.ErrCorrupt},
		"more":                    {contentFrom(gzipped, func() io.Reader { return strings.NewReader(gzipped + "x") }), store.ErrCorrupt},
		"a broken source":         {contentFrom(gzipped, func() io.Reader { return &breaks{strings.NewReader(cut), broken} }), broken},
		"a layer that is cut off": {imageContent(cut), io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := local.CreateDockerArchive(filepath.Join(t.TempDir(), "image.tar"), app, local.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer closeIt(t, w)
			if _, err := w.PushBlob(t.Context(), c.content); !errors.Is(err, c.is) {
				t.Errorf("PushBlob: %v, want %v", err, c.is)
			}
			for _, want := range []store.Outcome{store.Copied, store.Present} {
				if got, err := w.PushBlob(t.Context(), imageContent(gzipped)); err != nil || got != want {
					t.Errorf("PushBlob again = %s, %v", got, err)
				}
			}
		})
	}
}
