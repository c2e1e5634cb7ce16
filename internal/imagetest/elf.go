package imagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"berth/platform"
)

// machines are ELF's e_machine, class and byte order per architecture (System V ABI,
// and each architecture's supplement).
var machines = map[string]struct {
	machine uint16
	bits    int
	order   binary.ByteOrder
	flags   uint32
}{
	"amd64":   {62, 64, binary.LittleEndian, 0},
	"386":     {3, 32, binary.LittleEndian, 0},
	"arm64":   {183, 64, binary.LittleEndian, 0},
	"arm":     {40, 32, binary.LittleEndian, 0x05000400}, // EABI 5, hard float
	"riscv64": {243, 64, binary.LittleEndian, 0x5},
	"ppc64le": {21, 64, binary.LittleEndian, 2},
	"s390x":   {22, 64, binary.BigEndian, 0},
	"loong64": {258, 64, binary.LittleEndian, 0x43},
}

// exitZero is machine code for exit(0), so that these executables really run.
var exitZero = map[string][]byte{
	"amd64": {0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05},             // xor edi,edi; mov eax,60; syscall
	"arm64": {0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4}, // mov x0,#0; mov x8,#93; svc #0
	"386":   {0x31, 0xdb, 0xb8, 1, 0, 0, 0, 0xcd, 0x80},                // xor ebx,ebx; mov eax,1; int 0x80
	"arm":   {0, 0, 0xa0, 0xe3, 1, 0x70, 0xa0, 0xe3, 0, 0, 0, 0xef},    // mov r0,#0; mov r7,#1; svc #0
}

// ELF is the smallest executable for a platform, with a dynamic loader where interp
// is not empty. For amd64, arm64, 386 and arm it exits with 0 when it is run.
func ELF(p platform.Platform, interp string) []byte {
	m, ok := machines[p.Architecture]
	if !ok {
		panic(fmt.Sprintf("imagetest: no ELF machine for %s", platform.Format(p)))
	}
	const base = 0x10000
	headers := 1
	if interp != "" {
		headers, interp = 2, interp+"\x00"
	}
	ehsize, phentsize := 64, 56
	if m.bits == 32 {
		ehsize, phentsize = 52, 32
	}
	interpAt := ehsize + headers*phentsize
	codeAt := (interpAt + len(interp) + 15) &^ 15
	size := codeAt + len(exitZero[p.Architecture])

	var out bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if word, ok := v.(word); ok { // an address or offset: as wide as the class
				v = uint64(word)
				if m.bits == 32 {
					v = uint32(word)
				}
			}
			must(binary.Write(&out, m.order, v))
		}
	}
	class, data := byte(2), byte(1)
	if m.bits == 32 {
		class = 1
	}
	if m.order == binary.BigEndian {
		data = 2
	}
	put([16]byte{0x7f, 'E', 'L', 'F', class, data, 1},
		uint16(2), m.machine, uint32(1), word(base+codeAt), word(ehsize), word(0),
		m.flags, uint16(ehsize), uint16(phentsize), uint16(headers), uint16(0), uint16(0), uint16(0))
	segment := func(kind, flags uint32, at, size int) {
		if m.bits == 64 {
			put(kind, flags, word(at), word(base+at), word(base+at), word(size), word(size), word(0x10000))
		} else {
			put(kind, word(at), word(base+at), word(base+at), word(size), word(size), flags, word(0x10000))
		}
	}
	if interp != "" {
		segment(3, 4, interpAt, len(interp)) // PT_INTERP
	}
	segment(1, 5, 0, size) // PT_LOAD, readable and executable
	out.WriteString(interp)
	out.Write(make([]byte, codeAt-out.Len()))
	out.Write(exitZero[p.Architecture])
	return out.Bytes()
}

// word is an address, an offset or a size, as wide as the ELF class says.
type word uint64
