package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
	"berth/store/local"
)

// imageContent is content with its right descriptor.
func imageContent(content string) store.Content {
	return contentFrom(content, func() io.Reader { return strings.NewReader(content) })
}

// contentFrom promises content and delivers what open returns.
func contentFrom(content string, open func() io.Reader) store.Content {
	return store.Content{
		Descriptor: store.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))},
		Open:       func(context.Context, int64) (io.ReadCloser, error) { return io.NopCloser(open()), nil },
	}
}

func TestPushBlob(t *testing.T) {
	l := create(t, filepath.Join(t.TempDir(), "layout"))
	for _, want := range []store.Outcome{store.Copied, store.Present} {
		if got, err := l.PushBlob(t.Context(), imageContent("hello")); err != nil || got != want {
			t.Errorf("PushBlob = %s, %v, want %s", got, err, want)
		}
	}
	sha512 := imageContent("hello")
	sha512.Descriptor.Digest = digest.SHA512.FromString("hello")
	if _, err := l.PushBlob(t.Context(), sha512); err != nil {
		t.Fatal(err)
	}
	raw, err := store.ReadBlob(t.Context(), l, sha512.Descriptor, 100)
	if err != nil || string(raw) != "hello" {
		t.Errorf("ReadBlob = %q, %v", raw, err)
	}
}

func TestPushBlobReplacesWhatIsWrong(t *testing.T) {
	dir := layout(t, index())
	blob := filepath.Join(dir, "blobs", "sha256", digest.FromString("hello").Encoded())
	for name, wrong := range map[string]string{"another size": "hell", "another content": "jello"} {
		write(t, blob, wrong)
		if got, err := create(t, dir).PushBlob(t.Context(), imageContent("hello")); err != nil || got != store.Copied {
			t.Errorf("%s: PushBlob = %s, %v", name, got, err)
		}
		if raw, err := os.ReadFile(blob); err != nil || string(raw) != "hello" {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
}

// breaks ends with an error after a first part.
type breaks struct {
	first io.Reader
	err   error
}

func (b *breaks) Read(p []byte) (int, error) {
	if n, err := b.first.Read(p); err == nil {
		return n, nil
	}
	return 0, b.err
}

func TestPushBlobLeavesNoTrace(t *testing.T) {
	broken := errors.New("connection reset")
	canceled, cancel := context.WithCancel(t.Context())
	large := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name    string
		ctx     context.Context
		content store.Content
		says    string
		is      error
	}{
		{"too short", t.Context(), contentFrom("hello", func() io.Reader { return strings.NewReader("hell") }), "4 bytes, and the descriptor says 5", store.ErrCorrupt},
		{"too long", t.Context(), contentFrom("hello", func() io.Reader { return strings.NewReader("hello!") }), "more than the 5 bytes", store.ErrCorrupt},
		{"other content", t.Context(), contentFrom("hello", func() io.Reader { return strings.NewReader("jello") }), "does not match", store.ErrCorrupt},
		{"a source that breaks", t.Context(), contentFrom(large, func() io.Reader { return &breaks{strings.NewReader(large[:70000]), broken} }), "connection reset", broken},
		{"canceled on the way", canceled, contentFrom(large, func() io.Reader {
			return io.MultiReader(strings.NewReader(large[:70000]), readFunc(func([]byte) (int, error) { cancel(); return 0, nil }), strings.NewReader(large[70000:]))
		}), "canceled", context.Canceled},
		{"a digest that is a path", t.Context(), store.Content{Descriptor: store.Descriptor{Digest: "sha256:../../x"}}, "digest", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := create(t, dir).PushBlob(c.ctx, c.content)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%q is not %v", err, c.is)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestPushOfACanceledContext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	l := create(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.PushBlob(ctx, imageContent("hello")); !errors.Is(err, context.Canceled) {
		t.Errorf("PushBlob: %v", err)
	}
	if err := l.PushManifest(ctx, store.Descriptor{}, nil, "v1"); !errors.Is(err, context.Canceled) {
		t.Errorf("PushManifest: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made")
	}
}

func TestPushToALayoutOpenedForReading(t *testing.T) {
	l := open(t, written(t, sample()))
	if _, err := l.PushBlob(t.Context(), imageContent("hello")); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("PushBlob: %v", err)
	}
	if err := l.PushManifest(t.Context(), store.Descriptor{}, nil, ""); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("PushManifest: %v", err)
	}
}

