package binary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Program is an ELF file as a kernel took it.
type Program struct {
	// Arch is GOARCH's name of the format that took it: on amd64, "386" where IA32
	// emulation did.
	Arch string
	// Interp is what PT_INTERP names; HasInterp tells an empty name from none.
	Interp    string
	HasInterp bool

	header   header
	segments []segment
	size     byte // class32 or class64: how it was read, whatever it says
	page     uint64
	// dataRuns says that some kernels let the program execute its data.
	dataRuns bool
}

// header is an ELF header as a kernel reads it.
type header struct {
	class     byte
	typ       uint16
	machine   uint16
	entry     uint64
	phoff     uint64
	flags     uint32
	phentsize uint16
	phnum     uint16
}

// segment is a program header.
type segment struct {
	typ, flags            uint32
	offset, vaddr         uint64
	filesz, memsz, palign uint64
}

// bprmSize is what the kernel reads of a file before it knows the format, filled up
// with zeros: BINPRM_BUF_SIZE. The ELF header is taken from there.
const bprmSize = 256

// Sizes that fs/binfmt_elf.c checks against: struct elf_phdr, PATH_MAX, and the bound
// on all program headers together.
const (
	headerSize32, headerSize64 = 52, 64
	phdrSize32, phdrSize64     = 32, 56
	pathMax                    = 4096
	maxPhdrs                   = 65536
)

// Load is load_elf_binary of fs/binfmt_elf.c, up to the point where the interpreter
// is opened. The error is a [*Refusal] where the kernel refuses, a [*NeedError]
// where head is too short, or an [*UnmodelledError].
func (k Kernel) Load(head []byte, size int64) (*Program, error) {
	var why *Refusal
	for _, f := range k.formats {
		p, err := k.load(f, head, size, false)
		if err == nil {
			return p, nil
		}
		// search_binary_handler tries the next format after ENOEXEC alone.
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Errno != "ENOEXEC" {
			return nil, err
		}
		// The format that the file is for has more to say.
		if why == nil || why.Reason == anotherMachine {
			why = refusal
		}
	}
	if k.rare != nil {
		var refusal *Refusal
		if _, rarely := k.load(*k.rare, head, size, false); !errors.As(rarely, &refusal) || refusal.Errno != "ENOEXEC" {
			return nil, &UnmodelledError{"it is an x32 program, which only kernels with CONFIG_X86_X32_ABI execute"}
		}
	}
	return nil, why
}

// LoadInterpreter is what load_elf_binary checks of the file that PT_INTERP of p
// names. The error is as for [Kernel.Load].
func (k Kernel) LoadInterpreter(p *Program, head []byte, size int64) (*Program, error) {
	for _, f := range k.formats {
		if f.arch != p.Arch {
			continue
		}
		headerSize := int64(headerSize64)
		if f.class == class32 {
			headerSize = headerSize32
		}
		// elf_read: a short read is EIO.
		if size < headerSize {
			return nil, &Refusal{"EIO", fmt.Sprintf("it has %d bytes, less than an ELF header", size)}
		}
		interp, err := k.load(f, head, size, true)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil, &Refusal{"ELIBBAD", refusal.Reason}
		} else if err != nil {
			return nil, err
		}
		interp.dataRuns = p.dataRuns // the program decides, by its PT_GNU_STACK
		return interp, nil
	}
	return nil, &UnmodelledError{"no format of this kernel loaded the program"}
}

// load reads head as f does. An interpreter's own PT_INTERP is not looked at.
func (k Kernel) load(f format, head []byte, size int64, interpreter bool) (*Program, error) {
	if want := int(min(size, bprmSize)); len(head) < want {
		return nil, &NeedError{Bytes: want}
	}
	var buf [bprmSize]byte
	copy(buf[:], head)
	if !bytes.HasPrefix(buf[:], []byte(elfMagic)) {
		return nil, &Refusal{"ENOEXEC", "it is no ELF file"}
	}
	h := f.header(buf[:])
	if !interpreter && h.typ != typeExec && h.typ != typeDyn {
		return nil, &Refusal{"ENOEXEC", "its ELF type is not an executable's"}
	}
	if why := f.check(&h); why != "" {
		return nil, &Refusal{"ENOEXEC", why}
	}
	segments, err := k.segments(f, h, head, size)
	if err != nil {
		return nil, err
	}
	if err := archChecks(f, h, segments, head, size); err != nil {
		return nil, err
	}
	p := &Program{Arch: f.arch, header: h, segments: segments, size: f.class, page: uint64(k.PageSize)}
	// Since 5.8 no 64-bit program of x86-64 has its data executed for want of PT_GNU_STACK:
	// the table in arch/x86/include/asm/elf.h.
	p.dataRuns = readImpliesExec(segments) && !(f.arch == "amd64" && k.Version.Since(5, 8))
	if interpreter {
		return p, nil
	}
	for _, s := range segments {
		if s.typ == ptInterp {
			p.HasInterp = true
			p.Interp, err = interpreterName(s, head, size)
			return p, err
		}
	}
	return p, nil
}

