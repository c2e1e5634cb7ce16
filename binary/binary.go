// Package binary says what a file is, and what a Linux kernel makes of it, from
// the first bytes of the file.
//
// Start with [Identify], which names a file as a person would ("an ELF executable
// for linux/arm64", "a Git LFS pointer"), whatever a kernel would think of it.
// Then ask what a kernel does: [ParseShebang] is fs/binfmt_script.c, and
// [Kernel.Load] is fs/binfmt_elf.c for one architecture. The two disagree on
// purpose: a kernel ignores most of what an ELF header says of itself.
//
// All functions are pure and work on the head of a file, because that is all
// that is read of a layer. Where the head is too short for an answer they say how
// many bytes it takes, with a [*NeedError].
package binary

import (
	"fmt"

	"berth/platform"
)

// HeadSize is how much of a file callers read at first: all program headers and the
// interpreter's name of almost every executable lie within the first KiB, and the
// kernel reads 256 bytes of a script.
const HeadSize = 4096

// MaxHead bounds what is read of one file to follow the offsets in its headers.
// Real files keep their program headers in the first page; an offset beyond 8 MiB
// is a broken or hostile file, and costs more than its answer is worth.
const MaxHead = 8 << 20

// Kind is the format of a file.
type Kind string

// The formats that [Identify] tells apart.
const (
	ELF     Kind = "elf"
	Script  Kind = "script" // begins with "#!"
	PE      Kind = "pe"     // Windows
	MachO   Kind = "macho"  // macOS
	Data    Kind = "data"   // anything else, of which Format.Name says more
	Missing Kind = "missing"
)

// Flavor tells files apart that people start by mistake, and that no Linux executes.
type Flavor string

// The flavors that have a cause of their own.
const (
	ObjectFile    Flavor = "object-file" // ELF, and no executable
	CutHeader     Flavor = "cut-header"  // ELF, too short to say more
	Empty         Flavor = "empty"
	LFSPointer    Flavor = "git-lfs-pointer"
	ByteOrderMark Flavor = "byte-order-mark"
	Gzip          Flavor = "gzip"
	Zip           Flavor = "zip"
	Text          Flavor = "text"
)

// Format is what [Identify] makes of a file.
type Format struct {
	Kind   Kind
	Flavor Flavor // empty where it is none of them
	// Name is a noun phrase: "an ELF executable for linux/arm64".
	Name string
	// Platform is what an executable is for, by its own word; zero for other files
	// and for machines that have no OCI name.
	Platform platform.Platform
}

// Identify names a file of size bytes that begins with head.
func Identify(head []byte, size int64) Format {
	if size == 0 {
		return Format{Kind: Data, Flavor: Empty, Name: "an empty file"}
	}
	for _, identify := range []func([]byte) (Format, bool){identifyELF, identifyScript, identifyPE, identifyMachO, identifyData} {
		if f, ok := identify(head); ok {
			return f
		}
	}
	return Format{Kind: Data, Name: "a file of no executable format"}
}

// NeedError says that an answer needs more of the file than the head that was given.
type NeedError struct {
	// Bytes is how long the head must be, at most [MaxHead].
	Bytes int
}

func (e *NeedError) Error() string { return fmt.Sprintf("the first %d bytes are needed", e.Bytes) }

// UnmodelledError says that a kernel's answer turns on something that is not modelled.
type UnmodelledError struct {
	// Reason is a clause: "its program headers lie beyond 8 MiB".
	Reason string
}

func (e *UnmodelledError) Error() string { return e.Reason }

// Refusal is a kernel's refusal to execute a file.
type Refusal struct {
	// Errno is the symbolic name of what execve answers.
	Errno string
	// Reason is a clause about the file: "it has no program headers".
	Reason string
}

func (e *Refusal) Error() string { return e.Errno + ": " + e.Reason }
