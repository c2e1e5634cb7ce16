package launch

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The classes of cases: rows of docs/agreement.md.
const (
	classFormats  = "files of other formats"
	classELF      = "ELF headers and segments"
	classScripts  = "scripts and interpreters"
	classLoaders  = "loaders"
	classLookup   = "lookup, PATH, working folder"
	classUsers    = "users, groups, modes"
	classLayers   = "merges of layers"
	classWrappers = "what wrappers and shells start (derived)"
)

// oracles are what cases are really run by.
var oracles = []string{"execve", "runc", "crun", "docker"}

const agreementPage = "../docs/agreement.md"

// tally counts what became of cases, for one oracle.
type tally struct {
	mu sync.Mutex
	// cells are agreed, unknown, wrong of each class.
	cells map[string]*[3]int
}

type tallied int

const (
	agreed tallied = iota
	open           // berth says that it cannot tell
	wrong
)

func (a *tally) count(class string, what tallied) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cells == nil {
		a.cells = map[string]*[3]int{}
	}
	if a.cells[class] == nil {
		a.cells[class] = &[3]int{}
	}
	a.cells[class][what]++
}

// held counts a case by how its test ended.
func (a *tally) held(t *testing.T, class string) {
	if t.Failed() {
		a.count(class, wrong)
		return
	}
	a.count(class, agreed)
}

// holds compares the counts with an oracle's column of docs/agreement.md. UPDATE_AGREEMENT=1
// writes the column anew.
func (a *tally) holds(t *testing.T, oracle string) {
	t.Helper()
	raw, err := os.ReadFile(agreementPage)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	column := slices.Index(oracles, oracle) + 1
	for class, cell := range a.cells {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(class) + ` \|.*$`)
		line := row.FindString(text)
		if line == "" {
			t.Fatalf("%s has no row %q", agreementPage, class)
		}
		fields := strings.Split(strings.Trim(line, "|"), "|")
		want := fmt.Sprintf(" %d · %d · %d ", cell[agreed], cell[open], cell[wrong])
		if os.Getenv("UPDATE_AGREEMENT") == "" && fields[column] != want {
			t.Errorf("%s: %s is%s, and %s says%s(UPDATE_AGREEMENT=1 writes it anew)", oracle, class, want, agreementPage, fields[column])
		}
		fields[column] = want
		text = strings.Replace(text, line, "|"+strings.Join(fields, "|")+"|", 1)
	}
	if os.Getenv("UPDATE_AGREEMENT") == "" {
		return
	}
	if err := os.WriteFile(agreementPage, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAgreementUnknowns holds the list of what berth cannot tell, in docs/agreement.md,
// against the corpus, and its share.
func TestAgreementUnknowns(t *testing.T) {
	const begin, end = "<!-- unknowns -->\n", "<!-- end -->\n"
	host := amd64
	host.Kernel.Major, host.Kernel.Minor, host.NoX32 = 6, 18, true
	var list strings.Builder
	unknowns := 0
	for _, c := range corpus() {
		if p := prove(t, c.image(t), c.process, host); p.Verdict == Unknown {
			unknowns++
			fmt.Fprintf(&list, "- %s, *%s*: %s\n", c.class, c.name, p.Reason)
		}
	}
	raw, err := os.ReadFile(agreementPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), begin)
	was, after, also := strings.Cut(rest, end)
	if !found || !also {
		t.Fatalf("%s has no list of unknowns", agreementPage)
	}
	if os.Getenv("UPDATE_AGREEMENT") != "" {
		if err := os.WriteFile(agreementPage, []byte(before+begin+list.String()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if was != list.String() {
		t.Errorf("%s lists\n%s\nand it is\n%s(UPDATE_AGREEMENT=1 writes it anew)", agreementPage, was, &list)
	}
	const most = 0.02
	if all := len(corpus()); float64(unknowns) > most*float64(all) {
		t.Errorf("%d of %d cases are unknown, more than 2%%", unknowns, all)
	}
}
