package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"berth/check"
	"berth/launch"
	"berth/platform"
	"berth/workload"
)

// The page is one file: nothing of it is loaded from anywhere.
var (
	//go:embed page/page.tmpl
	pageTemplate string
	//go:embed page/page.css
	pageStyle string
	//go:embed page/page.js
	pageScript string
)

// htmlFormat writes a page to look at. It works without its script, which filters and
// copies.
type htmlFormat struct {
	checkOnly
	w       io.Writer
	version string
}

type (
	htmlPage struct {
		Policy          template.HTMLAttr
		CSS             template.CSS
		JS              template.JS
		Version         string
		Class, Mark     string
		Headline, Scope string
		Kinds           []htmlKind
		Platforms       []string
		Width           int
		Groups          []htmlGroup
		Sections        []*htmlSection
		Proofs          []*htmlProof
		Rules           []check.Rule
		proofs          map[string]*htmlProof
		outline         *outline
		met             map[string]bool
	}
	htmlKind struct {
		Class, Title string
		Count        int
	}
	htmlGroup struct {
		ID, Name, Title string
		Rows            []htmlRow
	}
	htmlRow struct {
		Kind, Workload, Image string
		Cells                 []htmlCell
	}
	htmlCell    struct{ Mark, Class, Word, Title, Proof string }
	htmlSection struct {
		ID, Name, Title string
		Items, Ignored  []htmlItem
	}
	htmlItem struct {
		Kind, Label, Rule, Name, At string
		Message, Ignored            string
		Snippet                     *htmlSnippet
		Details                     []string
		Why, WhyAt                  string
		Chain                       *htmlChain
		Fixes                       []htmlFix
	}
	htmlSnippet struct {
		Line                  int
		Before, Marked, After string
	}
	htmlFix struct {
		Title, Command string
		Changes        []htmlChange
	}
	htmlChange struct {
		At       string
		Old, New []string
	}
	htmlProof struct {
		ID, Kind, Class, Mark, Word, Image, Host string
		htmlChain
	}
	htmlChain struct {
		Steps   []htmlStep
		Message string
		Notes   []string
		Foot    string
	}
	htmlStep struct {
		Class, Role, Path, What string
		Broken                  bool
	}
)

func (f *htmlFormat) Check(report *check.Report) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return err
	}
	return t.Execute(f.w, pageOf(outlineOf(report), f.version))
}

func pageOf(o *outline, version string) *htmlPage {
	p := &htmlPage{
		Policy: template.HTMLAttr(`content="default-src 'none'; style-src ` + hashed(pageStyle) + `; script-src ` + hashed(pageScript) + `; base-uri 'none'; form-action 'none'"`),
		CSS:    template.CSS(pageStyle), JS: template.JS(pageScript),
		Version: version, Platforms: columns(o.results()),
		outline: o, proofs: map[string]*htmlProof{}, met: map[string]bool{},
	}
	p.Width = len(p.Platforms) + 2
	p.headline()
	if len(o.asked) > 0 {
		var findings []check.Located
		for _, r := range o.asked {
			for _, f := range r.Findings {
				findings = append(findings, check.Located{Finding: f, Subject: r.Subject})
			}
		}
		p.group("Images", "", p.section("Images", "", distinct(findings), nil, uncertainties(o.asked)), o.asked, func(r check.Result) string { return on(r.Subject) })
	}
	for _, f := range o.files {
		title := ""
		if f.format != nil {
			title = printable(f.format.Title)
		}
		var results []check.Result
		for _, w := range f.workloads {
			results = append(results, w.results...)
		}
		name := printable(f.file.Name)
		id := p.section(name, title, f.findings, f.problems, f.uncertainties())
		p.group(name, title, id, results, func(r check.Result) string { return f.containerName(r.Subject.Origin) })
	}
	for _, rule := range check.Rules() {
		if p.met[rule.ID] {
			p.Rules = append(p.Rules, rule)
		}
	}
	p.kinds()
	return p
}

// hashed is the source that lets one inline text through a content security policy.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (p *htmlPage) headline() {
	t := p.outline.totals()
	failing := 0
	for _, row := range p.outline.images().rows {
		if row.badness() == (matrixCell{verdict: check.RunsNot}).badness() {
			failing++
		}
	}
	p.Scope = strings.Join([]string{count(t.files, "file"), count(t.workloads, "workload"), count(t.images, "image")}, ", ") + " · " + summary(t)
	switch {
	case failing > 0:
		p.Class, p.Mark, p.Headline = "error", "✗", fmt.Sprintf("%d of %s will not run", failing, count(t.images, "image"))
	case t.errors > 0:
		p.Class, p.Mark, p.Headline = "error", "✗", count(t.errors, "error")
	case t.unknown > 0:
		p.Class, p.Mark, p.Headline = "unknown", "?", "berth could not tell everything"
	case t.images == 0:
		p.Class, p.Mark, p.Headline = "unknown", "?", "No image was checked"
	case t.warnings > 0:
		p.Class, p.Mark, p.Headline = "warning", "!", "It runs, with "+count(t.warnings, "warning")
	default:
		p.Class, p.Mark, p.Headline = "runs", "✓", "Everything runs"
	}
}

