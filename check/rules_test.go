package check

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestRulesAreDocumented(t *testing.T) {
	names := map[string]bool{}
	last := ""
	for _, rule := range Rules() {
		if rule.ID <= last || !regexp.MustCompile(`^BER\d{3}$`).MatchString(rule.ID) {
			t.Errorf("%s follows %s: IDs are in order, and never reused", rule.ID, last)
		}
		last = rule.ID
		if names[rule.Name] || rule.Name == "" || rule.Doc == "" || (rule.Check == nil) == (rule.File == nil) {
			t.Errorf("%s: name %q, doc %q: both are needed, the name must be unique, and it looks at subjects or at files", rule.ID, rule.Name, rule.Doc)
		}
		names[rule.Name] = true
		page, err := os.ReadFile("../docs/rules/" + rule.ID + ".md")
		if err != nil {
			t.Error(err)
			continue
		}
		if want := "# " + rule.ID + " " + rule.Name + "\n\n" + rule.Doc; !strings.HasPrefix(string(page), want) {
			t.Errorf("docs/rules/%s.md does not begin with %q", rule.ID, want)
		}
	}
}
