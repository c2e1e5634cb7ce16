package check

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"berth/workload"
)

// Report is all that one run found.
type Report struct {
	// Results are in the order of the subjects.
	Results []Result
	// Files are those that were read as deployment files, in their order.
	Files []FileResult
}

// FileResult is what was found about a file by itself.
type FileResult struct {
	Reading *workload.Reading
	// Findings, in the order of their places.
	Findings []Finding
}

// Facts are what [Examine] looks at.
type Facts struct {
	Subjects []*Subject
	// Readings are those that subjects come from, and further files.
	Readings []*workload.Reading
	// Ignores are those of a configuration, beside those of the files.
	Ignores []Ignore
}

// Ignore says not to report a rule.
type Ignore struct {
	// Rule is the ID or the name of a rule.
	Rule string
	// Reason is never empty.
	Reason string
	// Files and Images are patterns of package path that the name of a file and that of an
	// image must match; empty for all. A pattern of files that ends in "/**" takes all below
	// a folder.
	Files, Images string
	// Pos is where it stands.
	Pos workload.Pos
}

// Examine applies all rules, and what is to be ignored.
func Examine(facts Facts) *Report {
	report := &Report{Results: Run(facts.Subjects)}
	for _, r := range facts.Readings {
		f := FileResult{Reading: r, Findings: []Finding{}}
		for _, rule := range Rules() {
			if rule.File == nil {
				continue
			}
			for _, finding := range rule.File(r) {
				finding.Rule, finding.Name = rule.ID, rule.Name
				f.Findings = append(f.Findings, finding)
			}
		}
		report.Files = append(report.Files, f)
	}
	report.ignore(facts)
	for _, f := range report.Files {
		slices.SortStableFunc(f.Findings, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
		})
	}
	return report
}

// Findings are all, in order, with the subject that each is about, or nil.
func (r *Report) Findings() []Located {
	var all []Located
	for _, result := range r.Results {
		for _, f := range result.Findings {
			all = append(all, Located{f, result.Subject})
		}
	}
	for _, file := range r.Files {
		for _, f := range file.Findings {
			all = append(all, Located{f, nil})
		}
	}
	return all
}

// Located is a finding, and what it is about.
type Located struct {
	Finding
	// Subject is nil for what a file says by itself.
	Subject *Subject
}

// Problems are all files' problems.
func (r *Report) Problems() []workload.Problem {
	var all []workload.Problem
	for _, file := range r.Files {
		all = append(all, file.Reading.Problems...)
	}
	return all
}

// ignore marks the findings that are not to be reported, and adds one for each ignore that
// met none.
func (r *Report) ignore(facts Facts) {
	var all []*suppression
	for _, i := range facts.Ignores {
		all = append(all, &suppression{Ignore: i, beside: !facts.has(i)})
	}
	byFile := map[string][]*suppression{}
	for _, reading := range facts.Readings {
		for _, i := range reading.Ignores {
			s := &suppression{Ignore: Ignore{Rule: i.Rule, Reason: i.Reason, Pos: i.Pos}, inFile: &i}
			all, byFile[reading.File.Name] = append(all, s), append(byFile[reading.File.Name], s)
		}
	}
	mark := func(f *Finding, s *Subject) {
		for _, i := range all {
			if i.meets(f, s) {
				i.used, f.Ignored = true, i.Reason
				return
			}
		}
	}
	for _, result := range r.Results {
		for i := range result.Findings {
			mark(&result.Findings[i], result.Subject)
		}
	}
	for k := range r.Files {
		file := &r.Files[k]
		for i := range file.Findings {
			mark(&file.Findings[i], nil)
		}
	}
	r.unused(all)
}

// suppression is an ignore, and whether it met a finding.
type suppression struct {
	Ignore
	inFile *workload.Ignore // nil for one of the configuration
	used   bool
	// beside says that this run did not look at what it is for.
	beside bool
}

func (i *suppression) meets(f *Finding, s *Subject) bool {
	if i.Rule != f.Rule && i.Rule != f.Name {
		return false
	}
	if in := i.inFile; in != nil {
		if in.Workload != nil { // wherever the finding is: in the manifest of an asset beside it
			return s != nil && s.Origin != nil && s.Origin.Workload == in.Workload
		}
		if f.Pos == nil || f.Pos.File != in.Pos.File {
			return false
		}
		return f.Pos.Line == in.Line || s != nil && s.Origin != nil && s.Origin.Workload.Pos.Line == in.Line
	}
	file, name := "", ""
	if f.Pos != nil {
		file = f.Pos.File
	}
	if s != nil {
		name = s.Name
	}
	return matches(i.Files, file) && matches(i.Images, name)
}

// has tells whether a run looked at what an ignore is for.
func (facts *Facts) has(i Ignore) bool {
	if i.Files != "" {
		return slices.ContainsFunc(facts.Readings, func(r *workload.Reading) bool { return matches(i.Files, r.File.Name) })
	}
	return i.Images == "" || slices.ContainsFunc(facts.Subjects, func(s *Subject) bool { return matches(i.Images, s.Name) })
}

func matches(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	name = strings.TrimPrefix(strings.ReplaceAll(name, `\`, "/"), "./")
	if below, ok := strings.CutSuffix(pattern, "/**"); ok {
		return strings.HasPrefix(name, below+"/")
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}
