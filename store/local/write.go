package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// tempPrefix starts the names of files that are being written. They are in the
// folder itself, so that renaming never crosses a file system and nobody takes
// them for blobs.
const tempPrefix = ".berth-"

// PushBlob writes a blob unless the layout has it already. What it has is
// verified as well: it is Present only when its content is right, and replaced
// when it is not.
func (l *Layout) PushBlob(ctx context.Context, content store.Content) (store.Outcome, error) {
	desc := content.Descriptor
	root, err := l.make(ctx)
	if err != nil {
		return "", err
	}
	if err := store.ValidDigest(desc.Digest); err != nil {
		return "", fmt.Errorf("OCI layout %s: %w", l.path, err)
	}
	there, err := l.has(ctx, root, desc)
	if err != nil {
		return "", err
	}
	if there {
		return store.Present, nil
	}
	r, err := content.Open(ctx, 0)
	if err != nil {
		return "", fmt.Errorf("opening blob %s: %w", desc.Digest, err)
	}
	defer r.Close()
	if err := l.writeBlob(ctx, root, desc, r); err != nil {
		return "", err
	}
	return store.Copied, nil
}

// has tells whether the layout has a blob with the right content.
func (l *Layout) has(ctx context.Context, root *os.Root, desc store.Descriptor) (bool, error) {
	f, info, err := l.openFile(root, blobPath(desc.Digest))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info.Size() != desc.Size {
		return false, nil
	}
	v := desc.Digest.Verifier()
	if _, err := io.Copy(v, &reader{ctx, f}); err != nil {
		return false, l.readError(blobPath(desc.Digest), err)
	}
	return v.Verified(), nil
}

// writeBlob writes r under its digest.
func (l *Layout) writeBlob(ctx context.Context, root *os.Root, desc store.Descriptor, r io.Reader) error {
	name := blobPath(desc.Digest)
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return l.writeError(err)
	}
	return l.replace(root, name, func(w io.Writer) error { return copyBlob(ctx, w, desc, r) })
}

// replace writes a file beside its place and moves it there when it is complete,
// or leaves no trace.
func (l *Layout) replace(root *os.Root, name string, write func(io.Writer) error) (err error) {
	temp := tempPrefix + rand.Text()
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return l.writeError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(l.writeError(err), root.Remove(temp))
		}
	}()
	err = write(f)
	if err == nil {
		// Otherwise the rename may survive a power failure that the content does not.
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(temp, name)
}

// PushManifest writes a manifest and, where tag is not empty, sets the tag. As a
// registry does, it refuses one that refers to what the layout does not have. A
// manifest without a tag can be read by its digest only: index.json has no entry
// for it.
func (l *Layout) PushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) error {
	var list func(*index, store.Descriptor) error
	if tag != "" {
		list = func(x *index, desc store.Descriptor) error { return x.set(desc, tag) }
	}
	return l.push(ctx, desc, raw, list)
}

// push writes a manifest and has list, which may be nil, put it into index.json.
func (l *Layout) push(ctx context.Context, desc store.Descriptor, raw []byte, list func(*index, store.Descriptor) error) error {
	root, err := l.make(ctx)
	if err != nil {
		return err
	}
	if desc, err = checkManifest(files{l, root}, desc, raw); err != nil {
		return err
	}
	size := func(d digest.Digest) (int64, error) {
		info, err := root.Lstat(blobPath(d))
		if err != nil {
			return 0, l.readError(blobPath(d), err)
		}
		return info.Size(), nil
	}
	if err := checkComplete(files{l, root}, desc, raw, size); err != nil {
		return err
	}
	there, err := l.has(ctx, root, desc)
	if err != nil {
		return err
	}
	if !there {
		if err := l.writeBlob(ctx, root, desc, strings.NewReader(string(raw))); err != nil {
			return err
		}
	}
	return l.update(ctx, root, desc, list)
}

// update lists a manifest, and makes the folder a layout where it is none yet: first
// index.json, then the oci-layout file without which nobody reads it.
func (l *Layout) update(ctx context.Context, root *os.Root, desc store.Descriptor, list func(*index, store.Descriptor) error) error {
	// The lock below is between processes, where there is one at all.
	l.tagging.Lock()
	defer l.tagging.Unlock()
	unlock, err := lock(ctx, root)
	if err != nil {
		return fmt.Errorf("OCI layout %s: locking it: %w", l.path, err)
	}
	defer unlock()
	x, err := readIndex(ctx, files{l, root})
	fresh := errors.Is(err, store.ErrNotFound)
	if fresh {
		x = newIndex()
	} else if err != nil {
		return err
	}
	if list != nil {
		if err := list(x, desc); err != nil {
			return err
		}
	}
	if list != nil || fresh {
		raw, err := x.marshal()
		if err != nil {
			return err
		}
		if err := l.writeFile(root, v1.ImageIndexFile, raw); err != nil {
			return err
		}
	}
	_, err = root.Lstat(v1.ImageLayoutFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	return l.writeFile(root, v1.ImageLayoutFile, raw)
}

func (l *Layout) writeFile(root *os.Root, name string, raw []byte) error {
	return l.replace(root, name, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
}
