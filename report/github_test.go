package report

import (
	"regexp"
	"strings"
	"testing"

	"berth/check"
	"berth/workload"
)

// command is a workflow command with its properties, as GitHub's runner takes it apart.
var command = regexp.MustCompile(`^::(error|warning|notice) ((?:(?:file|line|col|title)=[^,:]*,?)+)::(.*)$`)

// parseGitHub undoes the escaping.
func parseGitHub(t *testing.T, raw []byte) []map[string]string {
	t.Helper()
	data := strings.NewReplacer("%25", "%", "%0D", "\r", "%0A", "\n")
	property := strings.NewReplacer("%25", "%", "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",")
	var all []map[string]string
	for line := range strings.Lines(string(raw)) {
		m := command.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Fatalf("%q is no workflow command", line)
		}
		one := map[string]string{"command": m[1], "message": data.Replace(m[3])}
		for kv := range strings.SplitSeq(m[2], ",") {
			key, value, _ := strings.Cut(kv, "=")
			one[key] = property.Replace(value)
		}
		all = append(all, one)
	}
	return all
}

func TestGitHub(t *testing.T) {
	all := parseGitHub(t, written(t, "github", hostile(t)))
	if len(all) != 8 {
		t.Errorf("%d commands, want one for each finding that is not ignored, each problem and each unknown", len(all))
	}
	for _, c := range all {
		if strings.ContainsAny(c["message"]+c["title"]+c["file"], "\x1b\x07\r") {
			t.Errorf("%q", c)
		}
	}
	first := parseGitHub(t, written(t, "github", oneFinding("50%, or: so\nand more")))[0]
	for key, want := range map[string]string{"command": "error", "file": "a,b:c%.yaml", "line": "3", "col": "8", "title": "BER001 platform-missing", "message": "50%, or: so\nand more."} {
		if first[key] != want {
			t.Errorf("%s is %q, want %q", key, first[key], want)
		}
	}
}

// oneFinding is a report of one finding in a file with an odd name.
func oneFinding(message string) *check.Report {
	f := workload.NewFile("./a,b:c%.yaml", []byte("\n\nimage: x\n"))
	pos := f.Pos(3, 8)
	return &check.Report{Files: []check.FileResult{{
		Reading:  &workload.Reading{File: f},
		Findings: []check.Finding{{Rule: "BER001", Name: "platform-missing", Severity: check.Error, Message: message, Pos: &pos, Snippet: "image: x"}},
	}}}
}

func TestFormatsForChecksAlone(t *testing.T) {
	for _, f := range formats {
		_, err := New("prove", f.name, nil, Options{})
		if f.checks != (err != nil) {
			t.Errorf("prove -o %s: %v", f.name, err)
		}
		if f.checks && !strings.Contains(err.Error(), "berth prove has text or json") {
			t.Errorf("%q does not say what there is", err)
		}
		format, err := New("check", f.name, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if f.checks && (format.Image(nil) == nil || format.Proofs(nil) == nil || format.Copy(nil) == nil || format.Copies(nil) == nil ||
			format.Index(nil) == nil || format.Targets(nil) == nil || format.Explanation(nil) == nil) {
			t.Errorf("%s writes something else than findings", f.name)
		}
	}
	if _, err := New("check", "yaml", nil, Options{}); err == nil || !strings.Contains(err.Error(), "sarif") {
		t.Errorf("%v does not say what there is", err)
	}
}
