package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"berth/check"
	"berth/image"
	"berth/launch"
)

func TestTextKeepsControlCharactersOffTheTerminal(t *testing.T) {
	evil := "\x1b]0;owned\x07\x1b[2Jx"
	_, im := fixture(t)
	start := &check.Start{Manifest: im.Manifests[0], Proof: &launch.Proof{
		Verdict:  launch.Fails,
		Failure:  &launch.Failure{Message: evil, Detail: evil, Path: evil, CreatedBy: evil, Fix: evil},
		Steps:    []launch.Step{{Path: evil, Target: evil, Kind: "symlink", Role: "entrypoint"}},
		Warnings: []launch.Warning{{Detail: evil}},
	}}
	unread := &check.Start{Manifest: im.Manifests[0], Err: errors.New(evil)}
	broken := *im.Manifests[0]
	broken.Err = errors.New(evil)
	result := check.Result{
		Subject: &check.Subject{Name: evil}, Verdict: check.RunsNot, Unknowns: []string{evil},
		Findings: []check.Finding{{Severity: check.Error, Message: evil, Why: evil, Details: []string{evil}, Fixes: []check.Fix{{Title: evil, Command: evil}}}},
	}
	for _, write := range []func(Format) error{
		func(f Format) error {
			return f.Proofs(&Proved{Name: evil, Image: im, Starts: []*check.Start{start, unread}})
		},
		func(f Format) error { return f.Check(&check.Report{Results: []check.Result{result}}) },
		func(f Format) error { return f.Check(hostile(t)) },
		func(f Format) error {
			return f.Image(&Opened{Name: evil, Image: im, Manifests: []*image.Manifest{&broken}})
		},
	} {
		var out bytes.Buffer
		f, err := New("check", "text", &out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(f); err != nil {
			t.Fatal(err)
		}
		if out.Len() == 0 || strings.ContainsAny(out.String(), "\x1b\x07\r\u009b") {
			t.Errorf("%q", out.String())
		}
	}
}

func TestTextIsColouredOnlyWhenAsked(t *testing.T) {
	_, im := fixture(t)
	for _, color := range []bool{false, true} {
		var out bytes.Buffer
		f, err := New("check", "text", &out, Options{Color: color})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Image(&Opened{Name: "x", Image: im, Manifests: im.Manifests}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "\x1b["); got != color {
			t.Errorf("color %t: escape sequences %t", color, got)
		}
	}
}

func TestAFailingWriterIsNoticed(t *testing.T) {
	for _, name := range []string{"text", "json"} {
		f, err := New("check", name, full{}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Targets(nil); err == nil {
			t.Errorf("%s: a full disk went unnoticed", name)
		}
	}
}

// full is a writer on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("x", 500) + ` "image": "app:v1" ` + strings.Repeat("y", 500)
	for _, c := range []struct {
		line         string
		column       int
		text, marked string
	}{
		{`image: app:v1`, 8, `image: app:v1`, "app:v1"},
		{`  "image": "app:v1",`, 12, `  "image": "app:v1",`, `"app:v1"`},
		{"\t- image: app:v1 # comment", 11, "    - image: app:v1 # comment", "app:v1"},
		{`{name: a, image: ünï/app}`, 18, `{name: a, image: ünï/app}`, "ünï/app"},
		{`image: "app`, 8, `image: "app`, `"`},
		{"x", 9, "x", ""},
		{"", 1, "", ""},
		{"x", 0, "x", ""},
		{long, 511, "…" + long[480:600] + "…", `"app:v1"`},
		{long, 900, "…" + long[869:989] + "…", long[899:989]},
		{long, 1, long[:120] + "…", long[:120]},
	} {
		text, start, length := excerpt(c.line, c.column)
		if marked := string([]rune(text)[start : start+length]); text != c.text || marked != c.marked {
			t.Errorf("column %d of %.40q: %q, marked %q; want %q, marked %q", c.column, c.line, text, marked, c.text, c.marked)
		}
	}
}
