package rootfs

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/imagetest"
)

// The kernel's overlayfs, over layers that are unpacked as containerd unpacks them, is
// what this package predicts.
func TestMergeAgainstKernel(t *testing.T) {
	dir := t.TempDir()
	// A file system of its own, because the temporary folder may itself be an overlay.
	if err := syscall.Mount("rootfs-test", dir, "tmpfs", 0, ""); err != nil {
		imagetest.Missing(t, "mounting a tmpfs: "+err.Error(), "run as root on Linux")
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	count := 0
	rapid.Check(t, func(rt *rapid.T) {
		layers := drawStack(rt)
		if _, ordinary, _ := model(layers); !ordinary {
			return // repeated paths, of which rootfs says that engines differ
		}
		count++
		base := filepath.Join(dir, fmt.Sprint(count))
		defer os.RemoveAll(base)
		// Two lower folders at least are what overlayfs wants.
		lower := []string{filepath.Join(base, "none")}
		var refused error
		for i, layer := range layers {
			to := filepath.Join(base, fmt.Sprint(i))
			lower = append([]string{to}, lower...)
			if refused = cmp.Or(refused, extract(to, layer)); refused != nil {
				break
			}
		}
		f := stack(t, layers...)
		defer f.Close()
		_, err := f.Lstat(t.Context(), "/nothing")
		if refused != nil {
			if !errors.As(err, new(*UnpackError)) {
				rt.Fatalf("%v: %v, and it does not unpack: %v", layers, err, refused)
			}
			return
		}
		merged := filepath.Join(base, "merged")
		for _, d := range []string{merged, lower[len(lower)-1]} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				rt.Fatal(err)
			}
		}
		if err := syscall.Mount("overlay", merged, "overlay", syscall.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")); err != nil {
			imagetest.Missing(t, "mounting an overlay: "+err.Error(), "run as root on Linux with overlayfs")
		}
		defer func() {
			if err := syscall.Unmount(merged, 0); err != nil {
				rt.Fatal(err)
			}
		}()
		want := readTree(rt, merged)
		for _, p := range everyPath(want) {
			if got := at(t, f, p); got != cmp.Or(want[p], "-") {
				rt.Fatalf("%v\n%s: %q, and the kernel has %q", layers, p, got, cmp.Or(want[p], "-"))
			}
		}
	})
}

// extract unpacks a layer as containerd's archive.Apply with OverlayConvertWhiteout.
func extract(root string, layer files) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, f := range layer {
		dir, base := path.Split(path.Clean("/" + f.Name))
		dir, err := rootPath(root, dir)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		to := filepath.Join(dir, base)
		if base == opaqueName {
			if err := syscall.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
				return err
			}
			continue
		}
		if name, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
			if err := syscall.Mknod(filepath.Join(dir, name), syscall.S_IFCHR, 0); err != nil {
				return err
			}
			continue
		}
		if old, err := os.Lstat(to); err == nil && (!old.IsDir() || f.Type != tar.TypeDir) {
			if err := os.RemoveAll(to); err != nil {
				return err
			}
		}
		switch {
		case f.Type == tar.TypeDir:
			err = os.MkdirAll(to, 0o755)
		case f.Type == tar.TypeLink:
			err = hardLinkOnDisk(root, f.Link, to)
		case f.Link != "":
			err = os.Symlink(f.Link, to)
		default:
			err = os.WriteFile(to, []byte(f.Body), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func hardLinkOnDisk(root, target, to string) error {
	dir, base := path.Split(path.Clean("/" + target))
	dir, err := rootPath(root, dir)
	if err != nil {
		return err
	}
	return os.Link(filepath.Join(dir, base), to)
}

// rootPath follows the links of p below root, as continuity's fs.RootPath does.
func rootPath(root, p string) (string, error) {
	for range maxLinks + 1 {
		walked, parts, again := "/", components(p), false
		for i, part := range parts {
			target, err := os.Readlink(filepath.Join(root, walked, part))
			if err == nil {
				if !path.IsAbs(target) {
					target = path.Join(walked, target)
				}
				p, again = path.Join(target, path.Join(parts[i+1:]...)), true
				break
			}
			walked = path.Join(walked, part)
		}
		if !again {
			return filepath.Join(root, walked), nil
		}
	}
	return "", syscall.ELOOP
}

// readTree says of all that is below dir what [at] says.
func readTree(rt *rapid.T, dir string) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		p := strings.TrimPrefix(name, dir)
		switch {
		case d.IsDir():
			all[p] = "folder"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			all[p] = "→ " + target
			return err
		default:
			body, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a whiteout: a folder of one layer lists it, and a lookup does not find it
			}
			all[p] = "file " + string(body)
			return err
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	return all
}
