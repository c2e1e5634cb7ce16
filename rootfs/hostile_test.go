package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
)

// compressMany writes a start and then many times a piece.
func compressMany(tb testing.TB, w io.WriteCloser, start, piece []byte, times int) {
	tb.Helper()
	if _, err := w.Write(start); err != nil {
		tb.Fatal(err)
	}
	for range times {
		if _, err := w.Write(piece); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
}

// bombHeader starts an entry of 1 TiB.
func bombHeader(tb testing.TB) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if err := tar.NewWriter(&buf).WriteHeader(&tar.Header{Name: "bomb", Mode: 0o755, Size: 1 << 40, Typeflag: tar.TypeReg}); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func gzipBomb(tb testing.TB, start []byte, size int) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		tb.Fatal(err)
	}
	compressMany(tb, w, start, make([]byte, 1<<20), size>>20)
	return buf.Bytes()
}

func zstdBomb(tb testing.TB, start []byte, size int) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	compressMany(tb, w, start, make([]byte, 1<<20), size>>20)
	return buf.Bytes()
}

// manyEntries is a tar of empty programs.
func manyEntries(tb testing.TB, n int, name func(int) string, body string) []byte {
	tb.Helper()
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		tb.Fatal(err)
	}
	w := tar.NewWriter(z)
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Name: name(i), Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(body))}); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// Whatever a layer is made of, it costs no more than 64 MiB (and a zstd window), and
// ends in an answer or in what is too much.
func TestHostile(t *testing.T) {
	// What takes long to reach is made smaller: time is in proportion to these two, and
	// with their defaults every case ends within some seconds. What bounds memory stays.
	b := defaultBounds
	b.unpacked, b.steps = 100<<20, 1<<21
	long := strings.Repeat("n/", 2000)
	for _, test := range []struct {
		name  string
		layer func(testing.TB) []byte
		want  error
		says  string
	}{
		{"gzip bomb", func(tb testing.TB) []byte { return gzipBomb(tb, bombHeader(tb), 200<<20) }, ErrBudget, "unpack to more than"},
		{"zstd bomb", func(tb testing.TB) []byte { return zstdBomb(tb, bombHeader(tb), 200<<20) }, ErrBudget, "unpack to more than"},
		{"bomb after the archive's end", func(tb testing.TB) []byte { return gzipBomb(tb, imagetest.Tar(file("a", "")), 200<<20) }, ErrBudget, "unpack to more than"},
		// RFC 8878, 3.1.1.1: no content size, a window of 2^(10+18) bytes; then an empty block.
		{"zstd window", func(testing.TB) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0} }, ErrBudget, "zstd window"},
		{"262,144 members", func(tb testing.TB) []byte {
			return append(gzipped(tb, imagetest.Tar(file("a", ""))), bytes.Repeat(gzipped(tb, nil), 1<<18)...)
		}, fs.ErrNotExist, ""},
		{"340,000 entries", func(tb testing.TB) []byte {
			return manyEntries(tb, 340_000, func(i int) string { return fmt.Sprintf("some/folder/file%d", i) }, "")
		}, ErrBudget, "names of all layers"},
		{"the same entry 65,536 times", func(tb testing.TB) []byte {
			return manyEntries(tb, 1<<16, func(int) string { return "a" }, "")
		}, fs.ErrNotExist, ""},
		{"many deep paths", func(tb testing.TB) []byte {
			return manyEntries(tb, 1<<11, func(i int) string { return fmt.Sprintf("%s%d/x", long[:3900], i) }, "")
		}, ErrBudget, "components"},
		{"many programs", func(tb testing.TB) []byte {
			return manyEntries(tb, 10_000, func(i int) string { return fmt.Sprintf("bin/%d", i) }, "\x7fELF"+strings.Repeat("x", 8<<10))
		}, fs.ErrNotExist, ""},
		{"long name", func(tb testing.TB) []byte {
			return manyEntries(tb, 1, func(int) string { return strings.Repeat("n/", 500<<10) + "n" }, "")
		}, nil, "file name too long"},
		{"path over PATH_MAX", func(tb testing.TB) []byte {
			return manyEntries(tb, 1, func(int) string { return strings.Repeat("n/", 3000) + "n" }, "")
		}, nil, "file name too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := packed(test.layer(t))
			l.DiffID = ""
			f := newFS([]Layer{l}, Options{}, b)
			defer f.Close()
			start := time.Now()
			var err error
			most := imagetest.Peak(func() { _, err = f.Lstat(t.Context(), "/nothing/"+long+"x") })
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %v %q", err, test.want, test.says)
			}
			if most > 64<<20 {
				t.Errorf("%d MiB of memory", most>>20)
			}
			t.Logf("%d KiB fetched, %d MiB of memory, %v: %.200v", f.Fetched()>>10, most>>20, time.Since(start).Round(time.Millisecond), err)
		})
	}
}

