package explain

import (
	"regexp"
	"slices"
	"sync"
)

// Texts are all texts that are known. The order matters: of two that match the same
// part of a line the first is taken, so the more specific come first.
// They are shared and must not be changed.
func Texts() []Text { return texts() }

// texts compiles the patterns when they are first needed: that takes longer than all
// that most runs of berth do.
var texts = sync.OnceValue(func() []Text {
	return slices.Concat(pullTexts(), createTexts(), loadTexts(), execTexts(), exitTexts(), summaryTexts())
})

// form is a Form of the program who.
func form(who, key, pattern, sample, source string) Form {
	return Form{Who: who, Key: key, Pattern: regexp.MustCompile(pattern), Sample: sample, Source: source}
}

// of is f as the text of one deploy target alone.
func (f Form) of(target string) Form {
	f.Target = target
	return f
}

// The parts that patterns share.
const (
	platformPart = `(?P<platform>[a-z0-9]+/[a-z0-9_]+(?:/v[0-9]+)?)`
	havePart     = `(?P<have>[a-z0-9]+/[a-z0-9_]+(?:/v[0-9]+)?)`
	// pathPart is a program as messages have it, up to a colon or a quote.
	pathPart = "(?P<path>[^\\s:\"'`][^:\"'`]{0,400}?)"
	// wordPart is a program without blanks in its name.
	wordPart = "(?P<path>[^\\s:\"'`\\[\\]()]{1,400})"
)
