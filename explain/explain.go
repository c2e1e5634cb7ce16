// Package explain is for the moment after it went wrong: it knows the error texts
// of runtimes, loaders and deploy targets, and holds what they can come from
// against what an image's bytes prove.
//
// Start with [Recognise], which finds known texts in a log, then [Explain], which
// says what happened: without an image what is most likely, with one which causes
// the proof confirms and which it rules out. [Texts] and [Causes] are the data
// behind them, each with its source.
//
// The package reads nothing: images are gathered and proven before, by package check.
package explain

import (
	"regexp"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/launch"
	"berth/platform"
)

// StagePull is the stage before those of package launch: an engine fetches and unpacks
// the image, or a deploy target accepts it.
const StagePull launch.Stage = "pull"

// Weight is how much a text says.
type Weight int

const (
	// Exact texts name the failure.
	Exact Weight = iota
	// Telling texts are warnings that point at a failure.
	Telling
	// Vague texts say that something failed, and hardly what: an exit code, a deploy
	// target's summary.
	Vague
)

// Text is one known error, however different programs put it.
type Text struct {
	// ID is stable: "exec-format-error".
	ID     string
	Stage  launch.Stage
	Weight Weight
	// Errno is the symbolic name, or empty where there is none.
	Errno string
	// ExitCode is what the text says or implies that the container exited with, or zero.
	ExitCode int
	// Meaning is a sentence about what happened, whatever the cause.
	Meaning string
	// Causes are words of [Causes], the most likely first.
	Causes []string
	Forms  []Form
}

// Form is how some program puts a text.
type Form struct {
	// Who prints it, for people: "runc", "AWS Lambda".
	Who string
	// Target is the deploy target that alone prints it, by the name that --for takes, or
	// empty.
	Target string
	// Key is a part of every match, in lower case: lines without it are not looked at.
	Key string
	// Pattern finds it in a line. The groups that [Said] has a field for are named
	// path, object, platform, have, os, arch, variant.
	Pattern *regexp.Regexp
	// Sample is a line that has it.
	Sample string
	// Source is where the text comes from: a file of the program that prints it, a page of
	// its vendor, or a public report of it.
	Source string
}

// Said is a known text that a log has.
type Said struct {
	Text *Text
	Form *Form
	// Line is the line that has it, without escape sequences, cut to a length that can be
	// read, and Match the part of it that was recognised.
	Line, Match string
	// Number counts lines from 1. Times is how often the log has the text.
	Number, Times int
	// Path is the program that failed, as the log names it, or empty.
	Path string
	// Object is what else the text is about: a library, a loader, a user, an interpreter.
	Object string
	// Wanted is the platform that was needed and Found that of the image, as the log has
	// them; the zero platform where it does not say.
	Wanted, Found platform.Platform
}

// Reading is what [Recognise] made of a log.
type Reading struct {
	// Said are the texts that were found: what says most first, and then by line.
	Said []Said
	// Reference is the image that the log names, or empty.
	Reference string
	// Digest is the manifest or index that the log says was run, or empty.
	Digest digest.Digest
	// Target is the deploy target that the log is from, by the name that --for takes, or
	// empty.
	Target string
	// Cut says that the log was longer than [MaxText], and only its end was read.
	Cut bool
}

// Subject is an image, held against one platform, to explain a text by.
type Subject struct {
	*check.Subject
	// Named is the proof of the program that the text names, where that is not what the
	// image starts by itself; see [Reading.OtherProgram].
	Named *check.Start
	// Assumed says that nobody told on which platform it ran: the need is a platform of the
	// image itself.
	Assumed bool
}

// Conclusion is what an explanation comes to.
type Conclusion string

const (
	// Confirmed: the image as it is fails in just this way.
	Confirmed Conclusion = "confirmed"
	// Likely: the text is known, and nothing contradicts its likeliest cause.
	Likely Conclusion = "likely"
	// Differs: the image as it is fails, and in another way than the text says.
	Differs Conclusion = "differs"
	// Contradicted: the image as it is does not fail like this.
	Contradicted Conclusion = "contradicted"
	// Unknown: the text is known, and the image could not be read or proven.
	Unknown Conclusion = "unknown"
	// Unrecognised: the text is not known.
	Unrecognised Conclusion = "unrecognised"
)

// Status is where a cause stands.
type Status string

const (
	// Established: the evidence shows it.
	Established Status = "established"
	// Possible: nothing speaks against it.
	Possible Status = "possible"
	// RuledOut: the evidence excludes it.
	RuledOut Status = "ruled-out"
)

// Ruling is one cause, and where it stands.
type Ruling struct {
	// Cause is a word of [Causes].
	Cause string
	// Title is a clause about the cause: "the program is for another architecture".
	Title  string
	Status Status
	// Evidence is what the status stands on; empty where it is no more than experience.
	Evidence launch.Evidence
	// Why is the evidence in a sentence, or for a possible cause how to find out.
	Why string
	// Platform is where the evidence was found; the zero platform without evidence.
	Platform platform.Platform
	// Failure has the file, the layer and the fix of an established cause that was proven.
	Failure *launch.Failure
}

// Explanation is the answer of [Explain].
type Explanation struct {
	Reading    Reading
	Subjects   []Subject
	Conclusion Conclusion
	// Summary is what happened, in a sentence or two.
	Summary string
	// Causes are those that are established, then possible, then ruled out.
	Causes []Ruling
	// Conflicts are where the text, what was asked and what was found disagree.
	Conflicts []string
	// Next is what to do, the best first.
	Next []check.Fix
}