func (f format) header(b []byte) header {
	o := f.order
	h := header{class: b[4], typ: o.Uint16(b[16:]), machine: o.Uint16(b[18:])}
	if f.class == class64 {
		h.entry, h.phoff, h.flags = o.Uint64(b[24:]), o.Uint64(b[32:]), o.Uint32(b[48:])
		h.phentsize, h.phnum = o.Uint16(b[54:]), o.Uint16(b[56:])
		return h
	}
	h.entry, h.phoff, h.flags = uint64(o.Uint32(b[24:])), uint64(o.Uint32(b[28:])), o.Uint32(b[36:])
	h.phentsize, h.phnum = o.Uint16(b[42:]), o.Uint16(b[44:])
	return h
}

// segments is load_elf_phdrs: whatever is wrong there is ENOEXEC.
func (k Kernel) segments(f format, h header, head []byte, size int64) ([]segment, error) {
	one := phdrSize64
	if f.class == class32 {
		one = phdrSize32
	}
	all := one * int(h.phnum)
	switch {
	case int(h.phentsize) != one:
		return nil, &Refusal{"ENOEXEC", fmt.Sprintf("it says that its program headers have %d bytes each, not %d", h.phentsize, one)}
	case all == 0:
		return nil, &Refusal{"ENOEXEC", "it has no program headers"}
	case all > maxPhdrs:
		return nil, &Refusal{"ENOEXEC", fmt.Sprintf("its %d program headers take more than %d KiB", h.phnum, maxPhdrs>>10)}
	case all > k.PageSize && k.Version.Known() && !k.Version.Since(6, 17):
		return nil, &Refusal{"ENOEXEC", fmt.Sprintf("its %d program headers take more than a page", h.phnum)}
	case all > k.PageSize && !k.Version.Known():
		return nil, &UnmodelledError{fmt.Sprintf("its %d program headers take more than a page, which Linux refuses before 6.17", h.phnum)}
	}
	raw, err := slice(head, size, h.phoff, uint64(all), "program headers")
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return nil, &Refusal{"ENOEXEC", refusal.Reason}
	} else if err != nil {
		return nil, err
	}
	segments := make([]segment, 0, h.phnum)
	for ; len(raw) > 0; raw = raw[one:] {
		segments = append(segments, f.segment(raw, f.order))
	}
	return segments, nil
}

func (f format) segment(b []byte, o binary.ByteOrder) segment {
	if f.class == class64 {
		return segment{
			typ: o.Uint32(b), flags: o.Uint32(b[4:]), offset: o.Uint64(b[8:]), vaddr: o.Uint64(b[16:]),
			filesz: o.Uint64(b[32:]), memsz: o.Uint64(b[40:]), palign: o.Uint64(b[48:]),
		}
	}
	return segment{
		typ: o.Uint32(b), offset: uint64(o.Uint32(b[4:])), vaddr: uint64(o.Uint32(b[8:])),
		filesz: uint64(o.Uint32(b[16:])), memsz: uint64(o.Uint32(b[20:])), flags: o.Uint32(b[24:]), palign: uint64(o.Uint32(b[28:])),
	}
}

// interpreterName reads the path that PT_INTERP points to.
func interpreterName(s segment, head []byte, size int64) (string, error) {
	if s.filesz < 2 || s.filesz > pathMax {
		return "", &Refusal{"ENOEXEC", fmt.Sprintf("the name of its loader has %d bytes, not 2 to %d", s.filesz, pathMax)}
	}
	raw, err := slice(head, size, s.offset, s.filesz, "the name of its loader")
	if err != nil {
		return "", err
	}
	if raw[len(raw)-1] != 0 {
		return "", &Refusal{"ENOEXEC", "the name of its loader does not end in NUL"}
	}
	return string(raw[:bytes.IndexByte(raw, 0)]), nil
}

// slice is elf_read of n bytes at offset: EIO where the file ends before, EINVAL
// where rw_verify_area of fs/read_write.c refuses the offset.
func slice(head []byte, size int64, offset, n uint64, what string) ([]byte, error) {
	if offset > math.MaxInt64 || offset+n > math.MaxInt64 {
		return nil, &Refusal{"EINVAL", fmt.Sprintf("the offset of its %s is no offset in a file", what)}
	}
	switch end := offset + n; {
	case end > uint64(size):
		return nil, &Refusal{"EIO", fmt.Sprintf("it has %d bytes, and its %s would end at byte %d", size, what, end)}
	case end <= uint64(len(head)):
		return head[offset:end], nil
	case end > MaxHead:
		return nil, &UnmodelledError{fmt.Sprintf("its %s lie beyond the first %d MiB, which is as far as berth reads into one file", what, MaxHead>>20)}
	default:
		return nil, &NeedError{Bytes: int(end)}
	}
}
