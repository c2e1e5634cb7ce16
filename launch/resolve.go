package launch

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"berth/rootfs"
)

// Limits of path resolution: MAXSYMLINKS of include/linux/namei.h, and PATH_MAX and
// NAME_MAX of include/uapi/linux/limits.h.
const (
	maxLinks = 40
	pathMax  = 4096
	nameMax  = 255
)

// fault is why a path leads nowhere.
type fault struct {
	errno string
	// at is the literal place where resolution ended, or that of the file that is not
	// there, whichever component of it is missing.
	at string
	// info is what is there; nil where nothing is.
	info *rootfs.Info
}

// found is where a path leads.
type found struct {
	info *rootfs.Info
	// links are the symbolic links that were followed, in order.
	links []*rootfs.Info
}

// mounts are folders that the runtime covers with file systems of its own, so
// that what the image has there is never seen: config.md of the OCI runtime-spec,
// "Default Filesystems".
var mounts = []string{"/dev", "/proc", "/sys"}

// resolve follows name from the working folder as link_path_walk of fs/namei.c
// does: one component after the other, each link as it comes, ".." from where the
// links led, all clamped at the root. The fault is a value, nil where name leads to
// something.
func (p *prover) resolve(name string) (found, *fault, error) {
	var f found
	if len(name) >= pathMax {
		return f, &fault{errno: "ENAMETOOLONG", at: name}, nil
	}
	here, err := p.start(name)
	if err != nil {
		return f, nil, err
	}
	rest := split(name)
	needDir := strings.HasSuffix(name, "/")
	for len(rest) > 0 {
		component := rest[0]
		rest = rest[1:]
		if !here.Mode.IsDir() {
			return f, &fault{errno: "ENOTDIR", at: here.Path, info: here}, nil
		}
		if ok, err := p.may(here, mayExec); err != nil {
			return f, nil, err
		} else if !ok {
			return f, &fault{errno: "EACCES", at: here.Path, info: here}, nil
		}
		if component == "." {
			continue
		}
		if len(component) > nameMax {
			return f, &fault{errno: "ENAMETOOLONG", at: path.Join(here.Path, component)}, nil
		}
		next := path.Join(here.Path, component)
		if err := mounted(next); err != nil {
			return f, nil, err
		}
		info, err := p.lstat(next)
		if err != nil {
			return f, nil, err
		}
		if info == nil {
			return f, &fault{errno: "ENOENT", at: path.Join(next, path.Join(rest...))}, nil
		}
		if info.Mode.Type() != fs.ModeSymlink {
			here = info
			continue
		}
		if len(f.links) == maxLinks {
			return f, &fault{errno: "ELOOP", at: next, info: info}, nil
		}
		if err := p.mayFollow(here, info); err != nil {
			return f, nil, err
		}
		f.links = append(f.links, info)
		// The target of a link may not be empty on any file system that Linux mounts.
		if info.Target == "" {
			return f, &fault{errno: "ENOENT", at: next, info: info}, nil
		}
		if len(info.Target) >= pathMax {
			return f, &fault{errno: "ENAMETOOLONG", at: next, info: info}, nil
		}
		if len(rest) == 0 && strings.HasSuffix(info.Target, "/") {
			needDir = true
		}
		rest = append(split(info.Target), rest...)
		if strings.HasPrefix(info.Target, "/") {
			if here, err = p.root(); err != nil {
				return f, nil, err
			}
		}
	}
	if needDir && !here.Mode.IsDir() {
		return f, &fault{errno: "ENOTDIR", at: here.Path, info: here}, nil
	}
	f.info = here
	return f, nil, nil
}

// start is the folder that resolving name begins in.
func (p *prover) start(name string) (*rootfs.Info, error) {
	if strings.HasPrefix(name, "/") || p.cwd == nil {
		return p.root()
	}
	return p.cwd, nil
}

func (p *prover) root() (*rootfs.Info, error) { return p.lstat("/") }

// mayFollow ends the proof where fs.protected_symlinks, which distributions set and
// the kernel does not, decides: a link in a sticky folder that anyone can write to,
// which neither the process nor the folder's owner owns (may_follow_link of fs/namei.c).
func (p *prover) mayFollow(dir, link *rootfs.Info) error {
	const worldWritable = 0o002
	if dir.Mode&fs.ModeSticky == 0 || dir.Mode&worldWritable == 0 || link.UID == p.cred.uid || link.UID == dir.UID {
		return nil
	}
	return unknown("whether the link %s may be followed depends on the host's sysctl fs.protected_symlinks", printable(link.Path))
}

// mounted ends the proof at folders that are not the image's.
func mounted(name string) error {
	if slices.Contains(mounts, name) {
		return unknown("the start goes through %s, which is a file system of the runtime's, not of the image", name)
	}
	return nil
}

// split returns the components of a path, ".." and "." among them.
func split(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// printable keeps control characters of foreign text out of sentences, and shows where
// there is no text.
func printable(s string) string {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