// kinds are what the filter chooses between.
func (p *htmlPage) kinds() {
	t := p.outline.totals()
	running := 0
	for _, g := range p.Groups {
		for _, row := range g.Rows {
			if row.Kind == "runs" {
				running++
			}
		}
	}
	p.Kinds = []htmlKind{{"error", "Errors", t.errors}, {"warning", "Warnings", t.warnings}, {"notice", "Notices", t.notices}, {"unknown", "Unknown", t.unknown}, {"runs", "Running", running}}
}

// section adds what was found in one place, and returns the ID of that; empty where
// nothing was found.
func (p *htmlPage) section(name, title string, findings []check.Located, problems []workload.Problem, unknown []uncertain) string {
	if len(findings)+len(problems)+len(unknown) == 0 {
		return ""
	}
	s := &htmlSection{ID: fmt.Sprintf("in-%d", len(p.Sections)+1), Name: name, Title: title}
	for _, problem := range problems {
		item := htmlItem{Kind: "error", Label: "broken", At: printable(problem.Pos.String()), Message: sentence(problem.Message)}
		if problem.Open {
			item.Kind, item.Label = "unknown", "unknown"
		}
		s.Items = append(s.Items, item)
	}
	for _, l := range findings {
		if l.Ignored != "" {
			s.Ignored = append(s.Ignored, p.item(l))
		} else {
			s.Items = append(s.Items, p.item(l))
		}
	}
	for _, u := range unknown {
		item := htmlItem{Kind: "unknown", Label: "unknown", Message: printable(u.sentence())}
		if u.pos.File != "" {
			item.At = printable(u.pos.String())
		}
		s.Items = append(s.Items, item)
	}
	p.Sections = append(p.Sections, s)
	return s.ID
}

func sentence(s string) string { return printable(upper(s)) }

func (p *htmlPage) item(l check.Located) htmlItem {
	p.met[l.Rule] = true
	item := htmlItem{
		Kind: string(l.Severity), Label: string(l.Severity), Rule: l.Rule, Name: l.Name,
		Message: sentence(l.Message), Ignored: printable(l.Ignored), Why: printable(l.Why),
	}
	if l.Pos != nil {
		item.At = printable(l.Pos.String())
		if l.Snippet != "" {
			text, start, length := excerpt(l.Snippet, l.Pos.Column)
			all := []rune(text)
			item.Snippet = &htmlSnippet{l.Pos.Line, string(all[:start]), string(all[start : start+length]), string(all[start+length:])}
		}
	}
	if l.WhyPos != nil && l.WhyPos.Line > 0 {
		item.WhyAt = printable(l.WhyPos.String())
	}
	for _, d := range l.Details {
		item.Details = append(item.Details, printable(d))
	}
	if s := l.Subject; s != nil && l.Severity == check.Error && s.Start != nil && failureOf(proofOf(s.Start)) != nil {
		item.Chain = &htmlChain{Steps: chainOf(proofOf(s.Start))}
	}
	for _, fix := range l.Fixes {
		f := htmlFix{Title: sentence(fix.Title), Command: printable(fix.Command)}
		for _, c := range p.outline.changes(fix) {
			change := htmlChange{At: printable(workload.Pos{File: c.file, Line: c.line}.String())}
			for _, line := range c.old {
				change.Old = append(change.Old, expanded(line))
			}
			for _, line := range c.new {
				change.New = append(change.New, expanded(line))
			}
			f.Changes = append(f.Changes, change)
		}
		item.Fixes = append(item.Fixes, f)
	}
	return item
}

// group adds rows of the matrix: one for each container.
func (p *htmlPage) group(name, title, id string, results []check.Result, named func(check.Result) string) {
	g := htmlGroup{ID: id, Name: name, Title: title}
	var last *check.Subject
	for _, r := range results {
		s := r.Subject
		if last == nil || !sameRow(last, s) {
			g.Rows = append(g.Rows, htmlRow{
				Kind: "runs", Workload: printable(named(r)), Image: printable(s.Name),
				Cells: make([]htmlCell, len(p.Platforms)),
			})
		}
		last = s
		row := &g.Rows[len(g.Rows)-1]
		cell := p.cell(r)
		if worse := kindOrder(cell.Class) < kindOrder(row.Kind); worse {
			row.Kind = cell.Class
		}
		row.Cells[slices.Index(p.Platforms, columnOf(r))] = cell
	}
	if len(g.Rows) > 0 {
		p.Groups = append(p.Groups, g)
	}
}

