package binary

import (
	"encoding/binary"
	"slices"

	"berth/platform"
)

// Kernel is how Linux on one architecture reads ELF files. It goes by the host's
// own class and byte order, not by what the file says of itself.
type Kernel struct {
	// PageSize is what segments are mapped by.
	PageSize int
	// Version is its release, where it is known: what changed between releases is not
	// modelled otherwise.
	Version Version
	// formats are tried in order, as search_binary_handler of fs/exec.c does: the
	// native one, then fs/compat_binfmt_elf.c.
	formats []format
	// rare is a format that few kernels are built with, and nobody says of which hosts;
	// nil where there is none.
	rare *format
}

// Version is a release of Linux, "6.1"; zero is one that is not known.
type Version struct{ Major, Minor int }

// Known tells whether v is a release.
func (v Version) Known() bool { return v != Version{} }

// Since tells whether v is known to be this release or a later one.
func (v Version) Since(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor && v.Known()
}

// format is one instance of fs/binfmt_elf.c.
type format struct {
	arch  string
	class byte
	order binary.ByteOrder
	// check is elf_check_arch: it returns why the kernel refuses, or "".
	check func(h *header) string
}

// pageSizes are what distributions configure where an architecture has several;
// the others have 4096. loong64: defconfig, ppc64: Debian and RHEL.
var pageSizes = map[string]int{"ppc64": 65536, "ppc64le": 65536, "loong64": 16384}

// KernelFor is the kernel of a host. It is false for systems other than Linux and
// for architectures that are not modelled. A pageSize of zero is the
// architecture's usual one.
func KernelFor(host platform.Platform, compat platform.Compat, pageSize int) (Kernel, bool) {
	host = platform.Normalize(host)
	native, ok := formats[host.Architecture]
	if host.OS != "linux" || !ok {
		return Kernel{}, false
	}
	k := Kernel{PageSize: pageSize, formats: []format{native}}
	if k.PageSize == 0 {
		k.PageSize = 4096
		if usual, ok := pageSizes[host.Architecture]; ok {
			k.PageSize = usual
		}
	}
	if host.Architecture == "amd64" {
		k.rare = &x32
	}
	switch {
	case host.Architecture == "amd64" && compat.IA32:
		k.formats = append(k.formats, formats["386"])
	case host.Architecture == "arm64" && compat.AArch32:
		k.formats = append(k.formats, aarch32)
	}
	return k, true
}

// WithoutX32 is k built without CONFIG_X86_X32_ABI.
func (k Kernel) WithoutX32() Kernel {
	k.rare = nil
	return k
}

// Takes tells whether the kernel has a format for programs of platform p.
func (k Kernel) Takes(p platform.Platform) bool {
	return slices.ContainsFunc(k.formats, func(f format) bool { return f.arch == p.Architecture })
}

// The checks below are elf_check_arch of arch/*/include/asm/elf.h.
var formats = map[string]format{
	// arch/x86: neither class nor data are looked at.
	"amd64": {"amd64", class64, binary.LittleEndian, machine(emX8664)},
	"386":   {"386", class32, binary.LittleEndian, machine(em386, em486)},
	// arch/arm64: e_machine alone.
	"arm64": {"arm64", class64, binary.LittleEndian, machine(emAArch64)},
	// arch/arm/kernel/elf.c.
	"arm":     {"arm", class32, binary.LittleEndian, checkARM},
	"ppc64":   {"ppc64", class64, binary.BigEndian, machine(emPPC64)},
	"ppc64le": {"ppc64le", class64, binary.LittleEndian, machine(emPPC64)},
	// arch/s390, arch/riscv, arch/loongarch and arch/mips look at the class too.
	"s390x":    {"s390x", class64, binary.BigEndian, classAnd(class64, machine(emS390, emS390Old))},
	"riscv64":  {"riscv64", class64, binary.LittleEndian, classAnd(class64, machine(emRISCV))},
	"loong64":  {"loong64", class64, binary.LittleEndian, classAnd(class64, machine(emLoongArch))},
	"mips":     {"mips", class32, binary.BigEndian, classAnd(class32, checkO32)},
	"mipsle":   {"mipsle", class32, binary.LittleEndian, classAnd(class32, checkO32)},
	"mips64":   {"mips64", class64, binary.BigEndian, classAnd(class64, machine(emMIPS))},
	"mips64le": {"mips64le", class64, binary.LittleEndian, classAnd(class64, machine(emMIPS))},
}

// aarch32 is compat_elf_check_arch of arch/arm64/include/asm/elf.h, on a CPU that
// has 32-bit EL0.
var aarch32 = format{"arm", class32, binary.LittleEndian, func(h *header) string {
	if why := machine(emARM)(h); why != "" {
		return why
	}
	if h.flags&armEABIMask == 0 {
		return "it does not say an EABI version, which 64-bit kernels ask of 32-bit ARM programs"
	}
	return ""
}}

// x32 is what compat_elf_check_arch of arch/x86/include/asm/elf.h adds with
// CONFIG_X86_X32_ABI: 32-bit pointers on x86-64.
var x32 = format{"", class32, binary.LittleEndian, machine(emX8664)}

const anotherMachine = "it is for another machine"

func machine(machines ...uint16) func(*header) string {
	return func(h *header) string {
		for _, m := range machines {
			if h.machine == m {
				return ""
			}
		}
		return anotherMachine
	}
}

func classAnd(class byte, check func(*header) string) func(*header) string {
	return func(h *header) string {
		if why := check(h); why != "" {
			return why
		}
		if h.class != class {
			return "it is for a machine of another word size"
		}
		return ""
	}
}

func checkARM(h *header) string {
	if why := machine(emARM)(h); why != "" {
		return why
	}
	// "Make sure the entry address is reasonable": ARM code lies at multiples of 4,
	// Thumb code has the lowest bit set.
	if h.entry&3 == 2 {
		return "its entry address is not one of ARM or Thumb code"
	}
	return ""
}

// checkO32 is elfo32_check_arch of arch/mips/include/asm/elf.h.
func checkO32(h *header) string {
	const abiMask, abiO32 = 0xf000, 0x1000
	if why := machine(emMIPS)(h); why != "" {
		return why
	}
	if abi := h.flags & abiMask; h.flags&mipsABI2 != 0 || abi != 0 && abi != abiO32 {
		return "its MIPS ABI is not o32"
	}
	return ""
}
