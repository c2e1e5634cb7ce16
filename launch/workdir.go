package launch

import (
	"strconv"
	"strings"
)

// workDir enters the working folder. Engines make it where it is missing, and enter it
// as root: finalizeNamespace of runc's libcontainer/init_linux.go.
func (p *prover) workDir() error {
	dir := p.process.WorkDir
	if dir == "" {
		return nil
	}
	failure := Failure{
		Stage: StageCreate, ExitCode: 125, Cause: CauseWorkingDir, Path: dir,
		Fix: "correct WORKDIR in the Dockerfile, or what the image has at that path",
	}
	if !strings.HasPrefix(dir, "/") {
		failure.Message = "the working directory '" + dir + "' is invalid, it needs to be an absolute path"
		failure.Detail = "the image's working directory is " + strconv.Quote(dir) + ", which is relative"
		return fails(failure)
	}
	f, bad, err := p.engine().resolve(dir)
	if err != nil {
		return err
	}
	if bad != nil && bad.errno == "ENOENT" && len(f.links) > 0 {
		return unknown("engines differ on a working directory (%s) behind a symbolic link that leads nowhere: runc 1.1 refuses it", printable(dir))
	}
	if bad != nil && bad.errno == "ENOENT" {
		p.made = bad.at
		p.cwd, err = p.lstat(p.made)
		return err
	}
	if bad == nil && !f.info.Mode.IsDir() {
		bad = &fault{errno: "ENOTDIR", at: f.info.Path, info: f.info}
	}
	if bad == nil {
		p.cwd = f.info
		return nil
	}
	failure.Path, failure.Errno = bad.at, bad.errno
	failure.Message = "chdir to cwd (" + strconv.Quote(dir) + ") set in config.json failed: " + strerror(bad.errno)
	failure.Detail = "the working directory " + printable(dir) + " cannot be entered: " + printable(bad.at) + ": " + strerror(bad.errno)
	if bad.errno == "ENOTDIR" {
		failure.Message = "Cannot mkdir: " + dir + " is not a directory"
		failure.Detail = printable(bad.at) + " is not a folder, and the image's working directory is " + printable(dir)
	}
	if bad.info != nil {
		p.blame(&failure, bad.info)
	}
	return fails(failure)
}
