package launch

import (
	"cmp"
	"errors"
	"slices"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// Emulation is binfmt_misc of the host with QEMU's user mode emulators, as docker run
// --privileged tonistiigi/binfmt, Docker Desktop and qemu-user-static set it up: with flag F,
// by which the kernel opens the emulator when it is registered, so that it works in every
// container (Documentation/admin-guide/binfmt-misc.rst). The kernel asks it before its own
// formats (insert_binfmt in fs/binfmt_misc.c).

// emulators are the names of QEMU's emulators (linux-user targets), by architecture. An
// emulator loads ELF files as the kernel of its architecture does (linux-user/elfload.c).
var emulators = map[string]string{
	"386": "i386", "amd64": "x86_64", "arm": "arm", "arm64": "aarch64", "loong64": "loongarch64", "mips": "mips", "mipsle": "mipsel",
	"mips64": "mips64", "mips64le": "mips64el", "ppc64": "ppc64", "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x",
}

// Emulatable are the platforms that there are emulators for, sorted.
func Emulatable() []platform.Platform {
	var ps []platform.Platform
	for arch := range emulators {
		ps = append(ps, platform.Platform{OS: "linux", Architecture: arch})
	}
	slices.SortFunc(ps, func(a, b platform.Platform) int { return cmp.Compare(a.Architecture, b.Architecture) })
	return ps
}

// emulator is p as an emulator takes the file that the kernel refuses; false where none is
// registered for it.
func (p *prover) emulator(format binary.Format) (*prover, string, bool) {
	if format.Kind != binary.ELF || p.emulates {
		return nil, "", false
	}
	for _, e := range p.host.Emulates {
		if e.OS != "linux" || e.Architecture != format.Platform.Architecture {
			continue
		}
		name, ok := emulators[e.Architecture]
		kernel, modelled := binary.KernelFor(e, platform.Compat{}, 4096)
		if !ok || !modelled {
			continue
		}
		q := *p
		q.emulates, q.kernel = true, kernel
		// Emulators have all that there is of a CPU.
		q.host = Host{Platform: platform.Platform{OS: "linux", Architecture: e.Architecture}, CPULevel: 4}
		return &q, "qemu-" + name, true
	}
	return nil, "", false
}

// emulated starts a program by an emulator. The kernel's part has succeeded then: what is
// wrong with the program is for the emulator to say.
func (p *prover) emulated(name string, info *rootfs.Info, format binary.Format, scripts []script, q *prover, emulator string) error {
	p.warn(CauseEmulated, printable(info.Path)+" is "+format.Name+", and starts only because the host emulates that ("+emulator+", binfmt_misc with flag F): without it, it is an exec format error")
	q.proof.Warnings = nil
	err := q.program(name, info, format, scripts)
	p.proof.Steps, p.proof.Warnings = q.proof.Steps, append(p.proof.Warnings, q.proof.Warnings...)
	p.loaderInfo, p.settled = q.loaderInfo, q.settled
	var end *ending
	if !errors.As(err, &end) || end.failure == nil || end.failure.Stage != StageExec {
		return err
	}
	f := end.failure
	switch {
	case f.Errno == "ENOEXEC":
		return unknown("%s is %s that no kernel of its own takes, and what %s makes of it is not modelled", printable(info.Path), format.Name, emulator)
	case f.Errno == "ELIBBAD":
		f.Message = emulator + ": " + printable(f.Path) + ": Invalid ELF image for this architecture"
	case f.Path != "":
		f.Message = emulator + ": Could not open '" + printable(f.Path) + "': " + sentence(f.Errno)
	}
	f.Stage, f.ExitCode = StageRun, 255 // main of linux-user/main.c exits with -1
	return err
}
