package binary

import (
	"encoding/binary"
	"errors"
)

// archChecks is what an architecture's kernel asks of a program beside its header:
// arch_check_elf, and parse_elf_properties of fs/binfmt_elf.c, where CONFIG_ARCH_USE_GNU_PROPERTY
// is set (arm64). It fails with an [*UnmodelledError] where it could refuse.
func archChecks(f format, h header, segments []segment, head []byte, size int64) error {
	switch f.arch {
	case "mips", "mipsle", "mips64", "mips64le":
		// mips_arch_check_elf of arch/mips/kernel/elf.c.
		if h.flags&mipsNaN2008 != 0 {
			return &UnmodelledError{"it uses the NaN encoding of IEEE 754-2008, which only some MIPS CPUs have"}
		}
	case "arm64":
		for _, s := range segments {
			if s.typ == ptGNUProp {
				return checkProperty(s, head, size)
			}
		}
	}
	return nil
}

// checkProperty looks at the head of the note that PT_GNU_PROPERTY points to. The kernel
// answers ENOEXEC to a malformed one, with details that are not modelled here.
func checkProperty(s segment, head []byte, size int64) error {
	const (
		noteHeader  = 16 // struct elf_note and "GNU\0"
		maxNote     = 1024
		gnuProperty = 5 // NT_GNU_PROPERTY_TYPE_0
	)
	malformed := &UnmodelledError{"its GNU property note is malformed"}
	if s.filesz < noteHeader || s.filesz > maxNote {
		return malformed
	}
	note, err := slice(head, size, s.offset, s.filesz, "GNU property note")
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return malformed
	} else if err != nil {
		return err
	}
	order := binary.LittleEndian
	data := note[noteHeader:]
	if order.Uint32(note) != 4 || order.Uint32(note[8:]) != gnuProperty || string(note[12:16]) != "GNU\x00" || uint64(order.Uint32(note[4:])) > uint64(len(data)) {
		return malformed
	}
	// Each property has a type, a size, and data padded to eight bytes, in ascending
	// order of types.
	data = data[:order.Uint32(note[4:])]
	for last := int64(-1); len(data) > 0; {
		if len(data) < 8 {
			return malformed
		}
		typ, n := int64(order.Uint32(data)), uint64(order.Uint32(data[4:]))
		n = (n + 7) &^ 7
		if typ <= last || n > uint64(len(data)-8) {
			return malformed
		}
		last, data = typ, data[8+n:]
	}
	return nil
}
