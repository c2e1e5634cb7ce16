package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"berth/check"
	"berth/explain"
	"berth/launch"
	"berth/platform"
	"berth/target"
)

// TestExplanationKeepsControlCharactersOffTheTerminal holds all that comes from an
// image, a log or the command line.
func TestExplanationKeepsControlCharactersOffTheTerminal(t *testing.T) {
	evil := "\x1b]0;owned\x07\x1b[2Jx"
	_, im := fixture(t)
	failure := &launch.Failure{Message: evil, Detail: evil, Path: evil, CreatedBy: evil, Fix: evil}
	start := &check.Start{Manifest: im.Manifests[0], Proof: &launch.Proof{Verdict: launch.Fails, Failure: failure}}
	need := target.Need{Platform: platform.MustParse("linux/amd64")}
	said := explain.Recognise("exec /app: exec format error").Said[0]
	said.Line, said.Match = evil, evil
	e := &explain.Explanation{
		Reading:    explain.Reading{Said: []explain.Said{said, said}, Reference: evil, Cut: true},
		Conclusion: explain.Confirmed, Summary: evil, Conflicts: []string{evil},
		Subjects: []explain.Subject{
			{Subject: &check.Subject{Name: evil, Need: need, Err: errors.New(evil)}},
			{Subject: &check.Subject{Name: evil, Need: need, Start: start}, Named: start},
			{Subject: &check.Subject{Name: evil, Need: need}},
		},
		Causes: []explain.Ruling{
			{Cause: "x", Title: evil, Status: explain.Established, Why: evil + "y", Failure: failure},
			{Cause: "x", Title: evil, Status: explain.Possible, Why: evil},
			{Cause: "x", Title: evil, Status: explain.RuledOut, Why: evil + "z"},
		},
		Next: []check.Fix{{Title: evil, Command: evil}},
	}
	var out bytes.Buffer
	f, err := New("check", "text", &out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Explanation(e); err != nil {
		t.Fatal(err)
	}
	if out.Len() == 0 || strings.ContainsAny(out.String(), "\x1b\x07") {
		t.Errorf("%q", out.String())
	}
}
