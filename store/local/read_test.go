package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/local"
)

// copyAll copies a tag with everything below it.
func copyAll(t *testing.T, src store.Source, dst store.Destination, tag string) {
	t.Helper()
	m, err := src.Manifest(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	var refers struct {
		Config            *store.Descriptor
		Layers, Manifests []store.Descriptor
	}
	if err := json.Unmarshal(m.Raw, &refers); err != nil {
		t.Fatal(err)
	}
	for _, d := range refers.Manifests {
		child, err := src.Manifest(t.Context(), d.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		copyAll(t, src, dst, child.Descriptor.Digest.String())
	}
	if refers.Config != nil {
		refers.Layers = append(refers.Layers, *refers.Config)
	}
	for _, d := range refers.Layers {
		open := func(ctx context.Context, offset int64) (io.ReadCloser, error) { return src.Blob(ctx, d, offset) }
		if _, err := dst.PushBlob(t.Context(), store.Content{Descriptor: d, Open: open}); err != nil {
			t.Fatal(err)
		}
	}
	if store.ValidDigest(digest.Digest(tag)) == nil {
		tag = ""
	}
	if err := dst.PushManifest(t.Context(), m.Descriptor, m.Raw, tag); err != nil {
		t.Fatal(err)
	}
}

// layout writes a layout by hand: an index.json and blobs.
func layout(t testing.TB, index string, blobs ...string) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755))
	must(os.MkdirAll(filepath.Join(dir, "blobs", "sha512"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	must(os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o644))
	for _, b := range blobs {
		for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			must(os.WriteFile(filepath.Join(dir, "blobs", algorithm.String(), algorithm.FromString(b).Encoded()), []byte(b), 0o644))
		}
	}
	return dir
}

// line is one entry of an index.json.
func line(mediaType, content, tag string) string {
	d := store.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	if tag != "" {
		d.Annotations = map[string]string{v1.AnnotationRefName: tag}
	}
	raw, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func index(lines ...string) string {
	return `{"schemaVersion":2,"manifests":[` + strings.Join(lines, ",") + `]}`
}

const (
	manifestA = `{"schemaVersion":2,"config":{},"layers":[]}`
	manifestB = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}`
	listing   = `{"schemaVersion":2,"manifests":[]}`
	schema1   = `{"schemaVersion":1,"fsLayers":[]}`
	oci       = v1.MediaTypeImageManifest
)

func TestManifest(t *testing.T) {
	both := index(line(oci, manifestA, "a"), line(oci, manifestB, "b"))
	sha512 := digest.SHA512.FromString(manifestB).String()
	for _, c := range []struct{ name, index, reference, want, mediaType string }{
		{"a tag", both, "b", manifestB, oci},
		{"the only image", index(line(oci, manifestA, "a")), "", manifestA, oci},
		{"the only image, without a name", index(line(oci, manifestA, "")), "", manifestA, oci},
		{"one image with two names", index(line(oci, manifestA, "a"), line(oci, manifestA, "b")), "", manifestA, oci},
		{"a tag that is there twice for one image", index(line(oci, manifestA, "a"), line(oci, manifestA, "a")), "a", manifestA, oci},
		{"a digest in the index", both, digest.FromString(manifestA).String(), manifestA, oci},
		{"a digest that the index does not have", both, digest.FromString(listing).String(), listing, v1.MediaTypeImageIndex},
		{"sha512", both, sha512, manifestB, oci},
		{"the media type of the entry", index(line("application/x", manifestA, "a")), "a", manifestA, "application/x"},
		{"the media type of the body", index(line("", manifestB, "b")), "b", manifestB, oci},
		{"no media type, a manifest", index(line("", manifestA, "a")), "a", manifestA, oci},
		{"no media type, an index", index(line("", listing, "l")), "l", listing, v1.MediaTypeImageIndex},
		{"no media type, schema 1", index(line("", schema1, "s")), "s", schema1, "application/vnd.docker.distribution.manifest.v1+json"},
		{"among entries that are no images", index(`{"mediaType":"application/xml","digest":"md5:x","size":1}`, line(oci, manifestA, "a")), "a", manifestA, oci},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, layout(t, c.index, manifestA, manifestB, listing, schema1))
			m, err := l.Manifest(t.Context(), c.reference)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Raw) != c.want || m.Descriptor.MediaType != c.mediaType || m.Descriptor.Size != int64(len(c.want)) {
				t.Errorf("got %s %+v", m.Raw, m.Descriptor)
			}
		})
	}
}

func TestManifestRefuses(t *testing.T) {
	long := strings.Repeat("x", store.MaxManifestSize+1)
	wrongSize := strings.Replace(line(oci, manifestA, "a"), fmt.Sprintf(`"size":%d`, len(manifestA)), `"size":7`, 1)
	for _, c := range []struct {
		name, index, reference, says string
		is                           error
	}{
		{"an unknown tag", index(line(oci, manifestA, "b"), line(oci, manifestB, "a")), "v9", `tag "v9" not found: it has a and b`, store.ErrNotFound},
		{"a tag among what has none", index(line(oci, manifestA, "")), "v9", "it has @" + digest.FromString(manifestA).String(), store.ErrNotFound},
		{"a tag with an escape sequence", index(line(oci, manifestA, "a\x1b[2J")), "v9", `it has "a\x1b[2J"`, store.ErrNotFound},
		{"an empty layout", index(), "", "image not found: the layout is empty", store.ErrNotFound},
		{"several images and no name", index(line(oci, manifestA, "b"), line(oci, manifestB, "a")), "", "several images: name one of them, a and b", nil},
		{"a tag for two images", index(line(oci, manifestA, "a"), line(oci, manifestB, "a")), "a", `tag "a" stands for 2 images: name one by its digest, "sha256:`, nil},
		{"a digest that is not there", index(), digest.FromString("nothing").String(), "blobs/sha256/" + digest.FromString("nothing").Encoded() + " not found", store.ErrNotFound},
		{"an entry without blob", index(line(oci, "nothing", "a")), "a", "blobs/sha256/" + digest.FromString("nothing").Encoded() + " not found", store.ErrNotFound},
		{"a wrong size", index(wrongSize), "a", "the descriptor says 7", store.ErrCorrupt},
		{"an entry with a digest that leads elsewhere", index(`{"mediaType":"x","digest":"sha256:../../../etc/passwd","size":1}`), "", "digest", nil},
		{"entry and body that disagree", index(line(v1.MediaTypeImageIndex, manifestB, "a")), "a", `the index entry says "application/vnd.oci.image.index.v1+json", and the manifest itself "application/vnd.oci.image.manifest.v1+json"`, store.ErrCorrupt},
		{"a layer", index(), digest.FromString("a layer").String(), "neither a manifest nor an index", nil},
		{"over the bound", index(line(oci, long, "a")), "a", "at most 4194304 bytes", store.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, layout(t, c.index, manifestA, manifestB, "a layer", long))
			_, err := l.Manifest(t.Context(), c.reference)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v does not say %q", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%q is not %v", err, c.is)
			}
			if strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("%q carries a control character", err)
			}
		})
	}
}

