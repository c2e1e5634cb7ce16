package launch

import (
	"path"
	"strconv"
	"strings"

	"berth/binary"
)

// maxArguments is what arguments and environment may have together before
// execve could answer E2BIG: MAX_ARG_STRLEN of include/uapi/linux/binfmts.h with pages
// of 4 KiB. The real limit on all of them is higher, and depends on the stack's.
const maxArguments = 128 << 10

// create is what the engine and the runtime do before execve. It returns the path that
// is executed.
func (p *prover) create() (string, error) {
	if len(p.process.Args) == 0 {
		return "", fails(Failure{
			Stage: StageCreate, ExitCode: 125, Message: "no command specified", Cause: CauseNoCommand,
			Detail: "the image has neither an entrypoint nor a command",
			Fix:    "add ENTRYPOINT or CMD to the Dockerfile, or give a command where the container is started",
		})
	}
	if p.process.EmptyEntrypoint {
		return "", unknown("the entrypoint is one empty string: Docker takes it for none and starts %s, and containerd fails for want of a name", printable(p.process.Args[0]))
	}
	if err := p.arguments(); err != nil {
		return "", err
	}
	// The order is that of Docker's daemon (daemon/oci_linux.go), then runc.
	if err := p.workDir(); err != nil {
		return "", err
	}
	if err := p.user(); err != nil {
		return "", err
	}
	return p.lookPath(p.process.Args[0])
}

// arguments ends the proof where arguments and environment are none that execve takes.
func (p *prover) arguments() error {
	bytes := 0
	for _, list := range [][]string{p.process.Args, p.process.Env, {p.process.WorkDir}} {
		for _, s := range list {
			if bytes += len(s) + 1; bytes > maxArguments {
				return unknown("arguments and environment have more than %d bytes", maxArguments)
			}
			if strings.Contains(s, "\x00") {
				return unknown("an argument, an environment variable or the working directory contains NUL")
			}
		}
	}
	return nil
}

// defaultPath is what Docker sets where the image's Env has no PATH
// (daemon/pkg/oci/defaults.go of moby).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// path is the PATH that the process starts with. The last of several wins.
func (p *prover) path() string {
	value := defaultPath
	for _, kv := range p.process.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			value = v
		}
	}
	return value
}

// pathFolders is SplitList of Go's path/filepath: an empty PATH has no folders.
func (p *prover) pathFolders() []string {
	if p.path() == "" {
		return nil
	}
	return strings.Split(p.path(), ":")
}

// lookPath is LookPath of Go's os/exec, which runc calls inside the container.
func (p *prover) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		f, bad, err := p.executable(name)
		if err != nil {
			return "", err
		}
		if bad != nil {
			p.faultStep(f, roleEntrypoint, bad)
			return "", p.lookupFailed(name, f, bad)
		}
		return name, nil
	}
	// passed is the first match that the user may not execute.
	var passed *fault
	var passedBy found
	for _, dir := range p.pathFolders() {
		candidate := path.Join(dir, name)
		f, bad, err := p.executable(candidate)
		if err != nil {
			return "", err
		}
		switch {
		case bad != nil && bad.errno == "EACCES" && f.info != nil && passed == nil:
			passed, passedBy = bad, f
			fallthrough
		case bad != nil:
			continue
		case passed != nil && passed.info.Mode.Perm()&0o111 != 0:
			return "", unknown("runtimes differ: runc built with Go before 1.20 stops at %s, which this user may not execute, and later ones go on to %s", printable(passed.at), printable(candidate))
		case !path.IsAbs(candidate):
			return "", p.foundRelative(name, dir, f)
		}
		return candidate, nil
	}
	return "", p.notInPath(name, passedBy, passed)
}

// executable is findExecutable of Go's os/exec: it resolves name, and the fault
// says what it has against the file.
func (p *prover) executable(name string) (found, *fault, error) {
	f, bad, err := p.resolve(name)
	if err != nil || bad != nil {
		return f, bad, err
	}
	if f.info.Mode.IsDir() {
		return f, &fault{errno: "EISDIR", at: f.info.Path, info: f.info}, nil
	}
	ok, err := p.may(f.info, mayExec)
	if err == nil && !ok {
		bad = &fault{errno: "EACCES", at: f.info.Path, info: f.info}
	}
	return f, bad, err
}

