package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
)

// noise is n bytes that do not compress, the same in every run.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return string(b)
}

// packed is a layer of raw bytes as they are.
func packed(raw []byte) Layer { return layerOf(imagetest.Layer{Raw: raw}) }

func gzipped(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func zstded(tb testing.TB, raw []byte, opts ...zstd.EOption) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func program(name string, size int) imagetest.File {
	return imagetest.File{Name: name, Mode: 0o755, Body: "\x7fELF" + noise(size-4)}
}

// A program of the top layer costs neither the rest of that layer nor the base.
func TestFetchesOnlyWhatIsNeeded(t *testing.T) {
	base := packed(imagetest.Tar(file("big", noise(40<<20))))
	top := layerOf(imagetest.GzipLayer(folder("app"), program("app/serve", 1<<20), file("app/data", noise(1<<20))))
	f := fsOf(t, Options{}, base, top)
	if f.Fetched() != 0 {
		t.Errorf("New fetched %d bytes", f.Fetched())
	}
	for range 2 {
		for _, p := range []string{"/app", "/app/serve"} {
			if _, err := f.Lstat(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		head, err := f.Head(t.Context(), "/app/serve", 64<<10)
		if err != nil || len(head) != 64<<10 || !strings.HasPrefix(string(head), "\x7fELF") {
			t.Fatalf("%d bytes, %v", len(head), err)
		}
		if f.Fetched() > 128<<10 {
			t.Fatalf("%d bytes fetched", f.Fetched())
		}
	}
	once := f.Fetched()
	if got := at(t, f, "/app/serve"); !strings.HasPrefix(got, "file \x7fELF") || f.Fetched() != once {
		t.Errorf("asking again fetched %d bytes more", f.Fetched()-once)
	}
	if !f.Certain() {
		t.Error("not certain")
	}
	t.Logf("%d of %d bytes fetched", f.Fetched(), f.Total())
}

// What a base layer has costs all above it, once.
func TestFetchesNothingTwice(t *testing.T) {
	base := layerOf(imagetest.GzipLayer(folder("bin"), program("bin/sh", 200<<10), file("etc/passwd", "root:x:0:0::/:/bin/sh\n"), file("bin/text", "#!/bin/sh\n"), file("other", noise(1<<20))))
	top := layerOf(imagetest.GzipLayer(file("data", noise(1<<20))))
	f := fsOf(t, Options{}, base, top)
	for range 2 {
		if got := at(t, f, "/nothing"); got != "-" {
			t.Fatal(got)
		}
		if _, err := f.Head(t.Context(), "/bin/sh", 64<<10); err != nil {
			t.Fatal(err)
		}
		if got := at(t, f, "/etc/passwd"); got != "file root:x:0:0::/:/bin/sh\n" {
			t.Error(got)
		}
		if got := at(t, f, "/bin/text"); got != "file #!/bin/sh\n" {
			t.Error(got)
		}
		if f.Fetched() != f.Total() {
			t.Fatalf("%d of %d bytes fetched", f.Fetched(), f.Total())
		}
	}
	// More than is kept means a second pass, up to what was asked for.
	head, err := f.Head(t.Context(), "/bin/sh", 100<<10)
	if err != nil || string(head) != program("", 200<<10).Body[:100<<10] {
		t.Errorf("%d bytes, %v", len(head), err)
	}
	if again := f.Fetched() - f.Total(); again < 100<<10 || again > 100<<10+2*readAhead {
		t.Errorf("fetched %d bytes more", again)
	}
	if _, err := f.Head(t.Context(), "/other", 16); err != nil {
		t.Error(err)
	}
	if !f.Certain() {
		t.Error("not certain")
	}
}

func TestHead(t *testing.T) {
	f := fsOf(t, Options{}, packed(imagetest.Tar(file("empty", ""), program("big", 9<<20), folder("d"), link("l", "big"))))
	for _, test := range []struct {
		path string
		n    int
		want int
		err  error
	}{
		{"/empty", 10, 0, nil},
		{"/big", 0, 0, nil},
		{"/big", 8 << 20, 8 << 20, nil},
		{"/big", 8<<20 + 1, 0, ErrBudget},
		{"/d", 1, 0, fs.ErrInvalid},
		{"/l", 1, 0, fs.ErrInvalid},
		{"/", 1, 0, fs.ErrInvalid},
		{"/no", 1, 0, fs.ErrNotExist},
		{"relative", 1, 0, fs.ErrInvalid},
		{"/not/../clean", 1, 0, fs.ErrInvalid},
	} {
		head, err := f.Head(t.Context(), test.path, test.n)
		if len(head) != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %d bytes, %v; want %d, %v", test.path, len(head), err, test.want, test.err)
		}
	}
}

func TestInfo(t *testing.T) {
	base := layerOf(imagetest.GzipLayer(imagetest.File{Name: "srv", Type: tar.TypeDir, Mode: 0o700, UID: 5, GID: 6}))
	top := layerOf(imagetest.GzipLayer(imagetest.File{Name: "srv/su", Mode: 0o6755, Body: "12345", UID: 7, GID: 8}))
	top.CreatedBy = "COPY su /srv/"
	f := fsOf(t, Options{}, base, top)
	info, err := f.Lstat(t.Context(), "/srv/su")
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode != fs.ModeSetuid|fs.ModeSetgid|0o755 || info.UID != 7 || info.GID != 8 || info.Size != 5 || info.Layer.CreatedBy != top.CreatedBy || info.Path != "/srv/su" {
		t.Errorf("%+v", info)
	}
	// Docker and containerd differ in what they make a folder without an entry.
	if info, err = f.Lstat(t.Context(), "/srv"); err != nil || !info.Implied || info.Mode != fs.ModeDir|0o755 || info.UID != 0 || info.Layer != nil {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err = f.Perm(t.Context(), "/srv"); err != nil || info.Implied || info.Mode != fs.ModeDir|0o700 || info.UID != 5 || info.Layer.Descriptor.Digest != base.Descriptor.Digest {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err = f.Lstat(t.Context(), "/"); err != nil || info.Mode != fs.ModeDir|0o755 || info.Layer != nil {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestReplaced(t *testing.T) {
	base := layerOf(imagetest.GzipLayer(folder("usr"), folder("usr/lib"), file("usr/lib/ld.so", "x"), link("lib", "usr/lib")))
	top := layerOf(imagetest.GzipLayer(file("lib/mine", "y")))
	f := fsOf(t, Options{}, base, top)
	for range 2 {
		if got := at(t, f, "/lib/ld.so"); got != "-" {
			t.Error(got)
		}
	}
	got := f.Replaced()
	if len(got) != 1 || got[0].Path != "/lib" || got[0].Target != "usr/lib" || got[0].Link.Descriptor.Digest != base.Descriptor.Digest || got[0].By.Descriptor.Digest != top.Descriptor.Digest {
		t.Errorf("%+v", got)
	}
}

func TestBudget(t *testing.T) {
	base := layerOf(imagetest.GzipLayer(program("early", 10), file("pad", noise(1<<20)), program("late", 10)))
	top := layerOf(imagetest.GzipLayer(program("top", 10), file("data", noise(1<<20))))
	f := fsOf(t, Options{MaxFetch: 200 << 10}, base, top)
	if info, err := f.Lstat(t.Context(), "/top"); err != nil || info.Sampled || !f.Certain() {
		t.Errorf("%+v, %v", info, err)
	}
	if info, err := f.Lstat(t.Context(), "/early"); err != nil || !info.Sampled || f.Certain() {
		t.Errorf("%+v, %v, certain %v", info, err, f.Certain())
	}
	for _, p := range []string{"/late", "/nothing"} {
		var budget *BudgetError
		if _, err := f.Lstat(t.Context(), p); !errors.As(err, &budget) || !errors.Is(err, ErrBudget) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if info, err := f.Lstat(t.Context(), "/top"); err != nil || info.Sampled {
		t.Errorf("%+v, %v", info, err)
	}
	if f.Fetched() > 200<<10 {
		t.Errorf("%d bytes fetched", f.Fetched())
	}
}

func TestCompression(t *testing.T) {
	raw := imagetest.Tar(file("a", "1"), file("b", noise(100<<10)))
	half := len(raw) / 2
	members := append(gzipped(t, raw[:half]), gzipped(t, nil)...)
	for name, layer := range map[string][]byte{
		"plain":                   raw,
		"gzip":                    gzipped(t, raw),
		"gzip of several members": append(members, gzipped(t, raw[half:])...),
		"zstd":                    zstded(t, raw),
		"zstd of several frames":  append(zstded(t, raw[:half]), zstded(t, raw[half:])...),
		"zstd:chunked":            append([]byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'h', 'i'}, zstded(t, raw)...),
	} {
		t.Run(name, func(t *testing.T) {
			l := packed(layer)
			l.DiffID = digest.FromBytes(raw)
			f := fsOf(t, Options{}, l)
			for p, want := range map[string]string{"/nothing": "-", "/a": "file 1"} {
				if got := at(t, f, p); got != want {
					t.Errorf("%s: %q", p, got)
				}
			}
			if f.Fetched() < int64(len(layer)) {
				t.Errorf("%d of %d bytes fetched, so the digest was not verified", f.Fetched(), len(layer))
			}
		})
	}
	for name, empty := range map[string][]byte{"nothing": nil, "no entries": imagetest.Tar()} {
		if got := at(t, fsOf(t, Options{}, packed(empty)), "/a"); got != "-" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What was read before the damage stands; after it, the layer is named.
func TestDamaged(t *testing.T) {
	raw := imagetest.Tar(file("a", "1"), file("b", noise(200<<10)))
	whole := layerOf(imagetest.Layer{Raw: gzipped(t, raw), DiffID: digest.FromBytes(raw)})
	serve := func(b []byte) func(context.Context, int64) (io.ReadCloser, error) {
		return func(context.Context, int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	}
	compressed := gzipped(t, raw)
	flipped := bytes.Clone(compressed)
	flipped[150<<10] ^= 1
	cut := packed(compressed[:100<<10])
	refused := errors.New("connection refused")
	for name, test := range map[string]struct {
		layer Layer
		want  error
		a     string
	}{
		"other content":     {with(whole, func(l *Layer) { l.Open = serve(flipped) }), nil, "file 1"},
		"shorter":           {with(whole, func(l *Layer) { l.Open = serve(compressed[:100<<10]) }), store.ErrCorrupt, "file 1"},
		"longer":            {with(whole, func(l *Layer) { l.Open = serve(append(bytes.Clone(compressed), 0)) }), store.ErrCorrupt, "file 1"},
		"other digest":      {with(whole, func(l *Layer) { l.Descriptor.Digest = digest.FromString("x") }), store.ErrCorrupt, "file 1"},
		"negative size":     {with(whole, func(l *Layer) { l.Descriptor.Size = -1 }), store.ErrCorrupt, ""},
		"no digest":         {with(whole, func(l *Layer) { l.Descriptor.Digest = "md5:00" }), digest.ErrDigestUnsupported, ""},
		"gzip cut short":    {cut, io.ErrUnexpectedEOF, "file 1"},
		"tar cut short":     {packed(raw[:100<<10]), io.ErrUnexpectedEOF, "file 1"},
		"not a tar":         {packed([]byte(noise(4 << 10))), tar.ErrHeader, ""},
		"gzip of something": {packed(gzipped(t, []byte(noise(4<<10)))), tar.ErrHeader, ""},
		"gzip header only":  {packed([]byte{0x1f, 0x8b, 8}), io.ErrUnexpectedEOF, ""},
		"negative length":   {packed(negativeSize(t)), tar.ErrHeader, ""},
		"cannot be opened":  {with(whole, func(l *Layer) { l.Open = func(context.Context, int64) (io.ReadCloser, error) { return nil, refused } }), refused, ""},
		"breaks": {with(whole, func(l *Layer) {
			l.Open = func(context.Context, int64) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(compressed[:100<<10]), iotest.ErrReader(refused))), nil
			}
		}), refused, "file 1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fsOf(t, Options{}, test.layer)
			if test.a != "" {
				if got := at(t, f, "/a"); got != test.a {
					t.Errorf("/a: %q", got)
				}
			}
			for range 2 {
				_, err := f.Lstat(t.Context(), "/nothing")
				if err == nil || test.want != nil && !errors.Is(err, test.want) || errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("%v, want %v", err, test.want)
				}
				if name != "no digest" && !strings.Contains(err.Error(), test.layer.Descriptor.Digest.String()) {
					t.Errorf("%v does not name the layer", err)
				}
			}
		})
	}
	wrong := with(whole, func(l *Layer) { l.DiffID = digest.FromString("x") })
	if _, err := fsOf(t, Options{}, wrong).Lstat(t.Context(), "/nothing"); !errors.As(err, new(*UnpackError)) || !strings.Contains(err.Error(), "wrong diff id") {
		t.Errorf("wrong DiffID: %v", err)
	}
}

func with(l Layer, change func(*Layer)) Layer {
	change(&l)
	return l
}

// negativeSize is a tar whose entry has the size -1 in base 256.
func negativeSize(tb testing.TB) []byte {
	tb.Helper()
	raw := imagetest.Tar(file("a", ""))
	header := raw[:512]
	copy(header[124:136], bytes.Repeat([]byte{0xff}, 12))
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

// A question's context ends the reading, and is what the error says.
func TestCancelled(t *testing.T) {
	raw := gzipped(t, imagetest.Tar(file("a", "1"), file("b", noise(1<<20))))
	l := packed(raw)
	ctx, cancel := context.WithCancel(t.Context())
	l.Open = func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:500<<10]), reader(func([]byte) (int, error) {
			cancel()
			return 0, errors.New("use of closed connection")
		}))), nil
	}
	f := fsOf(t, Options{}, l)
	if _, err := f.Lstat(ctx, "/nothing"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := f.Lstat(t.Context(), "/nothing"); !errors.Is(err, context.Canceled) {
		t.Errorf("the layer went on: %v", err)
	}
	if got := at(t, f, "/a"); got == "-" {
		t.Error("/a is gone")
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
