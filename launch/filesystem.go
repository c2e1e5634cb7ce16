package launch

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"berth/binary"
	"berth/rootfs"
)

// FileSystem is what [Prove] asks of an image's merged file system. *rootfs.FS is one.
type FileSystem interface {
	// Lstat returns what is at an absolute, clean path. It follows no symbolic links,
	// neither in the last component nor in those before it. It fails with
	// [fs.ErrNotExist] only where it is certain that nothing is there.
	Lstat(ctx context.Context, path string) (*rootfs.Info, error)
	// Head returns the first n bytes of a regular file, or all of it where it is
	// shorter.
	Head(ctx context.Context, path string, n int) ([]byte, error)
	// Certain is false once an answer stood on less than all that could change it.
	Certain() bool
}

// permFS is a [FileSystem] that knows what engines differ about: the mode of a folder
// that a layer has something in and no entry for. *rootfs.FS is one.
type permFS interface {
	Perm(ctx context.Context, path string) (*rootfs.Info, error)
}

// lstat is FileSystem.Lstat with nil for what does not exist, and with the folders that
// the engine makes for the working folder.
func (p *prover) lstat(name string) (*rootfs.Info, error) {
	info, err := p.fsys.Lstat(p.ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	if name == "/" || name == p.made || strings.HasPrefix(p.made, name+"/") {
		return &rootfs.Info{Path: name, Mode: fs.ModeDir | 0o755}, nil
	}
	return nil, nil
}

// head reads at least n bytes of a file, where it has them.
func (p *prover) head(info *rootfs.Info, n int) ([]byte, error) {
	return p.fsys.Head(p.ctx, info.Path, n)
}

// readAs gives parse as much of a file as it asks for.
func readAs[T any](p *prover, info *rootfs.Info, parse func(head []byte, size int64) (T, error)) (T, error) {
	want := binary.HeadSize
	for {
		head, err := p.head(info, want)
		if err != nil {
			var none T
			return none, err
		}
		got, err := parse(head, info.Size)
		var need *binary.NeedError
		if !errors.As(err, &need) || need.Bytes <= want {
			return got, err
		}
		want = need.Bytes
	}
}
