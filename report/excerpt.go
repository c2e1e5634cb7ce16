package report

import (
	"strings"
	"unicode"
)

// underlined is what a column of a line points at, in characters: where it begins,
// counting from 1, and how long it is. It is a word, or what quotes hold. The length is 0
// where the line has no such column.
func underlined(line string, column int) (start, length int) {
	text := []rune(line)
	if column < 1 || column > len(text) {
		return column, 0
	}
	rest := text[column-1:]
	if q := rest[0]; q == '"' || q == '\'' {
		for i, r := range rest[1:] {
			if r == q {
				return column, i + 2
			}
		}
	}
	for length < len(rest) && !unicode.IsSpace(rest[length]) && !strings.ContainsRune(`,"'{}[]`, rest[length]) {
		length++
	}
	return column, max(length, 1)
}
