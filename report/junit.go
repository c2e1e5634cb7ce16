package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"berth/check"
	"berth/platform"
	"berth/workload"
)

// junitFormat writes JUnit XML, as CI systems read it: a suite for each file, and in it a
// case for each container and platform, beside one for each thing that is wrong with the
// file itself. A case fails where the image does not run; what could not be read is an
// error, and what a file leaves open by its nature is skipped, as in the exit code.
type junitFormat struct {
	checkOnly
	w io.Writer
}

type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCount
		Suites []junitSuite `xml:"testsuite"`
	}
	junitCount struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCount
		Cases []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name  string `xml:"name,attr"`
		Class string `xml:"classname,attr"`
		File  string `xml:"file,attr,omitempty"`
		Line  int    `xml:"line,attr,omitempty"`
		// Exactly one is set for a case that did not pass.
		Failure *junitOutcome `xml:"failure"`
		Error   *junitOutcome `xml:"error"`
		Skipped *junitOutcome `xml:"skipped"`
		Output  string        `xml:"system-out,omitempty"`
	}
	junitOutcome struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

func (f *junitFormat) Check(report *check.Report) error {
	o := outlineOf(report)
	doc := junitSuites{Name: "berth check"}
	if len(o.asked) > 0 {
		s := junitSuite{Name: "images"}
		for _, r := range o.asked {
			s.add(junitResult(r))
		}
		doc.add(s)
	}
	for _, file := range o.files {
		s := junitSuite{Name: file.file.Name}
		for _, w := range file.workloads {
			for _, r := range w.results {
				s.add(junitResult(r))
			}
		}
		for _, l := range file.findings {
			if l.Subject == nil {
				s.add(junitFinding(file.file.Name, l.Finding))
			}
		}
		for _, p := range file.problems {
			s.add(junitProblem(file.file.Name, p))
		}
		if s.Tests > 0 {
			doc.add(s)
		}
	}
	if _, err := io.WriteString(f.w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(f.w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(f.w, "\n")
	return err
}

func (d *junitSuites) add(s junitSuite) {
	d.Suites = append(d.Suites, s)
	d.Tests += s.Tests
	d.Failures += s.Failures
	d.Errors += s.Errors
	d.Skipped += s.Skipped
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

func junitResult(r check.Result) junitCase {
	s := r.Subject
	c := junitCase{Name: s.Name, Class: "images"}
	if platform.Known(s.Need.Platform) || s.Need.Target != nil {
		c.Name += " on " + on(s)
	}
	if origin := s.Origin; origin != nil {
		c.Class = origin.Workload.String()
		if origin.Container.Name != "" {
			c.Name = origin.Container.Name + ": " + c.Name
		}
		c.place(origin.Container.Image.Pos)
	}
	var failures, output []string
	first := check.Finding{}
	for _, f := range r.Findings {
		text := fmt.Sprintf("%s %s %s: %s", f.Severity, f.Rule, f.Name, sentences(f))
		switch {
		case f.Ignored != "":
			output = append(output, "ignored, because "+f.Ignored+": "+text)
		case f.Severity == check.Error:
			if len(failures) == 0 {
				first = f
			}
			failures = append(failures, text)
		default:
			output = append(output, text)
		}
	}
	unknown := strings.Join(r.Unknowns, "\n")
	switch {
	case len(failures) > 0:
		c.Failure = &junitOutcome{first.Message, first.Rule + " " + first.Name, strings.Join(failures, "\n\n")}
	case r.Verdict == check.Unknown && r.Failed:
		c.Error, unknown = &junitOutcome{"berth could not tell: " + firstLine(unknown), "unknown", unknown}, ""
	case r.Verdict == check.Unknown:
		c.Skipped, unknown = &junitOutcome{Message: "berth could not tell: " + firstLine(unknown), Text: unknown}, ""
	}
	if unknown != "" {
		output = append(output, "unknown: "+unknown)
	}
	c.Output = strings.Join(output, "\n\n")
	return c
}

func junitFinding(file string, f check.Finding) junitCase {
	c := junitCase{Name: fmt.Sprintf("%s %s at line %d", f.Rule, f.Name, posOf(f).Line), Class: file}
	c.place(posOf(f))
	switch {
	case f.Ignored != "":
		c.Output = "ignored, because " + f.Ignored + ": " + sentences(f)
	case f.Severity == check.Error:
		c.Failure = &junitOutcome{f.Message, f.Rule + " " + f.Name, sentences(f)}
	default:
		c.Output = string(f.Severity) + ": " + sentences(f)
	}
	return c
}

func junitProblem(file string, p workload.Problem) junitCase {
	c := junitCase{Name: "reading " + p.Pos.String(), Class: file}
	c.place(p.Pos)
	if p.Open {
		c.Skipped = &junitOutcome{Message: p.Message}
	} else {
		c.Error = &junitOutcome{p.Message, "problem", p.Pos.String() + ": " + p.Message}
	}
	return c
}

func (c *junitCase) place(pos workload.Pos) {
	c.File, c.Line = slashed(pos.File), pos.Line
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