// Heads are cut down where there are too many, and read again when they are asked for.
func TestHeadsAreBounded(t *testing.T) {
	const programs = 400
	var all files
	for i := range programs {
		all = append(all, program(fmt.Sprintf("bin/%d", i), 8<<10))
	}
	for _, test := range []struct {
		heads int64
		kept  int
	}{
		{programs * (8<<10 + headCost), 8 << 10},
		{programs * (6 << 10), 4 << 10},
		{programs * (2 << 10), 1 << 10},
	} {
		b := defaultBounds
		b.heads = test.heads
		f := newFS([]Layer{packed(imagetest.Tar(all...))}, Options{}, b)
		if got := at(t, f, "/nothing"); got != "-" {
			t.Fatal(got)
		}
		for _, n := range []int{test.kept, test.kept + 1} {
			for _, i := range []int{0, programs - 1} {
				if head, err := f.Head(t.Context(), fmt.Sprintf("/bin/%d", i), n); err != nil || len(head) != min(n, 8<<10) {
					t.Errorf("%d bytes, %v", len(head), err)
				}
			}
			if again := f.Fetched() > f.Total(); again != (n > test.kept && test.kept < 8<<10) {
				t.Errorf("%d bytes of memory, head of %d: fetched again: %v", test.heads, n, again)
			}
		}
		if _, heads := f.memory(); heads > test.heads {
			t.Errorf("%d bytes are kept, at most %d are allowed", heads, test.heads)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// No bytes make a layer panic, or an answer without a reason.
func FuzzLayer(f *testing.F) {
	raw := imagetest.Tar(folder("a"), program("a/p", 40), link("l", "../a"), file("l/x", "#!"), hardLink("h", "a/p"), file(".wh.w", ""), file("a/"+opaqueName, ""))
	f.Add(raw)
	f.Add(gzipped(f, raw))
	f.Add(zstded(f, raw))
	f.Add(raw[:700])
	f.Add(negativeSize(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := packed(raw)
		b := defaultBounds
		b.unpacked, b.tables = 1<<20, 1<<16
		fsys := newFS([]Layer{l, packed(imagetest.Tar(file("a/p", ""), file("l", ""))), l}, Options{}, b)
		for _, p := range []string{"/a/p", "/l/x", "/h", "/w", "/nothing"} {
			info, err := fsys.Lstat(t.Context(), p)
			if (info == nil) == (err == nil) {
				t.Errorf("%s: %v, %v", p, info, err)
			}
			if _, err := fsys.Head(t.Context(), p, 16); err == nil && (info == nil || !info.Mode.IsRegular()) {
				t.Errorf("%s: a head of %v", p, info)
			}
			if errors.Is(err, store.ErrCorrupt) && digest.FromBytes(raw) == l.Descriptor.Digest {
				t.Errorf("%s: %v, and the digest is right", p, err)
			}
		}
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	})
}
