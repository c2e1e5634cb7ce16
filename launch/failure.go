package launch

import "berth/rootfs"

func fails(f Failure) error { return &ending{failure: &f} }

func (p *prover) warn(cause, detail string) {
	p.proof.Warnings = append(p.proof.Warnings, Warning{Cause: cause, Detail: detail})
}

// blame says which file a failure is due to, and who brought it.
func (p *prover) blame(f *Failure, info *rootfs.Info) {
	if f.Path == "" {
		f.Path = info.Path
	}
	if info.Layer != nil {
		f.Layer, f.CreatedBy = info.Layer.Descriptor.Digest, info.Layer.CreatedBy
	}
}

// unpackFailed is the failure where an engine cannot even make the file system.
func (p *prover) unpackFailed(err *rootfs.UnpackError) error {
	f := Failure{
		Stage: StageCreate, Cause: CauseUnpack, Path: err.Path,
		Message: "failed to register layer: " + err.Reason,
		Detail:  err.Error(),
		Fix:     "build the layer again with a tool that engines agree with, such as docker build",
	}
	if err.Layer != nil {
		f.Layer, f.CreatedBy = err.Layer.Descriptor.Digest, err.Layer.CreatedBy
	}
	return fails(f)
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
