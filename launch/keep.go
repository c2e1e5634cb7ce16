package launch

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"

	"berth/binary"
	"berth/rootfs"
)

// maxWhole is the size up to which files are kept whole that are asked for as a whole. Debian's
// loader has 200 KiB, musl's 600, a large /etc/ld.so.cache 200, and a static BusyBox 2 MB.
const maxWhole = 2 << 20

// wholeFiles are what is asked for as a whole.
var wholeFiles = []string{"/etc/passwd", "/etc/group", "/etc/ld.so.cache"}

// Keep says which parts of a file [Prove] may ask for, for rootfs.PoolOptions.
func Keep(name string, head []byte, size int64) (parts []rootfs.Part, need int64) {
	if isWhole(name) && size <= maxWhole || bytes.HasPrefix(head, []byte("#!")) && size <= maxScript {
		return []rootfs.Part{{Offset: 0, Length: size}}, size
	}
	pieces, err := binary.LoaderParts(head, size)
	var more *binary.NeedError
	if errors.As(err, &more) {
		return nil, int64(more.Bytes)
	}
	for _, p := range pieces {
		parts = append(parts, rootfs.Part(p))
	}
	return parts, 0
}

// isWhole tells by the name whether a file is asked for as a whole: accounts, loaders with what
// they read, and BusyBox, whose programs are in it by name.
func isWhole(name string) bool {
	if slices.Contains(wholeFiles, name) {
		return true
	}
	base := path.Base(name)
	if path.Dir(name) == "/etc" {
		return strings.HasPrefix(base, "ld-musl-") // -ARCH.path
	}
	return strings.HasPrefix(base, "ld-linux") || strings.HasPrefix(base, "ld64.so") || strings.HasPrefix(base, "ld-musl-") ||
		strings.HasPrefix(base, "ld-2.") || base == "ld.so.1" || base == "busybox"
}
