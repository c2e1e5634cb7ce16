package binary

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Death is a program that the kernel takes, and that dies before its first
// instruction: execve succeeded, so there is no error to report, and the shell sees a
// signal.
type Death struct {
	// Signal is its name, Number its number: an exit code of 128 and that.
	Signal string
	Number int
	// Reason is a clause about the file.
	Reason string
}

func segv(format string, args ...any) *Death {
	return &Death{"SIGSEGV", 11, fmt.Sprintf(format, args...)}
}

// Addresses that every kernel configuration lets a program have. Between these and
// what some kernels refuse lies what is not modelled. 64-bit: arm64 with 39 bits of
// address space is the smallest, and the stack and the loader need some of it.
// 32-bit: a 2G/2G split. Low: what vm.mmap_min_addr is set to.
const (
	lowestAddress    = 65536
	highestAddress64 = 1 << 37
	highestAddress32 = 1 << 31
	// mostMemory bounds the size of an image that no overcommit setting minds.
	mostMemory = 4 << 30
	// mostFile bounds offsets. A file of ext4 has at most 16 TiB.
	mostFile = 1 << 40
	// mostAlign bounds p_align, by which position-independent programs are placed.
	mostAlign = 1 << 30
)

// Map is load_elf_binary of fs/binfmt_elf.c after its point of no return, for a file
// of size bytes. It returns nil where the segments are mapped and the first
// instruction is there, and fails with an [*UnmodelledError] where that depends on
// more than is modelled here. The program says whether the kernel jumps to it, or to
// the interpreter that was loaded for it.
func (p *Program) Map(size int64) (*Death, error) {
	var loads []segment
	for _, s := range p.segments {
		if s.typ == ptLoad {
			loads = append(loads, s)
		}
	}
	if p.header.typ != typeExec && p.header.typ != typeDyn {
		// load_elf_interp; a program of another type was refused before.
		return segv("its ELF type is not an executable's"), nil
	}
	switch {
	case len(loads) == 0 && p.HasInterp && p.header.typ == typeExec:
		return nil, &UnmodelledError{"it has no segment to load, and what its loader makes of that is not modelled"}
	case len(loads) == 0:
		return segv("it has no segment to load"), nil
	}
	for _, s := range loads {
		switch {
		case s.filesz > s.memsz:
			return segv("a segment has more bytes in the file than in memory"), nil
		case s.filesz > 0 && (s.vaddr-s.offset)%p.page != 0:
			return segv("a segment's address and its offset in the file differ modulo the page size of %d", p.page), nil
		}
	}
	if reason := p.odd(loads); reason != "" {
		return nil, &UnmodelledError{reason}
	}
	if death, err := p.cut(loads, size); death != nil || err != nil {
		return death, err
	}
	return p.enter(loads)
}

// odd says what is unusual about segments that may work all the same.
func (p *Program) odd(loads []segment) string {
	highest := uint64(highestAddress64)
	if p.Is32() {
		highest = highestAddress32
	}
	for i, s := range loads {
		switch {
		case s.vaddr >= highest || s.memsz >= highest || s.vaddr+s.memsz > highest:
			return "a segment lies at an address that not every kernel has"
		case p.header.typ == typeExec && s.vaddr < lowestAddress:
			return "a segment lies at an address that depends on the host's sysctl vm.mmap_min_addr"
		case s.palign > mostAlign:
			return "a segment asks for an alignment of more than 1 GiB"
		case s.filesz == 0 && s.vaddr%p.page != 0:
			return "a segment without bytes in the file begins within a page"
		case s.filesz < s.memsz && s.flags&pfWrite == 0 && s.filesz > 0:
			return "a segment that cannot be written to has memory beyond its bytes in the file"
		case i > 0 && p.pageStart(s.vaddr) < p.pageEnd(loads[i-1].vaddr+loads[i-1].memsz):
			return "its segments overlap, or are not in the order of their addresses"
		}
	}
	first, last := loads[0], loads[len(loads)-1]
	if last.vaddr+last.memsz-first.vaddr > mostMemory {
		return "it takes more than 4 GiB of memory"
	}
	return ""
}

