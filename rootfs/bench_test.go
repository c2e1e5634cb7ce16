package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"testing"

	"berth/internal/imagetest"
)

// systemLayer is much like a distribution's layer: many files that compress to a third.
func systemLayer(tb testing.TB) (packed []byte, unpacked int) {
	tb.Helper()
	text, random := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog\n"), 400), noise(64<<20)
	var all files
	for i := range 4000 {
		f := file(fmt.Sprintf("usr/share/package-%d/file-%d", i/20, i), string(text)+random[i*8<<10:(i+1)*8<<10])
		if i%10 == 0 {
			f.Name, f.Mode, f.Body = fmt.Sprintf("usr/bin/program-%d", i), 0o755, "\x7fELF"+f.Body
		}
		all = append(all, f)
	}
	raw := imagetest.Tar(all...)
	return gzipped(tb, raw), len(raw)
}

// BenchmarkColdLayer reads a whole layer, as a question does whose answer is below it.
// BenchmarkGzipTar is what it is to be compared with.
func BenchmarkColdLayer(b *testing.B) {
	raw, size := systemLayer(b)
	l := packed(raw)
	l.DiffID = ""
	b.SetBytes(int64(size))
	for b.Loop() {
		f := New([]Layer{l}, Options{})
		if _, err := f.Lstat(b.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(raw))*float64(b.N)/b.Elapsed().Seconds()/1e6, "compressed-MB/s")
}

// BenchmarkGzipTar is `gzip -dc | tar -t` of the same layer.
func BenchmarkGzipTar(b *testing.B) {
	imagetest.Program(b, "gzip", "gzip")
	imagetest.Program(b, "tar", "tar")
	raw, size := systemLayer(b)
	b.SetBytes(int64(size))
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), "sh", "-c", "gzip -dc | tar -t >/dev/null")
		cmd.Stdin = bytes.NewReader(raw)
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(raw))*float64(b.N)/b.Elapsed().Seconds()/1e6, "compressed-MB/s")
}
