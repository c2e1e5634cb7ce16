package binary

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"berth/platform"
)

// Constants of the ELF header, from include/uapi/linux/elf.h and elf-em.h.
const (
	elfMagic = "\x7fELF"

	class32, class64 = 1, 2
	dataLE, dataBE   = 1, 2

	typeRel, typeExec, typeDyn, typeCore = 1, 2, 3, 4

	em386        = 3
	em486        = 6
	emMIPS       = 8
	emPPC        = 20
	emPPC64      = 21
	emS390       = 22
	emARM        = 40
	emSPARC      = 2
	emSPARCV9    = 43
	emX8664      = 62
	emAArch64    = 183
	emRISCV      = 243
	emLoongArch  = 258
	emS390Old    = 0xa390
	ptLoad       = 1
	ptInterp     = 3
	ptGNUStack   = 0x6474e551
	ptGNUProp    = 0x6474e553
	pfExec       = 1
	pfWrite      = 2
	mipsABI2     = 0x20       // EF_MIPS_ABI2: n32
	mipsNaN2008  = 0x400      // EF_MIPS_NAN2008
	armEABIMask  = 0xff000000 // EF_ARM_EABI_MASK
	ppc64ABIMask = 3
)

// Header is an ELF header as the file itself has it read: by its own class and
// byte order. A kernel does not ask for these; see [Kernel].
type Header struct {
	Class, Data, OSABI byte
	Type, Machine      uint16
	Flags              uint32
}

// ParseHeader reads the ELF header at the beginning of head. It is false for what
// does not begin with the magic, or is too short to name a machine.
func ParseHeader(head []byte) (Header, bool) {
	if !bytes.HasPrefix(head, []byte(elfMagic)) || len(head) < 20 {
		return Header{}, false
	}
	h := Header{Class: head[4], Data: head[5], OSABI: head[7]}
	order := h.order()
	h.Type, h.Machine = order.Uint16(head[16:]), order.Uint16(head[18:])
	flagsAt := 36
	if h.Class == class64 {
		flagsAt = 48
	}
	if len(head) >= flagsAt+4 {
		h.Flags = order.Uint32(head[flagsAt:])
	}
	return h, true
}

func (h Header) order() binary.ByteOrder {
	if h.Data == dataBE {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// architectures are the machines that have an OCI name, which is Go's GOARCH.
var architectures = []struct {
	machine uint16
	class   byte
	data    byte
	name    string
}{
	{emX8664, class64, dataLE, "amd64"},
	{em386, class32, dataLE, "386"},
	{em486, class32, dataLE, "386"},
	{emAArch64, class64, dataLE, "arm64"},
	{emAArch64, class64, dataBE, "arm64be"},
	{emARM, class32, dataLE, "arm"},
	{emARM, class32, dataBE, "armbe"},
	{emMIPS, class32, dataBE, "mips"},
	{emMIPS, class32, dataLE, "mipsle"},
	{emMIPS, class64, dataBE, "mips64"},
	{emMIPS, class64, dataLE, "mips64le"},
	{emPPC, class32, dataBE, "ppc"},
	{emPPC64, class64, dataBE, "ppc64"},
	{emPPC64, class64, dataLE, "ppc64le"},
	{emS390, class32, dataBE, "s390"},
	{emS390, class64, dataBE, "s390x"},
	{emRISCV, class32, dataLE, "riscv"},
	{emRISCV, class64, dataLE, "riscv64"},
	{emSPARC, class32, dataBE, "sparc"},
	{emSPARCV9, class64, dataBE, "sparc64"},
	{emLoongArch, class64, dataLE, "loong64"},
}

// operatingSystems are what EI_OSABI says of systems that programs are ported to.
// Linux has two values, and its kernel looks at neither.
var operatingSystems = map[byte]string{0: "linux", 3: "linux", 2: "netbsd", 6: "solaris", 9: "freebsd", 12: "openbsd"}

// Platform is what the file is for, by its own word. It is zero where the machine
// has no OCI name. arm has no variant here: the header does not say it.
func (h Header) Platform() platform.Platform {
	for _, a := range architectures {
		if a.machine == h.Machine && a.class == h.Class && a.data == h.Data {
			os, ok := operatingSystems[h.OSABI]
			if !ok {
				os = "linux"
			}
			return platform.Platform{OS: os, Architecture: a.name}
		}
	}
	return platform.Platform{}
}

func identifyELF(head []byte) (Format, bool) {
	if !bytes.HasPrefix(head, []byte(elfMagic)) {
		return Format{}, false
	}
	f := Format{Kind: ELF}
	h, ok := ParseHeader(head)
	if !ok {
		f.Flavor, f.Name = CutHeader, "an ELF file that is cut off in its header"
		return f, true
	}
	if h.Type == typeRel || h.Type == typeCore {
		f.Flavor = ObjectFile
	}
	what := map[uint16]string{typeRel: "object file", typeExec: "executable", typeDyn: "executable", typeCore: "core dump"}[h.Type]
	if what == "" {
		what = fmt.Sprintf("file of unknown type %d", h.Type)
	}
	f.Platform = h.Platform()
	if platform.Known(f.Platform) {
		f.Name = "an ELF " + what + " for " + platform.Format(f.Platform)
	} else if h.Machine == emX8664 && h.Class == class32 {
		f.Name = "an ELF " + what + " for x32 (32-bit pointers on x86-64), which has no platform name"
	} else {
		f.Name = fmt.Sprintf("an ELF %s for machine %d (class %d, data %d), which has no platform name", what, h.Machine, h.Class, h.Data)
	}
	return f, true
}
