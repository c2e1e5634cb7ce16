package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/check"
	"berth/docs/rules"
	"berth/platform"
	"berth/workload"
)

// maxSARIFResults is how many results of a run GitHub code scanning takes; it refuses a
// file with more (docs.github.com, "SARIF support for code scanning", November 2026).
const maxSARIFResults = 25_000

// sarifFormat writes SARIF 2.1.0, in the shape that GitHub code scanning takes.
type sarifFormat struct {
	checkOnly
	w       io.Writer
	version string
}

// The parts of SARIF 2.1.0 that berth writes. What is left out has the default that the
// standard gives it (docs.oasis-open.org/sarif/sarif/v2.1.0).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name          string            `json:"name"`
		Version       string            `json:"version,omitempty"`
		Rules         []sarifDescriptor `json:"rules"`
		Notifications []sarifDescriptor `json:"notifications"`
	}
	sarifDescriptor struct {
		ID               string     `json:"id"`
		Name             string     `json:"name"`
		ShortDescription sarifText  `json:"shortDescription"`
		FullDescription  sarifText  `json:"fullDescription"`
		Help             *sarifText `json:"help,omitempty"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Descriptor sarifReference  `json:"descriptor"`
		Level      string          `json:"level"`
		Message    sarifText       `json:"message"`
		Locations  []sarifLocation `json:"locations,omitempty"`
	}
	sarifReference struct {
		ID string `json:"id"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Related      []sarifLocation    `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Fixes        []sarifFix         `json:"fixes,omitempty"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		ID       int            `json:"id,omitempty"`
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
		Message  *sarifText     `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI    string `json:"uri"`
		BaseID string `json:"uriBaseId,omitempty"`
	}
	sarifRegion struct {
		StartLine   int        `json:"startLine"`
		StartColumn int        `json:"startColumn,omitempty"`
		EndLine     int        `json:"endLine,omitempty"`
		EndColumn   int        `json:"endColumn,omitempty"`
		Snippet     *sarifText `json:"snippet,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Full string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifFix struct {
		Description sarifText     `json:"description"`
		Changes     []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		Artifact     sarifArtifact      `json:"artifactLocation"`
		Replacements []sarifReplacement `json:"replacements"`
	}
	sarifReplacement struct {
		Deleted  sarifRegion `json:"deletedRegion"`
		Inserted *sarifText  `json:"insertedContent,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

// What berth could not tell is no result: SARIF has notifications for it.
const (
	sarifUnknown = "unknown"
	sarifProblem = "problem"
)

func (f *sarifFormat) Check(report *check.Report) error {
	o := outlineOf(report)
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "berth", Version: f.version, Rules: []sarifDescriptor{},
			Notifications: []sarifDescriptor{
				{ID: sarifUnknown, Name: "unknown", ShortDescription: sarifText{Text: "berth could not tell."}, FullDescription: sarifText{Text: "berth could not tell whether an image runs. Unknown does not mean that it does."}},
				{ID: sarifProblem, Name: "problem", ShortDescription: sarifText{Text: "A deployment file could not be read."}, FullDescription: sarifText{Text: "A deployment file, or a part of it, could not be read. Nothing is known of what it deploys."}},
			},
		}},
		// Columns are counted in characters.
		ColumnKind: "unicodeCodePoints",
		Results:    []sarifResult{},
	}
	index := map[string]int{}
	for i, rule := range check.Rules() {
		index[rule.ID] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule(rule))
	}
	inSource := sourceIgnores(report)
	for _, l := range worstFirst(o.located()) {
		if len(run.Results) == maxSARIFResults {
			break
		}
		run.Results = append(run.Results, o.sarifResult(l, index[l.Rule], inSource))
	}
	run.Invocations = []sarifInvocation{o.sarifInvocation()}
	if left := len(o.located()) - len(run.Results); left > 0 {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{
			Descriptor: sarifReference{sarifUnknown}, Level: "error",
			Message: sarifText{Text: fmt.Sprintf("%s more are left out, the least bad: GitHub takes %d", count(left, "finding"), maxSARIFResults)},
		})
	}
	return (&jsonFormat{f.w}).write(sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func sarifRule(rule check.Rule) sarifDescriptor {
	page := rules.Page(rule.ID)
	return sarifDescriptor{
		ID: rule.ID, Name: rule.Name,
		ShortDescription: sarifText{Text: rule.Doc}, FullDescription: sarifText{Text: rule.Doc},
		Help: &sarifText{Text: page, Markdown: page},
	}
}

// worstFirst orders findings so that a bound leaves out the least bad.
func worstFirst(all []check.Located) []check.Located {
	slices.SortStableFunc(all, func(a, b check.Located) int { return weight(a.Finding) - weight(b.Finding) })
	return all
}

func weight(f check.Finding) int {
	switch {
	case f.Ignored != "":
		return 3
	case f.Severity == check.Error:
		return 0
	case f.Severity == check.Warning:
		return 1
	}
	return 2
}

func sarifLevel(s check.Severity) string {
	if s == check.Notice {
		return "note"
	}
	return string(s)
}

func (o *outline) sarifResult(l check.Located, rule int, inSource map[string]bool) sarifResult {
	r := sarifResult{
		RuleID: l.Rule, RuleIndex: rule, Level: sarifLevel(l.Severity),
		Message:      sarifText{Text: sentences(l.Finding)},
		Locations:    []sarifLocation{sarifLocationOf(l.Pos, l.Snippet, l.Subject)},
		Fingerprints: fingerprints(l),
	}
	if l.WhyPos != nil && l.WhyPos.Line > 0 {
		r.Related = []sarifLocation{{ID: 1, Physical: sarifPhysicalOf(*l.WhyPos, ""), Message: &sarifText{Text: l.Why}}}
	}
	for _, fix := range l.Fixes {
		if changes := o.sarifChanges(fix.Edits); len(changes) > 0 {
			r.Fixes = append(r.Fixes, sarifFix{sarifText{Text: fix.Title}, changes})
		}
	}
	if l.Ignored != "" {
		kind := "external"
		if l.Pos != nil && inSource[l.Pos.File+"\x00"+l.Ignored] {
			kind = "inSource"
		}
		r.Suppressions = []sarifSuppression{{kind, l.Ignored}}
	}
	return r
}

// sourceIgnores are the reasons that files themselves give.
func sourceIgnores(report *check.Report) map[string]bool {
	all := map[string]bool{}
	for _, f := range report.Files {
		for _, i := range f.Reading.Ignores {
			all[i.Pos.File+"\x00"+i.Reason] = true
		}
	}
	return all
}

// sentences are what a finding says and what to do, for formats that have one text.
func sentences(f check.Finding) string {
	all := []string{upper(f.Message) + "."}
	for _, d := range f.Details {
		all = append(all, upper(d)+".")
	}
	if f.Why != "" {
		all = append(all, "Why: "+f.Why+".")
	}
	for i, fix := range f.Fixes {
		text := fix.Title
		if i == 0 {
			text = "Fix: " + text
		}
		if fix.Command != "" {
			text += ": " + fix.Command
		}
		all = append(all, text)
	}
	return strings.Join(all, "\n")
}

// upper begins a sentence, unless it begins with a name.
func upper(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if word == "" || strings.ContainsAny(word, "./:@-_0123456789") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// fingerprints tell GitHub that a finding is the one that it knows already, where lines
// have moved. For files it computes its own from their text; an image is none.
func fingerprints(l check.Located) map[string]string {
	parts := []string{l.Rule, strings.TrimSpace(l.Snippet)}
	if l.Pos != nil {
		parts = append(parts, l.Pos.File)
	}
	if s := l.Subject; s != nil {
		parts = append(parts, s.Name, on(s))
		if s.Origin != nil {
			parts = append(parts, s.Origin.Workload.String(), s.Origin.Container.Name)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	hash := hex.EncodeToString(sum[:16])
	if l.Pos == nil {
		return map[string]string{"berth/v1": hash, "primaryLocationLineHash": hash + ":1"}
	}
	return map[string]string{"berth/v1": hash}
}

// sarifLocationOf is where a finding is. GitHub refuses a result without a file and a
// line, so an image that no file names has its name in place of one.
func sarifLocationOf(pos *workload.Pos, snippet string, s *check.Subject) sarifLocation {
	var l sarifLocation
	if s != nil {
		l.Logical = []sarifLogical{sarifLogicalOf(s)}
	}
	if pos != nil {
		l.Physical = sarifPhysicalOf(*pos, snippet)
		return l
	}
	name := "image"
	if s != nil {
		name = s.Name
		if known := s.Reference.Name(); known != "" {
			name = known
		}
	}
	l.Physical = &sarifPhysical{Artifact: sarifArtifact{URI: escapedPath(name)}, Region: &sarifRegion{StartLine: 1}}
	return l
}

func sarifLogicalOf(s *check.Subject) sarifLogical {
	name := s.Name
	if platform.Known(s.Need.Platform) {
		name += " on " + platform.Format(s.Need.Platform)
	}
	if s.Origin == nil {
		return sarifLogical{Name: s.Name, Full: name, Kind: "image"}
	}
	full := s.Origin.Workload.String()
	if c := s.Origin.Container.Name; c != "" {
		full += "/" + c
	}
	return sarifLogical{Name: s.Name, Full: full + "/" + name, Kind: "container"}
}

func sarifPhysicalOf(pos workload.Pos, snippet string) *sarifPhysical {
	region := &sarifRegion{StartLine: max(pos.Line, 1), StartColumn: pos.Column}
	if snippet != "" {
		region.Snippet = &sarifText{Text: snippet}
		if start, length := underlined(snippet, pos.Column); length > 0 {
			region.EndColumn = start + length
		}
	}
	return &sarifPhysical{Artifact: sarifArtifactOf(pos.File), Region: region}
}

func sarifArtifactOf(file string) sarifArtifact {
	file = slashed(file)
	if strings.HasPrefix(file, "/") {
		return sarifArtifact{URI: "file://" + escapedPath(file)}
	}
	return sarifArtifact{URI: escapedPath(file), BaseID: "%SRCROOT%"}
}

// slashed is the path of a file with slashes, as seen from the folder that berth runs in.
func slashed(file string) string {
	return strings.TrimPrefix(strings.ReplaceAll(file, `\`, "/"), "./")
}

// escapedPath is a path as it stands in a URI: of RFC 3986 only what is unreserved stays, so
// that no colon in its first part becomes a scheme.
func escapedPath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (o *outline) sarifChanges(edits []workload.Edit) []sarifChange {
	var all []sarifChange
	for _, e := range edits {
		f := o.file(e.File)
		if f == nil {
			return nil // a fix of which a part is missing would break the file
		}
		start, end := f.PosAt(e.Start), f.PosAt(e.End)
		r := sarifReplacement{
			Deleted:  sarifRegion{StartLine: start.Line, StartColumn: start.Column, EndLine: end.Line, EndColumn: end.Column},
			Inserted: &sarifText{Text: e.New},
		}
		i := slices.IndexFunc(all, func(c sarifChange) bool { return c.Artifact == sarifArtifactOf(e.File) })
		if i < 0 {
			all = append(all, sarifChange{Artifact: sarifArtifactOf(e.File)})
			i = len(all) - 1
		}
		all[i].Replacements = append(all[i].Replacements, r)
	}
	return all
}

func (o *outline) sarifInvocation() sarifInvocation {
	all := sarifInvocation{Successful: true, Notifications: []sarifNotification{}}
	add := func(id string, failed bool, message string, at sarifLocation) {
		n := sarifNotification{Descriptor: sarifReference{id}, Level: "warning", Message: sarifText{Text: message}, Locations: []sarifLocation{at}}
		if failed {
			n.Level, all.Successful = "error", false
		}
		all.Notifications = append(all.Notifications, n)
	}
	for _, u := range uncertainties(o.asked) {
		add(sarifUnknown, u.failed, u.sentence(), sarifLocation{Logical: []sarifLogical{{Name: u.name, Full: u.name, Kind: "image"}}})
	}
	for _, f := range o.files {
		for _, p := range f.problems {
			add(sarifProblem, !p.Open, p.Message, sarifLocation{Physical: sarifPhysicalOf(p.Pos, "")})
		}
		for _, u := range f.uncertainties() {
			add(sarifUnknown, u.failed, u.sentence(), sarifLocation{Physical: sarifPhysicalOf(u.pos, "")})
		}
	}
	return all
}