func (p *prover) foundRelative(name, dir string, f found) error {
	p.step(f, roleEntrypoint, binary.Format{Kind: binary.Kind(kindOf(f.info))})
	failure := Failure{
		Stage: StageCreate, ExitCode: 125, Cause: CauseRelativePath,
		Message: "exec: " + strconv.Quote(name) + ": cannot run executable found relative to current directory",
		Detail:  "PATH has the relative entry " + strconv.Quote(dir) + ", and " + printable(name) + " is found through it, which runc refuses (crun does not)",
		Fix:     "make every entry of PATH absolute, or write the path of the program in full",
	}
	p.blame(&failure, f.info)
	return fails(failure)
}

func (p *prover) notInPath(name string, f found, passed *fault) error {
	failure := Failure{
		Stage: StageCreate, ExitCode: 127, Cause: CauseNotFound,
		Message: "exec: " + strconv.Quote(name) + ": executable file not found in $PATH",
		Detail:  "no folder of PATH has an executable " + printable(name) + " (PATH is " + strconv.Quote(p.path()) + ")",
		Fix:     "write the path of the program in full, or install it into a folder of PATH",
	}
	if passed == nil {
		p.proof.Steps = append(p.proof.Steps, Step{Path: name, Kind: string(binary.Missing), Role: roleEntrypoint})
		return fails(failure)
	}
	p.faultStep(f, roleEntrypoint, passed)
	p.blame(&failure, passed.info)
	failure.Cause = CauseNotExecutable
	failure.Detail = printable(passed.at) + " is there with mode " + passed.info.Mode.String() + ", which does not let the user execute it"
	failure.Fix = chmodFix(passed.at)
	if passed.info.Mode.Perm()&0o111 != 0 {
		// runc built with Go before 1.20 takes it, and fails with another code.
		failure.ExitCode = 0
	}
	return fails(failure)
}

func chmodFix(name string) string {
	return "RUN chmod +x " + printable(name) + ", or COPY --chmod=755"
}

// lookupFailed is the failure where a name that is a path leads to no program.
func (p *prover) lookupFailed(name string, f found, bad *fault) error {
	quoted, at := strconv.Quote(name), printable(bad.at)
	failure := Failure{
		Stage: StageCreate, Errno: bad.errno, Path: bad.at, ExitCode: 125, Cause: CausePath,
		Message: "exec: " + quoted + ": stat " + printable(name) + ": " + strerror(bad.errno),
		Fix:     "correct the path in ENTRYPOINT or CMD",
	}
	if bad.info != nil {
		p.blame(&failure, bad.info)
	}
	switch {
	case bad.errno == "ENOENT":
		failure.ExitCode, failure.Cause = 127, CauseNotFound
		failure.Detail = at + " is not in the image"
		if len(f.links) > 0 {
			last := f.links[len(f.links)-1]
			p.blame(&failure, last)
			failure.Detail = printable(last.Path) + " is a symbolic link to " + printable(last.Target) + ", and " + at + " is not in the image"
		}
		failure.Fix = "check the COPY that should bring it, and that the path in ENTRYPOINT or CMD is the one in the image"
	case bad.errno == "EISDIR":
		// runc before 1.5 says "permission denied"; both exit with 126.
		failure.ExitCode, failure.Cause = 126, CauseDirectory
		failure.Message = "exec: " + quoted + ": is a directory"
		failure.Detail = at + " is a folder"
		failure.Fix = "name the program in the folder"
	case bad.errno == "EACCES" && f.info != nil:
		failure.ExitCode, failure.Cause = 126, CauseNotExecutable
		failure.Message = "exec: " + quoted + ": permission denied"
		failure.Detail = at + " has mode " + bad.info.Mode.String() + ", which does not let the user execute it"
		failure.Fix = chmodFix(bad.at)
	case bad.errno == "EACCES":
		failure.ExitCode, failure.Cause = 126, CauseNoAccess
		failure.Detail = "the folder " + at + " has mode " + bad.info.Mode.String() + ", which does not let the user enter it"
		failure.Fix = chmodFix(bad.at) + ", or run as its owner"
	case bad.errno == "ENOTDIR":
		failure.Detail = at + " is no folder, and " + printable(name) + " goes through it"
	case bad.errno == "ELOOP":
		failure.Detail = "more than 40 symbolic links lead from " + printable(name) + "; they may form a circle"
		failure.Fix = "correct the symbolic links"
	case bad.errno == "ENAMETOOLONG":
		failure.Detail = "the path " + printable(name) + ", or what a link in it says, is too long"
	}
	return fails(failure)
}
