package rootfs

import (
	"archive/tar"
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/imagetest"
)

// The model unpacks every layer whole, into trees of pointers, and then merges them
// whole: simple enough to be read against containerd's archive.Apply and overlayfs.rst.
type node struct {
	kind     byte // a tar type, or 'w' for a whiteout
	body     string
	children map[string]*node
	opaque   bool
	implied  bool
}

var errModelRefuses = errors.New("the model does not unpack it")

func newFolder() *node {
	return &node{kind: tar.TypeDir, children: map[string]*node{}, implied: true}
}

// unpackModel returns the tree of a layer. Ordinary is false where the answer to a
// question depends on how much of the layer was read.
func unpackModel(layer files) (tree *node, ordinary bool, err error) {
	tree, ordinary = newFolder(), true
	for _, f := range layer {
		dir, base := path.Split(path.Clean("/" + f.Name))
		parent, err := modelParent(tree, dir, true)
		if err != nil {
			return nil, ordinary, err
		}
		old := parent.children[base]
		if base == opaqueName {
			parent.opaque = true
			continue
		}
		if name, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
			if parent.children[name] != nil {
				return nil, ordinary, errModelRefuses
			}
			parent.children[name] = &node{kind: 'w'}
			continue
		}
		n := &node{kind: cmp.Or(f.Type, tar.TypeReg), body: f.Body}
		switch {
		case f.Type == tar.TypeLink:
			delete(parent.children, base)
			dir, base := path.Split(path.Clean("/" + f.Link))
			folder, err := modelParent(tree, dir, false)
			if err != nil || folder.children[base] == nil || folder.children[base].kind == tar.TypeDir {
				return nil, ordinary, errModelRefuses
			}
			n = folder.children[base]
		case f.Type == tar.TypeDir:
			n.children = map[string]*node{}
		case f.Link != "":
			n.kind, n.body = tar.TypeSymlink, f.Link
		}
		if old != nil && old.kind != 'w' && (!old.implied || n.kind != tar.TypeDir) {
			ordinary = false
		}
		if old != nil && old.kind == tar.TypeDir && n.kind == tar.TypeDir {
			old.implied = false
			continue
		}
		parent.children[base] = n
	}
	return tree, ordinary, nil
}

// modelParent returns the folder dir of a layer's tree, following its links.
func modelParent(tree *node, dir string, make bool) (*node, error) {
	for range maxLinks + 1 {
		at, walked, parts := tree, "/", components(dir)
		for i, part := range parts {
			child := at.children[part]
			if child == nil && !make {
				return nil, errModelRefuses
			}
			if child == nil {
				child = newFolder()
				at.children[part] = child
			}
			if child.kind == tar.TypeSymlink {
				to := child.body
				if !path.IsAbs(to) {
					to = path.Join(walked, to)
				}
				at, dir = nil, path.Join(to, path.Join(parts[i+1:]...))
				break
			}
			if child.kind != tar.TypeDir {
				return nil, errModelRefuses
			}
			at, walked = child, path.Join(walked, part)
		}
		if at != nil {
			return at, nil
		}
	}
	return nil, errModelRefuses
}

// mergeModel adds what folders, highest first, have at and below name to all.
func mergeModel(all map[string]string, name string, folders []*node) {
	names := map[string]bool{}
	for _, folder := range folders {
		for child := range folder.children {
			names[child] = true
		}
	}
	for child := range names {
		var merged []*node
		for _, folder := range folders {
			n := folder.children[child]
			if n == nil {
				continue
			}
			if n.kind != tar.TypeDir {
				if len(merged) == 0 && n.kind != 'w' {
					all[name+"/"+child] = map[byte]string{tar.TypeReg: "file ", tar.TypeSymlink: "→ "}[n.kind] + n.body
				}
				break
			}
			merged = append(merged, n)
			if n.opaque {
				break
			}
		}
		if len(merged) > 0 {
			all[name+"/"+child] = "folder"
			mergeModel(all, name+"/"+child, merged)
		}
	}
}

