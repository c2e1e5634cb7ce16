package binary

import (
	"bytes"
	"encoding/binary"

	"berth/platform"
)

// peMachines are IMAGE_FILE_MACHINE_* of the PE format (Microsoft, "PE Format").
var peMachines = map[uint16]string{0x14c: "386", 0x1c4: "arm", 0x8664: "amd64", 0xaa64: "arm64"}

func identifyPE(head []byte) (Format, bool) {
	if !bytes.HasPrefix(head, []byte("MZ")) {
		return Format{}, false
	}
	f := Format{Kind: PE, Name: "a Windows executable"}
	if len(head) < 0x40 {
		return f, true
	}
	// e_lfanew points to "PE\0\0" and the machine after it.
	at := int64(binary.LittleEndian.Uint32(head[0x3c:]))
	if at+6 > int64(len(head)) || !bytes.Equal(head[at:at+4], []byte("PE\x00\x00")) {
		return f, true
	}
	if arch, ok := peMachines[binary.LittleEndian.Uint16(head[at+4:])]; ok {
		f.Platform = platform.Platform{OS: "windows", Architecture: arch}
		f.Name = "a Windows executable for " + platform.Format(f.Platform)
	}
	return f, true
}
