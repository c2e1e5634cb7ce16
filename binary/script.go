package binary

import "bytes"

// shebangSize is BINPRM_BUF_SIZE of include/uapi/linux/binfmts.h: all that the
// kernel sees of a script. It was 128 before Linux 5.1.
const shebangSize = 256

// Shebang is the first line of a script as the kernel splits it.
type Shebang struct {
	// Interpreter is the path that is executed, exactly as it stands there: a
	// carriage return belongs to it. It can be empty, which names the working folder.
	Interpreter string
	// Argument is the one argument that is passed, blanks included; HasArgument tells
	// an empty one from none.
	Argument    string
	HasArgument bool
}

// IsScript tells whether the kernel takes a file that begins with head for a script.
func IsScript(head []byte) bool { return bytes.HasPrefix(head, []byte("#!")) }

// ParseShebang splits the first line of a script as load_script of
// fs/binfmt_script.c does. The error is a [*Refusal] with ENOEXEC where the kernel
// finds no interpreter, or a [*NeedError] where head is cut before the 256 bytes
// that the kernel reads.
func ParseShebang(head []byte, size int64) (Shebang, error) {
	if want := int(min(size, shebangSize)); len(head) < want {
		return Shebang{}, &NeedError{Bytes: want}
	}
	if !IsScript(head) {
		return Shebang{}, &Refusal{"ENOEXEC", "it does not begin with #!"}
	}
	// The kernel's buffer is filled up with zeros.
	var buf [shebangSize]byte
	copy(buf[:], head)
	const last = shebangSize - 1

	// strnchr stops at a NUL, so a newline behind one does not end the line.
	end := bytes.IndexAny(buf[:], "\n\x00")
	if end < 0 || buf[end] == 0 {
		// No newline: "we do not want to exec a truncated interpreter path", so a
		// blank or a NUL must end it within the buffer.
		name := skipBlanks(buf[:], 2)
		if name > last {
			return Shebang{}, &Refusal{"ENOEXEC", "its first 256 bytes are blanks"}
		}
		if nameEnd(buf[:], name) > last {
			return Shebang{}, &Refusal{"ENOEXEC", "its interpreter's path does not end within the first 256 bytes"}
		}
		end = last
	}
	for isBlank(buf[end-1]) {
		end--
	}
	name := skipBlanks(buf[:end], 2)
	if name >= end {
		return Shebang{}, &Refusal{"ENOEXEC", "it names no interpreter after #!"}
	}
	buf[end] = 0
	sep := nameEnd(buf[:], name)
	s := Shebang{Interpreter: string(buf[name:sep])}
	// A blank that ends the line was cut off above, so what follows a blank is an
	// argument. Where no newline ended the line, it can be empty.
	if sep < end && isBlank(buf[sep]) {
		argument := buf[skipBlanks(buf[:end], sep):]
		s.Argument, s.HasArgument = string(argument[:bytes.IndexByte(argument, 0)]), true
	}
	return s, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// skipBlanks is next_non_spacetab: the first position from i on that is no blank,
// or len(buf).
func skipBlanks(buf []byte, i int) int {
	for i < len(buf) && isBlank(buf[i]) {
		i++
	}
	return i
}

// nameEnd is next_terminator: the first position from i on that is a blank or a NUL,
// or len(buf).
func nameEnd(buf []byte, i int) int {
	for i < len(buf) && !isBlank(buf[i]) && buf[i] != 0 {
		i++
	}
	return i
}

func identifyScript(head []byte) (Format, bool) {
	if !IsScript(head) {
		return Format{}, false
	}
	return Format{Kind: Script, Name: "a script"}, true
}
