package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
)

// layerOf is a layer whose bytes are in memory.
func layerOf(l imagetest.Layer) Layer {
	return Layer{
		Descriptor: store.Descriptor{MediaType: l.MediaType, Digest: digest.FromBytes(l.Raw), Size: int64(len(l.Raw))},
		DiffID:     l.DiffID,
		Open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(l.Raw[offset:])), nil
		},
	}
}

// stack is an FS of layers of files, lowest first.
func stack(tb testing.TB, layers ...[]imagetest.File) *FS {
	tb.Helper()
	var all []Layer
	for _, files := range layers {
		all = append(all, layerOf(imagetest.GzipLayer(files...)))
	}
	return fsOf(tb, Options{}, all...)
}

func fsOf(tb testing.TB, opts Options, layers ...Layer) *FS {
	tb.Helper()
	f := New(layers, opts)
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// at says what f has at path: "-" for nothing, else the kind and what tells it from others.
func at(tb testing.TB, f *FS, path string) string {
	tb.Helper()
	info, err := f.Lstat(tb.Context(), path)
	var refused *UnpackError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "-"
	case errors.As(err, &refused):
		return "unpack: " + refused.Path + " " + refused.Reason
	case err != nil:
		return err.Error()
	}
	switch {
	case info.Mode.IsDir():
		return "folder"
	case info.Mode&fs.ModeSymlink != 0:
		return "→ " + info.Target
	case info.Mode.IsRegular():
		body, err := f.Head(tb.Context(), path, 1<<10)
		if err != nil {
			return err.Error()
		}
		return "file " + string(body)
	}
	return info.Mode.String()
}

func file(name, body string) imagetest.File   { return imagetest.File{Name: name, Body: body} }
func link(name, target string) imagetest.File { return imagetest.File{Name: name, Link: target} }
func folder(name string) imagetest.File       { return imagetest.File{Name: name, Type: tar.TypeDir} }

func hardLink(name, target string) imagetest.File {
	return imagetest.File{Name: name, Link: target, Type: tar.TypeLink}
}

type files = []imagetest.File

// asks are paths, each followed by what [at] is to say of it, in the order of asking.
type asks []string

