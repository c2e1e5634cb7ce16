package target

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/platform"
)

func builtin(t testing.TB) *Set {
	t.Helper()
	s, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// needs are the lines of testdata/needs.txt: what is asked, and what comes of it.
func needs(t testing.TB) [][2]string {
	t.Helper()
	f, err := os.Open("testdata/needs.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines [][2]string
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := in.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		need, want, ok := strings.Cut(line, "=> ")
		if !ok {
			t.Fatalf("testdata/needs.txt: no => in %q", line)
		}
		lines = append(lines, [2]string{strings.TrimSpace(need), want})
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// The schema sees to names, platforms, sources and days; this sees to what a
// contributor may forget around the file.
func TestBuiltin(t *testing.T) {
	s := builtin(t)
	docs, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	cases := needs(t)
	all := s.All()
	if !slices.IsSortedFunc(all, func(a, b *Target) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("All is not sorted by name")
	}
	for _, target := range all {
		t.Run(target.Name, func(t *testing.T) {
			if _, err := os.Stat("data/" + target.Name + ".yaml"); err != nil {
				t.Errorf("the file has another name than the target: %v", err)
			}
			if !slices.ContainsFunc(cases, func(c [2]string) bool { return c[0] == target.Name }) {
				t.Errorf("testdata/needs.txt has no case %q", target.Name)
			}
			if !strings.Contains(string(docs), "\n## "+target.Name+"\n") {
				t.Errorf("%s does not have it", docsFile)
			}
			for _, name := range append([]string{target.Name}, target.Aliases...) {
				if found, err := s.Find(strings.ToUpper(name)); err != nil || found != target {
					t.Errorf("Find(%q) = %v, %v", strings.ToUpper(name), found, err)
				}
			}
			for _, p := range target.Runs {
				if need, err := s.Need(target.form(p)); err != nil || !platform.Equal(need.Platform, p) {
					t.Errorf("Need(%q) = %v, %v", target.form(p), need, err)
				}
			}
			for _, f := range target.Facts {
				if !strings.HasSuffix(f.Says, ".") {
					t.Errorf("the fact %q is not a sentence", f.Says)
				}
			}
		})
	}
}

func TestNeed(t *testing.T) {
	s := builtin(t)
	for _, c := range needs(t) {
		need, err := s.Need(c[0])
		if want, isError := strings.CutPrefix(c[1], "error: "); isError {
			if err == nil {
				t.Errorf("Need(%q) = %s, want an error", c[0], platform.Format(need.Platform))
			} else if !strings.Contains(err.Error(), want) {
				t.Errorf("Need(%q): %q does not say %q", c[0], err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("Need(%q): %v", c[0], err)
		} else if got := platform.Format(need.Platform) + ": " + need.Why; got != c[1] {
			t.Errorf("Need(%q) = %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestNeedNamesItsTarget(t *testing.T) {
	s := builtin(t)
	if need, err := s.Need("lambda/arm64"); err != nil || need.Target == nil || need.Target.Name != "lambda" {
		t.Errorf("Need(lambda/arm64) = %+v, %v", need, err)
	}
	if need, err := s.Need("linux/arm64"); err != nil || need.Target != nil {
		t.Errorf("Need(linux/arm64) = %+v, %v", need, err)
	}
}

func TestNeedRefusesWhatNobodyTypes(t *testing.T) {
	s := builtin(t)
	for need, says := range map[string]string{
		"":                               "write one such as fargate",
		" fargate":                       "without patterns and spaces",
		strings.Repeat("a", 10000):       "at most 256",
		strings.Repeat("a", 200):         "unknown target",
		"fargate\x1b[2J":                 `"fargate\x1b`,
		"fargate/arm64\nlinux":           `not a word`,
		"/":                              "name is empty",
		"/arm64":                         "name is empty",
		"kubernetes/unknown/unknown/abc": "os/architecture[/variant]",
	} {
		if _, err := s.Need(need); err == nil {
			t.Errorf("Need(%q) is no error", need)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("Need(%q): %q does not say %q", need, err, says)
		} else if strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("Need(%q): the error carries a control character", need)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"fargate", "fargate", 0},
		{"fargat", "fargate", 1},
		{"lmabda", "lambda", 1},
		{"eks", "ecs", 1},
		{"render", "fly", 6},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// What is known of a target changes what berth says, so that a change of it
// should be seen in a test.
func TestWhatTheMainTargetsAccept(t *testing.T) {
	s := builtin(t)
	for name, want := range map[string]Accepts{
		"lambda":   {Index: No, Attestation: No, Zstd: Unknown, OCI: Yes, MaxUncompressed: 10 << 30},
		"fargate":  {Index: Yes, Attestation: Unknown, Zstd: Yes, OCI: Unknown},
		"cloudrun": {Index: Yes, Attestation: Unknown, Zstd: Yes, OCI: Yes},
	} {
		target, err := s.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if target.Accepts != want {
			t.Errorf("%s accepts %+v, want %+v", name, target.Accepts, want)
		}
	}
	for name, unknown := range map[string]platform.Compat{
		"graviton3": {IA32: true, AArch32: true},
		"graviton4": {IA32: true},
		"cloudrun":  {AArch32: true},
	} {
		target, err := s.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if target.Compat != (platform.Compat{}) || target.CompatUnknown != unknown {
			t.Errorf("%s: compat %+v, unknown %+v; want none, and unknown %+v", name, target.Compat, target.CompatUnknown, unknown)
		}
	}
}

var controls = regexp.MustCompile(`[\x00-\x1f\x7f]`)

func FuzzNeed(f *testing.F) {
	for _, c := range needs(f) {
		f.Add(c[0])
	}
	f.Add("\xff/\x00")
	s := builtin(f)
	f.Fuzz(func(t *testing.T, text string) {
		need, err := s.Need(text)
		if err != nil {
			if need.Target != nil || platform.Known(need.Platform) || need.Why != "" {
				t.Fatalf("Need(%q) = %+v with an error", text, need)
			}
			if controls.MatchString(err.Error()) {
				t.Fatalf("Need(%q): control character in %q", text, err)
			}
			return
		}
		again := platform.Format(need.Platform)
		if need.Target != nil {
			again = need.Target.form(need.Platform)
		}
		// An OS that only a bare platform's grammar knows does not come back.
		if back, err := s.Need(again); err != nil || !platform.Equal(back.Platform, need.Platform) || back.Target != need.Target {
			t.Fatalf("Need(%q) is %s, which reads as %+v, %v", text, again, back, err)
		}
	})
}