// model returns what [at] is to say of every path there is.
func model(layers []files) (all map[string]string, ordinary bool, err error) {
	var trees []*node
	ordinary = true
	for _, layer := range layers {
		tree, plain, err := unpackModel(layer)
		ordinary = ordinary && plain
		if err != nil {
			return nil, ordinary, err
		}
		trees = append([]*node{tree}, trees...)
	}
	all = map[string]string{}
	mergeModel(all, "", trees)
	return all, ordinary, nil
}

// drawStack draws layers that have few names, so that they meet.
func drawStack(t *rapid.T) []files {
	name := rapid.SampledFrom([]string{"a", "b", "c"})
	dir := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(name, 0, 3).Draw(t, "dir"), "/")
	})
	entry := rapid.Custom(func(t *rapid.T) imagetest.File {
		parent, base := dir.Draw(t, "parent"), name.Draw(t, "base")
		f := imagetest.File{Name: path.Join(parent, base)}
		switch rapid.SampledFrom([]string{"file", "file", "folder", "folder", "link", "hard link", "whiteout", "opaque"}).Draw(t, "kind") {
		case "file":
			f.Body = rapid.StringMatching(`[x-z]{0,3}`).Draw(t, "body")
		case "folder":
			f.Type = tar.TypeDir
		case "link":
			f.Link = rapid.SampledFrom([]string{"", "/", "../", "./"}).Draw(t, "from") + path.Join(dir.Draw(t, "to"), name.Draw(t, "to"))
		case "hard link":
			f.Type, f.Link = tar.TypeLink, path.Join(dir.Draw(t, "to"), name.Draw(t, "to"))
		case "whiteout":
			f.Name = path.Join(parent, whiteoutPrefix+base)
		case "opaque":
			f.Name = path.Join(parent, opaqueName)
		}
		return f
	})
	var layers []files
	for range rapid.IntRange(1, 4).Draw(t, "layers") {
		// Most layers are sane: what does not unpack, or repeats itself, is left out.
		layer, sane := files{}, rapid.IntRange(0, 9).Draw(t, "sane") > 0
		for _, f := range rapid.SliceOfN(entry, 0, 8).Draw(t, "entries") {
			if _, ordinary, err := unpackModel(append(layer[:len(layer):len(layer)], f)); !sane || ordinary && err == nil {
				layer = append(layer, f)
			}
		}
		layers = append(layers, layer)
	}
	return layers
}

// everyPath are the paths that drawStack can make, three deep, and those of all.
func everyPath(all map[string]string) []string {
	paths := []string{}
	for _, a := range []string{"a", "b", "c"} {
		paths = append(paths, "/"+a)
		for _, b := range []string{"a", "b", "c"} {
			paths = append(paths, "/"+a+"/"+b, "/"+a+"/"+b+"/a")
		}
	}
	return append(paths, slices.Sorted(maps.Keys(all))...)
}

func TestMergeAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		layers := drawStack(rt)
		want, ordinary, err := model(layers)
		f := stack(t, layers...)
		defer f.Close()
		if !ordinary {
			// What was read first decides, or else where the repetition gets in the way.
			if _, got := f.Lstat(t.Context(), "/nothing"); !errors.Is(got, fs.ErrNotExist) && !errors.As(got, new(*UnpackError)) {
				rt.Fatalf("%v: %v", layers, got)
			}
			return
		}
		if err != nil {
			if _, got := f.Lstat(t.Context(), "/nothing"); !errors.As(got, new(*UnpackError)) {
				rt.Fatalf("%v: %v, and it should not unpack", layers, got)
			}
			return
		}
		for _, p := range rapid.Permutation(everyPath(want)).Draw(rt, "order") {
			if got := at(t, f, p); got != cmp.Or(want[p], "-") {
				rt.Fatalf("%v\n%s: %q, want %q", layers, p, got, cmp.Or(want[p], "-"))
			}
		}
		if !f.Certain() {
			rt.Fatal("not certain without a budget")
		}
	})
}
