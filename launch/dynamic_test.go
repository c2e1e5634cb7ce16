package launch

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// dynamicFile is a program or a library for linux/amd64 that loaders really load. It exits
// with 0.
type dynamicFile struct {
	interp         string // empty for a library
	needed         []string
	soname         string
	rpath, runpath string
	// requires are versions as "FILE VERSION", provides those that it has.
	requires [][2]string
	provides []string
	isa      uint32 // bits of GNU_PROPERTY_X86_ISA_1_NEEDED, or 0
}

// elfHash is the hash of the System V ABI, by which versions are compared.
func elfHash(s string) uint32 {
	var h uint32
	for _, c := range []byte(s) {
		h = h<<4 + uint32(c)
		g := h & 0xf0000000
		h = (h ^ g>>24) &^ g
	}
	return h
}

// build lays the file out: one segment of code and tables, and one that can be written to
// with the dynamic section.
func (d dynamicFile) build() string {
	order := binary.LittleEndian
	strings := []byte{0}
	text := func(s string) uint32 {
		at := len(strings)
		strings = append(append(strings, s...), 0)
		return uint32(at)
	}
	type tag struct{ tag, value uint64 }
	var tags []tag
	for _, n := range d.needed {
		tags = append(tags, tag{1, uint64(text(n))})
	}
	for _, t := range []struct {
		tag   uint64
		value string
	}{{14, d.soname}, {15, d.rpath}, {29, d.runpath}} {
		if t.value != "" {
			tags = append(tags, tag{t.tag, uint64(text(t.value))})
		}
	}
	var need, def bytes.Buffer
	put := func(b *bytes.Buffer, values ...any) {
		for _, v := range values {
			_ = binary.Write(b, order, v) // a buffer takes everything
		}
	}
	for i, r := range d.requires {
		next := uint32(32)
		if i == len(d.requires)-1 {
			next = 0
		}
		put(&need, uint16(1), uint16(1), text(r[0]), uint32(16), next)
		put(&need, elfHash(r[1]), uint16(0), uint16(i+2), text(r[1]), uint32(0))
	}
	provides := d.provides
	if len(provides) > 0 {
		provides = slices.Insert(slices.Clone(provides), 0, d.soname)
	}
	for i, v := range provides {
		next, flags := uint32(28), uint16(0)
		if i == len(provides)-1 {
			next = 0
		}
		if i == 0 {
			flags = 1 // VER_FLG_BASE
		}
		put(&def, uint16(1), flags, uint16(i+1), uint16(1), elfHash(v), uint32(20), next, text(v), uint32(0))
	}

	const page = 0x1000
	headers := 64 + 6*56
	var body bytes.Buffer
	place := func(b []byte) uint64 {
		for (headers+body.Len())%16 != 0 {
			body.WriteByte(0)
		}
		at := uint64(headers + body.Len())
		body.Write(b)
		return at
	}
	interpAt := place([]byte(d.interp + "\x00"))
	codeAt := place([]byte{0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05})
	stringsAt := place(strings)
	symbolsAt := place(make([]byte, 24))
	versymAt := place(make([]byte, 2))
	hashAt := place([]byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	tags = append(tags, tag{5, stringsAt}, tag{10, uint64(len(strings))}, tag{6, symbolsAt}, tag{11, 24}, tag{4, hashAt})
	if need.Len() > 0 {
		tags = append(tags, tag{0x6ffffffe, place(need.Bytes())}, tag{0x6fffffff, uint64(len(d.requires))})
	}
	if def.Len() > 0 {
		tags = append(tags, tag{0x6ffffffc, place(def.Bytes())}, tag{0x6ffffffd, uint64(len(provides))})
	}
	if need.Len()+def.Len() > 0 {
		tags = append(tags, tag{0x6ffffff0, versymAt})
	}
	var note bytes.Buffer
	put(&note, uint32(4), uint32(16), uint32(5), []byte("GNU\x00"), uint32(0xc0008002), uint32(4), d.isa, uint32(0))
	noteAt := place(note.Bytes())
	codeEnd := uint64(headers + body.Len())
	for (headers+body.Len())%page != 0 {
		body.WriteByte(0)
	}
	dynamicAt := uint64(headers + body.Len())
	for _, t := range append(tags, tag{0, 0}) {
		put(&body, t.tag, t.value)
	}
	dynamicSize := uint64(headers+body.Len()) - dynamicAt

	var out bytes.Buffer
	put(&out, []byte("\x7fELF\x02\x01\x01"), make([]byte, 9), uint16(3), uint16(62), uint32(1), codeAt, uint64(64), uint64(0),
		uint32(0), uint16(64), uint16(56), uint16(6), uint16(0), uint16(0), uint16(0))
	segment := func(kind, flags uint32, at, size, align uint64) {
		put(&out, kind, flags, at, at, at, size, size, align)
	}
	const unused = 0
	kind := func(used bool, kind uint32) uint32 {
		if used {
			return kind
		}
		return unused
	}
	segment(6, 4, 64, 6*56, 8) // PT_PHDR, by which loaders find out where the program is
	segment(kind(d.interp != "", 3), 4, interpAt, uint64(len(d.interp)+1), 1)
	segment(1, 5, 0, codeEnd, page)
	segment(1, 6, dynamicAt, dynamicSize, page)
	segment(2, 6, dynamicAt, dynamicSize, 8)
	segment(kind(d.isa != 0, 4), 4, noteAt, uint64(note.Len()), 8)
	return out.String() + body.String()
}

// program is a dynamicFile with glibc's loader, library one that libraries need.
func program(needed ...string) dynamicFile {
	return dynamicFile{interp: amd64Loader, needed: needed}
}

func library(soname string, needed ...string) string {
	return dynamicFile{soname: soname, needed: needed}.build()
}
