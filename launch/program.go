package launch

import (
	"errors"
	"fmt"
	"strings"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// program is load_elf_binary of fs/binfmt_elf.c, with the loader that it opens.
func (p *prover) program(name string, info *rootfs.Info, format binary.Format, scripts []script) error {
	program, err := readAs(p, info, p.kernel.Load)
	var refusal *binary.Refusal
	if errors.As(err, &refusal) {
		if q, emulator, ok := p.emulator(format); ok {
			return p.emulated(name, info, format, scripts, q, emulator)
		}
		if err := p.maybeCompat(info, format); err != nil {
			return err
		}
		return p.refused(name, info, format, scripts, refusal)
	}
	if err != nil {
		return unmodelled(info, err)
	}
	if os := format.Platform.OS; os != "" && os != "linux" {
		return unknown("%s is %s: Linux executes it as if it were its own, and what it does then is not modelled", printable(info.Path), format.Name)
	}
	if program.HasInterp {
		if err := p.loader(name, info, program, scripts); err != nil {
			return err
		}
	} else if err := p.mapped(info, program); err != nil {
		return err
	}
	p.pageSizes(info, program)
	return p.builtFor(info, program)
}

// maybeCompat ends the proof where the host is not known to lack what would
// execute the file.
func (p *prover) maybeCompat(info *rootfs.Info, format binary.Format) error {
	if p.host.CompatUnknown == (platform.Compat{}) {
		return nil
	}
	kernel, _ := binary.KernelFor(p.host.Platform, platform.Compat{IA32: true, AArch32: true}, p.host.PageSize)
	kernel.Version = p.host.Kernel
	_, err := readAs(p, info, kernel.Load)
	var refusal *binary.Refusal
	if errors.As(err, &refusal) {
		return nil
	}
	return unknown("%s is %s, and whether the host (%s) executes 32-bit programs is not known", printable(info.Path), format.Name, platform.Format(p.host.Platform))
}

// loader opens what PT_INTERP names.
func (p *prover) loader(name string, info *rootfs.Info, program *binary.Program, scripts []script) error {
	needs := printable(info.Path) + " is a dynamic executable that needs the loader " + printable(program.Interp)
	f, bad, err := p.open(program.Interp)
	if err != nil {
		return err
	}
	if bad != nil {
		p.faultStep(f, roleLoader, bad)
		failure := Failure{Cause: CauseBadLoader, Path: bad.at, Fix: loaderFix(program.Interp)}
		failure.Detail = needs + ", which cannot be executed: " + strerror(bad.errno)
		if bad.errno == "ENOENT" {
			failure.Cause = CauseMissingLoader
			failure.Detail = needs + ", and " + printable(bad.at) + " is not in the image"
		}
		blamed := info
		if bad.info != nil {
			blamed = bad.info
		}
		return p.execFailed(name, bad.errno, blamed, failure)
	}
	p.loaderInfo = f.info
	format, err := p.identify(f.info)
	if err != nil {
		return err
	}
	p.step(f, roleLoader, format)
	loader, err := readAs(p, f.info, func(head []byte, size int64) (*binary.Program, error) {
		return p.kernel.LoadInterpreter(program, head, size)
	})
	var refusal *binary.Refusal
	if errors.As(err, &refusal) {
		failure := Failure{
			Cause:  CauseBadLoader,
			Detail: needs + ", and that is " + format.Name + ": " + refusal.Reason,
			Fix:    loaderFix(program.Interp),
		}
		if platform.Known(format.Platform) && format.Platform.Architecture != program.Arch {
			failure.Cause = CauseWrongMachineLoader
			failure.Detail = needs + ", and that is " + format.Name
		}
		return p.execFailed(name, refusal.Errno, f.info, failure)
	}
	if err != nil {
		return unmodelled(f.info, err)
	}
	if err := p.mapped(info, program); err != nil {
		return err
	}
	if err := p.mapped(f.info, loader); err != nil {
		return err
	}
	return p.libraries(name, info, program, f.info, scripts)
}

// mapped ends the proof where a program or a loader cannot be mapped.
func (p *prover) mapped(info *rootfs.Info, program *binary.Program) error {
	death, err := program.Map(info.Size)
	if err != nil {
		return unmodelled(info, err)
	}
	if death == nil {
		return nil
	}
	format, err := p.identify(info)
	if err != nil {
		return err
	}
	return p.dies(info, format, death)
}

// dies is the failure where execve succeeds and nothing runs. There is no text, only
// the exit code of a signal.
func (p *prover) dies(info *rootfs.Info, format binary.Format, death *binary.Death) error {
	failure := Failure{
		Stage: StageRun, ExitCode: 128 + death.Number, Cause: CauseSegmentLayout,
		Message: fmt.Sprintf("exits with %d (%s) and says nothing", 128+death.Number, death.Signal),
		Detail:  printable(info.Path) + " is " + format.Name + " that cannot run: " + death.Reason,
		Fix:     "build or copy the file again: it is damaged, or is no program",
	}
	p.blame(&failure, info)
	return fails(failure)
}

// unmodelled turns what the binary room cannot tell into the end of the proof.
func unmodelled(info *rootfs.Info, err error) error {
	var reason *binary.UnmodelledError
	if errors.As(err, &reason) {
		return unknown("%s: %s", printable(info.Path), reason.Reason)
	}
	return err
}

// manyPageSizes are the architectures on which Linux is built with pages of several
// sizes: arch/*/Kconfig.
var manyPageSizes = map[string]bool{"arm64": true, "loong64": true, "mips64": true, "mips64le": true, "ppc64": true, "ppc64le": true}

// pageSizes warns of a program that needs small pages.
func (p *prover) pageSizes(info *rootfs.Info, program *binary.Program) {
	if largest := program.MaxPage(); p.host.PageSize == 0 && manyPageSizes[program.Arch] && largest < 64<<10 {
		p.warn(CausePageSize, fmt.Sprintf("%s runs only where the kernel's pages have at most %d KiB; some hosts of %s have larger ones", printable(info.Path), largest>>10, platform.Format(p.host.Platform)))
	}
}

func loaderFix(interp string) string {
	const static = "build the program statically (Go: CGO_ENABLED=0)"
	switch {
	case strings.Contains(interp, "musl"):
		return "it was built against musl: " + static + ", or use an Alpine base image of its architecture"
	case strings.Contains(interp, "ld-linux"), strings.Contains(interp, "ld64.so"):
		return "it was built against glibc: " + static + ", or use a base image with glibc of its architecture (Debian, Ubuntu, distroless/base)"
	}
	return static + ", or install its loader"
}
