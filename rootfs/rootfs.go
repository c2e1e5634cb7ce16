// Package rootfs is one file system merged from an image's layers, which are
// read only as far as an answer needs.
package rootfs

import (
	"context"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// Layer is one layer of an image, lowest first.
type Layer struct {
	Descriptor store.Descriptor
	// DiffID is the digest of the uncompressed layer, from the config.
	DiffID digest.Digest
	// CreatedBy is the history entry that made the layer, or empty.
	CreatedBy string
	// Open opens the layer's (compressed) bytes at an offset.
	Open func(ctx context.Context, offset int64) (io.ReadCloser, error)
}

// Info is what the merged file system has at a path.
type Info struct {
	// Path is absolute and clean.
	Path string
	// Mode has the type and the permission bits, setuid and setgid included.
	Mode     fs.FileMode
	UID, GID int
	Size     int64
	// Target is what a symbolic link says, as it says it.
	Target string
	// Layer brought it; nil for the root folder and for parents that no layer has an entry for.
	Layer *Layer
}
