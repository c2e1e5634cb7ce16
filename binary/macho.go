package binary

import (
	"encoding/binary"

	"berth/platform"
)

// machOCPUs are cputype values of mach/machine.h.
var machOCPUs = map[uint32]string{7: "386", 0x01000007: "amd64", 12: "arm", 0x0100000c: "arm64"}

func identifyMachO(head []byte) (Format, bool) {
	if len(head) < 8 {
		return Format{}, false
	}
	f := Format{Kind: MachO, Name: "a macOS executable"}
	var order binary.ByteOrder = binary.LittleEndian
	switch binary.BigEndian.Uint32(head) {
	case 0xfeedface, 0xfeedfacf:
		order = binary.BigEndian
	case 0xcefaedfe, 0xcffaedfe:
	case 0xcafebabe, 0xcafebabf:
		// A Java class begins with the same bytes, followed by its version, which is
		// at least 45; file(1) draws the same line.
		if n := binary.BigEndian.Uint32(head[4:]); n == 0 || n > 40 {
			return Format{}, false
		}
		f.Name = "a macOS executable for several machines"
		return f, true
	default:
		return Format{}, false
	}
	if arch, ok := machOCPUs[order.Uint32(head[4:])]; ok {
		f.Platform = platform.Platform{OS: "darwin", Architecture: arch}
		f.Name = "a macOS executable for " + platform.Format(f.Platform)
	}
	return f, true
}
