package launch

import (
	"errors"
	"strconv"
	"strings"

	"berth/binary"
	"berth/rootfs"
)

// builtFor looks at which CPUs a program was built for, where the host's is known to be old
// enough for that to matter: only then is it worth what reading further into the file costs.
func (p *prover) builtFor(info *rootfs.Info, program *binary.Program) error {
	switch level := p.host.level(); {
	case program.Arch == "amd64" && level > 0 && level < 4:
		return p.builtForAMD64(info, program, level)
	case program.Arch == "arm" && p.host.Platform.Architecture == "arm":
		if version, err := strconv.Atoi(strings.TrimPrefix(p.host.Platform.Variant, "v")); err == nil && version < 7 {
			return p.builtForARM(info, program, version)
		}
	}
	return nil
}

// goBuild reads what Go recorded of a program, nil where it is no Go program or has nothing
// recorded within reach.
func (p *prover) goBuild(info *rootfs.Info, program *binary.Program) (*binary.GoBuild, error) {
	head, err := p.head(info, binary.HeadSize)
	if err != nil || !program.IsGo(head) {
		return nil, err
	}
	build, err := readAs(p, info, program.GoBuild)
	var reason *binary.UnmodelledError
	if errors.As(err, &reason) {
		p.warn(CauseCPULevel, "which CPUs "+printable(info.Path)+" was built for was not read: "+reason.Reason)
		return nil, nil
	}
	return build, err
}

// builtForAMD64 is the check of GOAMD64 with which a Go program begins: rt0_go of Go's
// runtime/asm_amd64.s.
func (p *prover) builtForAMD64(info *rootfs.Info, program *binary.Program, have int) error {
	build, err := p.goBuild(info, program)
	if err != nil || build == nil {
		return err
	}
	need, err := strconv.Atoi(strings.TrimPrefix(build.AMD64, "v"))
	if err != nil || need <= have || need > 4 {
		return nil
	}
	failure := Failure{
		Stage: StageRun, ExitCode: 1, Cause: CauseCPULevel,
		Message: "This program can only be run on AMD64 processors with v" + strconv.Itoa(need) + " microarchitecture support.",
		Detail:  printable(info.Path) + " is a Go program that was built with GOAMD64=v" + strconv.Itoa(need) + ", and the host has x86-64-v" + strconv.Itoa(have),
		Fix:     "build it with GOAMD64=v" + strconv.Itoa(have) + ", or run it on a newer machine type",
	}
	p.blame(&failure, info)
	return fails(failure)
}

// builtForARM warns of a program for a newer ARM architecture: whether it comes to an
// instruction that the CPU has not is not in its headers.
func (p *prover) builtForARM(info *rootfs.Info, program *binary.Program, have int) error {
	build, err := p.goBuild(info, program)
	if err != nil {
		return err
	}
	need, how := 0, "GOARM="
	if build != nil {
		version, _, _ := strings.Cut(build.ARM, ",")
		need, _ = strconv.Atoi(version)
		how += build.ARM
	} else {
		need, err = readAs(p, info, program.ARMVersion)
		var reason *binary.UnmodelledError
		if errors.As(err, &reason) {
			p.warn(CauseCPULevel, "which CPUs "+printable(info.Path)+" was built for was not read: "+reason.Reason)
			return nil
		} else if err != nil {
			return err
		}
		how = "its build attributes say ARMv" + strconv.Itoa(need)
	}
	if need > have {
		p.warn(CauseCPULevel, printable(info.Path)+" was built for a newer CPU than the host's ARMv"+strconv.Itoa(have)+" ("+how+"): it is likely to die of an illegal instruction")
	}
	return nil
}
