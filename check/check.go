// Package check holds what images claim and what their bytes are against what
// deploy targets need, and says what follows.
//
// Start with [Gather], which does all the reading, then [Run], which does none:
// rules are functions over facts. [Rules] lists them. For deployment files,
// [Deployed] says what is to be gathered, and [Examine] what was found in all.
package check

import (
	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
	"berth/workload"
)

// Subject is one image held against one need, with all that was found out.
type Subject struct {
	Reference store.Reference
	// Name is the reference as it was given.
	Name string
	// Need has no platform where nothing determines one; its Why then says so.
	Need target.Need
	// Origin is the place of a deployment file that asks for it, or nil.
	Origin *Origin
	// Open says why there is no image to look at, by the nature of what was asked; empty
	// where there is one.
	Open string
	// Locked is the digest to look at in place of what Reference names, or empty; Now is what
	// it names, where that was found out.
	Locked, Now digest.Digest
	// Override is what the deployment starts instead of what the image's config says.
	Override launch.Override
	// Image is nil exactly when Open or Err says why it could not be opened.
	Image *image.Image
	Err   error
	// Selected is the manifest that the target takes; nil where it finds none.
	Selected *image.Manifest
	// Start is what happens when the target starts Selected; nil where nothing was proven.
	Start *Start
	// Anywhere are the starts of all platforms of the image, each on a host of its own,
	// where the need has no platform.
	Anywhere []*Start
	// Beside are the starts of the same image that were proven for other subjects.
	Beside []*Start
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
	Doc string
	// Check looks at a subject, File at what a deployment file says by itself. A rule has
	// one of them.
	Check func(*Subject) []Finding
	File  func(*workload.Reading) []Finding
	// needs is what Check needs of a subject.
	needs needed
}

// needed is what a rule cannot do without.
type needed int

const (
	aPlatform needed = iota // an image, and a platform that it is to run on
	anImage
	nothing
)

// Finding is one thing that is wrong.
type Finding struct {
	Rule     string   `json:"rule"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Message is one sentence that names the image, what is needed and what is there.
	Message string `json:"message"`
	// Pos is the place that it is about: where a deployment file names the image, or the
	// mistake itself. nil for what no file says. Snippet is its line.
	Pos     *workload.Pos `json:"position,omitempty"`
	Snippet string        `json:"snippet,omitempty"`
	// Why says where the need comes from, WhyPos where a file says so.
	Why    string        `json:"why,omitempty"`
	WhyPos *workload.Pos `json:"whyPosition,omitempty"`
	// Details are further lines of evidence.
	Details []string `json:"details,omitempty"`
	// Manifest is the one that the finding is about.
	Manifest digest.Digest `json:"manifest,omitempty"`
	// Fixes are alternatives, the best first.
	Fixes []Fix `json:"fixes"`
	// Ignored is the reason that someone gave for letting it pass, or empty. The verdict
	// stands all the same.
	Ignored string `json:"ignored,omitempty"`
}

// Fix is one way to mend a finding.
type Fix struct {
	Title string `json:"title"`
	// Command is ready to paste, or empty where an edit is what it takes. Words in
	// capitals are for the user to fill in.
	Command string `json:"command,omitempty"`
	// Edits of deployment files do it, where edits can.
	Edits []workload.Edit `json:"edits,omitempty"`
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
		derivedCommand,
		usrMerge,
		platformMayBeMissing,
		defaultPlatform,
		mutableTag,
		buildPlatform,
		dockerfileTargetArgDefault,
		dockerfileTargetArgUndeclared,
		dockerfileBuildPlatformFinal,
		dockerfilePlatformConstant,
		dockerfileArchitectureInURL,
		dockerfileGOARCHConstant,
		unusedIgnore,
		tagMoved,
		startsNowhere,
		kubernetesArchitectureValue,
	}
}

// Verdict sums a subject up.
type Verdict string

const (
	// Runs: nothing was found that keeps it from running.
	Runs Verdict = "runs"
	// RunsNot: at least one finding is an error, ignored or not.
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
	// Failed says that something that berth looks at could not be read. Other unknowns are
	// left open by the nature of what was asked.
	Failed bool
}
