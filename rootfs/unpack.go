package rootfs

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// The names of aufs, which the image-spec took over: layer.md, "Whiteouts".
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// unpack puts an entry into the tree of its layer, as containerd's archive.Apply and
// Docker's archive.Unpack put it into a folder, and returns its place: none where
// it has no content to be read.
func (c *content) unpack(h *tar.Header) (uint32, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return none, nil
	}
	name := path.Clean("/" + h.Name)
	if name == "/" {
		return none, nil // the root's mode is the container's own
	}
	if err := c.allowed(name, h); err != nil {
		return none, err
	}
	dir, base := path.Split(name)
	parent, err := c.makeParents(name, dir)
	if err != nil {
		return none, err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return none, c.whiteout(name, parent, base)
	}
	e := entry{mode: mode(h), uid: uint32(h.Uid), gid: uint32(h.Gid), size: max(h.Size, 0)}
	if !e.mode.IsRegular() {
		e.size = 0
	}
	if h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0 {
		// What overlayfs itself takes for a whiteout.
		e.flags |= whiteout
	}
	target := ""
	switch h.Typeflag {
	case tar.TypeLink:
		if err := c.hardLink(name, c.table.child(parent, base), h.Linkname, &e); err != nil {
			return none, err
		}
	case tar.TypeSymlink:
		target = h.Linkname
	}
	return c.place(parent, base, target, e)
}

// allowed refuses what no file system can hold or no engine unpacks.
func (c *content) allowed(name string, h *tar.Header) error {
	switch {
	case len(name) > maxPath:
		return c.refuse(name[:64]+"…", fmt.Sprintf("is a path of %d bytes (file name too long)", len(name)))
	case len(h.Linkname) > maxPath:
		return c.refuse(name, fmt.Sprintf("is a link to a path of %d bytes (file name too long)", len(h.Linkname)))
	case h.Typeflag == tar.TypeSymlink && h.Linkname == "":
		return c.refuse(name, "is a symbolic link to nothing (no such file or directory)")
	}
	for part := range strings.SplitSeq(name[1:], "/") {
		if len(part) > maxName {
			return c.refuse(name, fmt.Sprintf("has a name of %d bytes in it (file name too long)", len(part)))
		}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return nil
	}
	return c.refuse(name, fmt.Sprintf("is of a type that engines do not know (unhandled tar header type %d)", h.Typeflag))
}

// mode is what the engines set: the type of the entry, and the mode's lower bits.
func mode(h *tar.Header) fs.FileMode {
	m := fs.FileMode(h.Mode) & fs.ModePerm
	if h.Mode&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if h.Mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if h.Mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	switch h.Typeflag {
	case tar.TypeDir:
		m |= fs.ModeDir
	case tar.TypeSymlink:
		m |= fs.ModeSymlink
	case tar.TypeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case tar.TypeBlock:
		m |= fs.ModeDevice
	case tar.TypeFifo:
		m |= fs.ModeNamedPipe
	}
	return m
}

// repeated is the reason where a path is in a layer twice.
const repeated = "is in the layer twice: Docker refuses it (duplicates of file paths not supported), and containerd takes the last"

// makeParents returns the folder dir, and makes what is missing of it. Symbolic links
// of the same layer lead on (containerd: continuity/fs.RootPath, then mkparent).
func (c *content) makeParents(name, dir string) (uint32, error) {
	if dir == c.lastDir && c.pruned == c.lastPruned {
		return c.lastParent, nil
	}
	parent, missing, err := c.follow(name, dir)
	if err != nil {
		return none, err
	}
	for _, part := range missing {
		if len(part) > maxName {
			return none, c.refuse(name, "leads through a link to a name that is too long (file name too long)")
		}
		if err := c.account(part, ""); err != nil {
			return none, err
		}
		parent = c.table.add(parent, part, entry{mode: fs.ModeDir | 0o755, flags: implied})
	}
	c.lastDir, c.lastParent, c.lastPruned = dir, parent, c.pruned
	return parent, nil
}

