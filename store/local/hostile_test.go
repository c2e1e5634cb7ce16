package local_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/local"
)

// headers writes a tar archive of headers without content.
func headers(t testing.TB, write func(*tar.Writer) error) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := errors.Join(write(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// openers open an archive of either kind.
var openers = map[string]func(context.Context, string, local.Options) (io.Closer, error){
	"OCI archive": func(ctx context.Context, path string, opts local.Options) (io.Closer, error) {
		return local.OpenOCIArchive(ctx, path, opts)
	},
	"docker-archive": func(ctx context.Context, path string, opts local.Options) (io.Closer, error) {
		return local.OpenDockerArchive(ctx, path, "", opts)
	},
}

func TestHostileArchives(t *testing.T) {
	empty := func(name string) *tar.Header { return &tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg} }
	for _, c := range []struct {
		name string
		raw  func() []byte
		says string
		is   error
	}{
		{"no bytes", func() []byte { return nil }, "the archive is empty", nil},
		{"no archive", func() []byte { return bytes.Repeat([]byte("hello "), 1000) }, "it is no tar archive", nil},
		{"too many entries", func() []byte {
			return headers(t, func(w *tar.Writer) error {
				for range 1<<17 + 1 {
					if err := w.WriteHeader(empty("x")); err != nil {
						return err
					}
				}
				return nil
			})
		}, "more than 131072 entries", store.ErrTooLarge},
		{"a long name", func() []byte {
			return headers(t, func(w *tar.Writer) error { return w.WriteHeader(empty(strings.Repeat("x", 4097))) })
		}, "a name of more than 4096 bytes", store.ErrTooLarge},
		{"a long link", func() []byte {
			return headers(t, func(w *tar.Writer) error {
				return w.WriteHeader(&tar.Header{Name: "x", Linkname: strings.Repeat("x", 4097), Typeflag: tar.TypeSymlink})
			})
		}, "a name of more than 4096 bytes", store.ErrTooLarge},
		{"long names in all", func() []byte {
			return headers(t, func(w *tar.Writer) error {
				for i := range 5000 {
					if err := w.WriteHeader(empty(strings.Repeat("x", 4000) + fmt.Sprint(i))); err != nil {
						return err
					}
				}
				return nil
			})
		}, "names have more than 16777216 bytes in all", store.ErrTooLarge},
		{"a size of 2^62", func() []byte {
			var buf bytes.Buffer
			if err := tar.NewWriter(&buf).WriteHeader(&tar.Header{Name: "x", Size: 1 << 62, Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			return append(buf.Bytes(), make([]byte, 1024)...)
		}, "ends in the middle", io.ErrUnexpectedEOF},
	} {
		path := filepath.Join(t.TempDir(), "image.tar")
		write(t, path, string(c.raw()))
		for kind, open := range openers {
			t.Run(c.name+" as "+kind, func(t *testing.T) {
				_, err := open(t.Context(), path, local.Options{})
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), kind+" "+path) {
					t.Errorf("%v does not say %q", err, c.says)
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%v is not %v", err, c.is)
				}
			})
		}
	}
}

func TestHostileOCIArchives(t *testing.T) {
	d := digest.FromString(manifestA)
	good := []imagetest.File{{Name: "oci-layout", Body: marker}, {Name: "index.json", Body: index(line(oci, manifestA, "a"))}, blobFile(manifestA)}
	with := func(more ...imagetest.File) []imagetest.File { return append(good[:3:3], more...) }
	for _, c := range []struct {
		name  string
		files []imagetest.File
		says  string
		is    error
	}{
		{"two index.json", with(imagetest.File{Name: "./index.json", Body: index()}), "index.json is in it twice", store.ErrCorrupt},
		{"two index.json, one of which is outside", with(imagetest.File{Name: "../index.json", Body: index()}), "index.json is in it twice", store.ErrCorrupt},
		{"a blob with another content", with(imagetest.File{Name: blobFile(manifestA).Name, Body: strings.Replace(manifestA, "2", "3", 1)}), "does not match its digest", store.ErrCorrupt},
		{"a blob that is a link to the outside", append(good[:2:2], imagetest.File{Name: blobFile(manifestA).Name, Link: "/etc/passwd"}), "etc/passwd not found", store.ErrNotFound},
		{"a blob that is a loop of links", append(good[:2:2], imagetest.File{Name: blobFile(manifestA).Name, Link: "x"}, imagetest.File{Name: "blobs/sha256/x", Link: d.Encoded()}), "more than 8 links", store.ErrCorrupt},
		{"a blob that is a folder's name", append(good[:2:2], imagetest.File{Name: blobFile(manifestA).Name + "/", Type: tar.TypeDir}), "not found", store.ErrNotFound},
		{"a blob that is a pipe", append(good[:2:2], imagetest.File{Name: blobFile(manifestA).Name, Type: tar.TypeFifo}), "not a regular file", store.ErrCorrupt},
		{"an index over the bound", []imagetest.File{good[0], {Name: "index.json", Body: strings.Repeat(" ", store.MaxManifestSize+1)}}, "at most 4194304 bytes", store.ErrTooLarge},
		{"no index", good[:1], "index.json not found", store.ErrNotFound},
		{"no marker", good[1:], "oci-layout not found: it is no archive of an OCI layout", store.ErrNotFound},
		{"a version to come", append([]imagetest.File{{Name: "oci-layout", Body: `{"imageLayoutVersion":"2.0.0"}`}}, good[1:]...), `layout version "2.0.0"`, nil},
		{"from docker save", []imagetest.File{{Name: "manifest.json", Body: "[]"}}, "write docker-archive:FILE", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := local.OpenOCIArchive(t.Context(), archive(t, c.files...), local.Options{})
			if err == nil {
				defer closeIt(t, a)
				_, err = a.Manifest(t.Context(), "a")
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v does not say %q, or is not %v", err, c.says, c.is)
			}
		})
	}
}

