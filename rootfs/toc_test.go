package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
)

// withTOC is a layer that the formats' own tool wrote: eStargz, or zstd:chunked.
func withTOC(tb testing.TB, chunked bool, all ...imagetest.File) Layer {
	tb.Helper()
	raw := imagetest.Tar(all...)
	annotations := map[string]string{}
	var opts []estargz.Option
	if chunked {
		opts = append(opts, estargz.WithCompression(struct {
			*zstdchunked.Compressor
			*zstdchunked.Decompressor
		}{&zstdchunked.Compressor{CompressionLevel: zstd.SpeedFastest, Metadata: annotations}, &zstdchunked.Decompressor{}}))
	}
	blob, err := estargz.Build(io.NewSectionReader(bytes.NewReader(raw), 0, int64(len(raw))), opts...)
	if err != nil {
		tb.Fatal(err)
	}
	packed, err := io.ReadAll(blob)
	if err != nil {
		tb.Fatal(err)
	}
	if err := blob.Close(); err != nil {
		tb.Fatal(err)
	}
	if !chunked {
		annotations[stargzDigest] = blob.TOCDigest().String()
	}
	l := layerOf(imagetest.Layer{Raw: packed, DiffID: blob.DiffID()})
	l.Descriptor.Annotations = annotations
	return l
}

// tocFiles are a layer of 4 MiB that a budget of 500 KiB does not reach the end of.
func tocFiles() files {
	return files{
		folder("bin"), file("pad", noise(4<<20)), program("bin/late", 100<<10), link("bin/sh", "late"), hardLink("bin/also", "bin/late"),
		file("etc/empty", ""), file(".wh.gone", ""), folder("new"), file("new/"+opaqueName, ""),
	}
}

func TestTableOfContents(t *testing.T) {
	below := layerOf(imagetest.GzipLayer(file("gone", "#!1"), file("new/hidden", "#!2"), file("kept", "#!3")))
	for _, chunked := range []bool{false, true} {
		l := withTOC(t, chunked, tocFiles()...)
		f := fsOf(t, Options{MaxFetch: 500 << 10}, below, l)
		for p, want := range map[string]string{"/bin/sh": "late", "/gone": "-", "/new/hidden": "-", "/new": "folder", "/nothing": "-", "/kept": "file #!3", "/etc/empty": "file "} {
			if got := at(t, f, p); !strings.HasSuffix(got, want) {
				t.Errorf("%s: %q, want %q", p, got, want)
			}
		}
		for _, p := range []string{"/bin/late", "/bin/also"} {
			info, err := f.Lstat(t.Context(), p)
			if err != nil || info.Size != 100<<10 || info.Mode != 0o755 || !info.Sampled {
				t.Errorf("%s: %+v, %v", p, info, err)
			}
			if head, err := f.Head(t.Context(), p, 4<<10); err != nil || string(head) != program("", 100<<10).Body[:4<<10] {
				t.Errorf("%s: %d bytes, %v", p, len(head), err)
			}
		}
		if f.Certain() || f.Fetched() > 300<<10 {
			t.Errorf("chunked %v: certain %v, %d bytes fetched", chunked, f.Certain(), f.Fetched())
		}
		t.Logf("chunked %v: %d of %d bytes fetched", chunked, f.Fetched(), f.Total())
		// Without a budget nothing is believed.
		whole := fsOf(t, Options{}, below, l)
		if info, err := whole.Lstat(t.Context(), "/bin/late"); err != nil || info.Sampled || !whole.Certain() || whole.Fetched() < 4<<20 {
			t.Errorf("chunked %v: %+v, %v, certain %v, %d bytes", chunked, info, err, whole.Certain(), whole.Fetched())
		}
	}
}

// What is wrong with a table is no error and no answer: the layer is read as if it had none.
func TestTableOfContentsIsDoubted(t *testing.T) {
	stargz, chunked := withTOC(t, false, tocFiles()...), withTOC(t, true, tocFiles()...)
	annotated := func(l Layer, name, value string) Layer {
		all := map[string]string{name: value}
		for other, is := range l.Descriptor.Annotations {
			if other != name {
				all[other] = is
			}
		}
		l.Descriptor.Annotations = all
		return l
	}
	position := chunked.Descriptor.Annotations[zstdchunked.ManifestPositionAnnotation]
	other := digest.FromString("other").String()
	for name, l := range map[string]Layer{
		"eStargz, another digest":      annotated(stargz, stargzDigest, other),
		"eStargz, no digest":           annotated(stargz, stargzDigest, "sha256:1"),
		"zstd:chunked, another digest": annotated(chunked, zstdchunked.ManifestChecksumAnnotation, other),
		"zstd:chunked, at the start":   annotated(chunked, zstdchunked.ManifestPositionAnnotation, "1"+position[strings.Index(position, ":"):]),
		"zstd:chunked, past the end":   annotated(chunked, zstdchunked.ManifestPositionAnnotation, "99999999:1:1:1"),
		"zstd:chunked, negative":       annotated(chunked, zstdchunked.ManifestPositionAnnotation, "-1:1:1:1"),
		"zstd:chunked, large":          annotated(chunked, zstdchunked.ManifestPositionAnnotation, fmt.Sprintf("1:%d:1:1", 1<<62)),
		"zstd:chunked, no numbers":     annotated(chunked, zstdchunked.ManifestPositionAnnotation, "a:b:c:1"),
		"zstd:chunked, another type":   annotated(chunked, zstdchunked.ManifestPositionAnnotation, strings.TrimSuffix(position, "1")+"2"),
		"no eStargz":                   annotated(packed(imagetest.Tar(file("pad", noise(2<<20)))), stargzDigest, other),
		"cannot be opened in the middle": with(stargz, func(l *Layer) {
			open := l.Open
			l.Open = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
				if offset > 0 {
					return nil, errors.New("no ranges")
				}
				return open(ctx, offset)
			}
		}),
	} {
		f := fsOf(t, Options{MaxFetch: 1 << 20}, l)
		if info, err := f.Lstat(t.Context(), "/bin/late"); !errors.Is(err, ErrBudget) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		if f.Fetched() > 1<<20 {
			t.Errorf("%s: %d bytes fetched", name, f.Fetched())
		}
	}
}

