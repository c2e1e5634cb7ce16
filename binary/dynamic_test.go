package binary

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"berth/internal/imagetest"
	"berth/platform"
)

// FuzzDynamic reads files as loaders do: it ends, and asks for no more than it may.
func FuzzDynamic(f *testing.F) {
	for _, name := range []string{"linux/amd64", "linux/386", "linux/s390x"} {
		f.Add(imagetest.ELF(platform.MustParse(name), "/lib/ld.so"))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for arch := range formats {
			p := &Program{Arch: arch}
			p.MatchLibrary(raw, int64(len(raw)))
			d, err := p.Dynamic(raw, int64(len(raw)))
			var need *NeedError
			var unmodelled *UnmodelledError
			if err != nil && !errors.As(err, &need) && !errors.As(err, &unmodelled) {
				t.Errorf("%s: %v", arch, err)
			}
			if d != nil && Identify(raw, int64(len(raw))).Platform.Architecture == arch {
				samePieces(t, p, raw, d)
			}
			if need != nil {
				t.Errorf("%s: it has all of the file, and asks for %d bytes", arch, need.Bytes)
			}
			if d != nil && (len(d.Needed) > maxDynamic || len(d.Requires) > maxDynamic || len(d.Provides) > maxDynamic) {
				t.Errorf("%s: tables without bounds", arch)
			}
		}
	})
}

// pieces are some of a file.
type pieces struct {
	whole []byte
	parts []Part
}

func (p pieces) From(offset int64) []byte {
	end := offset
	for _, part := range p.parts {
		if offset >= part.Offset {
			end = max(end, part.Offset+part.Length)
		}
	}
	return p.whole[offset:end]
}

// samePieces holds what is read of the pieces that LoaderParts names against what is read of all.
func samePieces(t *testing.T, p *Program, raw []byte, want *Dynamic) {
	t.Helper()
	size := int64(len(raw))
	parts, err := LoaderParts(raw, size)
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, part := range parts {
		sum += part.Length
	}
	first := Part{0, min(size, HeadSize)}
	got, err := p.DynamicOf(pieces{raw, append([]Part{first}, parts...)}, size)
	if _, fits := parsePhdrs(raw, HeadSize); !fits {
		return
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("of %d pieces with %d bytes: %+v, %v; of all: %+v", len(parts), sum, got, err, want)
	}
}

// parsePhdrs tells whether the program headers are in the first n bytes.
func parsePhdrs(raw []byte, n int) (header, bool) {
	own, _ := ParseHeader(raw)
	f := formats[Identify(raw, int64(len(raw))).Platform.Architecture]
	f.order = own.order()
	h := f.header(raw)
	return h, h.phoff+uint64(h.phnum)*uint64(h.phentsize) <= uint64(n)
}

// TestLoaderParts is over the libraries of this machine, where it has any.
func TestLoaderParts(t *testing.T) {
	files, err := filepath.Glob("/usr/lib/*-linux-gnu*/lib*.so.*")
	if err != nil {
		t.Fatal(err)
	}
	files = files[:min(len(files), 150)]
	var read, all int64
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil || len(raw) > MaxHead {
			continue // a link into nothing, or a large one
		}
		p := &Program{Arch: Identify(raw, int64(len(raw))).Platform.Architecture}
		d, err := p.Dynamic(raw, int64(len(raw)))
		if err != nil || d == nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		samePieces(t, p, raw, d)
		parts, err := LoaderParts(raw, int64(len(raw)))
		if err != nil {
			t.Error(err)
		}
		for _, part := range parts {
			read += part.Length
		}
		all += int64(len(raw))
	}
	t.Logf("%d bytes of %d files with %d bytes", read, len(files), all)
	if len(files) == 0 {
		t.Log("this machine has no libraries where Debian has them")
	}
}
