package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/check"
	"berth/workload"
)

// sarifSchema is the schema of SARIF 2.1.0. Package sarif has its text, and does not
// export it; what that package writes is not what was read, so its own check is of no use.
var sarifSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3").Output()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "report", "v210", "sarif", "schema.go")
	source, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		return nil, err
	}
	constant := source.Decls[0].(*ast.GenDecl).Specs[0].(*ast.ValueSpec).Values[0].(*ast.BasicLit)
	text, err := strconv.Unquote(constant.Value)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("sarif.json")
})

// parseSARIF reads what was written as another program does, and holds it against the
// schema.
func parseSARIF(t *testing.T, raw []byte) *sarif.Report {
	t.Helper()
	schema, err := sarifSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	r, err := sarif.FromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSARIF holds it against the schema, and against what GitHub code scanning asks for
// beyond it (docs.github.com, "SARIF support for code scanning").
func TestSARIF(t *testing.T) {
	reports := map[string]*check.Report{"nothing": {}, "deployment": deployment(t), "foreign": hostile(t)}
	for name, report := range reports {
		t.Run(name, func(t *testing.T) {
			run := parseSARIF(t, written(t, "sarif", report)).Runs[0]
			rules := run.Tool.Driver.Rules
			for _, rule := range rules {
				if rule.ShortDescription == nil || rule.FullDescription == nil || rule.Help == nil || !strings.HasPrefix(*rule.Help.Text, "# "+*rule.ID) {
					t.Errorf("%s lacks what GitHub shows", *rule.ID)
				}
			}
			for _, r := range run.Results {
				if *rules[r.RuleIndex].ID != *r.RuleID {
					t.Errorf("%s is said to be rule %d, which is %s", *r.RuleID, r.RuleIndex, *rules[r.RuleIndex].ID)
				}
				if len(r.Locations) != 1 || len(r.PartialFingerprints) == 0 {
					t.Fatalf("%s has %d locations and fingerprints %v", *r.RuleID, len(r.Locations), r.PartialFingerprints)
				}
				at := r.Locations[0].PhysicalLocation
				if at == nil || at.Region == nil || *at.Region.StartLine < 1 {
					t.Fatalf("%s has no place: GitHub refuses the file", *r.RuleID)
				}
				if scheme, _, ok := strings.Cut(*at.ArtifactLocation.URI, ":"); ok && scheme != "file" {
					t.Errorf("GitHub refuses the scheme of %s", *at.ArtifactLocation.URI)
				}
			}
			if want := len(outlineOf(report).located()); len(run.Results) != want {
				t.Errorf("%d results, want %d", len(run.Results), want)
			}
		})
	}
}

func TestSARIFSaysWhatIsIgnoredAndWhatIsUnknown(t *testing.T) {
	run := parseSARIF(t, written(t, "sarif", deployment(t, check.Ignore{Rule: "BER016", Reason: "we pin on release", Pos: workload.Pos{File: ".berth.yaml", Line: 2}}))).Runs[0]
	suppressed := map[string]string{}
	for _, r := range run.Results {
		for _, s := range r.Suppressions {
			suppressed[*r.RuleID] = *s.Kind + ": " + *s.Justification
		}
	}
	if suppressed["BER001"] != "inSource: the arm64 build of api comes on Thursday" || suppressed["BER016"] != "external: we pin on release" || len(suppressed) != 2 {
		t.Errorf("suppressed: %v", suppressed)
	}
	invocation := run.Invocations[0]
	if *invocation.ExecutionSuccessful {
		t.Error("an image could not be read, and the run is said to be successful")
	}
	var said []string
	for _, n := range invocation.ToolExecutionNotifications {
		said = append(said, n.Level+" "+*n.Message.Text)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"error registry.example.com/shop/gone:1", "warning registry.example.com/shop/report:2", "error it looks like a Kubernetes manifest, and cannot be read", "warning it looks like a Kubernetes manifest, as a template"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
}

// TestSARIFFixes applies the replacements, and must get what the edits make.
func TestSARIFFixes(t *testing.T) {
	report := deployment(t)
	o := outlineOf(report)
	applied := 0
	for _, r := range parseSARIF(t, written(t, "sarif", report)).Runs[0].Results {
		for _, fix := range r.Fixes {
			for _, c := range fix.ArtifactChanges {
				f := o.file(*c.ArtifactLocation.URI)
				var edits []workload.Edit
				for _, p := range c.Replacements {
					edits = append(edits, workload.Edit{
						File: f.Name, New: *p.InsertedContent.Text,
						Start: f.Offset(*p.DeletedRegion.StartLine, *p.DeletedRegion.StartColumn),
						End:   f.Offset(*p.DeletedRegion.EndLine, *p.DeletedRegion.EndColumn),
					})
				}
				got, err := workload.Apply(f.Data, edits)
				if err != nil {
					t.Fatal(err)
				}
				if !oneOf(t, o, *r.RuleID, f, got) {
					t.Errorf("%s %s: the replacements make\n%s", *r.RuleID, *fix.Description.Text, got)
				}
				applied++
			}
		}
	}
	if applied < 3 {
		t.Errorf("%d fixes were applied", applied)
	}
}

// oneOf tells whether a fix of a rule makes got of f.
func oneOf(t *testing.T, o *outline, rule string, f *workload.File, got []byte) bool {
	t.Helper()
	for _, l := range o.located() {
		for _, fix := range l.Fixes {
			if l.Rule != rule || len(fix.Edits) == 0 || fix.Edits[0].File != f.Name {
				continue
			}
			want, err := workload.Apply(f.Data, fix.Edits)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(want, got) {
				return true
			}
		}
	}
	return false
}

func TestSARIFLeavesOutTheLeastBad(t *testing.T) {
	f := workload.NewFile("Dockerfile", nil)
	r := check.FileResult{Reading: &workload.Reading{File: f}}
	for i := range maxSARIFResults + 2 {
		pos := f.Pos(i+1, 1)
		finding := check.Finding{Rule: "BER022", Severity: check.Notice, Message: "m", Pos: &pos}
		if i == maxSARIFResults+1 {
			finding.Rule, finding.Severity = "BER018", check.Error
		}
		r.Findings = append(r.Findings, finding)
	}
	var log sarifLog
	if err := json.Unmarshal(written(t, "sarif", &check.Report{Files: []check.FileResult{r}}), &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if len(run.Results) != maxSARIFResults || run.Results[0].RuleID != "BER018" {
		t.Errorf("%d results, the first of %s", len(run.Results), run.Results[0].RuleID)
	}
	if n := run.Invocations[0].Notifications; len(n) != 1 || !strings.HasPrefix(n[0].Message.Text, "2 findings more are left out") {
		t.Errorf("%+v", n)
	}
}

// hostile is a report in which everything foreign is meant to break out of a format.
func hostile(tb testing.TB) *check.Report {
	tb.Helper()
	evil := "\x1b]0;owned\x07\u009b2J a%0A::error::b\r\n::warning::c,d:e </script><script>alert(1)</script> | `x` ``` <!-- -- --> ]]> & \"q\" 'p' [l](javascript:alert(1)) @user #1 \xff"
	f := workload.NewFile("a:b/"+evil, []byte("x: y\n"+evil+"\n"))
	pos := f.Pos(2, 3)
	w := &workload.Workload{Kind: evil, Name: evil, Pos: pos, Requirement: workload.Requirement{Why: evil, Pos: pos}, Containers: []workload.Container{{Name: evil, Image: workload.Value{Text: evil, Pos: pos}}}}
	fix := check.Fix{Title: evil, Command: evil, Edits: []workload.Edit{{File: f.Name, Start: 5, End: 7, New: evil}}}
	finding := check.Finding{Rule: "BER001", Name: "platform-missing", Severity: check.Error, Message: evil, Details: []string{evil}, Why: evil, Pos: &pos, WhyPos: &pos, Snippet: evil, Fixes: []check.Fix{fix}}
	ignored, placeless := finding, finding
	ignored.Ignored, ignored.Rule, placeless.Pos, placeless.WhyPos = evil, "BER002", nil, nil
	subject := &check.Subject{Name: evil, Origin: &check.Origin{File: f, Workload: w, Container: &w.Containers[0]}, Open: evil}
	return &check.Report{
		Results: []check.Result{
			{Subject: &check.Subject{Name: evil}, Verdict: check.RunsNot, Findings: []check.Finding{placeless}, Unknowns: []string{evil}},
			{Subject: subject, Verdict: check.RunsNot, Findings: []check.Finding{finding, ignored}, Unknowns: []string{evil}},
			{Subject: &check.Subject{Name: "x", Err: fmt.Errorf("%s", evil)}, Verdict: check.Unknown, Failed: true, Unknowns: []string{evil}},
		},
		Files: []check.FileResult{{
			Reading:  &workload.Reading{File: f, Format: &workload.Format{Name: "x", Title: evil}, Problems: []workload.Problem{{Pos: pos, Message: evil}, {Pos: pos, Message: evil, Open: true}}},
			Findings: []check.Finding{{Rule: "BER018", Name: "dockerfile-target-arg-default", Severity: check.Warning, Message: evil, Pos: &pos, Snippet: evil, Fixes: []check.Fix{fix}}},
		}},
	}
}
