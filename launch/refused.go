package launch

import (
	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// notPrograms are the causes of files that no Linux host executes, each with its fix.
var notPrograms = map[binary.Flavor]struct{ cause, fix string }{
	binary.Empty:         {CauseEmptyFile, "find out why the build left it empty, and build again"},
	binary.LFSPointer:    {CauseLFSPointer, "run git lfs pull before the build (GitHub Actions: actions/checkout with lfs: true)"},
	binary.ByteOrderMark: {CauseByteOrderMark, "save the script as UTF-8 without a byte order mark"},
	binary.Gzip:          {CauseCompressed, "unpack it in the build"},
	binary.Zip:           {CauseCompressed, "unpack it in the build; a jar is started with java -jar"},
	binary.Text:          {CauseNoShebang, "make #!/bin/sh, or another interpreter's path, the first line of the file, without anything before it"},
	binary.CutHeader:     {CauseMalformedELF, "build or copy the file again: it is cut off"},
	binary.ObjectFile:    {CauseObjectFile, "copy what the linker wrote, not what the compiler wrote"},
}

// refused is the failure where no format of the kernel takes a file.
func (p *prover) refused(name string, info *rootfs.Info, format binary.Format, scripts []script, refusal *binary.Refusal) error {
	host := platform.Format(p.host.Platform)
	failure := Failure{
		Cause:  CauseNotAProgram,
		Detail: printable(info.Path) + " is " + format.Name,
		Fix:    "check what the build copies to " + printable(info.Path),
	}
	forHost := "build the image for " + host + " (docker buildx build --platform " + host + "), and check that the build stage compiles for TARGETARCH"
	known, isKnown := notPrograms[format.Flavor]
	switch {
	case isKnown:
		failure.Cause, failure.Fix = known.cause, known.fix
	case format.Kind == binary.PE:
		failure.Cause, failure.Fix = CauseWindowsExecutable, forHost
	case format.Kind == binary.MachO:
		failure.Cause, failure.Fix = CauseMachO, forHost
	case format.Kind == binary.ELF && !p.kernel.Takes(format.Platform):
		failure.Cause, failure.Fix = CauseWrongMachine, forHost
		failure.Detail += ", and the host runs " + host
	case format.Kind == binary.ELF:
		failure.Cause = CauseMalformedELF
		failure.Detail += ", which the kernel refuses: " + refusal.Reason
		failure.Fix = "build or copy the file again: it is damaged"
	}
	if len(scripts) > 0 {
		failure.Detail += "; it is the interpreter of " + printable(scripts[len(scripts)-1].info.Path)
	}
	return p.execFailed(name, refusal.Errno, info, failure)
}