func TestManifestOfManyTags(t *testing.T) {
	var lines []string
	for i := range 50 {
		lines = append(lines, line(oci, manifestA, fmt.Sprintf("v%02d", i)))
	}
	_, err := open(t, layout(t, index(lines...), manifestA)).Manifest(t.Context(), "v99")
	if err == nil || !strings.HasSuffix(err.Error(), "v18, v19 and 30 more") {
		t.Errorf("%v", err)
	}
}

func TestManifestChanged(t *testing.T) {
	dir := layout(t, index(line(oci, manifestA, "a")), manifestA)
	blob := filepath.Join(dir, "blobs", "sha256", digest.FromString(manifestA).Encoded())
	write(t, blob, strings.Replace(manifestA, "2", "3", 1))
	if _, err := open(t, dir).Manifest(t.Context(), "a"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%v is not %v", err, store.ErrCorrupt)
	}
}

func TestBlob(t *testing.T) {
	const content = "0123456789"
	l := open(t, layout(t, index(), content))
	for _, d := range []digest.Digest{digest.SHA256.FromString(content), digest.SHA512.FromString(content)} {
		desc := store.Descriptor{Digest: d, Size: int64(len(content))}
		for offset := range int64(len(content) + 1) {
			r, err := l.Blob(t.Context(), desc, offset)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Fatal(err)
			}
			if string(raw) != content[offset:] {
				t.Errorf("%s from %d on: %q", d.Algorithm(), offset, raw)
			}
		}
	}
}

