package binary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"berth/platform"
)

// made is an ELF file with any header and segments, to be varied.
type made struct {
	order    binary.AppendByteOrder
	class    byte
	machine  uint16
	typ      uint16
	flags    uint32
	entry    uint64
	segments []segment
}

// bytes are the file: headers, and 4096 bytes in all.
func (m made) bytes() []byte {
	b := append([]byte(elfMagic), m.class, 1, 1)
	b = append(b, make([]byte, 16-len(b))...)
	word := func(b []byte, v uint64) []byte {
		if m.class == class64 {
			return m.order.AppendUint64(b, v)
		}
		return m.order.AppendUint32(b, uint32(v))
	}
	header, one := headerSize64, phdrSize64
	if m.class == class32 {
		header, one = headerSize32, phdrSize32
	}
	b = m.order.AppendUint16(b, m.typ)
	b = m.order.AppendUint16(b, m.machine)
	b = m.order.AppendUint32(b, 1)
	b = word(word(word(b, m.entry), uint64(header)), 0)
	b = m.order.AppendUint32(b, m.flags)
	for _, half := range []int{header, one, len(m.segments), 0, 0, 0} {
		b = m.order.AppendUint16(b, uint16(half))
	}
	for _, s := range m.segments {
		b = m.order.AppendUint32(b, s.typ)
		if m.class == class64 {
			b = m.order.AppendUint32(b, s.flags)
		}
		for _, v := range []uint64{s.offset, s.vaddr, s.vaddr, s.filesz, s.memsz} {
			b = word(b, v)
		}
		if m.class == class32 {
			b = m.order.AppendUint32(b, s.flags)
		}
		b = word(b, s.palign)
	}
	return append(b, make([]byte, 4096-len(b))...)
}