// push puts a manifest without layers under a tag.
func push(t *testing.T, l *local.Layout, note, tag string) store.Descriptor {
	t.Helper()
	desc, raw := bare(note)
	if err := l.PushManifest(t.Context(), desc, raw, tag); err != nil {
		t.Fatal(err)
	}
	return desc
}

// bare is a manifest that refers to nothing.
func bare(note string) (store.Descriptor, []byte) {
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"layers":[],"annotations":{"note":%q}}`, oci, note)
	return store.Descriptor{MediaType: oci, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw
}

func TestTags(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	l := create(t, dir)
	one := push(t, l, "1", "v1")
	two := push(t, l, "2", "v2")
	push(t, l, "3", "")
	if got := tags(t, dir); !cmp.Equal(got, []string{"v1=" + one.Digest.String(), "v2=" + two.Digest.String()}) {
		t.Errorf("tags %s", got)
	}
	three := push(t, l, "3", "v1")
	if got := tags(t, dir); !cmp.Equal(got, []string{"v1=" + three.Digest.String(), "v2=" + two.Digest.String()}) {
		t.Errorf("after v1 moved: %s", got)
	}
	if got, err := l.Resolve(t.Context(), "v1"); err != nil || got.Digest != three.Digest {
		t.Errorf("Resolve(v1) = %s, %v", got.Digest, err)
	}
}

// tags are the entries of an index.json as tag=digest, in order.
func tags(t *testing.T, dir string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var x v1.Index
	if err := json.Unmarshal(raw, &x); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range x.Manifests {
		all = append(all, d.Annotations[v1.AnnotationRefName]+"="+d.Digest.String())
	}
	return all
}

// What skopeo and crane look at, to the byte.
func TestIndexJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	desc := push(t, create(t, dir), "<1>", "v1")
	want := fmt.Sprintf(`{
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": %q,
      "size": %d,
      "annotations": {
        "org.opencontainers.image.ref.name": "v1"
      }
    }
  ],
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "schemaVersion": 2
}
`, desc.Digest, desc.Size)
	got, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	marker, err := os.ReadFile(filepath.Join(dir, "oci-layout"))
	if err != nil || string(marker) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: %s, %v", marker, err)
	}
}

// Other tools put things into an index.json that berth does not know.
func TestIndexJSONKeepsWhatIsThere(t *testing.T) {
	desc, raw := bare("1")
	strange := `{"mediaType":"application/xml","digest":"sha256:x","size":1,"new":[1]}`
	unnamed := line(oci, string(raw), "")
	dir := layout(t, `{"schemaVersion":2,"annotations":{"a":"b"},"extra":1.50,"manifests":[`+strange+`,`+unnamed+`]}`, string(raw))
	if err := create(t, dir).PushManifest(t.Context(), desc, raw, "v1"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, got); err != nil {
		t.Fatal(err)
	}
	want := `{"annotations":{"a":"b"},"extra":1.50,"manifests":[` + strange + `,` + line(oci, string(raw), "v1") + `],"schemaVersion":2}`
	if diff := cmp.Diff(want, compact.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPushManifestRefuses(t *testing.T) {
	manifest := func(format string, args ...any) (store.Descriptor, []byte) {
		raw := fmt.Appendf(nil, format, args...)
		return store.Descriptor{MediaType: oci, Digest: digest.FromBytes(raw), Size: int64(len(raw))}, raw
	}
	there, missing := digest.FromString("there"), digest.FromString("missing")
	for _, c := range []struct {
		name string
		make func() (store.Descriptor, []byte)
		says string
		is   error
	}{
		{"another digest", func() (store.Descriptor, []byte) {
			desc, raw := bare("1")
			return desc, append(raw[:len(raw)-1], ' ')
		}, "does not match", store.ErrCorrupt},
		{"another size", func() (store.Descriptor, []byte) {
			desc, raw := bare("1")
			desc.Size++
			return desc, raw
		}, "the descriptor says", store.ErrCorrupt},
		{"over the bound", func() (store.Descriptor, []byte) {
			return manifest("%s", strings.Repeat(" ", store.MaxManifestSize+1))
		}, "at most 4194304", store.ErrTooLarge},
		{"no JSON", func() (store.Descriptor, []byte) { return manifest("{") }, "unexpected end", nil},
		{"a layer that is not there", func() (store.Descriptor, []byte) {
			return manifest(`{"layers":[{"digest":%q,"size":7}]}`, missing)
		}, "refers to " + missing.String(), store.ErrNotFound},
		{"a config that is not there", func() (store.Descriptor, []byte) {
			return manifest(`{"config":{"digest":%q,"size":7}}`, missing)
		}, "refers to " + missing.String(), store.ErrNotFound},
		{"a child that is not there", func() (store.Descriptor, []byte) {
			return manifest(`{"manifests":[{"digest":%q,"size":7}]}`, missing)
		}, "refers to " + missing.String(), store.ErrNotFound},
		{"a layer of another size", func() (store.Descriptor, []byte) {
			return manifest(`{"layers":[{"digest":%q,"size":7}]}`, there)
		}, "5 bytes, and the descriptor says 7", store.ErrCorrupt},
		{"a reference that is a path", func() (store.Descriptor, []byte) {
			return manifest(`{"layers":[{"digest":"sha256:../../index.json","size":7}]}`)
		}, "digest", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := layout(t, index(line(oci, manifestA, "v1")), manifestA, "there")
			before := files(t, dir)
			desc, raw := c.make()
			err := create(t, dir).PushManifest(t.Context(), desc, raw, "v1")
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%q is not %v", err, c.is)
			}
			if diff := cmp.Diff(before, files(t, dir)); diff != "" {
				t.Errorf("the folder changed: %s", diff)
			}
			if m, err := open(t, dir).Manifest(t.Context(), "v1"); err != nil || string(m.Raw) != manifestA {
				t.Errorf("v1 is now %v, %v", m, err)
			}
		})
	}
}

func TestPushManifestWithForeignLayers(t *testing.T) {
	raw := fmt.Appendf(nil, `{"layers":[{"mediaType":%q,"digest":%q,"size":7},{"mediaType":%q,"digest":%q,"size":7}]}`,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", digest.FromString("a"),
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", digest.FromString("b"))
	desc := store.Descriptor{MediaType: oci, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := create(t, t.TempDir()).PushManifest(t.Context(), desc, raw, "v1"); err != nil {
		t.Error(err)
	}
}

// Two layouts of one folder are two programs, as far as berth can tell.
func TestConcurrentWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	m := sample()
	layouts := []*local.Layout{create(t, dir), create(t, dir)}
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		l := layouts[w%len(layouts)]
		wg.Go(func() {
			if err := m.PushTo(t.Context(), l); err != nil {
				t.Error(err)
			}
			for i := range each {
				desc, raw := bare("same")
				if err := l.PushManifest(t.Context(), desc, raw, fmt.Sprintf("w%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(tags(t, dir)), writers*each+len(m.Tags()); got != want {
		t.Errorf("%d tags, want %d", got, want)
	}
	for _, f := range files(t, dir) {
		if strings.HasPrefix(f, ".") {
			t.Errorf("left behind: %s", f)
		}
	}
	for tag, d := range m.Tags() {
		if got, err := open(t, dir).Resolve(t.Context(), tag); err != nil || got.Digest != d {
			t.Errorf("%s: %s, %v", tag, got.Digest, err)
		}
	}
}
