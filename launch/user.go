package launch

import (
	"io/fs"
	"slices"

	"berth/rootfs"
)

// credential is who the process runs as.
type credential struct {
	uid, gid int
	groups   []int
}

// The permission bits that are asked for, as the low three bits of a mode.
const (
	mayExec fs.FileMode = 1
	mayRead fs.FileMode = 4
)

// may is generic_permission of fs/namei.c. Root has the capabilities that Docker and
// containerd give by default, CAP_DAC_OVERRIDE among them: all but executing a file
// that nobody may execute.
func (c credential) may(info *rootfs.Info, want fs.FileMode) bool {
	mode := info.Mode.Perm()
	if c.uid == 0 {
		return want != mayExec || info.Mode.IsDir() || mode&0o111 != 0
	}
	switch {
	case info.UID == c.uid:
		mode >>= 6
	case info.GID == c.gid || slices.Contains(c.groups, info.GID):
		mode >>= 3
	}
	return mode&want == want
}
