package berth

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "berth"

// imports are what each room imports, on whatever system.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	rooms := map[string][]string{}
	for _, system := range []string{"linux", "windows"} {
		// With -e, because a package that does not compile is for the compiler to complain about.
		cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...")
		cmd.Env = append(os.Environ(), "GOOS="+system)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			paths := strings.Fields(line)
			if room, ok := strings.CutPrefix(paths[0], module+"/"); ok { // not the folder of this test
				rooms[room] = append(rooms[room], paths[1:]...)
			}
		}
	}
	for room, paths := range rooms {
		slices.Sort(paths)
		rooms[room] = slices.Compact(paths)
	}
	return rooms
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
	built := imports(t)
	for room, paths := range built {
		may, ok := table[room]
		if !ok {
			t.Errorf("%s has no row in ARCHITECTURE.md", room)
			continue
		}
		for _, path := range paths {
			if other, ours := strings.CutPrefix(path, module+"/"); ours && may != nil && !slices.Contains(may, other) {
				t.Errorf("%s imports %s, which its row in ARCHITECTURE.md does not allow", room, other)
			}
		}
	}
	for room, may := range table {
		if _, ok := built[room]; !ok {
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
	{"log", "rooms return errors", []string{"internal", "bench"}},
	{"net", "only stores reach a network", []string{"store", "internal", "bench"}},
	{"os", "only stores and the command line touch files and the environment", []string{"store/registry", "store/ecr", "store/local", "internal", "cmd", "bench"}},
	{"runtime", "an answer must not depend on the machine that berth runs on", []string{"store", "internal", "bench"}},
	{"testing", "this is for tests", []string{"internal/imagetest"}},
}

func TestForbiddenImports(t *testing.T) {
	for room, paths := range imports(t) {
		for _, path := range paths {
			for _, rule := range forbidden {
				if within(path, rule.path) && !slices.ContainsFunc(rule.but, func(tree string) bool { return within(room, tree) }) {
					t.Errorf("%s imports %s: %s", room, path, rule.why)
				}
			}
		}
	}
}

// within tells whether path is tree or below it.
func within(path, tree string) bool {
	return path == tree || strings.HasPrefix(path, tree+"/")
}
