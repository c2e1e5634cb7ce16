package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// maxMarkerSize bounds the oci-layout file. The spec's has 30 bytes and may have
// further fields.
const maxMarkerSize = 64 << 10

// Layout is an OCI image layout folder. It is a store.Source and a
// store.Destination; the latter only when [CreateLayout] returned it.
type Layout struct {
	path     string
	writable bool

	mu     sync.Mutex // guards root and closed
	root   *os.Root   // nil until the folder is there
	closed bool

	tagging sync.Mutex // held while index.json is read and written again
}

var (
	_ store.Source      = (*Layout)(nil)
	_ store.Destination = (*Layout)(nil)
)

// OpenLayout opens the layout in a folder for reading. It fails with
// store.ErrNotFound where the folder, or a file that makes it a layout, is not
// there. The caller closes the layout.
func OpenLayout(path string) (*Layout, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("OCI layout %s: folder %w; `berth copy IMAGE oci:%s:TAG` makes one", path, store.ErrNotFound, path)
	case err != nil:
		return nil, fmt.Errorf("OCI layout %s: %w", path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("OCI layout %s: it is a file, and a layout is a folder; if it is an archive of one, write oci-archive:%s", path, path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	l := &Layout{path: path, root: root}
	if err := l.check(root); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

// CreateLayout opens a folder as a destination: a layout that is there, an empty
// folder, or one that is yet to be made. Nothing is written before the first
// push. It refuses a folder that has other things in it. The caller closes the
// layout.
func CreateLayout(path string) (*Layout, error) {
	l := &Layout{path: path, writable: true}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, fmt.Errorf("OCI layout %s: %w", path, err)
	case !info.IsDir():
		return nil, fmt.Errorf("OCI layout %s: it is a file, and a layout is a folder; name another one", path)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	l.root = root
	if _, err = root.Lstat(v1.ImageLayoutFile); errors.Is(err, fs.ErrNotExist) {
		err = l.checkUnfinished(root)
	} else {
		err = l.check(root)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

// Close releases the folder. Readers that are open stay so.
func (l *Layout) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.root == nil {
		return nil
	}
	err := l.root.Close()
	l.root = nil
	return err
}

// check tells whether the folder is a layout that berth understands.
func (l *Layout) check(root *os.Root) error {
	if err := readMarker(context.Background(), files{l, root}); err != nil {
		return err
	}
	_, err := readIndex(context.Background(), files{l, root})
	return err
}

// checkUnfinished tells whether a folder without a marker is empty or what an
// interrupted copy left, which the next one completes.
func (l *Layout) checkUnfinished(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("OCI layout %s: %w", l.path, err)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(16)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("OCI layout %s: %w", l.path, err)
	}
	for _, e := range entries {
		if name := e.Name(); name != v1.ImageBlobsDir && name != v1.ImageIndexFile && !strings.HasPrefix(name, tempPrefix) {
			return fmt.Errorf("OCI layout %s: the folder is no layout (it has no %s file) and not empty (it has %q); name a new or an empty folder", l.path, v1.ImageLayoutFile, name)
		}
	}
	return nil
}

// folder returns the open folder, or store.ErrNotFound where it is yet to be made.
func (l *Layout) folder() (*os.Root, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open()
}

// open does the work of folder; l.mu is held.
func (l *Layout) open() (*os.Root, error) {
	if l.closed {
		return nil, fmt.Errorf("OCI layout %s: %w", l.path, fs.ErrClosed)
	}
	if l.root != nil {
		return l.root, nil
	}
	root, err := os.OpenRoot(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("OCI layout %s: folder %w", l.path, store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", l.path, err)
	}
	l.root = root
	return root, nil
}

// make returns the open folder and makes it where it is not there.
func (l *Layout) make(ctx context.Context) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.writable {
		return nil, fmt.Errorf("OCI layout %s: opened for reading: %w", l.path, store.ErrReadOnly)
	}
	if l.root == nil && !l.closed {
		if err := os.MkdirAll(l.path, 0o755); err != nil {
			return nil, l.writeError(err)
		}
	}
	return l.open()
}

// openFile opens a regular file of the folder, and nothing else: a symbolic link
// could name any file, and a pipe would never answer.
func (l *Layout) openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, nil, l.readError(name, err)
	}
	if !before.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("OCI layout %s: %s is a %s, not a regular file: %w", l.path, name, kind(before.Mode()), store.ErrCorrupt)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, l.readError(name, err)
	}
	info, err := f.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = fmt.Errorf("it was replaced while it was opened")
	}
	if err != nil {
		return nil, nil, errors.Join(l.readError(name, err), f.Close())
	}
	return f, info, nil
}

// files are the files of the folder, for what reads a layout wherever it is.
type files struct {
	*Layout
	root *os.Root
}

func (f files) String() string { return "OCI layout " + f.path }

func (f files) open(name string) (*file, error) {
	opened, info, err := f.openFile(f.root, name)
	if err != nil {
		return nil, err
	}
	return &file{opened, opened, info.Size()}, nil
}

// readError names the folder and the file of an error, and its category.
func (l *Layout) readError(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("OCI layout %s: %s: %w", l.path, name, err)
	}
	switch name {
	case v1.ImageLayoutFile, v1.ImageIndexFile:
		return fmt.Errorf("OCI layout %s: %s %w: the folder is no OCI layout; `berth copy IMAGE oci:DIR:TAG` makes one", l.path, name, store.ErrNotFound)
	}
	return fmt.Errorf("OCI layout %s: %s %w", l.path, name, store.ErrNotFound)
}

func (l *Layout) writeError(err error) error { return writeError("OCI layout "+l.path, err) }

// writeError names the place of an error, and its category.
func writeError(where string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%s: %w: %w", where, store.ErrReadOnly, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// kind is what people call a file of that mode.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	}
	return "special file"
}