// TestKernels is what the kernels of other machines look at. There is no such machine
// here to ask: the sources are the authority.
func TestKernels(t *testing.T) {
	code := segment{typ: ptLoad, flags: 5, vaddr: 0x10000, filesz: 4096, memsz: 4096, palign: 0x10000}
	data := segment{typ: ptLoad, flags: 6, vaddr: 0x20000, filesz: 4096, memsz: 4096, palign: 0x10000}
	noExec := segment{typ: ptGNUStack, flags: 6}
	le, be := binary.LittleEndian, binary.BigEndian
	arm := made{le, class32, emARM, typeExec, 0x5000400, 0x10100, []segment{code}}
	arm64 := made{le, class64, emAArch64, typeExec, 0, 0x10100, []segment{code}}
	mips := made{be, class32, emMIPS, typeExec, 0x1000, 0x10100, []segment{code}}
	ppc64 := made{be, class64, emPPC64, typeExec, 1, 0x10100, []segment{code}}
	riscv := made{le, class64, emRISCV, typeExec, 5, 0x10100, []segment{code}}
	for _, c := range []struct {
		name, arch string
		file       made
		change     func(*made)
		want       string // errno, signal, "unmodelled", or empty
	}{
		{"arm", "arm", arm, nil, ""},
		{"arm, Thumb", "arm", arm, func(m *made) { m.entry = 0x10001 }, ""},
		{"arm, neither ARM nor Thumb", "arm", arm, func(m *made) { m.entry = 0x10002 }, "ENOEXEC"},
		{"arm, Thumb beyond its code", "arm", arm, func(m *made) { m.entry = 0x1000001 }, "SIGSEGV"},
		{"arm64", "arm64", arm64, nil, ""},
		{"arm64 of any class", "arm64", arm64, func(m *made) { m.class = class32 }, "ENOEXEC"}, // its header has another shape
		{"arm64 big endian", "arm64", arm64, func(m *made) { m.order = be }, "ENOEXEC"},
		{"arm64, entry in no segment", "arm64", arm64, func(m *made) { m.entry = 0x900000 }, "SIGSEGV"},
		{"arm64, position-independent, entry in no segment", "arm64", arm64, func(m *made) { m.typ, m.entry = typeDyn, 0x900000 }, "unmodelled"},
		{"arm64, entry in data", "arm64", arm64, func(m *made) { m.segments, m.entry = []segment{code, data, noExec}, 0x20000 }, "SIGSEGV"},
		{"arm64, property outside of the file", "arm64", arm64, func(m *made) {
			m.segments = []segment{code, {typ: ptGNUProp, offset: 1 << 20, filesz: 32}}
		}, "unmodelled"},
		{"arm64, property malformed", "arm64", arm64, func(m *made) {
			m.segments = []segment{code, {typ: ptGNUProp, offset: 2048, filesz: 32}}
		}, "unmodelled"},
		{"mips", "mips", mips, nil, ""},
		{"mips, n32", "mips", mips, func(m *made) { m.flags |= mipsABI2 }, "ENOEXEC"},
		{"mips, another ABI", "mips", mips, func(m *made) { m.flags = 0x2000 }, "ENOEXEC"},
		{"mips, NaN of 2008", "mips", mips, func(m *made) { m.flags |= mipsNaN2008 }, "unmodelled"},
		{"ppc64, a function descriptor", "ppc64", ppc64, func(m *made) { m.segments, m.entry = []segment{code, data, noExec}, 0x20000 }, ""},
		{"ppc64, ABI 2", "ppc64", ppc64, func(m *made) { m.segments, m.entry, m.flags = []segment{code, data, noExec}, 0x20000, 2 }, "SIGSEGV"},
		{"riscv64", "riscv64", riscv, nil, ""},
		{"segments overlap", "riscv64", riscv, func(m *made) { m.segments = []segment{code, code} }, "unmodelled"},
		{"segments out of order", "riscv64", riscv, func(m *made) { m.segments = []segment{data, code} }, "unmodelled"},
		{"more than 4 GiB", "riscv64", riscv, func(m *made) { m.segments[0].memsz, m.segments[0].flags = 5<<30, 7 }, "unmodelled"},
		{"memory behind what cannot be written to", "riscv64", riscv, func(m *made) { m.segments[0].memsz++ }, "unmodelled"},
		{"alignment", "riscv64", riscv, func(m *made) { m.segments[0].palign = 1 << 40 }, "unmodelled"},
		{"cut, and the kernel clears beyond the end", "riscv64", riscv, func(m *made) {
			m.segments = []segment{code, {typ: ptLoad, flags: 6, vaddr: 0x20000, filesz: 0x2001, memsz: 0x3000}}
		}, "SIGSEGV"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kernel, ok := KernelFor(platform.Platform{OS: "linux", Architecture: c.arch}, platform.Compat{}, 4096)
			if !ok {
				t.Fatalf("no kernel for %s", c.arch)
			}
			file := c.file
			file.segments = slices.Clone(file.segments)
			if c.change != nil {
				c.change(&file)
			}
			got := ""
			program, err := kernel.Load(file.bytes(), 4096)
			if err == nil {
				var death *Death
				if death, err = program.Map(4096); death != nil {
					got = death.Signal
				}
			}
			var refusal *Refusal
			var unmodelled *UnmodelledError
			if errors.As(err, &refusal) {
				got = refusal.Errno
			} else if errors.As(err, &unmodelled) {
				got = "unmodelled"
			}
			if got != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

// TestProperty has arm64's kernel read a well-formed note.
func TestProperty(t *testing.T) {
	file := made{binary.LittleEndian, class64, emAArch64, typeExec, 0, 0x10100, []segment{
		{typ: ptLoad, flags: 5, vaddr: 0x10000, filesz: 4096, memsz: 4096},
		{typ: ptGNUProp, offset: 2048, filesz: 32},
	}}.bytes()
	// A note of 16 bytes by GNU, of type 5, with one property: BTI and PAC.
	note := "\x04\x00\x00\x00\x10\x00\x00\x00\x05\x00\x00\x00GNU\x00\x00\x00\x00\xc0\x04\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00"
	copy(file[2048:], note)
	kernel, _ := KernelFor(platform.MustParse("linux/arm64"), platform.Compat{}, 0)
	if _, err := kernel.Load(file, 4096); err != nil {
		t.Errorf("well-formed: %v", err)
	}
	for at := range 16 {
		broken := bytes.Clone(file)
		broken[2048+at] ^= 0x80
		var unmodelled *UnmodelledError
		if _, err := kernel.Load(broken, 4096); !errors.As(err, &unmodelled) {
			t.Errorf("with byte %d changed: %v", at, err)
		}
	}
}
