package check

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestRulesAreDocumented(t *testing.T) {
	names := map[string]bool{}
	for i, rule := range Rules() {
		if want := fmt.Sprintf("BER%03d", i+1); rule.ID != want {
			t.Errorf("rule %d has the ID %s, want %s: IDs are in order and never reused", i, rule.ID, want)
		}
		if names[rule.Name] || rule.Name == "" || rule.Doc == "" || rule.Check == nil {
			t.Errorf("%s: name %q, doc %q: both are needed, and the name must be unique", rule.ID, rule.Name, rule.Doc)
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
