package launch

import (
	"errors"
	"io/fs"
	"strings"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// What a file is in the chain.
const (
	roleEntrypoint  = "entrypoint"
	roleInterpreter = "interpreter"
	roleLoader      = "loader"
)

// maxRewrites is how many scripts may follow one another: exec_binprm of fs/exec.c
// gives up where the search for a format is about to begin for the seventh time.
const maxRewrites = 5

// exec is execve of name: the chain of scripts, then the executable and its loader.
func (p *prover) exec(name string) error {
	role, at := roleEntrypoint, name
	var script *rootfs.Info
	var bang binary.Shebang
	for depth := 0; ; depth++ {
		f, fault, err := p.open(at)
		if err != nil {
			return err
		}
		if fault != nil {
			p.faultSteps(f, role, fault)
			return p.openFailed(name, script, bang, fault)
		}
		format, err := p.identify(f.info)
		if err != nil {
			return err
		}
		p.step(f, role, format)
		if depth > maxRewrites {
			return p.execFailed(name, "ELOOP", f.info, Failure{
				Cause:  CauseShebangLoop,
				Detail: "more than 5 scripts are interpreters of one another",
				Fix:    "name a real interpreter in the first line of " + printable(script.Path),
			})
		}
		if format.Kind != binary.Script {
			return p.program(name, f.info, format, script)
		}
		script = f.info
		bang, err = readAs(p, f.info, binary.ParseShebang)
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
		role, at = roleInterpreter, bang.Interpreter
	}
}

// open is do_open_execat of fs/exec.c: what the kernel asks of any file that it is
// to execute, a script's interpreter and a loader included.
func (p *prover) open(name string) (found, *fault, error) {
	f, bad, err := p.resolve(name)
	if err != nil || bad != nil {
		return f, bad, err
	}
	if !f.info.Mode.IsRegular() || !p.cred.may(f.info, mayExec) {
		return f, &fault{errno: "EACCES", at: f.info.Path, info: f.info}, nil
	}
	return f, nil, nil
}

// identify names a regular file.
func (p *prover) identify(info *rootfs.Info) (binary.Format, error) {
	head, err := p.head(info, binary.HeadSize)
	if err != nil {
		return binary.Format{}, err
	}
	return binary.Identify(head, info.Size), nil
}

// openFailed is the failure where a script's interpreter cannot be opened.
func (p *prover) openFailed(name string, script *rootfs.Info, bang binary.Shebang, at *fault) error {
	failure := Failure{Cause: CauseBadInterpreter, Path: at.at}
	blamed := at.info
	switch {
	case script == nil:
		failure.Cause = CauseDirectory
		failure.Detail = printable(at.at) + " is no regular file"
		failure.Fix = "name a program"
	case strings.HasSuffix(bang.Interpreter, "\r"):
		failure.Cause, blamed = CauseCRLFShebang, script
		failure.Detail = "the first line of " + printable(script.Path) + " ends in a carriage return (Windows line ending), so that the kernel looks for an interpreter of that name"
		failure.Fix = "save the script with Unix line endings: RUN sed -i 's/\\r$//' " + printable(script.Path) + ", and *.sh text eol=lf in .gitattributes"
	case at.errno == "ENOENT":
		failure.Cause, blamed = CauseMissingInterpreter, script
		failure.Detail = "the first line of " + printable(script.Path) + " names the interpreter " + printable(bang.Interpreter) + ", and " + printable(at.at) + " is not in the image"
		failure.Fix = "install the interpreter, or name one that the image has"
	default:
		failure.Detail = "the first line of " + printable(script.Path) + " names the interpreter " + printable(bang.Interpreter) + ", which cannot be executed: " + strerror(at.errno)
		failure.Fix = "name an executable interpreter in the first line of the script"
	}
	return p.execFailed(name, at.errno, blamed, failure)
}

// program is load_elf_binary, with the loader that it opens.
func (p *prover) program(name string, info *rootfs.Info, format binary.Format, script *rootfs.Info) error {
	program, err := readAs(p, info, p.kernel.Load)
	var refusal *binary.Refusal
	if errors.As(err, &refusal) {
		return p.refused(name, info, format, script, refusal)
	}
	var unmodelled *binary.UnmodelledError
	if errors.As(err, &unmodelled) {
		return unknown("%s: %s", printable(info.Path), unmodelled.Reason)
	} else if err != nil {
		return err
	}
	if !program.HasInterp {
		return nil
	}
	return p.loader(name, info, program)
}

// loader opens what PT_INTERP names.
func (p *prover) loader(name string, info *rootfs.Info, program *binary.Program) error {
	at := printable(program.Interp)
	f, fault, err := p.open(program.Interp)
	if err != nil {
		return err
	}
	if fault != nil {
		p.faultSteps(f, roleLoader, fault)
		failure := Failure{Cause: CauseBadLoader, Path: fault.at}
		failure.Detail = printable(info.Path) + " is a dynamic executable whose loader " + at + " cannot be executed: " + strerror(fault.errno)
		if fault.errno == "ENOENT" {
			failure.Cause = CauseMissingLoader
			failure.Detail = printable(info.Path) + " is a dynamic executable that needs the loader " + at + ", and the image does not have it"
		}
		failure.Fix = loaderFix(program.Interp)
		blamed := info
		if fault.info != nil && fault.info.Mode.IsRegular() {
			blamed = fault.info
		}
		return p.execFailed(name, fault.errno, blamed, failure)
	}
	format, err := p.identify(f.info)
	if err != nil {
		return err
	}
	p.step(f, roleLoader, format)
	_, err = readAs(p, f.info, func(head []byte, size int64) (*binary.Program, error) {
		return p.kernel.LoadInterpreter(program, head, size)
	})
	var refusal *binary.Refusal
	if errors.As(err, &refusal) {
		failure := Failure{
			Cause:  CauseBadLoader,
			Detail: printable(info.Path) + " needs the loader " + at + ", which the kernel refuses: " + refusal.Reason,
			Fix:    loaderFix(program.Interp),
		}
		if platform.Known(format.Platform) && format.Platform.Architecture != program.Arch {
			failure.Cause = CauseWrongMachineLoader
			failure.Detail = printable(info.Path) + " needs the loader " + at + ", which is " + format.Name
		}
		return p.execFailed(name, refusal.Errno, f.info, failure)
	}
	var unmodelled *binary.UnmodelledError
	if errors.As(err, &unmodelled) {
		return unknown("%s: %s", printable(f.info.Path), unmodelled.Reason)
	} else if err != nil {
		return err
	}
	p.proof.Warnings = append(p.proof.Warnings, Warning{
		Cause:  CauseLibraries,
		Detail: printable(info.Path) + " is a dynamic executable: its loader " + at + " is there and right, and the libraries that it loads were not looked at",
	})
	return nil
}

func loaderFix(interp string) string {
	switch {
	case strings.Contains(interp, "musl"):
		return "the program was built against musl: build it statically (Go: CGO_ENABLED=0), or use an Alpine base image"
	case strings.Contains(interp, "ld-linux") || strings.Contains(interp, "ld64.so"):
		return "the program was built against glibc: build it statically (Go: CGO_ENABLED=0), or use a base image with glibc of its architecture (Debian, Ubuntu, distroless/base)"
	}
	return "build the program statically, or install its loader"
}

// refused is the failure where no format of the kernel takes the program.
func (p *prover) refused(name string, info *rootfs.Info, format binary.Format, script *rootfs.Info, refusal *binary.Refusal) error {
	host := platform.Format(p.host.Platform)
	is := printable(info.Path) + " is " + format.Name
	failure := Failure{Cause: CauseNotAProgram, Detail: is + ", which no Linux host executes"}
	switch format.Kind {
	case binary.ELF:
		failure.Cause = CauseMalformedELF
		failure.Detail = is + ", which the kernel of a " + host + " host refuses: " + refusal.Reason
		failure.Fix = "build or copy the file again: it is damaged, or was never meant to be started"
		if !p.host.Compat.Runs(p.host.Platform, format.Platform) {
			failure.Cause = CauseWrongMachine
			failure.Detail = is + ", and the host runs " + host
			failure.Fix = "build the image for " + host + " (docker buildx build --platform " + host + "), and check that the build stage compiles for TARGETARCH"
		}
	case binary.PE:
		failure.Cause = CauseWindowsExecutable
		failure.Fix = "build the program for " + host + " (Go: GOOS=linux)"
	case binary.MachO:
		failure.Cause = CauseMachO
		failure.Fix = "build the program for " + host + " (Go: GOOS=linux)"
	default:
		switch format.Flavor {
		case binary.Empty:
			failure.Cause = CauseEmptyFile
			failure.Fix = "find out why the build left it empty, and build again"
		case binary.LFSPointer:
			failure.Cause = CauseLFSPointer
			failure.Fix = "run git lfs pull before the build (GitHub Actions: actions/checkout with lfs: true)"
		case binary.ByteOrderMark:
			failure.Cause = CauseByteOrderMark
			failure.Fix = "save the script as UTF-8 without a byte order mark"
		case binary.Gzip, binary.Zip:
			failure.Cause = CauseCompressed
			failure.Fix = "unpack it in the build; a jar is started with java -jar"
		case binary.Text:
			failure.Cause = CauseNoShebang
			failure.Fix = "make #!/bin/sh, or another interpreter's path, the first line of " + printable(info.Path)
		}
	}
	if script != nil {
		failure.Detail += "; it is the interpreter of " + printable(script.Path)
	}
	return p.execFailed(name, refusal.Errno, info, failure)
}

// execFailed fills in what all failures of execve share.
func (p *prover) execFailed(name, errno string, blamed *rootfs.Info, failure Failure) error {
	failure.Stage, failure.Errno = StageExec, errno
	failure.Message = "exec " + name + ": " + strerror(errno)
	if blamed != nil {
		p.blame(&failure, blamed)
	}
	return fails(failure)
}

// kindOf is the kind of a file whose content was not read.
func kindOf(info *rootfs.Info) string {
	switch {
	case info.Mode.IsDir():
		return "directory"
	case info.Mode.Type() == fs.ModeSymlink:
		return "symlink"
	}
	return string(binary.Data)
}

func formatOf(info *rootfs.Info) binary.Format { return binary.Format{Kind: binary.Kind(kindOf(info))} }
