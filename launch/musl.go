package launch

import (
	"path"
	"slices"
	"strings"

	"berth/binary"
)

// The rules of this file are those of musl 1.1.20 to 1.2.5: ldso/dynlink.c. It knows neither
// symbol versions nor CPU levels.

// muslReserved are the libraries that musl's loader is itself, whatever their version: load_library.
var muslReserved = []string{"c", "pthread", "rt", "m", "dl", "util", "xnet"}

// maxMuslPath bounds /etc/ld-musl-ARCH.path.
const maxMuslPath = 64 << 10

// musl loads what is needed, breadth first.
func (l *loading) musl() error {
	var system []string
	known := false
	for i := 0; i < len(l.objects); i++ {
		by := l.objects[i]
		for _, name := range by.dynamic.Needed {
			if l.isMuslItself(name) || slices.ContainsFunc(l.objects[1:], func(o *object) bool { return slices.Contains(o.asked, name) }) {
				continue
			}
			if !known {
				known = true
				var err error
				if system, err = l.muslFolders(); err != nil {
					return err
				}
			}
			if err := l.findMusl(name, by, system); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loading) isMuslItself(name string) bool {
	if name == l.program.Interp || name == path.Base(l.program.Interp) {
		return true
	}
	rest, isLib := strings.CutPrefix(name, "lib")
	first, _, hasDot := strings.Cut(rest, ".")
	return isLib && hasDot && slices.Contains(muslReserved, first)
}

// muslFolders is what /etc/ld-musl-ARCH.path says, or else what was built in.
func (l *loading) muslFolders() ([]string, error) {
	arch := strings.TrimSuffix(strings.TrimPrefix(path.Base(l.program.Interp), "ld-musl-"), ".so.1")
	if path.Dir(l.program.Interp) != "/lib" {
		return nil, unknown("musl's loader is not in /lib")
	}
	const builtIn = "/lib:/usr/local/lib:/usr/lib" // load_library
	paths := builtIn
	f, ok, err := l.openLibrary("/etc/ld-musl-" + arch + ".path")
	if err != nil {
		return nil, err
	}
	if l.closed {
		return nil, unknown("the user may not read %s", f.info.Path)
	}
	if ok {
		if f.info.Size > maxMuslPath {
			return nil, unknown("%s has more than %d KiB", f.info.Path, maxMuslPath>>10)
		}
		raw, err := l.head(f.info, int(f.info.Size))
		if err != nil {
			return nil, err
		}
		paths = string(raw)
	}
	return muslPaths(paths), nil
}

// muslPaths is what path_open takes a list apart by.
func muslPaths(paths string) []string {
	return strings.FieldsFunc(paths, func(r rune) bool { return r == ':' || r == '\n' })
}

// findMusl is load_library for a library that is not there yet. The first file that can be
// opened is taken, whatever it is.
func (l *loading) findMusl(name string, by *object, system []string) error {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		paths := l.env("LD_LIBRARY_PATH")
		if paths != "" && l.secure() {
			return unknown("%s has setuid or setgid bits, and musl ignores LD_LIBRARY_PATH where they count", printable(l.main.info.Path))
		}
		folders := muslPaths(paths)
		for o := by; o != nil; o = o.by {
			list := o.dynamic.RunPath
			if list == "" {
				list = o.dynamic.RPath
			}
			list, err := l.expand(list, o)
			if err != nil {
				return err
			}
			folders = append(folders, muslPaths(list)...)
		}
		for _, folder := range append(folders, system...) {
			candidates = append(candidates, folder+"/"+name)
		}
	}
	for _, candidate := range candidates {
		f, ok, err := l.openLibrary(candidate)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		head, err := l.head(f.info, binary.HeadSize)
		if err != nil {
			return err
		}
		if l.program.MatchLibrary(head, f.info.Size) != binary.Matches {
			return unknown("musl takes %s for the library %s, and what it makes of it is not modelled", printable(candidate), printable(name))
		}
		return l.add(f, candidate, name, by)
	}
	needer := by.name
	if needer == "" {
		needer = l.execName
	}
	return l.missing(name, "Error loading shared library "+name+": No such file or directory (needed by "+needer+")", by)
}