// cut looks at segments that go beyond the end of the file. Mapping them works;
// touching a page that is wholly beyond does not.
func (p *Program) cut(loads []segment, size int64) (*Death, error) {
	for _, s := range loads {
		// file_mmap_ok of mm/mmap.c: no file system has files that long.
		if s.filesz > 0 && (s.offset > math.MaxInt64 || s.offset+s.filesz > math.MaxInt64) {
			return segv("a segment's offset is no offset in a file"), nil
		}
		if s.offset > mostFile {
			return nil, &UnmodelledError{"a segment's offset is one that not every file system has"}
		}
	}
	end := uint64(size)
	beyond := slices.ContainsFunc(loads, func(s segment) bool { return s.offset > end || s.filesz > end-s.offset })
	if !beyond {
		return nil, nil
	}
	const why = "the file is cut off: it has %d bytes, and its segments go on"
	// padzero: the kernel itself clears the rest of the last page of data. Before Linux
	// 6.6 it did so for the last segment alone.
	last := loads[len(loads)-1]
	if bytesEnd := last.offset + last.filesz; last.flags&pfWrite != 0 && last.memsz > last.filesz &&
		last.filesz > 0 && bytesEnd%p.page != 0 && p.pageStart(bytesEnd) >= end && last.offset <= bytesEnd {
		return segv(why, size), nil
	}
	if !p.HasInterp {
		for _, s := range loads {
			if at := p.header.entry - s.vaddr; p.header.entry >= s.vaddr && at < s.filesz && s.flags&pfExec != 0 && p.pageStart(s.offset+at) >= end {
				return &Death{"SIGBUS", 7, fmt.Sprintf(why, size)}, nil
			}
		}
	}
	return nil, &UnmodelledError{fmt.Sprintf(why+", and how far it gets is not modelled", size)}
}

// enter looks at where the kernel jumps to.
func (p *Program) enter(loads []segment) (*Death, error) {
	entry := p.header.entry
	if p.functionDescriptors() {
		return nil, nil
	}
	entry &^= p.modeBit()
	var mapped *segment
	for i, s := range loads {
		if entry >= s.vaddr && entry-s.vaddr < s.filesz && s.flags&pfExec != 0 {
			return nil, nil
		}
		if entry >= p.pageStart(s.vaddr) && entry < p.pageEnd(s.vaddr+s.memsz) {
			mapped = &loads[i]
		}
	}
	switch {
	case p.HasInterp:
		return nil, &UnmodelledError{"its entry address is not in its code, and what its loader makes of that is not modelled"}
	case mapped == nil && p.header.typ == typeExec:
		return segv("its entry address is in none of its segments"), nil
	case mapped == nil:
		return nil, &UnmodelledError{"its entry address is in none of its segments, and what lies there is up to the kernel"}
	case mapped.flags&pfExec != 0:
		return nil, &UnmodelledError{"its entry address is in its code's pages and not in its code"}
	case p.dataRuns:
		return nil, &UnmodelledError{"its entry address is in data, which some kernels let it execute"}
	}
	return segv("its entry address is in a segment that is not executable"), nil
}

// readImpliesExec tells whether some kernels make all memory executable:
// elf_read_implies_exec of arch/*/include/asm/elf.h, where PT_GNU_STACK is missing or
// asks for it.
func readImpliesExec(segments []segment) bool {
	for _, s := range segments {
		if s.typ == ptGNUStack {
			return s.flags&pfExec != 0
		}
	}
	return true
}

// functionDescriptors tells whether the entry address is that of a function
// descriptor, which is data: ABI 1 of the 64-bit PowerPC.
func (p *Program) functionDescriptors() bool {
	return (p.Arch == "ppc64" || p.Arch == "ppc64le") && p.header.flags&ppc64ABIMask != 2
}

// modeBit is the bit of the entry address that selects an instruction set: Thumb,
// or MIPS16 and microMIPS.
func (p *Program) modeBit() uint64 {
	switch p.Arch {
	case "arm", "mips", "mipsle", "mips64", "mips64le":
		return 1
	}
	return 0
}

// MaxPage is the largest page by which its segments can be mapped, of those that Linux
// has on architectures with several; zero where there is none.
func (p *Program) MaxPage() int {
	for _, page := range []uint64{64 << 10, 16 << 10, 4 << 10} {
		if !slices.ContainsFunc(p.segments, func(s segment) bool {
			return s.typ == ptLoad && s.filesz > 0 && (s.vaddr-s.offset)%page != 0
		}) {
			return int(page)
		}
	}
	return 0
}

// Is32 tells whether it has addresses of 32 bits.
func (p *Program) Is32() bool { return p.size == class32 }

func (p *Program) pageStart(address uint64) uint64 { return address &^ (p.page - 1) }

func (p *Program) pageEnd(address uint64) uint64 { return p.pageStart(address + p.page - 1) }

// BigEndian tells its byte order.
func (p *Program) BigEndian() bool { return formats[p.Arch].order == binary.BigEndian }
