package workload

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/platform"
	"berth/target"
)

// Fixtures lie in testdata/FORMAT/, each with what is read from it beside it, in
// NAME.golden (go test ./workload -update writes them: read what it wrote). Those that need
// other files beside them have a folder of their own. NAME.options are the options that
// one is read with, a line each:
//
//	parameter KEY=VALUE, env KEY=VALUE, cluster TARGET, cluster-platforms A,B
var update = flag.Bool("update", false, "write golden files anew")

// fixture is a file under testdata that a format may read.
type fixture struct {
	path string // with slashes, from testdata
	data []byte
	opts Options
}

// fixtures are all of them.
func fixtures(t testing.TB) []fixture {
	t.Helper()
	var all []fixture
	root := os.DirFS("testdata")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && (name == "fuzz" || name == "resolver") {
				return fs.SkipDir
			}
			return err
		}
		if !Candidate(name) || strings.HasSuffix(name, ".golden") || strings.HasSuffix(name, ".options") {
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		opts := beside(root)
		lines, err := fs.ReadFile(root, name+".options")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := parseOptions(&opts, string(lines)); err != nil {
			return fmt.Errorf("%s.options: %w", name, err)
		}
		all = append(all, fixture{name, data, opts})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// beside are options that read other files from where fixtures lie.
func beside(root fs.FS) Options {
	return Options{
		ReadFile: func(name string) ([]byte, error) { return fs.ReadFile(root, name) },
		ReadDir: func(name string) ([]string, error) {
			entries, err := fs.ReadDir(root, name)
			names := make([]string, len(entries))
			for i, e := range entries {
				names[i] = e.Name()
			}
			return names, err
		},
	}
}

func parseOptions(opts *Options, lines string) error {
	for line := range strings.Lines(lines) {
		kind, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		key, val, _ := strings.Cut(value, "=")
		switch kind {
		case "parameter":
			if opts.Parameters == nil {
				opts.Parameters = map[string]string{}
			}
			opts.Parameters[key] = val
		case "env":
			if opts.Env == nil {
				opts.Env = map[string]string{}
			}
			opts.Env[key] = val
		case "cluster":
			targets, err := target.Builtin()
			if err != nil {
				return err
			}
			if opts.Cluster, err = targets.Find(value); err != nil {
				return err
			}
		case "cluster-platforms":
			for p := range strings.SplitSeq(value, ",") {
				opts.ClusterPlatforms = append(opts.ClusterPlatforms, platform.MustParse(p))
			}
		case "":
		default:
			return fmt.Errorf("%q is no option", kind)
		}
	}
	return nil
}

// TestGolden reads every fixture.
func TestGolden(t *testing.T) {
	used := map[string]bool{}
	for _, f := range fixtures(t) {
		t.Run(f.path, func(t *testing.T) {
			r := Read(NewFile(f.path, f.data), f.opts)
			if r.Format != nil {
				used[r.Format.Name] = true
			}
			got, file := printed(r), filepath.Join("testdata", filepath.FromSlash(f.path)+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	for _, f := range Formats() {
		if !used[f.Name] {
			t.Errorf("there is no fixture for %s", f.Name)
		}
		for _, pattern := range f.Files {
			if _, err := filepath.Match(pattern, "x"); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
}

// printed is a reading as text.
func printed(r *Reading) string {
	var b strings.Builder
	line := func(indent int, pos Pos, format string, args ...any) {
		at := strings.TrimPrefix(pos.String(), r.File.Name)
		fmt.Fprintf(&b, "%s%s  [%s]\n", strings.Repeat("  ", indent), fmt.Sprintf(format, args...), strings.TrimPrefix(at, ":"))
	}
	if r.Format == nil {
		b.WriteString("not a deployment file\n")
	} else {
		b.WriteString("format " + r.Format.Name + "\n")
	}
	for _, w := range r.Workloads {
		b.WriteString("\n")
		line(0, w.Pos, "%s", w)
		q := w.Requirement
		on, platforms := "", make([]string, len(q.Platforms))
		for i, p := range q.Platforms {
			platforms[i] = platform.Format(p)
		}
		if q.Target != nil {
			on = " on " + q.Target.Name
		}
		needs := strings.Join(platforms, " and ")
		if needs == "" {
			needs = "?"
		}
		line(1, q.Pos, "needs %s%s: %s, %s", needs, on, q.Certainty, q.Why)
		if w.SetPlatform == nil {
			b.WriteString("  the platform cannot be set\n")
		}
		for _, c := range w.Containers {
			line(1, c.Image.Pos, "container %q image %q", c.Name, c.Image.Text)
			if !c.Image.Known() {
				b.WriteString("    unknown: " + c.Image.Unknown + "\n")
			}
			if c.Pulled {
				b.WriteString("    pulled only\n")
			}
			printProcess(&b, c.Process)
			if c.Build != nil {
				line(2, c.Build.Pos, "built from %q for %s", c.Build.Dockerfile, formatAll(c.Build.Platforms))
			}
		}
	}
	if len(r.Mistakes)+len(r.Problems)+len(r.Ignores) > 0 {
		b.WriteString("\n")
	}
	for _, m := range r.Mistakes {
		line(0, m.Pos, "mistake %s: %s Fix: %s (%d edits)", m.Rule, m.Message, m.Fix, len(m.Edits))
	}
	for _, p := range r.Problems {
		word := "broken"
		if p.Open {
			word = "open"
		}
		line(0, p.Pos, "%s: %s", word, p.Message)
	}
	for _, i := range r.Ignores {
		of := fmt.Sprintf("line %d", i.Line)
		if i.Workload != nil {
			of = i.Workload.String()
		}
		line(0, i.Pos, "ignore %s on %s: %s", i.Rule, of, i.Reason)
	}
	return b.String()
}

func printProcess(b *strings.Builder, p Process) {
	for _, f := range []struct {
		name string
		set  bool
		text string
	}{
		{"entrypoint", p.Entrypoint != nil, fmt.Sprintf("%q", p.Entrypoint)},
		{"command", p.Command != nil, fmt.Sprintf("%q", p.Command)},
		{"user", p.User != "", p.User},
		{"workdir", p.WorkDir != "", p.WorkDir},
		{"env", p.Env != nil, fmt.Sprintf("%q", p.Env)},
		{"mounts", p.Mounts != nil, fmt.Sprintf("%q", p.Mounts)},
		{"not all known", p.Unknown != "", p.Unknown},
	} {
		if f.set {
			fmt.Fprintf(b, "    %s: %s\n", f.name, f.text)
		}
	}
}

func formatAll(ps []platform.Platform) string {
	if len(ps) == 0 {
		return "the machine that builds"
	}
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = platform.Format(p)
	}
	return strings.Join(texts, ",")
}

// TestSetPlatform makes every workload of every fixture run on every platform that its
// target runs: reading again says so, of this workload only, and all other lines stay.
func TestSetPlatform(t *testing.T) {
	made := 0
	for _, f := range fixtures(t) {
		t.Run(f.path, func(t *testing.T) {
			before := Read(NewFile(f.path, f.data), f.opts)
			for i, w := range before.Workloads {
				for _, p := range []platform.Platform{platform.MustParse("linux/amd64"), platform.MustParse("linux/arm64")} {
					if w.SetPlatform == nil || !runs(w.Requirement.Target, p) {
						continue
					}
					edits, err := w.SetPlatform(p)
					if err != nil {
						if edits != nil {
							t.Errorf("%s: edits beside the error %v", w, err)
						}
						if !strings.HasPrefix(err.Error(), filepath.ToSlash(filepath.Dir(f.path))+"/") {
							t.Errorf("%s: the error has no place: %v", w, err)
						}
						continue
					}
					made++
					checkSet(t, f, before, i, p, edits)
				}
			}
		})
	}
	if made == 0 {
		t.Error("no platform was set")
	}
}

func runs(t *target.Target, p platform.Platform) bool {
	return t == nil || len(t.Runs) == 0 || slices.ContainsFunc(t.Runs, func(r platform.Platform) bool { return platform.Equal(r, p) })
}

// checkSet applies the edits that set the platform of workload i.
func checkSet(t *testing.T, f fixture, before *Reading, i int, p platform.Platform, edits []Edit) {
	t.Helper()
	w := before.Workloads[i]
	for _, e := range edits {
		if e.File != f.path {
			return // the other file is read together with this one, in a test of its own
		}
	}
	data, err := Apply(f.data, edits)
	if err != nil {
		t.Fatalf("%s: %v", w, err)
	}
	after := Read(NewFile(f.path, data), f.opts)
	if len(after.Workloads) != len(before.Workloads) || len(after.Problems) > len(before.Problems) {
		t.Fatalf("%s for %s: there are %d workloads, %v, after it\n%s", w, platform.Format(p), len(after.Workloads), after.Problems, data)
	}
	q := after.Workloads[i].Requirement
	if len(q.Platforms) != 1 || !platform.Equal(q.Platforms[0], p) || q.Certainty == Undetermined {
		t.Errorf("%s for %s: it needs %s, %s\n%s", w, platform.Format(p), formatAll(q.Platforms), q.Why, data)
	}
	for j, other := range after.Workloads {
		if diff := cmp.Diff(images(before.Workloads[j]), images(other)); diff != "" {
			t.Errorf("%s for %s changed the images of %s: %s", w, platform.Format(p), other, diff)
		}
	}
	// Lines that stay are those before, in order; of CRLF files every line keeps it.
	if removed := linesGone(f.data, data); removed > len(edits) {
		t.Errorf("%s for %s: %d edits changed %d lines\n%s", w, platform.Format(p), len(edits), removed, data)
	}
	if crlf := bytes.Count(f.data, []byte("\r\n")); crlf > 0 && crlf == bytes.Count(f.data, []byte("\n")) &&
		bytes.Count(data, []byte("\r\n")) != bytes.Count(data, []byte("\n")) {
		t.Errorf("%s: a line has lost its carriage return\n%q", w, data)
	}
	if bytes.HasSuffix(f.data, []byte("\n")) != bytes.HasSuffix(data, []byte("\n")) {
		t.Errorf("%s: the end of the last line has changed", w)
	}
}

func images(w *Workload) []string {
	var all []string
	for _, c := range w.Containers {
		all = append(all, c.Name+" "+c.Image.Text)
	}
	return all
}

// linesGone is how many lines of before are not in after, in order. The last line of a
// file counts as it is with an end.
func linesGone(before, after []byte) int {
	gone := 0
	rest := lines(after)
	for _, line := range lines(before) {
		at := slices.Index(rest, line)
		if at < 0 {
			gone++
			continue
		}
		rest = rest[at+1:]
	}
	return gone
}

func lines(data []byte) []string {
	all := strings.Split(string(data), "\n")
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\r")
	}
	return all
}

// FuzzRead reads anything: no panic, every place is inside of the file, and every edit is
// one that can be made.
func FuzzRead(f *testing.F) {
	for _, fixture := range fixtures(f) {
		f.Add(filepath.Base(fixture.path), fixture.data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if len(data) > 64<<10 {
			return // what is bounded has tests of its own
		}
		if !fs.ValidPath(name) {
			return
		}
		file := NewFile(name, data)
		r := Read(file, Options{})
		inside := func(pos Pos) {
			if pos.File != name || pos.Line < 0 || pos.Line > file.Lines() || pos.Line > 0 && pos.Column > len([]rune(file.Line(pos.Line)))+2 {
				t.Errorf("%s is not in the file", pos)
			}
		}
		for _, p := range r.Problems {
			inside(p.Pos)
		}
		for _, i := range r.Ignores {
			inside(i.Pos)
		}
		for _, m := range r.Mistakes {
			inside(m.Pos)
			if _, err := Apply(data, m.Edits); err != nil {
				t.Error(err)
			}
		}
		for _, w := range r.Workloads {
			inside(w.Pos)
			inside(w.Requirement.Pos)
			if (len(w.Requirement.Platforms) == 0) != (w.Requirement.Certainty == Undetermined) || w.Requirement.Why == "" {
				t.Errorf("%s: %+v", w, w.Requirement)
			}
			for _, c := range w.Containers {
				inside(c.Image.Pos)
			}
			if w.SetPlatform == nil {
				continue
			}
			if edits, err := w.SetPlatform(platform.MustParse("linux/arm64")); err == nil {
				if _, err := Apply(data, edits); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
