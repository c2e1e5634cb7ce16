package binary

import (
	"bytes"
	"encoding/binary"
)

// Build attributes of ARM programs: "Build Attributes for the Arm Architecture" (ABI
// addenda), sections 3.2 and 3.3.
const (
	armAttributes = 0x70000003 // SHT_ARM_ATTRIBUTES
	tagCPUArch    = 6
	tagFile       = 1
	// Compilers write some 60 bytes of attributes, and some 30 sections.
	maxAttributes = 64 << 10
	maxSections   = 1024
	sectionSize32 = 40
)

// armVersions are values of Tag_CPU_arch for the A profile, as GOARM and OCI variants count.
var armVersions = map[uint64]int{1: 4, 2: 4, 3: 5, 4: 5, 5: 5, 6: 6, 7: 6, 8: 6, 9: 6, 10: 7, 14: 8}

// ARMVersion is the version of the ARM architecture that a 32-bit ARM program says that it
// was built for, 4 to 8, or zero where it does not say (Go does not). The section is near the
// end of a file: the error is a [*NeedError], or an [*UnmodelledError] beyond [MaxHead].
func (p *Program) ARMVersion(head []byte, size int64) (int, error) {
	if p.Arch != "arm" || len(head) < headerSize32 {
		return 0, nil
	}
	order := binary.LittleEndian
	offset, each, n := uint64(order.Uint32(head[32:])), order.Uint16(head[46:]), order.Uint16(head[48:])
	if offset == 0 || each != sectionSize32 || n == 0 || n > maxSections {
		return 0, nil
	}
	table, err := slice(head, size, offset, uint64(n)*sectionSize32, "section headers")
	if err != nil {
		return 0, notRefused(err)
	}
	for ; len(table) > 0; table = table[sectionSize32:] {
		if order.Uint32(table[4:]) != armAttributes {
			continue
		}
		length := uint64(order.Uint32(table[20:]))
		if length > maxAttributes {
			return 0, nil
		}
		raw, err := slice(head, size, uint64(order.Uint32(table[16:])), length, "build attributes")
		if err != nil {
			return 0, notRefused(err)
		}
		return armVersion(raw), nil
	}
	return 0, nil
}

// armVersion finds Tag_CPU_arch of the whole file in a section of attributes.
func armVersion(raw []byte) int {
	order := binary.LittleEndian
	if len(raw) < 5 || raw[0] != 'A' {
		return 0
	}
	raw = raw[1:]
	vendor, rest, ended := bytes.Cut(raw[4:], []byte{0})
	if !ended || string(vendor) != "aeabi" || len(rest) < 5 || rest[0] != tagFile {
		return 0
	}
	length := uint64(order.Uint32(rest[1:]))
	if length < 5 || length > uint64(len(rest)) {
		return 0
	}
	for attributes := rest[5:length]; len(attributes) > 0; {
		tag, used := binary.Uvarint(attributes)
		if used <= 0 {
			return 0
		}
		attributes = attributes[used:]
		// Of the tags below 32 only 4 and 5 have text; above, odd ones do; 32 has both.
		if tag == 32 {
			_, used := binary.Uvarint(attributes)
			if used <= 0 {
				return 0
			}
			attributes = attributes[used:]
		}
		if tag == 4 || tag == 5 || tag >= 32 && (tag%2 == 1 || tag == 32) {
			_, after, ended := bytes.Cut(attributes, []byte{0})
			if !ended {
				return 0
			}
			attributes = after
			continue
		}
		value, used := binary.Uvarint(attributes)
		if used <= 0 {
			return 0
		}
		if tag == tagCPUArch {
			return armVersions[value]
		}
		attributes = attributes[used:]
	}
	return 0
}
