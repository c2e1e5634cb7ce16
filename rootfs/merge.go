package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"path"
)

// Lstat returns what the merged file system has at path, which must be absolute and clean,
// or else fs.ErrInvalid. It follows no symbolic link, neither the last component nor
// those before: below a link or a file, nothing exists. fs.ErrNotExist is certain.
//
// Further errors are a [BudgetError] or an [UnpackError], those of the sources, and those
// of a layer that is corrupt: store.ErrCorrupt where it is not what its digest says.
func (f *FS) Lstat(ctx context.Context, path string) (*Info, error) {
	return f.lstat(ctx, path, false)
}

// Perm is Lstat for who needs the mode or the owner of a folder that is [Info.Implied]:
// containerd gives it those of the folder in the layers below (archive.mkparent), where
// Docker gives it 0755 and root. It may read many layers to find out.
func (f *FS) Perm(ctx context.Context, path string) (*Info, error) {
	return f.lstat(ctx, path, true)
}

func (f *FS) lstat(ctx context.Context, name string, explicit bool) (*Info, error) {
	at, err := f.find(ctx, name, explicit)
	if err != nil {
		return nil, err
	}
	info := &Info{Path: name, Mode: fs.ModeDir | 0o755, Sampled: at.sampled}
	l := at.layer
	if l == nil {
		return info, nil
	}
	e := l.table.at(at.entry)
	info.UID, info.GID = int(e.uid), int(e.gid)
	inode := l.table.at(l.table.inode(at.entry))
	info.Mode, info.Size, info.Target = inode.mode, inode.size, string(l.table.bytes(inode.target))
	if info.Implied = e.flags&implied != 0; !info.Implied {
		info.Layer = l.Layer
	}
	return info, nil
}

// place is where a path is: in no layer, if it is the root folder.
type place struct {
	layer   *layer
	entry   uint32
	sampled bool
}

// find returns where name is. With explicit, it looks for the entry of a folder behind
// those that are implied.
func (f *FS) find(ctx context.Context, name string, explicit bool) (place, error) {
	if !path.IsAbs(name) || path.Clean(name) != name {
		return place{}, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrInvalid}
	}
	if f.refused != nil {
		return place{}, f.refused
	}
	parts := components(name)
	if len(parts) == 0 {
		return place{}, nil
	}
	at, err := f.merge(ctx, parts, explicit)
	if err == nil && at.layer == nil {
		err = &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	f.sampled = f.sampled || at.sampled || errors.Is(err, ErrBudget)
	return at, err
}

// merge goes through the layers from the highest on. It returns no layer where none has
// the path.
func (f *FS) merge(ctx context.Context, parts []string, explicit bool) (place, error) {
	var (
		folder place        // the highest that is implied
		cut    *BudgetError // why a layer was not read to its end
		// made are the highest layers that make a folder of each component.
		made = make([]*layer, len(parts))
	)
	for _, l := range f.layers {
		c, err := l.seek(ctx, parts, explicit)
		if err != nil && (!errors.As(err, &cut) || !cut.spent) {
			return place{}, err
		}
		if c.ends == found {
			here := place{layer: l, entry: c.at, sampled: cut != nil}
			e := l.table.at(c.at)
			switch {
			case folder.layer != nil && !e.mode.IsDir():
				c.ends = hidden
			case !explicit || e.flags&implied == 0:
				return here, nil
			case folder.layer == nil:
				folder = here
			}
		}
		if c.ends == hidden {
			l.noteReplaced(c, parts, made)
		}
		if c.ends == hidden || l.isOpaque(c.at) {
			break
		}
		for depth := range c.depth {
			if made[depth] == nil {
				made[depth] = l
			}
		}
	}
	if folder.layer == nil && cut != nil {
		return place{}, cut
	}
	folder.sampled = cut != nil
	return folder, nil
}

// cursor is how far down a path a layer's tree goes.
type cursor struct {
	at    uint32
	depth int
	ends  ending
}

type ending int

const (
	open   ending = iota // the layer has nothing there: the one below may
	found                // the path is there
	hidden               // something else is in its way, and hides it in lower layers too
)

// seek looks for the path in the layer, and reads on until it is there, or cannot be, or
// the layer ends. An error comes with what was known before it.
func (l *layer) seek(ctx context.Context, parts []string, explicit bool) (cursor, error) {
	var c cursor
	pruned := l.pruned
	for {
		if pruned != l.pruned {
			c, pruned = cursor{}, l.pruned
		}
		if err := l.descend(&c, parts); err != nil {
			return c, err
		}
		e := l.table.at(c.at)
		// A whiteout may give way to an entry that comes after it.
		final := c.ends != open && e.flags&whiteout == 0
		if explicit && e.flags&implied != 0 {
			final = false
		}
		if final {
			return c, nil
		}
		if more, err := l.next(ctx); err != nil || !more {
			return c, err
		}
	}
}

// descend goes down from c as far as the layer has the path.
func (l *layer) descend(c *cursor, parts []string) error {
	t := &l.table
	for c.ends = open; c.depth < len(parts); c.depth++ {
		if e := t.at(c.at); !e.mode.IsDir() {
			c.ends = hidden
			return nil
		}
		child := t.child(c.at, parts[c.depth])
		if child == none {
			return nil
		}
		if t.at(child).flags&twice != 0 {
			return &UnpackError{Layer: l.Layer, Path: "/" + path.Join(parts[:c.depth+1]...), Reason: repeated}
		}
		c.at = child
	}
	if t.at(c.at).flags&whiteout != 0 {
		c.ends = hidden
		return nil
	}
	c.ends = found
	return nil
}

// isOpaque tells whether the folder i, or one that it is in, hides lower layers. What i
// itself hides is in it.
func (l *layer) isOpaque(i uint32) bool {
	for ; i != root; i = l.table.at(i).parent {
		if l.table.at(i).flags&opaque != 0 {
			return true
		}
	}
	return false
}

// noteReplaced notes that c ends at a symbolic link which a layer above made a folder of.
func (l *layer) noteReplaced(c cursor, parts []string, made []*layer) {
	i := l.table.inode(c.at)
	e := l.table.at(i)
	if c.depth == 0 || e.mode&fs.ModeSymlink == 0 || made[c.depth-1] == nil {
		return
	}
	r := Replaced{Path: "/" + path.Join(parts[:c.depth]...), Target: string(l.table.bytes(e.target)), Link: l.Layer, By: made[c.depth-1].Layer}
	for _, known := range l.fs.replaced {
		if known == r {
			return
		}
	}
	l.fs.replaced = append(l.fs.replaced, r)
}
