package binary

import (
	"bytes"
	"unicode/utf8"
)

// magics are what the formats that people start by mistake begin with.
var magics = []struct {
	magic  string
	flavor Flavor
	name   string
}{
	// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
	{"version https://git-lfs.github.com/spec/", LFSPointer, "a Git LFS pointer, the text that stands for a file which was not fetched"},
	{"\xef\xbb\xbf#!", ByteOrderMark, "a script with a UTF-8 byte order mark before its #!"},
	{"\xff\xfe#\x00!\x00", ByteOrderMark, "a script in UTF-16 (little endian)"},
	{"\xfe\xff\x00#\x00!", ByteOrderMark, "a script in UTF-16 (big endian)"},
	{"\xef\xbb\xbf", ByteOrderMark, "text with a UTF-8 byte order mark"},
	{"\xff\xfe", ByteOrderMark, "text in UTF-16 (little endian)"},
	{"\xfe\xff", ByteOrderMark, "text in UTF-16 (big endian)"},
	{"\x1f\x8b", Gzip, "a gzip-compressed file"},
	{"PK\x03\x04", Zip, "a zip archive, or a jar"},
	{"\xca\xfe\xba\xbe", "", "a Java class"},
	{"\x00asm", "", "a WebAssembly module"},
	{"!<arch>\n", "", "a static library"},
	{"BC\xc0\xde", "", "LLVM bitcode"},
}

func identifyData(head []byte) (Format, bool) {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return Format{Kind: Data, Flavor: m.flavor, Name: m.name}, true
		}
	}
	switch {
	case len(head) > 0 && len(bytes.Trim(head, "\x00")) == 0:
		return Format{Kind: Data, Name: "a file that begins with nothing but zeros"}, true
	case isText(head):
		return Format{Kind: Data, Flavor: Text, Name: "a text file without #!"}, true
	}
	return Format{}, false
}

// isText tells whether head is UTF-8 without control characters that text does not
// have. The last character may be cut.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, size := utf8.DecodeRune(head)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(head)
		}
		if r == 0x7f || r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' && r != '\x1b' {
			return false
		}
		head = head[size:]
	}
	return true
}