// Each row of what Docker and containerd do with layers.
func TestMerge(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers []files
		asks   asks
	}{
		{"upper file replaces", []files{{file("a", "1")}, {file("a", "2")}}, asks{"/a", "file 2", "/b", "-"}},
		{"folders merge", []files{{folder("d"), file("d/a", "1")}, {folder("d"), file("d/b", "2")}}, asks{"/d/a", "file 1", "/d/b", "file 2", "/d", "folder"}},
		{"folder over link, without an entry", []files{{folder("real"), file("real/old", "1"), link("lnk", "real")}, {file("lnk/n", "2")}}, asks{"/lnk", "folder", "/lnk/n", "file 2", "/lnk/old", "-", "/real/n", "-", "/real/old", "file 1"}},
		{"folder over link, with an entry", []files{{folder("real"), link("lnk", "real")}, {folder("lnk/"), file("lnk/n", "2")}}, asks{"/lnk", "folder", "/lnk/n", "file 2", "/real/n", "-"}},
		{"link over folder", []files{{file("d/a", "1")}, {link("d", "e")}}, asks{"/d", "→ e", "/d/a", "-"}},
		{"file over folder", []files{{file("d/a", "1")}, {file("d", "2")}}, asks{"/d", "file 2", "/d/a", "-"}},
		{"folder over file, then below", []files{{file("d", "1")}, {file("d/a", "2")}}, asks{"/d", "folder", "/d/a", "file 2", "/d/b", "-"}},
		{"file between folders hides", []files{{file("d/a", "1")}, {file("d", "2")}, {file("d/b", "3")}}, asks{"/d/a", "-", "/d/b", "file 3"}},
		{"whiteout", []files{{file("a", "1"), file("d/b", "1")}, {file(".wh.a", ""), file("d/.wh.b", "")}}, asks{"/a", "-", "/d/b", "-", "/d", "folder", "/.wh.a", "-"}},
		{"whiteout of a folder", []files{{file("d/a", "1")}, {file(".wh.d", "")}}, asks{"/d", "-", "/d/a", "-"}},
		{"whiteout between folders", []files{{file("d/a", "1")}, {file(".wh.d", "")}, {file("d/b", "3")}}, asks{"/d/a", "-", "/d/b", "file 3"}},
		{"whiteout through a link", []files{{file("real/a", "1"), link("lnk", "real")}, {file("lnk/.wh.a", "")}}, asks{"/real/a", "file 1", "/lnk", "folder", "/lnk/a", "-"}},
		{"whiteout, then the file", []files{{file("a", "1")}, {file(".wh.a", ""), file("a", "2")}}, asks{"/a", "file 2"}},
		{"whiteout, then the folder, which is merged", []files{{file("d/a", "1")}, {file(".wh.d", ""), folder("d"), file("d/b", "2")}}, asks{"/d/a", "file 1", "/d/b", "file 2"}},
		{"the file, then its whiteout", []files{{file("a", "1")}, {file("a", "2"), file(".wh.a", "")}}, asks{"/b", "unpack: /.wh.a is a whiteout of what the same layer brought before it (file exists)"}},
		{"below a whiteout of the same layer", []files{{file(".wh.d", ""), file("d/a", "1")}}, asks{"/d/a", "unpack: /d/a is below a whiteout of the same layer (not a directory)"}},
		{"character device 0:0", []files{{file("a", "1")}, {{Name: "a", Type: tar.TypeChar}}}, asks{"/a", "-"}},
		{"opaque first", []files{{file("d/a", "1")}, {folder("d"), file("d/.wh..wh..opq", ""), file("d/b", "2")}}, asks{"/d/a", "-", "/d/b", "file 2"}},
		{"opaque last", []files{{file("d/a", "1")}, {folder("d"), file("d/b", "2"), file("d/.wh..wh..opq", "")}}, asks{"/d/a", "-", "/d/b", "file 2"}},
		{"opaque without a folder", []files{{file("d/e/a", "1")}, {file("d/.wh..wh..opq", "")}}, asks{"/d", "folder", "/d/e", "-", "/d/e/a", "-"}},
		{"opaque root hides nothing", []files{{file("a", "1")}, {file(".wh..wh..opq", "")}}, asks{"/a", "file 1"}},
		{"hard link", []files{{file("a", "1"), hardLink("b", "a"), hardLink("c", "/b")}}, asks{"/b", "file 1", "/c", "file 1"}},
		{"hard link through a link", []files{{file("real/a", "1"), link("lnk", "real"), hardLink("b", "lnk/a")}}, asks{"/b", "file 1"}},
		{"hard link to a link", []files{{link("a", "x"), hardLink("b", "a")}}, asks{"/b", "→ x"}},
		{"hard link to a lower layer", []files{{file("a", "1")}, {hardLink("b", "a")}}, asks{"/b", "unpack: /b is a hard link to /a, which the same layer did not bring before it (no such file or directory)"}},
		{"hard link to a later entry", []files{{hardLink("b", "a"), file("a", "1")}}, asks{"/a", "unpack: /b is a hard link to /a, which the same layer did not bring before it (no such file or directory)"}},
		{"hard link to a folder", []files{{folder("d"), hardLink("b", "d")}}, asks{"/b", "unpack: /b is a hard link to the folder /d (operation not permitted)"}},
		{"the same path twice", []files{{file("a", "1"), file("a", "2"), file("z", "")}}, asks{"/a", "file 1", "/z", "file ", "/a", "unpack: /a is in the layer twice: Docker refuses it (duplicates of file paths not supported), and containerd takes the last"}},
		{"clamped and normalised", []files{{file("../../e", "1"), file("/abs", "2"), file("./x", "3"), folder("y//z/")}}, asks{"/e", "file 1", "/abs", "file 2", "/x", "file 3", "/y/z", "folder"}},
		{"aufs metadata", []files{{file("a", "1")}, {file(".wh..wh.aufs", ""), folder(".wh..wh.plnk"), file(".wh..wh.orph", "")}}, asks{"/a", "file 1"}},
		{"parents follow links of the same layer", []files{{link("lnk", "real"), link("up", "../../real/./x/.."), file("lnk/a", "1"), file("up/b", "2")}}, asks{"/real/a", "file 1", "/real/b", "file 2", "/lnk", "→ real", "/lnk/a", "-"}},
		{"below a file of the same layer", []files{{file("a", "1"), file("a/b", "2")}}, asks{"/a/b", "-", "/no", "unpack: /a/b is below something that is not a folder (not a directory)"}},
		{"implied folder, then a file", []files{{file("d/a", "1"), file("d", "2")}}, asks{"/no", "-", "/d", "file 2", "/d/a", "-"}},
		{"circle of links in a layer", []files{{link("a", "b"), link("b", "a"), file("a/x", "")}}, asks{"/a/x", "-", "/no", "unpack: /a/x leads through too many links (too many levels of symbolic links)"}},
		{"whiteout of no name", []files{{file("d/.wh.", "")}}, asks{"/d/x", "unpack: /d/.wh. is a whiteout of no name (invalid whiteout name)"}},
		{"long name", []files{{file(strings.Repeat("n", 256), "")}}, asks{"/a", "unpack: /" + strings.Repeat("n", 256) + " has a name of 256 bytes in it (file name too long)"}},
		{"unknown type", []files{{{Name: "a", Type: tar.TypeCont}}}, asks{"/a", "unpack: /a is of a type that engines do not know (unhandled tar header type 55)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := stack(t, test.layers...)
			for ask := range slices.Chunk(test.asks, 2) {
				path, want := ask[0], ask[1]
				if got := at(t, f, path); got != want {
					t.Errorf("%s: %q, want %q", path, got, want)
				}
			}
		})
	}
}