func TestBlobRefuses(t *testing.T) {
	d := digest.FromString("content")
	for _, c := range []struct {
		name   string
		desc   store.Descriptor
		offset int64
		says   string
		is     error
	}{
		{"not there", store.Descriptor{Digest: digest.FromString("no"), Size: 2}, 0, "not found", store.ErrNotFound},
		{"shorter than promised", store.Descriptor{Digest: d, Size: 8}, 0, "7 bytes, and the descriptor says 8", store.ErrCorrupt},
		{"longer than promised", store.Descriptor{Digest: d, Size: 6}, 0, "7 bytes, and the descriptor says 6", store.ErrCorrupt},
		{"an offset behind the end", store.Descriptor{Digest: d, Size: 7}, 8, "nothing can be read at 8", nil},
		{"a negative offset", store.Descriptor{Digest: d, Size: 7}, -1, "nothing can be read at -1", nil},
		{"a negative size", store.Descriptor{Digest: d, Size: -1}, 0, "has -1 bytes", nil},
		{"a digest that is a path", store.Descriptor{Digest: "sha256:../../oci-layout", Size: 30}, 0, "digest", nil},
		{"an unknown algorithm", store.Descriptor{Digest: "md5:d41d8cd98f00b204e9800998ecf8427e"}, 0, "digest", nil},
		{"no digest", store.Descriptor{}, 0, "digest", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(t, layout(t, index(), "content")).Blob(t.Context(), c.desc, c.offset)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v does not say %q", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%q is not %v", err, c.is)
			}
		})
	}
}

func TestBlobEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, err := open(t, layout(t, index(), "content")).Blob(ctx, store.Descriptor{Digest: digest.FromString("content"), Size: 7}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

// Neither the right content nor a place inside the layout makes up for a link.
func TestNothingButRegularFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, manifestB)
	d := digest.FromString(manifestB)
	desc := store.Descriptor{Digest: d, Size: int64(len(manifestB))}
	for name, place := range map[string]func(dir, blob string) error{
		"a symbolic link to the outside": func(_, blob string) error { return os.Symlink(outside, blob) },
		"a symbolic link to the inside": func(dir, blob string) error {
			write(t, filepath.Join(dir, "inside"), manifestB)
			return os.Symlink("../../inside", blob)
		},
		"a folder": func(_, blob string) error { return os.Mkdir(blob, 0o755) },
		"blobs elsewhere": func(dir, blob string) error {
			away := filepath.Join(t.TempDir(), "sha256")
			write(t, filepath.Join(away, filepath.Base(blob)), manifestB)
			if err := os.Remove(filepath.Dir(blob)); err != nil {
				return err
			}
			return os.Symlink(away, filepath.Dir(blob))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := layout(t, index(line(oci, manifestB, "b")))
			if err := place(dir, filepath.Join(dir, "blobs", "sha256", d.Encoded())); err != nil {
				t.Fatal(err)
			}
			l := open(t, dir)
			if m, err := l.Manifest(t.Context(), "b"); err == nil {
				t.Errorf("Manifest read %s", m.Raw)
			}
			if r, err := l.Blob(t.Context(), desc, 0); err == nil {
				r.Close()
				t.Error("Blob opened it")
			}
			dst := create(t, dir)
			if _, err := dst.PushBlob(t.Context(), imageContent(manifestB)); err == nil {
				t.Error("PushBlob took it")
			}
		})
	}
}

func TestOciLayoutThatIsALink(t *testing.T) {
	dir := layout(t, index())
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, `{"imageLayoutVersion":"1.0.0"}`)
	if err := errors.Join(os.Remove(filepath.Join(dir, "oci-layout")), os.Symlink(outside, filepath.Join(dir, "oci-layout"))); err != nil {
		t.Fatal(err)
	}
	if _, err := local.OpenLayout(dir); err == nil || !strings.Contains(err.Error(), "oci-layout is a symbolic link, not a regular file") {
		t.Errorf("%v", err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(index(line(oci, manifestA, "a"))), "a")
	f.Add([]byte(index(line("", manifestB, ""), line(oci, manifestA, "a"))), "")
	f.Add([]byte(`{"manifests":[{"digest":"sha256:../..","size":-1,"annotations":{"org.opencontainers.image.ref.name":"\u0000"}}]}`), "")
	f.Add([]byte(`{"manifests":null,"Manifests":[]}`), "x")
	f.Add([]byte(`[`), digest.FromString(manifestA).String())
	dir := layout(f, index(), manifestA, manifestB, listing)
	file := filepath.Join(dir, "index.json")
	m := imagetest.New()
	m.AddManifest(oci, []byte(`{"schemaVersion":2,"layers":[]}`), "new")
	f.Fuzz(func(t *testing.T, raw []byte, reference string) {
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := local.CreateLayout(dir)
		if err != nil {
			return
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		if got, err := l.Manifest(t.Context(), reference); err == nil {
			if err := store.Verify(got.Descriptor, got.Raw); err != nil {
				t.Fatal(err)
			}
		}
		// What could be read can be written again, and is then read with the new tag.
		if err := m.PushTo(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Manifest(t.Context(), "new"); err != nil {
			t.Fatal(err)
		}
	})
}
