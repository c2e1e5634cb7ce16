package explain

import "berth/launch"

// loadTexts are what dynamic loaders, CPUs' checks and emulators say: execve has
// succeeded, and the program never got to its own code.
func loadTexts() []Text {
	return []Text{
		{
			ID: "wrong-library", Stage: launch.StageLoad, ExitCode: 127,
			Meaning: "The loader found a shared library and could not use it: it is for another architecture or is damaged.",
			Causes:  []string{badLibrary, otherLibc, launch.CauseWrongMachine},
			Forms: []Form{
				form("glibc's loader", "error while loading shared libraries", `(?P<path>[^\s:]{1,400}): error while loading shared libraries: (?P<object>[^:\s]{1,400}): (?:wrong ELF class: ELFCLASS\d+|invalid ELF header|file too short|ELF (?:file|load) [a-z/ -]+|cannot open shared object file: (?:Exec format error|Permission denied))`,
					"/usr/bin/app: error while loading shared libraries: libfoo.so.1: wrong ELF class: ELFCLASS32", "glibc elf/dl-load.c"),
				form("musl's loader", "error loading shared library", `Error loading shared library (?P<object>[^:\s]{1,400}): (?:Exec format error|Permission denied)(?: \(needed by (?P<path>[^)\s]{1,400})\))?`,
					"Error loading shared library libfoo.so.1: Exec format error (needed by /usr/bin/app)", "musl ldso/dynlink.c"),
			},
		},
		{
			ID: "missing-library", Stage: launch.StageLoad, ExitCode: 127,
			Meaning: "The program was started, and its loader did not find a shared library that it needs.",
			Causes:  []string{missingLibrary, otherLibc},
			Forms: []Form{
				form("glibc's loader", "error while loading shared libraries", `(?P<path>[^\s:]{1,400}): error while loading shared libraries: (?P<object>[^:\s]{1,400})(?:: cannot open shared object file(?:: No such file or directory)?)?`,
					"node: error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file or directory", "glibc elf/dl-load.c"),
				form("musl's loader", "error loading shared library", `Error loading shared library (?P<object>[^:\s]{1,400}): No such file or directory(?: \(needed by (?P<path>[^)\s]{1,400})\))?`,
					"Error loading shared library libstdc++.so.6: No such file or directory (needed by /usr/bin/app)", "musl ldso/dynlink.c"),
			},
		},
		{
			ID: "symbol-version", Stage: launch.StageLoad, ExitCode: 1,
			Meaning: "The program was built against a newer C or C++ library than the image has.",
			Causes:  []string{symbolVersion, otherLibc},
			Forms: []Form{
				form("glibc's loader", "not found", "(?:(?P<path>[^\\s:]{1,400}): )?(?:[^\\s:]{1,400}: )?version [`'\"](?P<object>[A-Z]+_[A-Za-z0-9_.]{1,40})['`\"] not found(?: \\(required by [^)]{1,400}\\))?",
					"/app: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /app)", "glibc elf/dl-version.c"),
			},
		},
		{
			ID: "missing-symbol", Stage: launch.StageLoad, ExitCode: 127,
			Meaning: "The loader found the libraries, and one of them lacks a function that the program needs: it was built against another libc, or another version.",
			Causes:  []string{otherLibc, symbolVersion, missingLibrary},
			Forms: []Form{
				form("musl's loader", "error relocating", `Error relocating (?P<path>[^\s:]{1,400}): (?P<object>[^\s:]{1,400}): symbol not found`,
					"Error relocating /usr/bin/app: __snprintf_chk: symbol not found", "musl ldso/dynlink.c"),
				form("glibc's loader", "symbol lookup error", `(?:(?P<path>[^\s:]{1,400}): )?symbol lookup error: [^\s:]{1,400}: undefined symbol: (?P<object>[^\s,]{1,400})`,
					"/usr/bin/app: symbol lookup error: /usr/lib/libfoo.so.1: undefined symbol: foo_open, version FOO_1", "glibc elf/dl-lookup.c"),
			},
		},
		{
			ID: "cpu-level", Stage: launch.StageRun, ExitCode: 127,
			Meaning: "The program is for a newer generation of CPUs than the host has, or shows to its guests.",
			Causes:  []string{cpuLevel, otherHost},
			Forms: []Form{
				form("glibc of RHEL 9 and 10, and of bases like them", "cpu does not support", `CPU does not support (?P<object>x86-64-v[2-4])`,
					"Fatal glibc error: CPU does not support x86-64-v2", "glibc sysdeps/x86/get-isa-level.h, sysdeps/x86_64/dl-machine.h; github.com/chainguard-images/images/issues/1658"),
				form("glibc's loader", "isa level", `(?:(?P<path>[^\s:]{1,400}): )?CPU ISA level is lower than required`,
					"/usr/bin/app: CPU ISA level is lower than required", "glibc sysdeps/x86/dl-isa-level.c"),
				form("Go", "microarchitecture support", `This program can only be run on AMD64 processors with (?P<object>v[2-4]) microarchitecture support`,
					"This program can only be run on AMD64 processors with v3 microarchitecture support.", "Go runtime/asm_amd64.s"),
			},
		},
		{
			ID: "kernel-too-old", Stage: launch.StageLoad, ExitCode: 127,
			Meaning: "The libc of the image needs a newer kernel than the host has.",
			Causes:  []string{kernelTooOld, otherHost},
			Forms: []Form{
				form("glibc", "kernel too old", `FATAL: kernel too old`, "FATAL: kernel too old", "glibc sysdeps/unix/sysv/linux/dl-sysdep.c"),
			},
		},
		{
			ID: "emulator-finds-no-loader", Stage: launch.StageExec, ExitCode: 255,
			Meaning: "A program of another architecture than the host was started under emulation, and the emulator did not find the program's loader in the image.",
			Causes:  []string{launch.CauseWrongMachine, launch.CauseMissingLoader, emulator},
			Forms: []Form{
				form("QEMU", "could not open '", `qemu-[a-z0-9_]+(?:-static)?: Could not open '(?P<object>/[^']{1,400})'`,
					"qemu-x86_64-static: Could not open '/lib64/ld-linux-x86-64.so.2': No such file or directory", "gitlab.com/qemu-project/qemu linux-user/elfload.c; github.com/thecodingmachine/docker-images-nodejs/issues/19"),
				form("Rosetta of Docker Desktop", "failed to open elf at", `rosetta error: failed to open elf at (?P<object>/\S{1,400})`,
					"rosetta error: failed to open elf at /lib64/ld-linux-x86-64.so.2", "github.com/docker/for-mac/issues/7644"),
			},
		},
		{
			ID: "emulator-fails", Stage: launch.StageRun,
			Meaning: "The program runs under emulation, because it is for another architecture than the host, and the emulator could not go on.",
			Causes:  []string{emulator, launch.CauseWrongMachine, programFault},
			Forms: []Form{
				form("QEMU", "uncaught target signal", `qemu: uncaught target signal \d+ \((?P<object>[^)]{1,60})\)`,
					"qemu: uncaught target signal 11 (Segmentation fault) - core dumped", "gitlab.com/qemu-project/qemu linux-user/signal.c"),
				form("QEMU", "guest_base", `Unable to find a guest_base to satisfy all guest address mapping requirements`,
					"qemu-x86_64-static: /usr/local/bin/podman_hello_world: Unable to find a guest_base to satisfy all guest address mapping requirements", "github.com/containers/PodmanHello/issues/6"),
				form("Rosetta of Docker Desktop", "rosetta error", `rosetta error: (?P<object>.{1,120})`,
					"rosetta error: Unable to open /proc/self/exe: 40", "github.com/docker/for-mac/issues/6973"),
			},
		},
	}
}