// sameRow tells whether two results that follow each other are of one container, or of
// one image that was asked for.
func sameRow(a, b *check.Subject) bool {
	if a.Origin == nil || b.Origin == nil {
		return a.Origin == b.Origin && a.Name == b.Name && a.Need.Target == b.Need.Target
	}
	return a.Origin.Container == b.Origin.Container
}

func kindOrder(kind string) int {
	return slices.Index([]string{"error", "unknown", "warning", "runs"}, kind)
}

func (p *htmlPage) cell(r check.Result) htmlCell {
	c := htmlCell{Mark: "✓", Class: "runs", Word: "runs", Title: "runs on " + on(r.Subject)}
	switch {
	case r.Verdict == check.RunsNot && passes(r):
		c = htmlCell{Mark: "!", Class: "warning", Word: "ignored", Title: "does not run on " + on(r.Subject) + ", and that is ignored"}
	case r.Verdict == check.RunsNot:
		c = htmlCell{Mark: "✗", Class: "error", Word: "does not run", Title: "does not run on " + on(r.Subject)}
	case r.Verdict == check.Unknown:
		c = htmlCell{Mark: "?", Class: "unknown", Word: "unknown", Title: strings.Join(r.Unknowns, "; ")}
	}
	c.Title = printable(c.Title)
	if s := r.Subject.Start; s != nil {
		c.Proof = p.proof(r.Subject.Name, s)
	}
	for _, s := range r.Subject.Anywhere {
		p.proof(r.Subject.Name, s)
	}
	return c
}

// proof adds one, unless it is there, and returns its ID.
func (p *htmlPage) proof(image string, s *check.Start) string {
	key := fmt.Sprintf("%s %s %s %q", image, s.Manifest.Descriptor.Digest, platform.Format(s.Host.Platform), s.Process.Args)
	if known, ok := p.proofs[key]; ok {
		return known.ID
	}
	proof := proofOf(s)
	view := &htmlProof{
		ID: fmt.Sprintf("proof-%d", len(p.Proofs)+1), Image: printable(image), Host: platform.Format(s.Host.Platform),
		htmlChain: htmlChain{Steps: chainOf(proof)},
	}
	foot := fmt.Sprintf("%s, from %s of %s", proof.Evidence, size(s.Fetched), size(s.Total))
	failure := failureOf(proof)
	switch {
	case proof.Verdict == launch.Unknown:
		view.Kind, view.Mark, view.Word = "unknown", "?", "unknown"
		view.Notes = append(view.Notes, sentence(proof.Reason))
	case proof.Verdict == launch.Fails:
		view.Kind, view.Mark, view.Word = "error", "✗", "fails"
	case failure == nil:
		view.Kind, view.Mark, view.Word = "runs", "✓", "starts"
	case check.DerivedIsCertain(proof.Derived):
		view.Kind, view.Mark, view.Word = "error", "✗", "starts, then fails"
	default:
		view.Kind, view.Mark, view.Word = "warning", "!", "starts, then may fail"
	}
	if failure != nil {
		view.Message = printable(failure.Message)
		view.Notes = append(view.Notes, sentence(failure.Detail))
		if failure.Layer != "" {
			foot += " · layer " + failure.Layer.String()
		}
		if failure.CreatedBy != "" {
			foot += " · " + printable(failure.CreatedBy)
		}
	}
	warnings := proof.Warnings
	if proof.Derived != nil {
		warnings = slices.Concat(warnings, proof.Derived.Warnings)
	}
	view.Class, view.Foot = view.Kind, foot
	for _, w := range warnings {
		view.Notes = append(view.Notes, sentence(w.Detail))
	}
	p.proofs[key] = view
	p.Proofs = append(p.Proofs, view)
	return view.ID
}

// chainOf are the files of a start, and of what that starts in turn, with the broken one
// marked.
func chainOf(proof launch.Proof) []htmlStep {
	all := stepsOf(links(proof.Steps, proof.Failure))
	if d := proof.Derived; d != nil {
		for _, hop := range d.Through {
			if hop.How != "" {
				all = append(all, htmlStep{Class: "hop", Role: "starts", What: printable(hop.How)})
			}
		}
		all = append(all, stepsOf(links(commandSteps(d.Steps), d.Failure))...)
	}
	return all
}

func stepsOf(rows []link) []htmlStep {
	var all []htmlStep
	for _, r := range rows {
		s := htmlStep{Role: r.role, Path: r.path, What: r.what, Broken: r.broken}
		if r.broken {
			s.Class = "broken"
		}
		all = append(all, s)
	}
	return all
}

// failureOf is what keeps an image from running, or nil.
func failureOf(proof launch.Proof) *launch.Failure {
	if proof.Failure == nil && proof.Derived != nil {
		return proof.Derived.Failure
	}
	return proof.Failure
}
