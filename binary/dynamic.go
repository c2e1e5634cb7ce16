package binary

import (
	"bytes"
	"errors"
	"fmt"
)

// Dynamic is what a dynamic loader reads of a program or a library: its PT_DYNAMIC
// segment and the tables that this points to.
type Dynamic struct {
	// Needed are the libraries that it names, in order.
	Needed []string
	Soname string
	// RPath and RunPath are search paths, folders with colons between them.
	RPath, RunPath string
	// NoDefault says that the loader's own folders are not searched (DF_1_NODEFLIB).
	NoDefault bool
	// Audits says that it has libraries loaded by other means than Needed: filters,
	// and auditors.
	Audits bool
	// Requires are the symbol versions that it needs of other files, Provides those that it
	// has; nil where it has no such table.
	Requires []VersionNeed
	Provides map[string]bool
	// ISA is the x86-64 level that it is marked to need, 1 to 4; zero where it has no mark.
	ISA int
}

// VersionNeed is a symbol version that is needed.
type VersionNeed struct {
	File, Version string
	// Weak says that the loader does without.
	Weak bool
}

// Tags of the dynamic section, from include/uapi/linux/elf.h and glibc's elf/elf.h.
const (
	dtNeeded, dtStrtab, dtStrsz, dtSoname, dtRpath, dtRunpath = 1, 5, 10, 14, 15, 29
	dtFlags1                                                  = 0x6ffffffb
	dtVerdef, dtVerneed                                       = 0x6ffffffc, 0x6ffffffe
	dtAuxiliary, dtFilter                                     = 0x7ffffffd, 0x7fffffff
	dtAudit, dtDepAudit                                       = 0x6ffffefc, 0x6ffffefb
	noDefaultLibraries                                        = 0x800 // DF_1_NODEFLIB
)

const (
	ptDynamic, ptNote = 2, 4
	// maxDynamic is how many entries of a table are read. Debian's largest programs have a
	// few hundred.
	maxDynamic = 4096
)

// Match is what a loader's search makes of a file that has the name it looks for:
// open_verify of glibc's elf/dl-load.c.
type Match int

const (
	Matches      Match = iota
	OtherClass         // passed over: of the other word size
	OtherMachine       // passed over: for another machine
	TooShort           // the end of the search, and of the start
	NoLibrary          // the same: no ELF file
	Unusual            // not modelled
)

// MatchLibrary tells whether the loader of p takes a file for a library.
func (p *Program) MatchLibrary(head []byte, size int64) Match {
	f := formats[p.Arch]
	ehsize := headerSize64
	if f.class == class32 {
		ehsize = headerSize32
	}
	switch {
	case size < int64(ehsize) || len(head) < ehsize:
		return TooShort
	case !bytes.HasPrefix(head, []byte(elfMagic)):
		return NoLibrary
	case head[4] != f.class && (head[4] == class32 || head[4] == class64):
		return OtherClass
	}
	own, _ := ParseHeader(head)
	h := f.header(head)
	switch {
	case head[4] != f.class || own.order() != f.order || head[5] != dataLE && head[5] != dataBE || head[6] != 1:
		return Unusual
	case h.machine != p.header.machine:
		return OtherMachine
	case h.typ != typeDyn, head[7] != 0 && head[7] != 3, head[8] != 0:
		return Unusual
	case abiFlags(p.Arch, h.flags) != abiFlags(p.Arch, p.header.flags):
		return Unusual
	}
	return Matches
}

// abiFlags are the bits of e_flags by which loaders tell ABIs apart:
// elf_machine_matches_host of glibc's sysdeps/*/dl-machine.h.
func abiFlags(arch string, flags uint32) uint32 {
	switch arch {
	case "riscv64":
		return flags & 0x6 // EF_RISCV_FLOAT_ABI
	case "loong64":
		return flags & 0x7 // EF_LARCH_ABI_MODIFIER_MASK
	case "ppc64", "ppc64le":
		return flags & ppc64ABIMask
	case "mips", "mipsle", "mips64", "mips64le":
		return flags & (mipsNaN2008 | mipsABI2)
	}
	return 0
}

// Dynamic reads what the loader of p would read of a file, p's own or a library's that
// [Program.MatchLibrary] takes. It returns nil for a file without PT_DYNAMIC. The error is a
// [*NeedError] or an [*UnmodelledError].
func (p *Program) Dynamic(head []byte, size int64) (*Dynamic, error) {
	return p.DynamicOf(Head(head), size)
}

// DynamicOf is Dynamic of a file in pieces. A [*NeedError] says that not all of those are there
// that [LoaderParts] names.
func (p *Program) DynamicOf(parts Parts, size int64) (*Dynamic, error) {
	return p.dynamic(parts, size, func(int64, int64) {})
}

