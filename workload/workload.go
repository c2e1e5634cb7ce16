// Package workload reads deployment files into workloads: which images they
// start, on which platform, said where.
//
// Start with [NewFile] and [Read], which knows by its content what a file is.
// [Formats] lists what is known; one file each. Reading resolves no image: it says
// what the file says, and what follows from it where it says nothing.
//
// A value that a file leaves open (a parameter without a default, a plan's "known
// after apply") is a [Value] with the reason why, never the empty string. What
// looks like a deployment file and is broken is a [Problem], never skipped.
package workload

import (
	"fmt"

	"berth/platform"
	"berth/target"
)

// Pos is a place in a file. Line and Column count from 1, in characters; both are 0
// where the file as a whole is meant.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String is file:line:column, as compilers write it.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Value is a string that a file says, or leaves open.
type Value struct {
	// Text is the value; where it is not known, what the file has in its place.
	Text string
	// Unknown says why the value cannot be known from the files; empty where it is.
	Unknown string
	Pos     Pos
}

// Known tells whether Text is the value.
func (v Value) Known() bool { return v.Unknown == "" }

// Workload is what is deployed and scheduled as one: all its containers run on one
// machine, so on one platform.
type Workload struct {
	// Format is the name of the [Format] that it was read from.
	Format string
	// Kind is what the file calls it, "AWS::ECS::TaskDefinition", "Deployment", "service".
	Kind string
	// Name is what the file names it, or empty.
	Name        string
	Pos         Pos
	Requirement Requirement
	Containers  []Container
	// SetPlatform returns the edits that make it run on p, which must be one that its
	// target runs; nil where this file cannot say so.
	SetPlatform func(p platform.Platform) ([]Edit, error)
}

// String is how people call it: its kind and its name.
func (w *Workload) String() string {
	if w.Name == "" {
		return w.Kind
	}
	return w.Kind + " " + w.Name
}

// Certainty is how a requirement is known.
type Certainty string

const (
	// Stated: a file says it.
	Stated Certainty = "stated"
	// Default: no file says it, and the target has a default.
	Default Certainty = "default"
	// Assumed: the caller said it, in [Options].
	Assumed Certainty = "assumed"
	// Undetermined: nothing says it. There are then no platforms.
	Undetermined Certainty = "undetermined"
)

// Requirement is where a workload will run.
type Requirement struct {
	// Target is the deploy target, or nil where only platforms are known.
	Target *target.Target
	// Platforms are all that it may land on: with several, the scheduler chooses, so an
	// image needs them all. Empty exactly when Certainty is [Undetermined].
	Platforms []platform.Platform
	Certainty Certainty
	// Why is a clause that says where this comes from: "runtimePlatform.cpuArchitecture is
	// ARM64", "Fargate default: no runtimePlatform". Where it is undetermined, why.
	Why string
	// Pos is where the file says so, or where it would have to.
	Pos Pos
}

// Container is one image that a workload starts.
type Container struct {
	// Name is what the file names it, or empty.
	Name string
	// Image is the reference, as the file has it. Its Text is empty where Build alone says
	// what is started.
	Image   Value
	Process Process
	// Build is set where the image is built from what lies beside the file.
	Build *Build
	// Pulled says that the image is only taken as files, never started: a base image of a
	// Dockerfile, an image volume.
	Pulled bool
}

// Process is what a file changes about how an image is started.
type Process struct {
	// Entrypoint and Command replace those of the image; nil where the file says nothing.
	Entrypoint, Command []string
	User, WorkDir       string   // empty: the image's
	Env                 []string // KEY=value, added to the image's
	// Mounts are folders and files of the container that the deployment lays something else
	// over, so that what the image has there does not count.
	Mounts []string
	// Unknown says why the above is not all known, or is empty.
	Unknown string
}

// Build is how an image is built.
type Build struct {
	// Dockerfile is its path as the file gives it, relative to the folder of the file; or empty.
	Dockerfile string
	// Platforms are those it is built for; nil where nothing says, so that it becomes the
	// platform of the machine that builds.
	Platforms []platform.Platform
	Pos       Pos
}

// Mistake is something wrong with a file whatever its images are. Rules of package
// check have the same names.
type Mistake struct {
	// Rule is the name of the rule, "dockerfile-platform-pinned".
	Rule string
	Pos  Pos
	// Message is one sentence.
	Message string
	// Fix says what to do; Edits do it, where an edit can.
	Fix   string
	Edits []Edit
}

// Problem is something that could not be read.
type Problem struct {
	Pos Pos
	// Message says what was wrong, and what to do.
	Message string
	// Open says that the file is as it should be and leaves this open by its nature, such as
	// a template that was not rendered; otherwise it is broken.
	Open bool
}

// Ignore says not to report a rule.
type Ignore struct {
	// Rule is the ID or the name of a rule.
	Rule string
	// Reason is never empty.
	Reason string
	// Pos is where it stands.
	Pos Pos
	// Workload is what it holds for; where it is nil, it holds for what is reported on
	// Line, and for the whole workload that begins there.
	Workload *Workload
	Line     int
}

// Reading is what was read from a file.
type Reading struct {
	File *File
	// Format is nil where the content is of none.
	Format    *Format
	Workloads []*Workload
	Mistakes  []Mistake
	Problems  []Problem
	Ignores   []Ignore
}
