package rootfs

// Bounds on what a layer may cost. Registries hold layers made by anybody.
const (
	// maxHead is how much of a file is kept as it streams past. All headers of 99% of
	// Debian's programs lie within the first KiB, and an ARM program's build
	// attributes are reached by asking for more.
	maxHead = 64 << 10
	// maxRead is how much of one file [FS.Head] returns at most.
	maxRead = 8 << 20
	// maxHeads is how much memory kept heads take. Over it, all are cut down, to 4 KiB
	// and then to 1 KiB: 8,000 programs of 1 KiB fit, and Debian's largest images
	// have a few thousand.
	maxHeads = 8 << 20
	// maxTables is how much memory the names of all layers take, at 72 bytes and a name
	// each: some 280,000 entries. An image of Debian with Python and Node has 60,000. Go's
	// collector lets memory grow to twice of what is kept, so maxHeads and maxTables
	// make 64 MiB.
	maxTables = 24 << 20
	// maxPath and maxName are Linux's PATH_MAX (without its NUL) and NAME_MAX
	// (include/uapi/linux/limits.h): an engine cannot unpack what is longer.
	maxPath = 4095
	maxName = 255
	// maxLinks is how many symbolic links an entry's parents may lead through:
	// containerd's continuity/fs.RootPath stops at 255.
	maxLinks = 255
	// maxSteps bounds the path components looked at while unpacking, in all layers: an
	// entry can cost maxLinks × maxPath of them. Some seconds' worth; 280,000 usual
	// entries take a tenth of it.
	maxSteps = 1 << 24
	// maxUnpacked and maxRatio bound what a layer unpacks to: so much, and then so
	// many times what was fetched. Gzip packs zeros 1000 times and zstd far more,
	// programs and text 3 to 10 times.
	maxUnpacked = 1 << 30
	maxRatio    = 100
	// maxWindow bounds a zstd frame's window, which is memory. zstd itself needs a
	// switch (--long) to write or to read more than 128 MiB.
	maxWindow = 128 << 20
)

// bounds are the bounds that tests make smaller.
type bounds struct {
	// fetch is Options.MaxFetch.
	fetch                          int64
	heads, tables, steps, unpacked int64
}

var defaultBounds = bounds{heads: maxHeads, tables: maxTables, steps: maxSteps, unpacked: maxUnpacked}
