// Package rootfs is one file system merged from an image's layers, which are
// read only as far as an answer needs.
//
// Start with [New], ask with [FS.Lstat] and [FS.Head], and end with [FS.Close].
// Symbolic links are not followed: whoever walks a path does so component by
// component, over Lstat, because links are resolved only after the merge.
//
// # What is merged, and how
//
// The answers are those of containerd's overlayfs snapshotter and of Docker's
// overlay2, which agree with each other and not with extracting one tar over the
// other. Each layer is unpacked into a tree of its own (containerd's archive.Apply,
// Docker's archive.Unpack), and the kernel's overlayfs merges the trees component by
// component (Documentation/filesystems/overlayfs.rst):
//
//   - A folder is merged with the folders below it. Anything else, and a whiteout
//     (".wh.NAME"), hides all that lower layers have at that path and below it.
//   - A folder of an upper layer over a symbolic link of a lower one is a folder. What
//     the link led to is not in it: see [FS.Replaced].
//   - An opaque folder (".wh..wh..opq") hides what lower layers have in it, wherever in
//     the layer the mark is. On the root folder it hides nothing.
//   - Names are cleaned and clamped at the root. Parents that a layer has no entry for
//     are folders. Within a layer, the parents of an entry follow the symbolic links
//     that the same layer brought before it.
//   - A layer that engines refuse to unpack is an [UnpackError].
//
// # What is certain
//
// An entry that is found in the highest layer that may have it is final, without
// reading that layer to its end: this assumes that no layer has a path twice,
// which Docker refuses ("duplicates of file paths not supported") and containerd
// answers with the last of them. A repetition that has been seen is an
// [UnpackError] for who asks for that path. That a layer does not have a path
// is known at the layer's end, so an answer from a lower layer costs all layers above
// it, and "does not exist" costs everything that could still have it.
//
// A layer that is read to its end is verified: size and digest of what was fetched,
// and the digest of what it unpacks to. A prefix cannot be: [FS.Verify] reads all.
//
// With a budget, the table of contents of an eStargz or zstd:chunked layer stands for what the layer
// brings. It is what its author says: an answer over it is sampled, fs.ErrNotExist included, and
// [FS.Certain] says so.
//
// # What is shared and remembered
//
// File systems of one repository share what they read in a [Pool], a copy gives it the bytes that pass
// by ([Pool.Feed]), and a [Cache] has what was read to its end and verified, in any run.
package rootfs

import (
	"context"
	"io"
	"io/fs"
	"sync/atomic"

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
	// Implied says that the layer that makes this a folder has no entry for it (as far as
	// it was read), only for something in it. Mode and owner are then what Docker gives
	// such a folder, 0755 and root. [FS.Perm] says what containerd gives it.
	Implied bool
	// Sampled says that a layer above was not read to its end, because the budget ended,
	// and could hide this.
	Sampled bool
}

// Options is how far a file system may go. Its zero value reads whatever an answer
// needs.
type Options struct {
	// MaxFetch is how many compressed bytes may be fetched in all; zero is no budget.
	// Of what is left, a layer gets at most half, so that the layers below it are
	// looked at too.
	MaxFetch int64
}

// FS is the file system of an image. It is for one goroutine at a time. It keeps what
// it has read, names and the heads of programs, so that no question costs twice, in
// at most 32 MiB (and the window of a zstd layer).
//
// Where an answer needs several layers to their ends, they are read side by side. What is
// fetched for it in vain is bounded by what was fetched before: see [FS.ahead].
//
// After an error of a source, or the end of a question's context, the layer that
// was being read cannot go on, and says so again when it is asked.
type FS struct {
	pool   *Pool
	layers []*layer // highest first
	bounds bounds
	total  int64
	// These are changed by all that read side by side.
	fetched, steps atomic.Int64
	// headSize is how much of a file is kept at most.
	headSize atomic.Int64
	// refused is why no engine unpacks these layers.
	refused  *UnpackError
	sampled  bool
	replaced []Replaced
}

// New returns the file system of layers, lowest first. It reads nothing yet. File systems
// that have layers in common are those of a [Pool].
func New(layers []Layer, opts Options) *FS {
	return newFS(layers, opts, defaultBounds)
}

func newFS(layers []Layer, opts Options, b bounds) *FS {
	return newPool(PoolOptions{}, b).New(layers, opts)
}

// Fetched is how many compressed bytes were fetched so far, for this file system. What others
// of its [Pool] fetched before is not in it.
func (f *FS) Fetched() int64 { return f.fetched.Load() }

// Total is how many compressed bytes all layers have.
func (f *FS) Total() int64 { return f.total }

// Certain tells whether every answer so far was certain. It is false once an answer was
// [Info.Sampled] or a [BudgetError], or stood on a table of contents.
func (f *FS) Certain() bool { return !f.sampled }

// Close ends the streams that nobody else needs. It returns the first failure to close one;
// the answers that were given stand. No question may follow.
func (f *FS) Close() error {
	var first error
	for _, l := range f.layers {
		if err := f.pool.giveBack(l.content.Load()); err != nil && first == nil {
			first = err
		}
	}
	f.layers = nil
	return first
}

// memory is what the names and the heads of all layers take.
func (f *FS) memory() (tables, heads int64) {
	for _, l := range f.layers {
		c := l.content.Load()
		tables += c.tables.Load()
		heads += c.heads.Load()
	}
	return tables, heads
}

// Replaced is a symbolic link of a lower layer that an upper layer made a folder of, by
// having something below it: all that was reached through the link is gone from
// that path. It is how a layer that brings "lib/x" destroys a merged /usr.
type Replaced struct {
	// Path is the link, Target what it said.
	Path, Target string
	// Link is the layer that brought the link, By the one that made it a folder.
	Link, By *Layer
}

// Replaced returns the links that were found to be replaced while looking for
// something below them, in the order in which they were found. It reads nothing.
func (f *FS) Replaced() []Replaced { return f.replaced }