// follow walks dir from the root as far as the layer has it, and returns the last
// folder and what is missing below it. Like RootPath, it joins a link's target to
// where the link is before it looks further, and clamps ".." at the root.
func (c *content) follow(name, dir string) (uint32, []string, error) {
	t := &c.table
	at, rest := uint32(root), components(dir)
	for links := 0; len(rest) > 0; {
		if err := c.step(1); err != nil {
			return none, nil, err
		}
		child := t.child(at, rest[0])
		if child == none {
			break
		}
		e := t.at(t.inode(child))
		switch {
		case t.at(child).flags&twice != 0 && !e.mode.IsDir():
			return none, nil, c.refuse(t.path(child), repeated)
		case e.flags&whiteout != 0:
			return none, nil, c.refuse(name, "is below a whiteout of the same layer (not a directory)")
		case e.mode.IsDir():
			at, rest = child, rest[1:]
		case e.mode&fs.ModeSymlink != 0:
			target := string(t.bytes(e.target))
			if !strings.HasPrefix(target, "/") {
				target = t.path(at) + "/" + target
			}
			to := path.Join(target, strings.Join(rest[1:], "/"))
			if links++; links > maxLinks || len(to) > maxPath {
				return none, nil, c.refuse(name, "leads through too many links (too many levels of symbolic links)")
			}
			at, rest = root, components(to)
			if err := c.step(len(rest)); err != nil {
				return none, nil, err
			}
		default:
			return none, nil, c.refuse(name, "is below something that is not a folder (not a directory)")
		}
	}
	return at, rest, nil
}

// components splits a path, without empty and "." components.
func components(p string) []string {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// whiteout takes the entry base, which has the whiteout prefix, in the folder parent.
func (c *content) whiteout(name string, parent uint32, base string) error {
	if base == opaqueName {
		if parent != root { // overlayfs does not look for the mark on a layer's root
			c.table.at(parent).flags |= opaque
		}
		return nil
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return c.refuse(name, "is a whiteout of no name (invalid whiteout name)")
	}
	if c.table.child(parent, hidden) != none {
		return c.refuse(name, "is a whiteout of what the same layer brought before it (file exists)")
	}
	if err := c.account(hidden, ""); err != nil {
		return err
	}
	c.table.add(parent, hidden, entry{mode: fs.ModeDevice | fs.ModeCharDevice, flags: whiteout})
	return nil
}

// hardLink makes e, which takes the place of old or none, another name of what the layer
// has at target.
func (c *content) hardLink(name string, old uint32, target string, e *entry) error {
	dir, base := path.Split(path.Clean("/" + target))
	parent, missing, err := c.follow(name, dir)
	if err != nil {
		return err
	}
	same := none
	if len(missing) == 0 {
		same = c.table.child(parent, base)
	}
	for i := same; i != none; i = c.table.at(i).parent {
		if i == old {
			same = none // it was removed to make room
			break
		}
	}
	if same == none {
		return c.refuse(name, fmt.Sprintf("is a hard link to %s, which the same layer did not bring before it (no such file or directory)", path.Clean("/"+target)))
	}
	e.same = c.table.inode(same)
	inode := c.table.at(e.same)
	if inode.mode.IsDir() {
		return c.refuse(name, fmt.Sprintf("is a hard link to the folder %s (operation not permitted)", path.Clean("/"+target)))
	}
	e.mode, e.flags = inode.mode, e.flags|hard|inode.flags&whiteout
	return nil
}

// place puts e into the folder parent as base. target is what a symbolic link says.
func (c *content) place(parent uint32, base, target string, e entry) (uint32, error) {
	e.ordinal = c.ordinal
	i := c.table.child(parent, base)
	if i != none && c.table.at(i).flags&(whiteout|implied) == 0 {
		c.table.at(i).flags |= twice
		if c.repeated == "" {
			c.repeated = c.table.path(i)
		}
		return none, nil
	}
	if err := c.account(base, target); err != nil {
		return none, err
	}
	e.target = c.table.keep(target)
	if i == none {
		return c.table.add(parent, base, e), nil
	}
	// A whiteout gives way to what comes after it, and an implied folder gets its
	// entry: as a folder it keeps what is in it, else all below it is gone.
	old := c.table.at(i)
	if old.flags&implied != 0 && !e.mode.IsDir() {
		c.pruned++
	}
	e.parent, e.name, e.next = old.parent, old.name, old.next
	e.flags |= old.flags & opaque
	*old = e
	return i, nil
}

// account takes the memory for one more entry.
func (c *content) account(name, target string) error {
	c.tables.Add(int64(entryCost + len(name) + len(target)))
	f := c.reader.fs
	tables, _ := f.memory()
	if c.reader.content.Load() != c {
		tables += c.tables.Load() // in the making
	}
	if tables > f.bounds.tables {
		return &BudgetError{Layer: c.digest, Limit: fmt.Sprintf("the names of all layers take more than %d MiB of memory", f.bounds.tables>>20), own: true}
	}
	return nil
}

// step counts n path components that are looked at.
func (c *content) step(n int) error {
	f := c.reader.fs
	if f.steps.Add(int64(n)) > f.bounds.steps {
		return &BudgetError{Layer: c.digest, Limit: fmt.Sprintf("the paths of all layers have more than %d components", f.bounds.steps), own: true}
	}
	return nil
}

func (c *content) refuse(name, reason string) error {
	return &refusal{name, reason}
}
