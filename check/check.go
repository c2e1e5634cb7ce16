// Package check holds what images claim and what their bytes are against what
// deploy targets need, and says what follows.
//
// Start with [Gather], which does all the reading, then [Run], which does none:
// rules are functions over facts. [Rules] lists them.
package check

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
)

// Subject is one image held against one need, with all that was found out.
type Subject struct {
	Reference store.Reference
	// Name is the reference as it was given.
	Name string
	Need target.Need
	// Override is what the deployment starts instead of what the image's config says.
	Override launch.Override
	// Image is nil exactly when Err says why it could not be opened.
	Image *image.Image
	Err   error
	// Selected is the manifest that the target takes; nil where it finds none.
	Selected *image.Manifest
	// Start is what happens when the target starts Selected; nil where nothing was proven.
	Start *Start
}

// Start is the proof of one manifest on one host, and what it cost.
type Start struct {
	Manifest *image.Manifest
	Host     launch.Host
	// Process is what was to be started.
	Process launch.Process
	// Proof is nil exactly when Err says why the bytes could not be read.
	Proof *launch.Proof
	Err   error
	// Fetched of Total compressed bytes of layers were read.
	Fetched, Total int64
}

// Proven is the platform that the executable which decides the start is for, or
// the zero platform where the bytes did not say.
func (s *Start) Proven() platform.Platform {
	if s == nil || s.Proof == nil {
		return platform.Platform{}
	}
	// The first executable of the chain decides: a script's interpreter, or the
	// entrypoint itself. The loader that follows must match it.
	for _, step := range s.Proof.Steps {
		if step.Platform == "" {
			continue
		}
		if p, err := platform.Parse(step.Platform); err == nil {
			return p
		}
	}
	return platform.Platform{}
}

// Severity is how bad a finding is.
type Severity string

const (
	// Error: it will not run.
	Error Severity = "error"
	// Warning: something is wrong, and it may run all the same.
	Warning Severity = "warning"
	// Notice: worth knowing.
	Notice Severity = "notice"
)

// Rule is one thing that can be wrong. Check looks at the facts alone: no I/O.
type Rule struct {
	// ID is stable and never reused, "BER001". Name is for people, "platform-missing".
	ID, Name string
	// Doc says in one line what the rule finds.
	Doc   string
	Check func(*Subject) []Finding
}

// Finding is one thing that is wrong.
type Finding struct {
	Rule     string   `json:"rule"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Message is one sentence that names the image, what is needed and what is there.
	Message string `json:"message"`
	// Why says where the need comes from.
	Why string `json:"why,omitempty"`
	// Details are further lines of evidence.
	Details []string `json:"details,omitempty"`
	// Manifest is the one that the finding is about.
	Manifest digest.Digest `json:"manifest,omitempty"`
	// Fixes are alternatives, the best first.
	Fixes []Fix `json:"fixes"`
}

// Fix is one way to mend a finding.
type Fix struct {
	Title string `json:"title"`
	// Command is ready to paste, or empty where an edit is what it takes. Words in
	// capitals are for the user to fill in.
	Command string `json:"command,omitempty"`
}

// Rules are all rules, by ID.
func Rules() []Rule {
	return []Rule{
		platformMissing,
		indexRefused,
		attestationRefused,
		labelsDisagree,
		labelAgainstBytes,
		doesNotStart,
		sameLayers,
		mediaTypeRefused,
		compressionRefused,
		tooLarge,
		fallbackPlatform,
	}
}

// Verdict sums a subject up.
type Verdict string

const (
	// Runs: nothing was found that keeps it from running.
	Runs Verdict = "runs"
	// RunsNot: at least one finding is an error.
	RunsNot Verdict = "runs-not"
	// Unknown: berth could not tell.
	Unknown Verdict = "unknown"
)

// Result is what was found about one subject.
type Result struct {
	Subject *Subject
	Verdict Verdict
	// Findings, worst first.
	Findings []Finding
	// Unknowns are what berth could not tell, each a sentence. With [RunsNot] and
	// [Runs] they are beside the point of the verdict.
	Unknowns []string
}

// Run applies all rules to each subject, in order.
func Run(subjects []*Subject) []Result {
	var results []Result
	for _, s := range subjects {
		results = append(results, run(s))
	}
	return results
}

var severities = []Severity{Error, Warning, Notice}

func run(s *Subject) Result {
	r := Result{Subject: s, Verdict: Runs, Findings: []Finding{}, Unknowns: []string{}}
	if s.Err != nil {
		r.Verdict = Unknown
		r.Unknowns = append(r.Unknowns, s.Err.Error())
		return r
	}
	for _, rule := range Rules() {
		for _, f := range rule.Check(s) {
			f.Rule, f.Name = rule.ID, rule.Name
			r.Findings = append(r.Findings, f)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return slices.Index(severities, a.Severity) - slices.Index(severities, b.Severity)
	})
	blocking, open := unknowns(s)
	r.Unknowns = append(append(r.Unknowns, blocking...), open...)
	switch {
	case len(r.Findings) > 0 && r.Findings[0].Severity == Error:
		r.Verdict = RunsNot
	case len(blocking) > 0:
		r.Verdict = Unknown
	}
	return r
}

// unknowns are what keeps berth from a verdict, and what is merely not known of
// the target.
func unknowns(s *Subject) (blocking, open []string) {
	switch {
	case s.Selected == nil:
		for _, m := range s.Image.Manifests {
			if m.Err != nil && m.Declared == nil {
				blocking = append(blocking, "a manifest of the index could not be read, and may be the one that is needed: "+m.Err.Error())
			}
		}
	case s.Selected.Err != nil:
		blocking = append(blocking, "the manifest for "+platform.Format(s.Need.Platform)+" could not be read: "+s.Selected.Err.Error())
	case s.Start == nil:
	case s.Start.Err != nil:
		blocking = append(blocking, "its bytes could not be read: "+s.Start.Err.Error())
	case s.Start.Proof.Verdict == launch.Unknown:
		blocking = append(blocking, "whether it starts: "+s.Start.Proof.Reason)
	}
	if t := s.Need.Target; t != nil && s.Image.IsIndex && t.Accepts.Index == target.Unknown {
		open = append(open, "whether "+t.Title+" accepts a multi-platform index: no source says so (berth copy --for "+t.Name+" makes a plain manifest)")
	}
	return blocking, open
}
