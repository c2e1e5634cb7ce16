package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"path"
)

// Lstat returns what the merged file system has at path, which must be absolute and clean,
// or else fs.ErrInvalid. It follows no symbolic link, neither the last component nor
// those before: below a link or a file, nothing exists. fs.ErrNotExist is certain, unless
// [FS.Certain] is false.
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
	if at.layer == nil {
		return info, nil
	}
	info.UID, info.GID = int(at.entry.uid), int(at.entry.gid)
	info.Mode, info.Size, info.Target = at.inode.mode, at.inode.size, at.target
	if info.Implied = at.entry.flags&implied != 0; !info.Implied {
		info.Layer = at.layer.Layer
	}
	return info, nil
}

// place is where a path is: in no layer, if it is the root folder.
type place struct {
	layer *layer
	thing
	sampled bool
}

// find returns where name is. With explicit, it looks for the entry of a folder behind
// those that are implied.
func (f *FS) find(ctx context.Context, name string, explicit bool) (place, error) {
	if !path.IsAbs(name) || path.Clean(name) != name {
		return place{}, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrInvalid}
	}
	if refused := f.Refused(); refused != nil {
		return place{}, refused
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
		claims bool         // whether a layer's table of contents was believed
		// made are the highest layers that make a folder of each component.
		made = make([]*layer, len(parts))
	)
	for i, l := range f.layers {
		f.ahead(ctx, i, parts, explicit)
		c, err := l.seek(ctx, parts, explicit, whole)
		if err != nil && (!errors.As(err, &cut) || !cut.spent) {
			return place{}, err
		}
		if l.content.Load().claimed.Load() {
			// Also where nothing is: fs.ErrNotExist has no place to say it.
			claims, f.sampled = true, true
		}
		if c.ends == found {
			here := place{layer: l, thing: c.thing, sampled: cut != nil || claims}
			switch {
			case folder.layer != nil && !c.entry.mode.IsDir():
				c.ends = hidden
			case !explicit || c.entry.flags&implied == 0:
				return here, nil
			case folder.layer == nil:
				folder = here
			}
		}
		if c.ends == hidden {
			l.noteReplaced(c, parts, made)
		}
		if c.ends == hidden || c.opaque {
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
	folder.sampled = cut != nil || claims
	return folder, nil
}

// noteReplaced notes that c ends at a symbolic link which a layer above made a folder of.
func (l *layer) noteReplaced(c cursor, parts []string, made []*layer) {
	if c.depth == 0 || c.inode.mode&fs.ModeSymlink == 0 || made[c.depth-1] == nil {
		return
	}
	r := Replaced{Path: "/" + path.Join(parts[:c.depth]...), Target: c.target, Link: l.Layer, By: made[c.depth-1].Layer}
	for _, known := range l.fs.replaced {
		if known == r {
			return
		}
	}
	l.fs.replaced = append(l.fs.replaced, r)
}

// Refused returns why no engine unpacks the layers, as far as that is known to any file
// system of the [Pool], or nil. It reads nothing.
func (f *FS) Refused() *UnpackError {
	for _, l := range f.layers {
		if r := l.content.Load().refused.Load(); r != nil && f.refused == nil {
			f.refused = &UnpackError{Layer: l.Layer, Path: r.path, Reason: r.reason}
		}
	}
	return f.refused
}
