package launch

import (
	"path"
	"strconv"
	"strings"
)

// create is what the runtime does before execve. It returns the path that it
// executes.
func (p *prover) create() (string, error) {
	if len(p.process.Args) == 0 {
		return "", fails(Failure{
			Stage: StageCreate, Message: "no command specified", Cause: CauseNoCommand,
			Detail: "the image has neither an entrypoint nor a command",
			Fix:    "add ENTRYPOINT or CMD to the Dockerfile, or give a command where the container is started",
		})
	}
	if err := p.user(); err != nil {
		return "", err
	}
	if err := p.workDir(); err != nil {
		return "", err
	}
	return p.lookPath(p.process.Args[0])
}

// user finds out who the process runs as.
func (p *prover) user() error {
	if u := p.process.User; u != "" && u != "0" && u != "root" {
		return unknown("a USER other than root is not modelled")
	}
	return nil
}

// workDir enters the working folder.
func (p *prover) workDir() error {
	if w := p.process.WorkDir; w != "" && w != "/" {
		f, fault, err := p.resolve(w)
		if err != nil {
			return err
		}
		if fault == nil {
			p.cwd = f.info
		}
	}
	return nil
}

// defaultPath is what Docker sets where the image's Env has no PATH
// (daemon/pkg/oci/defaults.go of moby).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (p *prover) env(key, missing string) string {
	value := missing
	for _, kv := range p.process.Env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			value = v // the last one wins
		}
	}
	return value
}

// lookPath is LookPath of Go's os/exec, which runc calls inside the container.
func (p *prover) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		f, fault, err := p.resolve(name)
		if err != nil {
			return "", err
		}
		if fault == nil {
			fault = p.notExecutable(f)
		}
		if fault != nil {
			p.faultSteps(f, roleEntrypoint, fault)
			return "", p.lookupFailed(name, f, fault)
		}
		return name, nil
	}
	var passed *found
	var passedFault *fault
	for _, dir := range strings.Split(p.env("PATH", defaultPath), ":") {
		if p.env("PATH", defaultPath) == "" {
			break
		}
		if dir == "" {
			dir = "."
		}
		candidate := path.Join(dir, name)
		f, fault, err := p.resolve(candidate)
		if err != nil {
			return "", err
		}
		if fault == nil {
			fault = p.notExecutable(f)
		}
		if fault != nil {
			if f.info != nil && passed == nil && !f.info.Mode.IsDir() {
				passed, passedFault = &f, fault
			}
			continue
		}
		if !path.IsAbs(candidate) {
			p.step(f, roleEntrypoint, formatOf(f.info))
			return "", fails(Failure{
				Stage: StageCreate, ExitCode: 125, Cause: CauseRelativePath, Path: f.info.Path,
				Message: "exec: " + strconv.Quote(name) + ": cannot run executable found relative to current directory",
				Detail:  "PATH has the relative entry " + strconv.Quote(dir) + ", and " + printable(name) + " is found through it, which runtimes refuse",
				Fix:     "make every entry of PATH absolute, or write the path of the program in full",
			})
		}
		return candidate, nil
	}
	failure := Failure{
		Stage: StageCreate, ExitCode: 127, Cause: CauseNotFound,
		Message: "exec: " + strconv.Quote(name) + ": executable file not found in $PATH",
		Detail:  "no folder of PATH has an executable " + printable(name) + " (PATH is " + strconv.Quote(p.env("PATH", defaultPath)) + ")",
		Fix:     "write the path of the program in full, or install it into a folder of PATH",
	}
	if passed != nil {
		p.faultSteps(*passed, roleEntrypoint, passedFault)
		failure.Path = passed.info.Path
		p.blame(&failure, passed.info)
		failure.Cause = CauseNotExecutable
		failure.Detail = printable(passed.info.Path) + " is there, and its mode does not let the user execute it"
		failure.Fix = "RUN chmod +x " + printable(passed.info.Path) + ", or COPY --chmod=755"
	} else {
		p.proof.Steps = append(p.proof.Steps, Step{Path: name, Kind: "missing", Role: roleEntrypoint})
	}
	return "", fails(failure)
}

// notExecutable is findExecutable of Go's os/exec: what it has against a file.
func (p *prover) notExecutable(f found) *fault {
	switch {
	case f.info.Mode.IsDir():
		return &fault{errno: "EISDIR", at: f.info.Path, info: f.info}
	case !p.cred.may(f.info, mayExec):
		return &fault{errno: "EACCES", at: f.info.Path, info: f.info}
	}
	return nil
}

func (p *prover) lookupFailed(name string, f found, fault *fault) error {
	failure := Failure{Stage: StageCreate, Errno: fault.errno, Path: fault.at, ExitCode: 125}
	quoted := strconv.Quote(name)
	text := strerror(fault.errno)
	stat := "exec: " + quoted + ": stat " + name + ": " + text
	if fault.info != nil {
		p.blame(&failure, fault.info)
	}
	at := printable(fault.at)
	failure.Message = stat
	switch {
	case fault.errno == "ENOENT":
		failure.ExitCode, failure.Cause = 127, CauseNotFound
		failure.Detail = at + " is not in the image"
		if len(f.links) > 0 {
			last := f.links[len(f.links)-1]
			p.blame(&failure, last)
			failure.Detail = printable(last.Path) + " is a symbolic link to " + printable(last.Target) + ", and " + at + " is not in the image"
		}
		failure.Fix = "check the COPY that should bring it, and that the path in ENTRYPOINT or CMD is the one in the image"
	case fault.errno == "EISDIR":
		failure.ExitCode, failure.Cause = 126, CauseDirectory
		failure.Message = "exec: " + quoted + ": is a directory"
		failure.Detail = at + " is a folder"
		failure.Fix = "name the program in the folder"
	case fault.errno == "EACCES" && f.info != nil:
		failure.ExitCode, failure.Cause = 126, CauseNotExecutable
		failure.Message = "exec: " + quoted + ": permission denied"
		failure.Detail = at + " has mode " + fault.info.Mode.String() + ", which does not let the user execute it"
		failure.Fix = "RUN chmod +x " + at + ", or COPY --chmod=755"
	case fault.errno == "EACCES":
		failure.ExitCode, failure.Cause = 126, CauseNoAccess
		failure.Detail = "the folder " + at + " has mode " + fault.info.Mode.String() + ", which does not let the user enter it"
		failure.Fix = "RUN chmod +x " + at + ", or run as its owner"
	case fault.errno == "ENOTDIR":
		failure.Cause = CausePath
		failure.Detail = at + " is no folder, and " + printable(name) + " goes through it"
		failure.Fix = "correct the path in ENTRYPOINT or CMD"
	case fault.errno == "ELOOP":
		failure.Cause = CausePath
		failure.Detail = "more than 40 symbolic links lead from " + printable(name) + "; they may form a circle"
		failure.Fix = "correct the symbolic links"
	default:
		failure.Cause = CausePath
		failure.Detail = "the path " + printable(name) + " is too long"
		failure.Fix = "shorten the path"
	}
	return fails(failure)
}
