package explain

import "berth/launch"

// Kind says what decides whether a cause holds.
type Kind int

const (
	// InBytes: a proof decides it.
	InBytes Kind = iota
	// InManifest: what the image claims decides it, held against a deploy target.
	InManifest
	// Beyond: it lies in the image, and beyond what a proof looks at.
	Beyond
	// Elsewhere: it does not lie in the image.
	Elsewhere
)

// The words of causes beside those of a refused start. Those of [InManifest] are
// the names of rules of package check.
const (
	platformMissing    = "platform-missing"
	indexRefused       = "index-refused"
	attestationRefused = "attestation-refused"
	labelsDisagree     = "labels-disagree"
	mediaTypeRefused   = "media-type-refused"
	compressionRefused = "compression-refused"

	missingLibrary = "missing-library"
	badLibrary     = "bad-library"
	symbolVersion  = "symbol-version"
	otherLibc      = "other-libc"
	cpuLevel       = "cpu-level"
	kernelTooOld   = "kernel-too-old"

	otherImage    = "other-image"
	otherHost     = "other-host"
	overridden    = "overridden"
	mounted       = "mounted"
	confinement   = "confinement"
	oldEngine     = "old-engine"
	emulator      = "emulator"
	killed        = "killed"
	programFault  = "program-fault"
	childProgram  = "child-program"
	notListening  = "not-listening"
	pullForbidden = "pull-forbidden"
)

// Cause is what a text can come from.
type Cause struct {
	// Word is stable. Where package launch or a rule has the same cause, the word is theirs.
	Word string
	Kind Kind
	// Title is a clause without its subject's details.
	Title string
	// FindOut says how to tell by hand.
	FindOut string
	// Fix says what to change.
	Fix string
}

