package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"berth/store"
	"berth/store/local"
)

func TestOCIArchiveToStandardOutput(t *testing.T) {
	var out bytes.Buffer
	temp := t.TempDir()
	w, err := local.CreateOCIArchive(store.Standard, local.Options{Stdout: &out, TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	m := sample()
	copyAll(t, m, w, "single")
	closeIt(t, w)
	same(t, m, openOCI(t, store.Standard, local.Options{Stdin: &out}), "single", "single")
	if left := files(t, temp); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestOCIArchiveWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image.tar")
	write(t, path, "what was there")
	w, err := local.CreateOCIArchive(path, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	desc, raw := bare("1")
	if _, err := w.Resolve(t.Context(), "v1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Resolve before the push: %v", err)
	}
	for _, want := range []store.Outcome{store.Copied, store.Present} {
		if got, err := w.PushBlob(t.Context(), imageContent("hello")); err != nil || got != want {
			t.Errorf("PushBlob = %s, %v, want %s", got, err, want)
		}
	}
	otherSize := imageContent("hello")
	otherSize.Descriptor.Size++
	if _, err := w.PushBlob(t.Context(), otherSize); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("PushBlob with another size: %v", err)
	}
	huge := imageContent("huge")
	huge.Descriptor.Size = 1 << 62
	if _, err := w.PushBlob(t.Context(), huge); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("PushBlob of 2^62 bytes: %v", err)
	}
	if got := string(read(t, path)); got != "what was there" {
		t.Errorf("before the tag the file is %q", got)
	}
	if err := w.PushManifest(t.Context(), desc, raw, "v1"); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Resolve(t.Context(), "v1"); err != nil || got.Digest != desc.Digest {
		t.Errorf("Resolve after the push = %s, %v", got.Digest, err)
	}
	if err := w.PushManifest(t.Context(), desc, raw, "v2"); err == nil || !strings.Contains(err.Error(), "written already") {
		t.Errorf("a second tag: %v", err)
	}
	closeIt(t, w)
	want := []string{blobFile("hello").Name, blobFile(string(raw)).Name, "index.json", "oci-layout"}
	if diff := cmp.Diff(want, names(t, read(t, path))); diff != "" {
		t.Error(diff)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left beside the archive: %s", left)
	}
}

// A blob with a long digest needs a longer header.
func TestOCIArchiveWithSHA512(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	w, err := local.CreateOCIArchive(path, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	content := imageContent("hello")
	content.Descriptor.Digest = digest.SHA512.FromString("hello")
	if _, err := w.PushBlob(t.Context(), content); err != nil {
		t.Fatal(err)
	}
	desc, raw := bare("1")
	if err := w.PushManifest(t.Context(), desc, raw, "v1"); err != nil {
		t.Fatal(err)
	}
	closeIt(t, w)
	if got, err := store.ReadBlob(t.Context(), openOCI(t, path, local.Options{}), content.Descriptor, 10); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOCIArchiveWriterLeavesNoTrace(t *testing.T) {
	broken := errors.New("connection reset")
	for name, c := range map[string]struct {
		content store.Content
		is      error
	}{
		"other content":      {contentFrom("hello", func() io.Reader { return strings.NewReader("jello") }), store.ErrCorrupt},
		"less":               {contentFrom("hello", func() io.Reader { return strings.NewReader("hell") }), store.ErrCorrupt},
		"more":               {contentFrom("hello", func() io.Reader { return strings.NewReader("hello!") }), store.ErrCorrupt},
		"a broken source":    {contentFrom("hello", func() io.Reader { return &breaks{strings.NewReader("hel"), broken} }), broken},
		"a source that ends": {store.Content{Descriptor: imageContent("hello").Descriptor, Open: func(context.Context, int64) (io.ReadCloser, error) { return nil, broken }}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w, err := local.CreateOCIArchive(filepath.Join(dir, "image.tar"), local.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.PushBlob(t.Context(), c.content); !errors.Is(err, c.is) {
				t.Errorf("PushBlob: %v, want %v", err, c.is)
			}
			desc, raw := bare("1")
			if err := w.PushManifest(t.Context(), desc, raw, "v1"); err == nil || !strings.Contains(err.Error(), "not written to its end") {
				t.Errorf("PushManifest: %v", err)
			}
			// It can be sent again.
			if got, err := w.PushBlob(t.Context(), imageContent("hello")); err != nil || got != store.Copied {
				t.Errorf("PushBlob again = %s, %v", got, err)
			}
			closeIt(t, w)
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestOCIArchivePushManifestRefuses(t *testing.T) {
	w, err := local.CreateOCIArchive(filepath.Join(t.TempDir(), "image.tar"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, w)
	raw := []byte(`{"layers":[{"digest":"` + digest.FromString("missing").String() + `","size":7}]}`)
	desc := store.Descriptor{MediaType: oci, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := w.PushManifest(t.Context(), desc, raw, "v1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a layer that is not there: %v", err)
	}
	desc.Size++
	if err := w.PushManifest(t.Context(), desc, raw, "v1"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a wrong size: %v", err)
	}
}

// Blobs are written side by side.
func TestOCIArchiveConcurrentWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	w, err := local.CreateOCIArchive(path, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var contents []store.Content
	for _, s := range []string{"a", "b", "c", "d"} {
		contents = append(contents, imageContent(strings.Repeat(s, 100_000)))
	}
	var wg sync.WaitGroup
	for i := range 4 * len(contents) {
		wg.Go(func() {
			if _, err := w.PushBlob(t.Context(), contents[i%len(contents)]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	desc, raw := bare("1")
	if err := w.PushManifest(t.Context(), desc, raw, "v1"); err != nil {
		t.Fatal(err)
	}
	closeIt(t, w)
	a := openOCI(t, path, local.Options{})
	for _, c := range contents {
		if _, err := store.ReadBlob(t.Context(), a, c.Descriptor, 1<<20); err != nil {
			t.Error(err)
		}
	}
}

func TestCreateArchiveRefuses(t *testing.T) {
	dir := t.TempDir()
	for path, says := range map[string]string{
		dir:                                   "it is a folder",
		filepath.Join(dir, "no", "image.tar"): "folder " + filepath.Join(dir, "no") + " not found",
		store.Standard:                        "no standard output",
	} {
		if _, err := local.CreateOCIArchive(path, local.Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", path, err, says)
		}
		if _, err := local.CreateDockerArchive(path, "", local.Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", path, err, says)
		}
	}
}

// Not the link is replaced, but what it leads to.
func TestArchiveBehindALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target.tar"), filepath.Join(dir, "link.tar")
	write(t, target, "old")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	w, err := local.CreateOCIArchive(link, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := sample()
	copyAll(t, m, w, "single")
	closeIt(t, w)
	same(t, m, openOCI(t, target, local.Options{}), "single", "")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is now %v, %v", info.Mode(), err)
	}
}

func TestOCIArchiveIndex(t *testing.T) {
	var x struct {
		Manifests []store.Descriptor
	}
	path := savedOCI(t, sample(), "single")
	if err := json.Unmarshal(find(t, read(t, path), "index.json"), &x); err != nil {
		t.Fatal(err)
	}
	if len(x.Manifests) != 1 || x.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "single" {
		t.Errorf("index.json: %+v", x.Manifests)
	}
}
