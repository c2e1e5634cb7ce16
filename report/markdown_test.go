package report

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"berth/check"
	"berth/workload"
)

// plainMarkdown is what is left of a comment without its code, and without the HTML that
// berth writes: nothing foreign in it may be markup.
func plainMarkdown(t *testing.T, text string) string {
	t.Helper()
	var out []string
	fence := ""
	for _, line := range strings.Split(text, "\n") {
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3 && !strings.Contains(line[len(ticks):], "`"):
			fence = ticks
		case fence != "" && line == fence:
			fence = ""
		case fence == "":
			out = append(out, line)
		}
	}
	if fence != "" {
		t.Errorf("a block of code is never closed:\n%s", text)
	}
	// A comment keeps GitHub from reading a name or a number.
	plain := strings.NewReplacer("@<!-- -->", "(at)", "#<!-- -->", "(number)").Replace(strings.Join(out, "\n"))
	for n := 5; n > 0; n-- {
		span := regexp.MustCompile("(^|[^`\\\\])" + strings.Repeat("`", n) + "([^`\\n]|[^`\\n].*?[^`\\n])" + strings.Repeat("`", n) + "($|[^`])")
		plain = span.ReplaceAllString(plain, "$1$3")
	}
	return regexp.MustCompile(`</?(details|summary|b|code|sub)>|<!-- (berth check )?-->`).ReplaceAllString(plain, "")
}

func TestMarkdown(t *testing.T) {
	for name, report := range map[string]*check.Report{"nothing": {}, "deployment": deployment(t), "foreign": hostile(t)} {
		t.Run(name, func(t *testing.T) {
			text := string(written(t, "markdown", report))
			plain := plainMarkdown(t, text)
			if found := regexp.MustCompile(`<|(^|[^\w.])@\w|#\d`).FindString(plain); found != "" {
				t.Errorf("%q is left as markup:\n%s", found, plain)
			}
			for line := range strings.Lines(plain) {
				// What stands in HTML is not read as Markdown.
				if found := regexp.MustCompile(`[^\\]\]\(|[^\\]\*|[^\\]~`).FindString(line); found != "" && !strings.Contains(line, " BER0") && !strings.HasPrefix(line, "**") {
					t.Errorf("%q is left as markup in %s", found, line)
				}
			}
			if strings.ContainsAny(text, "\x1b\x07\r") {
				t.Errorf("control characters: %q", text)
			}
			for _, tag := range []string{"details", "summary", "b", "code", "sub"} {
				if opened, closed := strings.Count(text, "<"+tag+">"), strings.Count(text, "</"+tag+">"); opened != closed {
					t.Errorf("%d <%s> and %d closed", opened, tag, closed)
				}
			}
		})
	}
}

func TestMarkdownStaysWithinAComment(t *testing.T) {
	f := workload.NewFile("deploy.yaml", []byte("image: x\n"))
	pos := f.Pos(1, 8)
	report := &check.Report{Files: []check.FileResult{{Reading: &workload.Reading{File: f}}}}
	for i := range 3000 {
		name := fmt.Sprintf("registry.example.com/team/service-%04d:v1", i)
		finding := check.Finding{Rule: "BER001", Name: "platform-missing", Severity: check.Error, Message: name + " has nothing for it", Pos: &pos, Fixes: []check.Fix{{Title: "build it", Command: "docker buildx build ."}}}
		report.Results = append(report.Results, check.Result{Subject: &check.Subject{Name: name}, Verdict: check.RunsNot, Findings: []check.Finding{finding}, Unknowns: []string{"something of " + name}})
	}
	text := string(written(t, "markdown", report))
	if len(text) > maxComment {
		t.Errorf("%d bytes", len(text))
	}
	if len(text) < maxComment/2 {
		t.Errorf("only %d bytes of %d are used", len(text), maxComment)
	}
	images := strings.Count(text, "| `registry.example.com/")
	findings := strings.Count(text, "<b>BER001 platform-missing</b>")
	unknown := strings.Count(text, "something of")
	for _, want := range []string{
		"### berth: 3000 errors, 3000 unknown",
		fmt.Sprintf("… and %d images more", 3000-images),
		fmt.Sprintf("… and %d findings more", 3000-findings),
		fmt.Sprintf("… and %d unknown things more", 3000-unknown),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}
