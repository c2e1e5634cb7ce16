package launch

import (
	"github.com/opencontainers/go-digest"

	"berth/rootfs"
)

func fails(f Failure) error { return &ending{failure: &f} }

// blame says which file a failure is due to, and who brought it.
func (p *prover) blame(f *Failure, info *rootfs.Info) {
	if f.Path == "" {
		f.Path = info.Path
	}
	if info.Layer != nil {
		f.Layer, f.CreatedBy = info.Layer.Descriptor.Digest, info.Layer.CreatedBy
	}
}

func layerOf(info *rootfs.Info) digest.Digest {
	if info.Layer == nil {
		return ""
	}
	return info.Layer.Descriptor.Digest
}

// strerror is what Go, and so runc, calls an errno.
func strerror(errno string) string { return errnoTexts[errno] }

// errnoTexts are from zerrors_linux_*.go of Go's syscall package.
var errnoTexts = map[string]string{
	"EACCES":       "permission denied",
	"EINVAL":       "invalid argument",
	"EIO":          "input/output error",
	"EISDIR":       "is a directory",
	"ELIBBAD":      "accessing a corrupted shared library",
	"ELOOP":        "too many levels of symbolic links",
	"ENAMETOOLONG": "file name too long",
	"ENOENT":       "no such file or directory",
	"ENOEXEC":      "exec format error",
	"ENOTDIR":      "not a directory",
}
