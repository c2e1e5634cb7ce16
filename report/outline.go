package report

import (
	"cmp"
	"slices"
	"strings"

	"berth/check"
	"berth/platform"
	"berth/workload"
)

// outline is a report in the order in which people read it: what is about no file, then
// file by file.
type outline struct {
	// asked are images that no file asks for.
	asked []check.Result
	files []*fileOutline
}

// fileOutline is all that is known about one file.
type fileOutline struct {
	file      *workload.File
	format    *workload.Format // nil where it is none, such as a configuration
	problems  []workload.Problem
	workloads []*workloadOutline
	// findings are those of the file and of its workloads, by their place, each once.
	findings []check.Located
}

type workloadOutline struct {
	workload *workload.Workload
	results  []check.Result
}

// outlineOf leaves out files about which there is nothing to say.
func outlineOf(report *check.Report) *outline {
	o := &outline{}
	byName := map[string]*fileOutline{}
	file := func(f *workload.File) *fileOutline {
		known, ok := byName[f.Name]
		if !ok {
			known = &fileOutline{file: f}
			byName[f.Name] = known
			o.files = append(o.files, known)
		}
		return known
	}
	for _, f := range report.Files {
		r := f.Reading
		if r.Format == nil && len(r.Problems)+len(f.Findings) == 0 {
			continue
		}
		known := file(r.File)
		known.format = r.Format
		known.problems = append(known.problems, r.Problems...)
		for _, finding := range f.Findings {
			known.findings = append(known.findings, check.Located{Finding: finding})
		}
	}
	for _, r := range report.Results {
		origin := r.Subject.Origin
		if origin == nil {
			o.asked = append(o.asked, r)
			continue
		}
		known := file(origin.File)
		known.workload(origin.Workload).add(r)
		for _, f := range r.Findings {
			known.findings = append(known.findings, check.Located{Finding: f, Subject: r.Subject})
		}
	}
	for _, f := range o.files {
		f.findings = distinct(f.findings)
		slices.SortStableFunc(f.findings, func(a, b check.Located) int { return comparePos(posOf(a.Finding), posOf(b.Finding)) })
		slices.SortStableFunc(f.problems, func(a, b workload.Problem) int { return comparePos(a.Pos, b.Pos) })
	}
	return o
}

func (f *fileOutline) workload(w *workload.Workload) *workloadOutline {
	for _, known := range f.workloads {
		if known.workload == w {
			return known
		}
	}
	known := &workloadOutline{workload: w}
	f.workloads = append(f.workloads, known)
	return known
}

func (w *workloadOutline) add(r check.Result) { w.results = append(w.results, r) }

// containers are the results of a workload by container: one for each platform.
func (w *workloadOutline) containers() [][]check.Result {
	var all [][]check.Result
	for _, r := range w.results {
		if n := len(all); n > 0 && all[n-1][0].Subject.Origin.Container == r.Subject.Origin.Container {
			all[n-1] = append(all[n-1], r)
			continue
		}
		all = append(all, []check.Result{r})
	}
	return all
}

// containerName is what people call a container in a file whose format says what kind
// its workloads are.
func (f *fileOutline) containerName(o *check.Origin) string {
	name := o.Workload.String()
	if f.format != nil && f.format.Title == o.Workload.Kind && o.Workload.Name != "" {
		name = o.Workload.Name
	}
	if o.Container.Name != "" && o.Container.Name != o.Workload.Name {
		name += "/" + o.Container.Name
	}
	return name
}

// located are the findings of all results and files, each once, in the order of the outline.
func (o *outline) located() []check.Located {
	var all []check.Located
	for _, r := range o.asked {
		for _, f := range r.Findings {
			all = append(all, check.Located{Finding: f, Subject: r.Subject})
		}
	}
	for _, f := range o.files {
		all = append(all, f.findings...)
	}
	return distinct(all)
}

// file is the one of a name, or nil.
func (o *outline) file(name string) *workload.File {
	for _, f := range o.files {
		for _, file := range append([]*workload.File{f.file}, f.file.Beside...) {
			if file.Name == name {
				return file
			}
		}
	}
	return nil
}

// distinct leaves out what is said again of the same place: of another platform, or of
// another container that names the same image there.
func distinct(all []check.Located) []check.Located {
	type key struct {
		rule, message string
		pos           workload.Pos
		ignored       bool
	}
	seen := map[key]bool{}
	return slices.DeleteFunc(all, func(f check.Located) bool {
		k := key{f.Rule, f.Message, posOf(f.Finding), f.Ignored != ""}
		again := seen[k]
		seen[k] = true
		return again
	})
}

func posOf(f check.Finding) workload.Pos {
	if f.Pos == nil {
		return workload.Pos{}
	}
	return *f.Pos
}

func comparePos(a, b workload.Pos) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// uncertain is something that berth could not tell.
type uncertain struct {
	pos     workload.Pos // no file where no file asks for it
	name    string       // of the image, or empty
	message string
	// failed says that something could not be read; otherwise it is open by its nature.
	failed bool
}

// sentence names the image, unless the message does.
func (u uncertain) sentence() string {
	if u.name == "" || strings.Contains(u.message, u.name) {
		return u.message
	}
	return u.name + ": " + u.message
}

// uncertainties are what results leave unknown, each sentence once for a place.
func uncertainties(results []check.Result) []uncertain {
	var all []uncertain
	seen := map[uncertain]bool{}
	for _, r := range results {
		for _, message := range r.Unknowns {
			u := uncertain{name: r.Subject.Name, message: message, failed: r.Failed}
			if o := r.Subject.Origin; o != nil {
				u.pos = o.Container.Image.Pos
				if u.pos.Line == 0 && o.Container.Build != nil {
					u.pos = o.Container.Build.Pos
				}
			}
			if !seen[u] {
				all = append(all, u)
			}
			seen[u] = true
		}
	}
	return all
}

func (f *fileOutline) uncertainties() []uncertain {
	var all []uncertain
	for _, w := range f.workloads {
		all = append(all, uncertainties(w.results)...)
	}
	return all
}

// totals are what a report comes to.
type totals struct {
	files, workloads, images                    int
	errors, warnings, notices, unknown, ignored int
}

func (o *outline) totals() totals {
	var t totals
	images := map[string]bool{}
	results := slices.Clone(o.asked)
	for _, f := range o.files {
		if f.format != nil || len(f.workloads) > 0 || len(f.problems) > 0 {
			t.files++
		}
		t.unknown += len(f.problems) + len(f.uncertainties())
		t.workloads += len(f.workloads)
		for _, w := range f.workloads {
			results = append(results, w.results...)
		}
	}
	t.unknown += len(uncertainties(o.asked))
	for _, r := range results {
		if r.Subject.Origin == nil || r.Subject.Origin.Container.Image.Text != "" {
			images[r.Subject.Name] = true
		}
	}
	t.images = len(images)
	for _, f := range o.located() {
		switch {
		case f.Ignored != "":
			t.ignored++
		case f.Severity == check.Error:
			t.errors++
		case f.Severity == check.Warning:
			t.warnings++
		default:
			t.notices++
		}
	}
	return t
}

// on is where a subject is to run, for people.
func on(s *check.Subject) string {
	switch p := platform.Format(s.Need.Platform); {
	case s.Need.Target != nil && platform.Known(s.Need.Platform):
		return s.Need.Target.Title + " (" + p + ")"
	case s.Need.Target != nil:
		return s.Need.Target.Title
	case platform.Known(s.Need.Platform):
		return p
	}
	return "a platform that nothing says"
}