// A sparse file has fewer bytes in the archive than it says. There are two ways to
// write one.
func TestSparseFileInAnArchive(t *testing.T) {
	layout := func() []byte { return imagetest.Tar(imagetest.File{Name: "oci-layout", Body: marker}) }
	gnu := layout()
	copy(gnu[257:], "ustar  \x00")
	copy(gnu[386:], "00000000000\x0000000000036\x00") // one piece: all of it
	copy(gnu[483:], "00000000036\x00")
	retype(gnu, tar.TypeGNUSparse)

	records := "22 GNU.sparse.major=0\n22 GNU.sparse.minor=1\n26 GNU.sparse.numblocks=1\n23 GNU.sparse.map=0,30\n22 GNU.sparse.size=30\n"
	pax := imagetest.Tar(imagetest.File{Name: "PaxHeaders/oci-layout", Body: records})[:1024]
	retype(pax, tar.TypeXHeader)
	pax = append(pax, layout()...)

	for name, raw := range map[string][]byte{"GNU": gnu, "PAX": pax} {
		path := filepath.Join(t.TempDir(), "image.tar")
		write(t, path, string(raw))
		if _, err := local.OpenOCIArchive(t.Context(), path, local.Options{}); err == nil || !strings.Contains(err.Error(), "oci-layout is not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// retype changes the type flag of the first header of an archive.
func retype(raw []byte, flag byte) {
	raw[156] = flag
	copy(raw[148:], "        ")
	sum := 0
	for _, b := range raw[:512] {
		sum += int(b)
	}
	copy(raw[148:], fmt.Sprintf("%06o\x00 ", sum))
}

func TestNoSuchArchive(t *testing.T) {
	dir := t.TempDir()
	for _, open := range openers {
		if _, err := open(t.Context(), filepath.Join(dir, "no.tar"), local.Options{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no file: %v", err)
		}
		if _, err := open(t.Context(), dir, local.Options{}); err == nil || !strings.Contains(err.Error(), "it is a folder") {
			t.Errorf("a folder: %v", err)
		}
		if _, err := open(t.Context(), store.Standard, local.Options{}); err == nil || !strings.Contains(err.Error(), "no standard input") {
			t.Errorf("no standard input: %v", err)
		}
	}
}

// Wherever an archive ends too early, it is not read as a smaller one: it cannot be
// opened, or what is missing cannot be read.
func TestTruncatedArchives(t *testing.T) {
	m := sample()
	for name, c := range map[string]struct {
		path string
		read func(path string) error
	}{
		"OCI archive": {savedOCI(t, m, "single"), func(path string) error {
			a, err := local.OpenOCIArchive(t.Context(), path, local.Options{})
			if err != nil {
				return err
			}
			defer closeIt(t, a)
			_, err = a.Manifest(t.Context(), "single")
			return err
		}},
		"docker-archive": {savedDocker(t, m, "single", app), func(path string) error {
			a, err := local.OpenDockerArchive(t.Context(), path, app, local.Options{})
			if err != nil {
				return err
			}
			defer closeIt(t, a)
			_, err = a.Manifest(t.Context(), "single")
			return err
		}},
	} {
		raw := read(t, c.path)
		whole := len(bytes.TrimRight(raw, "\x00"))
		cut := filepath.Join(t.TempDir(), "cut.tar")
		for n := 0; n < whole; n += 37 {
			write(t, cut, string(raw[:n]))
			if err := c.read(cut); err == nil {
				t.Errorf("%s: %d of %d bytes were enough", name, n, whole)
			}
		}
	}
}

// endless is a stream that does not end before its context, or never answers.
type endless struct{ silent chan struct{} }

func (e endless) Read(p []byte) (int, error) {
	if e.silent != nil {
		<-e.silent
		return 0, io.EOF
	}
	clear(p)
	return len(p), nil
}

// noLeak fails a test that leaves a goroutine behind. It comes first, because what is
// cleaned up later does not count.
func noLeak(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func TestInterruptedStream(t *testing.T) {
	noLeak(t)
	silent := make(chan struct{})
	for name, stdin := range map[string]io.Reader{"an endless one": endless{}, "a silent one": endless{silent}} {
		temp := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, err := local.OpenOCIArchive(ctx, store.Standard, local.Options{Stdin: stdin, TempDir: temp})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if left := files(t, temp); len(left) > 0 {
			t.Errorf("%s: left behind: %s", name, left)
		}
	}
	close(silent)
}

func TestInterruptedReaders(t *testing.T) {
	m := sample()
	ctx, cancel := context.WithCancel(t.Context())
	a := openOCI(t, savedOCI(t, m, "single"), local.Options{})
	d := openDocker(t, savedDocker(t, m, "single", app), app)
	_, doc := image(t, d, "single")
	r, err := d.Blob(ctx, doc.Layers[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, r)
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("reading: %v", err)
	}
	for name, src := range map[string]store.Source{"OCI archive": a, "docker-archive": d} {
		if _, err := src.Manifest(ctx, "single"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Manifest: %v", name, err)
		}
		if _, err := src.Blob(ctx, doc.Layers[0], 0); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Blob: %v", name, err)
		}
	}
}

// The writer of one blob keeps that of another waiting, but not for longer than its
// context.
func TestInterruptedWriters(t *testing.T) {
	dir := t.TempDir()
	oci, err := local.CreateOCIArchive(filepath.Join(dir, "oci.tar"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	docker, err := local.CreateDockerArchive(filepath.Join(dir, "docker.tar"), app, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []interface {
		store.Destination
		io.Closer
	}{oci, docker} {
		ctx, cancel := context.WithCancel(t.Context())
		started, silent, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		content := contentFrom("hello", func() io.Reader { close(started); return endless{silent} })
		go func() {
			_, err := w.PushBlob(ctx, content)
			done <- err
		}()
		<-started
		waiting := make(chan error, 1)
		go func() {
			_, err := w.PushBlob(ctx, imageContent("hello"))
			waiting <- err
		}()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that waited: %v", err)
		}
		close(silent)
		if err := <-done; err == nil {
			t.Error("a blob that did not come was pushed")
		}
		closeIt(t, w)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func FuzzArchives(f *testing.F) {
	seed := func(files ...imagetest.File) { f.Add(imagetest.Tar(files...)) }
	raw, packed := layer("a")
	cfg := config(raw)
	seed(imagetest.File{Name: "oci-layout", Body: marker}, imagetest.File{Name: "index.json", Body: index(line(oci, manifestA, "a"))}, blobFile(manifestA))
	seed(imagetest.File{Name: "c.json", Body: cfg}, imagetest.File{Name: "a.tar", Body: raw}, imagetest.File{Name: "l", Link: "a.tar"}, manifestJSON(item{"c.json", []string{"app:v1"}, []string{"l"}}))
	seed(blobFile(cfg), blobFile(raw), imagetest.File{Name: "oci-layout", Body: marker}, imagetest.File{Name: "index.json", Body: index(line("", cfg, ""))},
		manifestJSON(item{blobFile(cfg).Name, nil, []string{blobFile(raw).Name}}))
	seed(imagetest.File{Name: "c.json", Body: cfg}, imagetest.File{Name: "a.tgz", Body: string(packed.Raw)}, manifestJSON(item{"c.json", nil, []string{"a.tgz"}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if a, err := local.OCIArchiveOf(raw); err == nil {
			fuzzRead(t, a)
		}
		if a, err := local.DockerArchiveOf(raw); err == nil {
			fuzzRead(t, a)
		}
	})
}

// fuzzRead reads what can be read: a manifest is what its digest says, and a blob has
// the size that was asked for.
func fuzzRead(t *testing.T, src store.Source) {
	for _, reference := range []string{"", "a", "v1", digest.FromString(manifestA).String()} {
		m, err := src.Manifest(t.Context(), reference)
		if err != nil {
			continue
		}
		if err := store.Verify(m.Descriptor, m.Raw); err != nil {
			t.Fatal(err)
		}
		_, doc := image(t, src, m.Descriptor.Digest.String())
		for _, d := range append(doc.Layers, doc.Config) {
			r, err := src.Blob(t.Context(), d, 0)
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, r)
			if err := errors.Join(err, r.Close()); err != nil || n != d.Size {
				t.Fatalf("blob of %d bytes: %d, %v", d.Size, n, err)
			}
		}
	}
}
