package launch

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// maxRewrites is how many scripts may follow one another: exec_binprm of fs/exec.c
// gives up when it would look at a seventh file.
const maxRewrites = 5

// script is a script of the chain, with the first line that led on.
type script struct {
	info *rootfs.Info
	line binary.Shebang
}

// exec is execve of name: the chain of scripts, then the executable and its loader.
func (p *prover) exec(name string) error {
	role, next := roleEntrypoint, name
	var scripts []script
	for {
		f, bad, err := p.open(next)
		if err != nil {
			return err
		}
		if bad != nil {
			p.faultStep(f, role, bad)
			return p.openFailed(name, scripts, bad)
		}
		format, err := p.identify(f.info)
		if err != nil {
			return err
		}
		p.step(f, role, format)
		if len(scripts) > maxRewrites {
			return p.execFailed(name, "ELOOP", f.info, Failure{
				Cause:  CauseShebangLoop,
				Detail: "more than 5 scripts are interpreters of one another",
				Fix:    "name a real interpreter, not a script, in the first line of " + printable(scripts[0].info.Path),
			})
		}
		if format.Kind != binary.Script {
			if err := p.program(name, f.info, format, scripts); err != nil {
				return err
			}
			if err := p.beyond(scripts); err != nil {
				return err
			}
			p.ran = &executed{argv: interpreted(p.process.Args, name, scripts), program: f.info, scripts: scripts, musl: isMuslLoader(p.loaderInfo), dynamic: p.loaderInfo != nil}
			return nil
		}
		line, err := readAs(p, f.info, binary.ParseShebang)
		var refusal *binary.Refusal
		if errors.As(err, &refusal) {
			return p.execFailed(name, refusal.Errno, f.info, Failure{
				Cause:  CauseBadShebang,
				Detail: printable(f.info.Path) + " is a script that the kernel refuses: " + refusal.Reason,
				Fix:    "make #!/bin/sh, or another interpreter's path, the first line of the script",
			})
		} else if err != nil {
			return err
		}
		scripts = append(scripts, script{f.info, line})
		role, next = roleInterpreter, line.Interpreter
	}
}

// open is do_open_execat of fs/exec.c: what the kernel asks of any file that it is
// to execute, a script's interpreter and a loader included.
func (p *prover) open(name string) (found, *fault, error) {
	f, bad, err := p.resolve(name)
	if err != nil || bad != nil {
		return f, bad, err
	}
	ok, err := p.may(f.info, mayExec)
	if err == nil && (!ok || !f.info.Mode.IsRegular()) {
		bad = &fault{errno: "EACCES", at: f.info.Path, info: f.info}
	}
	return f, bad, err
}

// identify names a regular file.
func (p *prover) identify(info *rootfs.Info) (binary.Format, error) {
	head, err := p.head(info, binary.HeadSize)
	if err != nil {
		return binary.Format{}, err
	}
	format := binary.Identify(head, info.Size)
	if platform.Known(format.Platform) && p.prints != nil {
		p.prints[info.Path] = digest.FromString(fmt.Sprintf("%d %s", info.Size, head[:min(len(head), binary.HeadSize)]))
	}
	return format, nil
}

// openFailed is the failure where a file of the chain cannot be opened: the
// interpreter of the last script, or what was found before and is no regular file.
func (p *prover) openFailed(name string, scripts []script, bad *fault) error {
	failure := Failure{Cause: CauseBadInterpreter, Path: bad.at}
	if len(scripts) == 0 {
		failure.Cause = CauseDirectory
		failure.Detail = printable(bad.at) + " is no regular file"
		failure.Fix = "name a program in ENTRYPOINT or CMD"
		return p.execFailed(name, bad.errno, bad.info, failure)
	}
	last := scripts[len(scripts)-1]
	names := "the first line of " + printable(last.info.Path) + " names the interpreter " + printable(last.line.Interpreter)
	// The missing file has no layer: the script that names it is to blame.
	blamed := last.info
	switch {
	case strings.HasSuffix(last.line.Interpreter, "\r"):
		failure.Cause = CauseCRLFShebang
		failure.Detail = "the first line of " + printable(last.info.Path) + " ends in a carriage return (a Windows line ending), and the kernel takes it for a part of the interpreter's name"
		failure.Fix = crlfFix(last.info.Path)
	case bad.errno == "ENOENT":
		failure.Cause = CauseMissingInterpreter
		failure.Detail = names + ", and " + printable(bad.at) + " is not in the image"
		failure.Fix = "install " + printable(path.Base(last.line.Interpreter)) + " in the image, or name an interpreter that it has"
	case last.line.Interpreter == "":
		failure.Cause = CauseBadShebang
		failure.Detail = "the first line of " + printable(last.info.Path) + " names no interpreter, which the kernel takes for the working directory"
		failure.Fix = "make #!/bin/sh, or another interpreter's path, the first line of the script"
	default:
		failure.Detail = names + ", which cannot be executed: " + strerror(bad.errno)
		failure.Fix = "name an interpreter in the first line of the script that the image has and that the user may execute"
		if bad.info != nil {
			blamed = bad.info
		}
	}
	return p.execFailed(name, bad.errno, blamed, failure)
}

func crlfFix(script string) string {
	return `save the script with Unix line endings: RUN sed -i 's/\r$//' ` + printable(script) + ", or *.sh text eol=lf in .gitattributes"
}

// execFailed fills in what all failures of execve share. Runtimes do not agree on an
// exit code: runc 1.1 exits with 1, runc 1.5 with 255.
func (p *prover) execFailed(name, errno string, blamed *rootfs.Info, failure Failure) error {
	failure.Stage, failure.Errno = StageExec, errno
	failure.Message = "exec " + printable(name) + ": " + strerror(errno)
	p.blame(&failure, blamed)
	return fails(failure)
}
