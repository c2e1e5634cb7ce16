package explain

import (
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// MaxText is how many bytes of a log are read: far more than anybody pastes. Of a
// longer one the end counts, where the failure is.
const MaxText = 1 << 20

// maxLine bounds a line, so that no pattern runs over a megabyte at a time; logs of
// JSON documents have the longest.
const maxLine = 64 << 10

// maxEscapes is how deep JSON strings in JSON strings are undone: an event of a log
// service that has an event of an engine that quotes an error.
const maxEscapes = 3

// line is a line of a log, fit to be matched and shown.
type line struct {
	text   string
	number int // from 1; lines that were one in JSON share it
}

// clean cuts a log into lines of plain text, and tells whether it left out a part.
func clean(text string) ([]line, bool) {
	text = decode(text)
	cut := len(text) > MaxText
	if cut {
		text = text[len(text)-MaxText:]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = escapeSequence.ReplaceAllString(text, "")
	var lines []line
	number := 0
	for l := range strings.SplitSeq(text, "\n") {
		number++
		for len(l) > maxLine {
			at := boundary(l, maxLine)
			lines = appendLine(lines, l[:at], number)
			l = l[at:]
		}
		lines = appendLine(lines, l, number)
	}
	return lines, cut
}

func appendLine(lines []line, text string, number int) []line {
	// A carriage return within a line is a part of the message where a script has
	// Windows line endings; terminals hide it.
	text = strings.ReplaceAll(strings.TrimRight(text, "\r"), "\r", `\r`)
	for l := range strings.SplitSeq(unescape(text), "\n") {
		if l = plain(l); strings.TrimSpace(l) != "" {
			lines = append(lines, line{l, number})
		}
	}
	return lines
}

// decode reads UTF-16, which is what PowerShell's > writes.
func decode(text string) string {
	var order binary.ByteOrder
	switch {
	case strings.HasPrefix(text, "\xff\xfe"):
		order = binary.LittleEndian
	case strings.HasPrefix(text, "\xfe\xff"):
		order = binary.BigEndian
	default:
		return text
	}
	raw := []byte(text[2:])
	if len(raw) > 2*MaxText {
		raw = raw[(len(raw)-2*MaxText)&^1:]
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}

// escapeSequence is what terminals take for a command: CSI, OSC, and the rest (ECMA-48).
var escapeSequence = regexp.MustCompile("(?:\x1b\\[|\u009b)[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]")

// plain replaces what is invisible or only looks different.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\u00a0':
			return ' '
		case r == '‘' || r == '’':
			return '\''
		case r == '“' || r == '”':
			return '"'
		case unicode.Is(unicode.Cf, r): // zero-width and bidirectional marks, as web pages have
			return -1
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return '\uFFFD'
		}
		return r
	}, text)
}

var unicodeEscape = regexp.MustCompile(`\\u00[2-7][0-9a-fA-F]`)

// escapes are those of JSON strings (RFC 8259, section 7) that logs have. \r stays: it
// is what tools write for the carriage return of a Windows line ending.
var escapes = strings.NewReplacer(`\r\n`, "\n", `\n`, "\n", `\t`, " ", `\"`, `"`, `\/`, "/", `\\`, `\`)

// unescape undoes the quoting of JSON in a line. Other lines stay as they are, but for
// Windows paths, which no text that is looked for has.
func unescape(text string) string {
	for range maxEscapes {
		if !strings.Contains(text, `\`) {
			break
		}
		text = unicodeEscape.ReplaceAllStringFunc(text, func(e string) string {
			n, err := strconv.ParseUint(e[2:], 16, 16)
			if err != nil {
				return e
			}
			return string(rune(n))
		})
		next := escapes.Replace(text)
		if next == text {
			break
		}
		text = next
	}
	return text
}