// Causes are all causes, by what decides them.
func Causes() []Cause {
	return []Cause{
		{launch.CauseWrongMachine, InBytes, "the program is for another architecture than the host", "berth prove IMAGE names the architecture of each executable", "build or copy the image for the platform of the host (docker buildx build --platform)"},
		{launch.CauseNoShebang, InBytes, "the entrypoint is a script whose first line is not #!", "head -c2 of the file is not #!; a blank or an empty line before it is enough", "make #!/bin/sh, or another interpreter's path, the first line"},
		{launch.CauseByteOrderMark, InBytes, "the script begins with a byte order mark, or is in UTF-16", "head -c3 of the file is not #!", "save it as UTF-8 without a byte order mark"},
		{launch.CauseEmptyFile, InBytes, "the file is empty", "the file's size is 0", "find out why the build left it empty"},
		{launch.CauseLFSPointer, InBytes, "the file is a Git LFS pointer, which was never fetched", "the file is a short text about git-lfs", "run git lfs pull before the build"},
		{launch.CauseCompressed, InBytes, "the file is still compressed", "file(1) calls it gzip or zip data", "unpack it in the build"},
		{launch.CauseObjectFile, InBytes, "the file is what a compiler wrote, not what a linker wrote", "file(1) calls it relocatable", "copy the executable"},
		{launch.CauseWindowsExecutable, InBytes, "the program is for Windows", "the file begins with MZ", "build it for the platform of the host"},
		{launch.CauseMachO, InBytes, "the program is for macOS", "file(1) calls it Mach-O", "build it for the platform of the host"},
		{launch.CauseMalformedELF, InBytes, "the executable is cut off or damaged", "readelf -l complains about the file", "build or copy it again"},
		{launch.CauseNotAProgram, InBytes, "the file is no program", "file(1) says what it is", "check what the build copies there"},
		{launch.CauseBadShebang, InBytes, "the script's first line names no interpreter that the kernel can read", "look at the first line: it must be #! and a path, in the first 256 bytes", "make #!/bin/sh, or another interpreter's path, the first line"},
		{launch.CauseCRLFShebang, InBytes, "the script has Windows line endings", "head -1 FILE | od -c shows \\r", "save it with Unix line endings (*.sh text eol=lf in .gitattributes)"},
		{launch.CauseMissingInterpreter, InBytes, "the interpreter that the script names is not in the image", "the path after #! does not exist in the image: Alpine and distroless images have no /bin/bash", "install it, or name one that the image has"},
		{launch.CauseBadInterpreter, InBytes, "the interpreter that the script names cannot be executed", "look at the mode of the path after #!", "name an interpreter that the user may execute"},
		{launch.CauseShebangLoop, InBytes, "scripts are interpreters of one another", "follow the first lines", "name a real interpreter"},
		{launch.CauseMissingLoader, InBytes, "the program is dynamically linked, and its loader is not in the image: a glibc program on Alpine or scratch, or a musl program elsewhere", "readelf -l FILE names the loader under INTERP", "link it statically (Go: CGO_ENABLED=0), or use a base image with its libc"},
		{launch.CauseBadLoader, InBytes, "the program's loader is in the image and is no loader", "readelf -l FILE names the loader under INTERP", "take the loader from the distribution that the program was built on"},
		{launch.CauseWrongMachineLoader, InBytes, "the program's loader is for another architecture than the program", "file(1) of program and loader", "take base image and program for the same platform"},
		{launch.CauseSegmentLayout, InBytes, "the executable cannot be mapped into memory: it is cut off, or a library", "readelf -lW FILE shows its segments", "build or copy it again"},
		{launch.CauseNotFound, InBytes, "the program is not in the image at this path", "the path in ENTRYPOINT or CMD is not the one of the COPY", "correct the path, or the COPY"},
		{launch.CauseNotExecutable, InBytes, "the file's mode does not let the user execute it", "ls -l in the image shows no x", "RUN chmod +x FILE, or COPY --chmod=755"},
		{launch.CauseNoAccess, InBytes, "a folder on the way to the program is closed to the user", "look at the modes of its folders, and at USER", "open the folder, or run as its owner"},
		{launch.CauseDirectory, InBytes, "the path is a folder", "ls -ld in the image", "name the program in the folder"},
		{launch.CausePath, InBytes, "the path cannot be followed: links in a circle, a file in the place of a folder", "namei -l in the image", "correct the path or the links"},
		{launch.CauseRelativePath, InBytes, "the program is found through a relative entry of PATH", "look at PATH in the image's environment", "make every entry of PATH absolute"},
		{launch.CauseUnknownUser, InBytes, "USER names a user that /etc/passwd of the image does not have", "look for it in /etc/passwd of the image", "create it before USER, or give its number"},
		{launch.CauseUnknownGroup, InBytes, "USER names a group that /etc/group of the image does not have", "look for it in /etc/group of the image", "create it before USER, or give its number"},
		{launch.CauseWorkingDir, InBytes, "WORKDIR is no folder that the user may enter", "look at WORKDIR in the image's config", "correct WORKDIR"},
		{launch.CauseNoCommand, InBytes, "the image has neither an entrypoint nor a command", "berth inspect IMAGE -o json shows both", "add ENTRYPOINT or CMD, or give a command where it is deployed"},
		{launch.CauseUnpack, InBytes, "engines refuse to unpack a layer", "berth prove IMAGE names the layer", "build the layer with a tool that engines agree with"},

		{platformMissing, InManifest, "the image has nothing for the platform that is needed", "berth inspect IMAGE lists its platforms", "copy or build the image for that platform"},
		{attestationRefused, InManifest, "build attestations make an index of a single image, and the target takes none", "berth inspect IMAGE shows an attestation", "build with --provenance=false --sbom=false, or copy the one manifest (berth copy --for)"},
		{indexRefused, InManifest, "the image is a multi-platform index, and the target takes none", "berth inspect IMAGE calls it an index", "copy the one manifest that the target runs (berth copy --for)"},
		{mediaTypeRefused, InManifest, "the image is in OCI media types, and the target takes Docker's only", "berth inspect IMAGE shows the media type", "build it with oci-mediatypes=false"},
		{compressionRefused, InManifest, "layers are compressed in a way that the engine does not unpack: zstd on an old engine, or mixed", "berth inspect IMAGE -o json shows the media type of each layer", "build with compression=gzip,force-compression=true"},
		{labelsDisagree, InManifest, "the index and the image's config name different platforms", "berth inspect IMAGE shows what is declared and what is configured", "build it again with one builder"},

		{missingLibrary, Beyond, "a shared library that the program needs is not in the image", "readelf -d FILE lists them under NEEDED", "install the package that has it, in the final stage too"},
		{badLibrary, Beyond, "a shared library is for another architecture or is damaged", "file(1) of the library", "install it for the platform of the image"},
		{symbolVersion, Beyond, "the program was built against a newer libc or libstdc++ than the image has", "readelf -V FILE lists the versions that it needs", "build on the distribution release that it runs on, or link statically"},
		{otherLibc, Beyond, "the program was built against glibc, and the image has musl (or the other way round)", "readelf -l FILE names the loader under INTERP", "build in a stage of the same base image, or link statically"},
		{cpuLevel, Beyond, "the program or its base image needs a newer CPU than the host has: x86-64-v2, v3", "grep flags /proc/cpuinfo on the host; virtual machines often hide what the CPU has (choose the host's CPU type)", "use a base image or build for the lower level (GOAMD64=v1), or another machine type"},
		{kernelTooOld, Beyond, "the image's libc needs a newer kernel than the host has", "uname -r on the host", "update the host, or use an older base image"},

		{otherImage, Elsewhere, "what ran was another image: the tag has been pushed again since, or a cached one was used", "compare the digest that ran with the one that the tag has now", "deploy by digest"},
		{otherHost, Elsewhere, "it ran on a host of another platform than was assumed", "uname -m on the host; nodes and instances of a cluster may differ", "pin the platform where it is deployed, or copy a platform for every host"},
		{overridden, Elsewhere, "the deployment starts another command, user or working directory than the image says", "look for command, args, entryPoint, user in the deployment", "correct it there"},
		{mounted, Elsewhere, "a volume hides or brings the file", "look for mounts at or above the path", "mount it elsewhere"},
		{confinement, Elsewhere, "the host forbids it: a noexec mount, SELinux, AppArmor, seccomp", "look at the mount options, and at the host's audit log", "mount without noexec, or correct the profile"},
		{oldEngine, Elsewhere, "the engine is too old for the image", "docker version, containerd --version on the host", "update the engine"},
		{emulator, Elsewhere, "the program runs under emulation (QEMU, Rosetta), and the emulator fails", "uname -m on the host, and the platform of the image, differ", "run an image of the host's own platform"},
		{killed, Elsewhere, "it did start and was killed from outside, most often for its memory", "look for OOMKilled, and at the memory limit", "raise the limit, or use less"},
		{programFault, Elsewhere, "it did start, and the program itself failed", "look at what the program wrote", "correct the program or its settings"},
		{childProgram, Elsewhere, "the entrypoint starts, and a program that it starts fails", "look at what the entrypoint runs", "name that program: berth explain --image IMAGE 'exec PROGRAM: …'"},
		{notListening, Elsewhere, "it does start, and does not listen on the port in time", "does it listen on 0.0.0.0 and $PORT?", "listen on 0.0.0.0:$PORT"},
		{pullForbidden, Elsewhere, "the registry does not know the image, or does not let the puller in", "berth inspect IMAGE with the same credentials", "correct the reference or the permissions"},
	}
}

// causeOf is the cause of a word; for one that is not in [Causes], the word itself.
func causeOf(word string) Cause {
	for _, c := range Causes() {
		if c.Word == word {
			return c
		}
	}
	return Cause{Word: word, Kind: InBytes, Title: word}
}
