// Package rules has the pages about the rules of berth check, one for each rule.
package rules

import "embed"

//go:embed *.md
var pages embed.FS

// Page is the page about a rule by its ID, in Markdown; empty where there is none.
func Page(id string) string {
	text, err := pages.ReadFile(id + ".md")
	if err != nil {
		return ""
	}
	return string(text)
}