// jsonTOC is a zstd:chunked layer whose table is text, with the right digest.
func jsonTOC(tb testing.TB, text []byte) Layer {
	tb.Helper()
	frame := zstded(tb, text)
	raw := append([]byte(noise(leastTOC)), frame...)
	l := packed(raw)
	l.Descriptor.Annotations = map[string]string{
		chunkedDigest:   digest.FromBytes(frame).String(),
		chunkedPosition: fmt.Sprintf("%d:%d:%d:1", leastTOC, len(frame), len(text)),
	}
	return l
}

// Tables are made by anybody. They cost no more than a layer does, 64 MiB and here a zstd window of 8
// MiB that is held twice.
func TestHostileTableOfContents(t *testing.T) {
	entry := `{"name":"bin/a%d","type":"reg","size":4,"mode":493,"offset":10},`
	for name, text := range map[string]string{
		"a bomb":            `{"version":1,"entries":[` + strings.Repeat(" ", 70<<20),
		"one long name":     `{"entries":[{"type":"reg","name":"` + strings.Repeat("a", 60<<20) + `"}]}`,
		"many entries":      `{"entries":[` + strings.Repeat(fmt.Sprintf(entry, 1), 100_000) + `{"name":"b","type":"dir"}]}`,
		"many names":        `{"entries":[` + manyNames(300_000, entry) + `{"name":"b","type":"dir"}]}`,
		"cut":               `{"entries":[{"name":"b","type":"dir"}`,
		"nested":            strings.Repeat("[", 1<<20),
		"nested version":    `{"version":` + strings.Repeat("[", 1<<20),
		"no entries":        `{"version":1}`,
		"offset past end":   `{"entries":[{"name":"nothing","type":"reg","size":4,"offset":999999999}]}`,
		"negative offset":   `{"entries":[{"name":"nothing","type":"reg","size":4,"offset":-1}]}`,
		"negative size":     `{"entries":[{"name":"nothing","type":"reg","size":-4,"offset":1}]}`,
		"large innerOffset": `{"entries":[{"name":"nothing","type":"reg","size":4,"offset":1,"innerOffset":4611686018427387904}]}`,
		"unknown type":      `{"entries":[{"name":"nothing","type":"door"}]}`,
		"lost hard link":    `{"entries":[{"name":"nothing","type":"hardlink","linkName":"lost"}]}`,
	} {
		l := jsonTOC(t, []byte(text))
		text = ""
		f := fsOf(t, Options{MaxFetch: 20 << 20}, l)
		var err error
		most := imagetest.Peak(func() { _, err = f.Lstat(t.Context(), "/nothing") })
		believed := errors.Is(err, fs.ErrNotExist)
		if err == nil || believed != (name == "many entries") || most > 80<<20 {
			t.Errorf("%s: %v, %d MiB of memory", name, err, most>>20)
		}
		t.Logf("%s: %.100v, %d MiB", name, err, most>>20)
	}
	// A content that is not where the table says, or not so long, is an error and no file.
	l := jsonTOC(t, []byte(`{"entries":[{"name":"a","type":"reg","size":4000000000,"mode":493,"offset":10}]}`))
	f := fsOf(t, Options{MaxFetch: 2 << 20}, l)
	if info, err := f.Lstat(t.Context(), "/a"); err != nil || !info.Sampled {
		t.Errorf("%+v, %v", info, err)
	}
	if head, err := f.Head(t.Context(), "/a", 4<<20); err == nil || len(head) != 0 || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%d bytes, %v", len(head), err)
	}
}

func manyNames(n int, entry string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, entry, i)
	}
	return b.String()
}

// No table makes a layer panic, and none is certain.
func FuzzTableOfContents(f *testing.F) {
	f.Add([]byte(`{"version":1,"entries":[{"name":"a","type":"reg","size":4,"mode":493,"offset":10},{"name":"b","type":"symlink","linkName":"a"}]}`), []byte("x"))
	f.Add([]byte(`{"entries":[{"name":"a","type":"dir"},{"name":"a/.wh.b","type":"reg"},{"name":"c","type":"chunk"}]}`), bytes.Repeat([]byte{0x1f, 0x8b, 8, 4}, 20))
	f.Fuzz(func(t *testing.T, text, footer []byte) {
		if _, err := parseStargzFooter(footer); err == nil && len(footer) != stargzFooter {
			t.Errorf("a footer of %d bytes", len(footer))
		}
		fsys := newFS([]Layer{jsonTOC(t, text)}, Options{MaxFetch: 2 << 20}, defaultBounds)
		for _, p := range []string{"/a", "/b"} {
			info, err := fsys.Lstat(t.Context(), p)
			if (info == nil) == (err == nil) || info != nil && !info.Sampled {
				t.Errorf("%s: %+v, %v", p, info, err)
			}
			_, _ = fsys.Head(t.Context(), p, 16) // whatever it is, there is no panic
		}
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	})
}
