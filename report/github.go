package report

import (
	"fmt"
	"io"
	"strings"

	"berth/check"
	"berth/workload"
)

// githubFormat writes workflow commands of GitHub Actions, which become annotations of
// the files in a pull request (docs.github.com, "Workflow commands for GitHub Actions").
// GitHub shows the first ten of each level of a step; the log has all.
type githubFormat struct {
	checkOnly
	w io.Writer
}

func (f *githubFormat) Check(report *check.Report) error {
	o := outlineOf(report)
	var out strings.Builder
	// The worst come first: those are the ones that are sure to be shown.
	for _, l := range worstFirst(o.located()) {
		if l.Ignored != "" {
			continue
		}
		command := string(l.Severity)
		out.WriteString(annotation(command, l.Pos, l.Rule+" "+l.Name, sentences(l.Finding)))
	}
	for _, file := range o.files {
		for _, p := range file.problems {
			command := "error"
			if p.Open {
				command = "warning"
			}
			out.WriteString(annotation(command, &p.Pos, "cannot be read", upper(p.Message)))
		}
		for _, u := range file.uncertainties() {
			out.WriteString(u.annotation())
		}
	}
	for _, u := range uncertainties(o.asked) {
		out.WriteString(u.annotation())
	}
	_, err := io.WriteString(f.w, out.String())
	return err
}

func (u uncertain) annotation() string {
	// What could not be read makes the step fail; what is open by its nature does not.
	command := "warning"
	if u.failed {
		command = "error"
	}
	var pos *workload.Pos
	if u.pos.File != "" {
		pos = &u.pos
	}
	return annotation(command, pos, "unknown", "berth could not tell: "+u.sentence())
}

func annotation(command string, pos *workload.Pos, title, text string) string {
	var properties []string
	add := func(key, value string) {
		properties = append(properties, key+"="+githubProperty.Replace(printable(value)))
	}
	if pos != nil {
		add("file", slashed(pos.File))
		if pos.Line > 0 {
			add("line", fmt.Sprint(pos.Line))
		}
		if pos.Column > 0 {
			add("col", fmt.Sprint(pos.Column))
		}
	}
	add("title", title)
	var message []string
	for line := range strings.SplitSeq(text, "\n") {
		message = append(message, githubData.Replace(printable(line)))
	}
	return "::" + command + " " + strings.Join(properties, ",") + "::" + strings.Join(message, "%0A") + "\n"
}

// What workflow commands need escaped: in a message, what ends it; in a property, what
// separates it too (actions/toolkit, packages/core/src/command.ts).
var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
