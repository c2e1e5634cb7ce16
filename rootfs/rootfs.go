// Package rootfs is one file system merged from an image's layers, which are
// read only as far as an answer needs.
package rootfs

import (
	"context"
	"io"

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