// dynamic calls touched with each place that it reads.
func (p *Program) dynamic(parts Parts, size int64, touched func(offset, n int64)) (*Dynamic, error) {
	f := formats[p.Arch]
	head := parts.From(0)
	if len(head) < headerSize64 {
		return nil, &UnmodelledError{"it is too short for a library"}
	}
	segments, err := Kernel{PageSize: maxPhdrs}.segments(f, f.header(head), head, size)
	if err != nil {
		return nil, notRefused(err)
	}
	r := dynamicReader{f: f, segments: segments, parts: parts, size: size, touched: touched}
	d, err := r.read()
	if d != nil && err == nil && p.Arch == "amd64" {
		d.ISA, err = r.isa()
	}
	return d, notRefused(err)
}

// notRefused turns what a kernel would refuse into what is not modelled: a loader does
// something else.
func notRefused(err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return &UnmodelledError{refusal.Reason}
	}
	return err
}

// dynamicReader reads tables by the addresses that they will have.
type dynamicReader struct {
	f        format
	segments []segment
	parts    Parts
	size     int64
	touched  func(offset, n int64)
	// strings is where the string table starts, and stringsEnd where it ends.
	strings, stringsEnd uint64
}

func (r *dynamicReader) read() (*Dynamic, error) {
	var table *segment
	for i, s := range r.segments {
		if s.typ == ptDynamic {
			table = &r.segments[i]
		}
	}
	if table == nil {
		return nil, nil
	}
	entry := 2 * r.word()
	if table.filesz > uint64(maxDynamic*entry) {
		return nil, &UnmodelledError{fmt.Sprintf("its dynamic section has more than %d entries", maxDynamic)}
	}
	raw, err := r.slice(table.offset, table.filesz, "dynamic section")
	if err != nil {
		return nil, err
	}
	values := map[uint64]uint64{}
	var needed []uint64
	for ; len(raw) >= entry; raw = raw[entry:] {
		tag, value := r.number(raw), r.number(raw[r.word():])
		if tag == 0 {
			break
		}
		if tag == dtNeeded {
			needed = append(needed, value)
		} else {
			values[tag] = value
		}
	}
	if r.strings, err = r.locate(values[dtStrtab], values[dtStrsz], "string table"); err != nil {
		return nil, err
	}
	r.stringsEnd = r.strings + values[dtStrsz]
	d := &Dynamic{NoDefault: values[dtFlags1]&noDefaultLibraries != 0}
	for _, tag := range []uint64{dtAuxiliary, dtFilter, dtAudit, dtDepAudit} {
		_, has := values[tag]
		d.Audits = d.Audits || has
	}
	for _, offset := range needed {
		name, err := r.text(offset)
		if err != nil {
			return nil, err
		}
		d.Needed = append(d.Needed, name)
	}
	for tag, to := range map[uint64]*string{dtSoname: &d.Soname, dtRpath: &d.RPath, dtRunpath: &d.RunPath} {
		if offset, has := values[tag]; has {
			if *to, err = r.text(offset); err != nil {
				return nil, err
			}
		}
	}
	if at, has := values[dtVerneed]; has {
		if err := r.requires(d, at); err != nil {
			return nil, err
		}
	}
	if at, has := values[dtVerdef]; has {
		if err := r.provides(d, at); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// requires reads Verneed and Vernaux of glibc's elf/elf.h.
func (r *dynamicReader) requires(d *Dynamic, at uint64) error {
	for range maxDynamic {
		need, err := r.at(at, 16, "table of needed versions")
		if err != nil {
			return err
		}
		file, err := r.text(uint64(r.f.order.Uint32(need[4:])))
		if err != nil {
			return err
		}
		aux := at + uint64(r.f.order.Uint32(need[8:]))
		for more := true; more; {
			raw, err := r.at(aux, 16, "table of needed versions")
			if err != nil {
				return err
			}
			version, err := r.text(uint64(r.f.order.Uint32(raw[8:])))
			if err != nil {
				return err
			}
			if len(d.Requires) == maxDynamic {
				return &UnmodelledError{fmt.Sprintf("it needs more than %d symbol versions", maxDynamic)}
			}
			const weak = 2 // VER_FLG_WEAK
			d.Requires = append(d.Requires, VersionNeed{file, version, r.f.order.Uint16(raw[4:])&weak != 0})
			next := r.f.order.Uint32(raw[12:])
			aux, more = aux+uint64(next), next != 0
		}
		next := r.f.order.Uint32(need[12:])
		if next == 0 {
			return nil
		}
		at += uint64(next)
	}
	return &UnmodelledError{fmt.Sprintf("it needs versions of more than %d files", maxDynamic)}
}

// provides reads Verdef and Verdaux of glibc's elf/elf.h.
func (r *dynamicReader) provides(d *Dynamic, at uint64) error {
	d.Provides = map[string]bool{}
	for range maxDynamic {
		raw, err := r.at(at, 20, "table of versions")
		if err != nil {
			return err
		}
		aux, err := r.at(at+uint64(r.f.order.Uint32(raw[12:])), 8, "table of versions")
		if err != nil {
			return err
		}
		name, err := r.text(uint64(r.f.order.Uint32(aux)))
		if err != nil {
			return err
		}
		d.Provides[name] = true
		next := r.f.order.Uint32(raw[16:])
		if next == 0 {
			return nil
		}
		at += uint64(next)
	}
	return &UnmodelledError{fmt.Sprintf("it has more than %d symbol versions", maxDynamic)}
}

// at reads n bytes at an address.
func (r *dynamicReader) at(address, n uint64, what string) ([]byte, error) {
	offset, err := r.locate(address, n, what)
	if err != nil {
		return nil, err
	}
	return r.slice(offset, n, what)
}

// locate is where in the file the n bytes at an address are.
func (r *dynamicReader) locate(address, n uint64, what string) (uint64, error) {
	for _, s := range r.segments {
		if s.typ == ptLoad && address >= s.vaddr && address-s.vaddr <= s.filesz && n <= s.filesz-(address-s.vaddr) {
			offset := s.offset + address - s.vaddr
			if _, err := slice(nil, r.size, offset, n, what); err != nil && !isNeed(err) {
				return 0, err
			}
			return offset, nil
		}
	}
	return 0, &UnmodelledError{"its " + what + " is in none of its segments"}
}

func (r *dynamicReader) slice(offset, n uint64, what string) ([]byte, error) {
	raw, err := sliceOf(r.parts, r.size, offset, n, what)
	r.touched(int64(offset), int64(len(raw)))
	return raw, err
}

// text is a string of the string table.
func (r *dynamicReader) text(offset uint64) (string, error) {
	const table = "string table"
	if offset >= r.stringsEnd-r.strings {
		return "", &UnmodelledError{"its " + table + " does not have a name that it uses"}
	}
	s, err := stringAt(r.parts, r.strings+offset, r.stringsEnd, table)
	r.touched(int64(r.strings+offset), int64(len(s))+1)
	return string(s), err
}

func (r *dynamicReader) word() int {
	if r.f.class == class32 {
		return 4
	}
	return 8
}

func (r *dynamicReader) number(b []byte) uint64 {
	if r.f.class == class32 {
		return uint64(r.f.order.Uint32(b))
	}
	return r.f.order.Uint64(b)
}

// isa reads GNU_PROPERTY_X86_ISA_1_NEEDED where _dl_process_pt_note of glibc's
// sysdeps/x86/dl-prop.h finds it: in PT_NOTE segments that are aligned to 8, and not by
// PT_GNU_PROPERTY.
func (r *dynamicReader) isa() (int, error) {
	const maxNote = 4096
	highest := 0
	for _, s := range r.segments {
		if s.typ != ptNote || s.filesz > maxNote || s.palign != 8 {
			continue
		}
		note, err := r.slice(s.offset, s.filesz, "note")
		if err != nil {
			return 0, err
		}
		highest = max(highest, isaOf(r.f, note))
	}
	return highest, nil
}

// isaOf returns the highest level that a note's property asks for.
func isaOf(f format, note []byte) int {
	const (
		noteHeader  = 16         // struct elf_note and "GNU\0"
		gnuProperty = 5          // NT_GNU_PROPERTY_TYPE_0
		isaNeeded   = 0xc0008002 // GNU_PROPERTY_X86_ISA_1_NEEDED
	)
	for len(note) >= noteHeader {
		size := uint64(f.order.Uint32(note[4:]))
		if size > uint64(len(note)-noteHeader) || f.order.Uint32(note) != 4 {
			return 0
		}
		desc := note[noteHeader : noteHeader+size]
		if f.order.Uint32(note[8:]) == gnuProperty && string(note[12:16]) == "GNU\x00" {
			for len(desc) >= 8 {
				typ, n := f.order.Uint32(desc), uint64(f.order.Uint32(desc[4:]))
				if n > uint64(len(desc)-8) {
					return 0
				}
				if typ == isaNeeded && n == 4 {
					bits, level := f.order.Uint32(desc[8:]), 0
					for ; bits != 0; bits >>= 1 {
						level++
					}
					return level
				}
				desc = desc[min(8+(n+7)&^7, uint64(len(desc))):]
			}
		}
		note = note[min(noteHeader+(size+7)&^7, uint64(len(note))):]
	}
	return 0
}
