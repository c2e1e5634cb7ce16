package berth

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "berth"

// goPackage is what `go list -json` says of a package of ours.
type goPackage struct {
	ImportPath string
	Imports    []string
}

func (p goPackage) room() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// packages are all of ours, but for the folder of this test.
func packages(t *testing.T) []goPackage {
	t.Helper()
	// Some files are for one system only, and their imports count. With -e, because
	// a package that does not compile is for the compiler to complain about.
	var all []goPackage
	for _, system := range []string{"linux", "windows"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", "./...")
		cmd.Env = append(os.Environ(), "GOOS="+system)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p goPackage
			if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if p.ImportPath != module {
				all = append(all, p)
			}
		}
	}
	return all
}

// row is a line of the table under "Rooms" in ARCHITECTURE.md.
var row = regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|.*\\| ([^|]*) \\|$")

// rooms are what that table allows each room to import. A nil slice is a room that
// may import all.
func rooms(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Rooms\n")
	section, _, _ = strings.Cut(section, "\n## ")
	table := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		switch room, may := m[1], m[2]; may {
		case "all":
			table[room] = nil
		case "–":
			table[room] = []string{}
		default:
			for name := range strings.SplitSeq(may, ", ") {
				table[room] = append(table[room], strings.Trim(name, "`"))
			}
		}
	}
	if len(table) == 0 {
		t.Fatal("ARCHITECTURE.md has no table of rooms")
	}
	return table
}

func TestRooms(t *testing.T) {
	table := rooms(t)
	built := map[string]bool{}
	for _, p := range packages(t) {
		built[p.room()] = true
		may, ok := table[p.room()]
		if !ok {
			t.Errorf("%s has no row in ARCHITECTURE.md", p.room())
			continue
		}
		for _, path := range p.Imports {
			if other, ours := strings.CutPrefix(path, module+"/"); ours && may != nil && !slices.Contains(may, other) {
				t.Errorf("%s imports %s, which its row in ARCHITECTURE.md does not allow", p.room(), other)
			}
		}
	}
	for room, may := range table {
		if !built[room] {
			t.Errorf("ARCHITECTURE.md has a row for %s, which is not there", room)
		}
		for _, other := range may {
			if _, ok := table[other]; !ok {
				t.Errorf("ARCHITECTURE.md lets %s import %s, which has no row", room, other)
			}
		}
	}
}

// forbidden are imports, or trees of them, that only some rooms may have.
var forbidden = []struct {
	path string
	why  string
	but  []string // these rooms, and what is below them
}{
	{"github.com/google/go-containerregistry", "the registry client alone stands on it", []string{"store/registry", "internal/imagetest"}},
	{"github.com/spf13/cobra", "flags are the command line's", []string{"internal/cli"}},
	{"flag", "flags are the command line's", []string{"internal/cli"}},
	{"log", "rooms return errors", []string{"internal"}},
	{"net", "only stores reach a network", []string{"store", "internal"}},
	{"os", "only stores and the command line touch files and the environment", []string{"store/registry", "store/ecr", "store/local", "internal", "cmd"}},
	{"runtime", "an answer must not depend on the machine that berth runs on", []string{"store", "internal"}},
	{"testing", "this is for tests", []string{"internal/imagetest"}},
}

func TestForbiddenImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, path := range p.Imports {
			for _, rule := range forbidden {
				if within(path, rule.path) && !slices.ContainsFunc(rule.but, func(room string) bool { return within(p.room(), room) }) {
					t.Errorf("%s imports %s: %s", p.room(), path, rule.why)
				}
			}
		}
	}
}

// within tells whether path is tree or below it.
func within(path, tree string) bool {
	return path == tree || strings.HasPrefix(path, tree+"/")
}
