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

// shownWidth is how much of a line is shown, in characters.
const shownWidth = 120

// excerpt is a line as it is shown, with what a column of it points at: after how many
// characters of text that begins, and how many it has.
func excerpt(line string, column int) (text string, start, length int) {
	start, length = underlined(line, column)
	all := []rune(line)
	from, to := 0, len(all)
	if to > shownWidth {
		from = min(max(0, start-1-shownWidth/4), max(0, to-shownWidth))
		to = min(to, from+shownWidth)
	}
	if length == 0 {
		return ellipsis(all, from, to), 0, 0
	}
	before := ellipsis(all[:start-1], from, start-1)
	length = min(length, to-start+1)
	return ellipsis(all, from, to), len([]rune(before)), length
}

// ellipsis is a part of a line, and marks what is left out. Tabs become spaces, so that
// what stands below it stays below it.
func ellipsis(all []rune, from, to int) string {
	text := expanded(string(all[from:to]))
	if from > 0 {
		text = "…" + text
	}
	if to < len(all) {
		text += "…"
	}
	return text
}

// expanded is a line of a file that is fit for a terminal.
func expanded(line string) string {
	return printable(strings.ReplaceAll(line, "\t", "    "))
}
