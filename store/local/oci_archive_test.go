package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/local"
)

const marker = `{"imageLayoutVersion":"1.0.0"}`

// savedOCI is one image of m as an OCI archive that berth wrote.
func savedOCI(t *testing.T, m *imagetest.Memory, tag string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	w, err := local.CreateOCIArchive(path, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	copyAll(t, m, w, tag)
	closeIt(t, w)
	return path
}

func openOCI(t *testing.T, path string, opts local.Options) *local.OCIArchive {
	t.Helper()
	a, err := local.OpenOCIArchive(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, a) })
	return a
}

func closeIt(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// archive is a tar archive of files, in a file.
func archive(t testing.TB, files ...imagetest.File) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, imagetest.Tar(files...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// blobFile is the file of a blob.
func blobFile(content string) imagetest.File {
	return imagetest.File{Name: "blobs/sha256/" + digest.FromString(content).Encoded(), Body: content}
}

// names are the names of the entries of a tar archive.
func names(t *testing.T, raw []byte) []string {
	t.Helper()
	var all []string
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
	}
}

// find is the content of an entry of a tar archive.
func find(t *testing.T, raw []byte, name string) []byte {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.Name == name {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// same tells whether src has the image that m has under a tag, bit for bit.
func same(t *testing.T, m *imagetest.Memory, src store.Source, tag, as string) {
	t.Helper()
	back := imagetest.New()
	copyAll(t, src, back, as)
	want := m.Tags()[tag]
	if _, err := back.Manifest(t.Context(), want.String()); err != nil {
		t.Errorf("%s is not %s: %v", tag, want, back.Tags())
	}
}

func TestOCIArchiveRoundTrip(t *testing.T) {
	m := sample()
	for tag, d := range m.Tags() {
		path := savedOCI(t, m, tag)
		a := openOCI(t, path, local.Options{})
		for _, reference := range []string{tag, d.String(), ""} {
			want, err := m.Manifest(t.Context(), d.String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.Manifest(t.Context(), reference)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Manifest(%q): %s", reference, diff)
			}
		}
		same(t, m, a, tag, tag)
		if left := files(t, filepath.Dir(path)); len(left) != 1 {
			t.Errorf("left beside the archive: %s", left)
		}
	}
}

// What comes in some other way than as a file that can be read anywhere.
func TestOCIArchiveFromStreams(t *testing.T) {
	m := sample()
	path := savedOCI(t, m, "multi")
	raw := read(t, path)
	var gzipped, zstded bytes.Buffer
	zip, zst := gzip.NewWriter(&gzipped), newZstd(t, &zstded)
	for _, w := range []io.WriteCloser{zip, zst} {
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		closeIt(t, w)
	}
	compressed := filepath.Join(t.TempDir(), "image.tar.gz")
	write(t, compressed, gzipped.String())
	seekable, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer seekable.Close()
	piped, into, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := into.Write(raw)
		if err := errors.Join(err, into.Close()); err != nil {
			t.Error(err)
		}
	}()
	for name, in := range map[string]struct {
		path  string
		stdin io.Reader
	}{
		"a reader":                 {store.Standard, bytes.NewReader(raw)},
		"a gzip-compressed one":    {store.Standard, &gzipped},
		"a zstd-compressed one":    {store.Standard, &zstded},
		"a pipe":                   {store.Standard, piped},
		"a file as standard input": {store.Standard, seekable},
		"a compressed file":        {compressed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			a := openOCI(t, in.path, local.Options{Stdin: in.stdin, TempDir: temp})
			same(t, m, a, "multi", "multi")
			if left := files(t, temp); len(left) > 0 {
				t.Errorf("temporary files with names: %s", left)
			}
		})
	}
}

func newZstd(t *testing.T, w io.Writer) *zstd.Encoder {
	t.Helper()
	z, err := zstd.NewWriter(w)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestOCIArchiveConcurrentReaders(t *testing.T) {
	m := sample()
	a := openOCI(t, savedOCI(t, m, "multi"), local.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { same(t, m, a, "multi", "multi") })
	}
	wg.Wait()
}
