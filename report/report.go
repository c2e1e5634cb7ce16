// Package report renders what berth found: an image's claims, proofs, the
// results of a check, a copy, the targets, an explanation. It decides nothing.
//
// Start with [New], which gives the [Format] of a name. Each format is one file.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/explain"
	"berth/image"
	"berth/store"
	"berth/target"
	"berth/transfer"
)

// Format writes results to one writer.
type Format interface {
	// Image writes what an image claims.
	Image(*Opened) error
	// Proofs writes what an image's bytes are.
	Proofs(*Proved) error
	// Check writes findings.
	Check(*check.Report) error
	// Copy writes what was copied, or would be.
	Copy(*Copied) error
	// Index writes of what an index was made, or would be.
	Index(*Indexed) error
	// Copies writes what was copied, or would be, to several destinations.
	Copies(*Copies) error
	// Targets writes what is known of deploy targets. With one target, all of it.
	Targets([]*target.Target) error
	// Explanation writes what an error text came from.
	Explanation(*explain.Explanation) error
}

// Opened is a reference and the image it names.
type Opened struct {
	Name  string
	Image *image.Image
	// Manifests are those to show.
	Manifests []*image.Manifest
}

// Proved is an image and proofs of some of its manifests.
type Proved struct {
	Name   string
	Image  *image.Image
	Starts []*check.Start
}

// Copied is a copy that was carried out, or with DryRun planned.
type Copied struct {
	Source, Destination string
	Selection           *image.Selection
	Plan                *transfer.Plan
	// Result is nil with DryRun.
	Result *transfer.Result
	DryRun bool
	// Starts are the proofs that the tag waited for.
	Starts []*check.Start
	// Converted is what was made of the image, where that was asked for and a target
	// demands a form.
	Converted *transfer.Converted
	// Attachments are what is about the image, where that was asked for.
	Attachments *Attachments
	// Requests were sent to registries, in all.
	Requests int64
	Seconds  float64
	// Err is why nothing was written, where there are several destinations. Then
	// Selection, Plan and Result may be nil.
	Err error
}

// Attachments are what is about an image that is copied, and is copied with it.
type Attachments struct {
	*image.Attachments
	// Left are about the source's index, where that is not what is copied.
	Left []*image.Attached
}

// Copies are the copies of one image to several destinations, at the same time.
type Copies struct {
	Source string
	Copies []*Copied
	// Requests were sent to registries, for all copies.
	Requests int64
	Seconds  float64
}

// Indexed is an index that was made of images built apart, or with DryRun planned.
type Indexed struct {
	Destination string
	Selection   *image.Selection
	// From is the source of each manifest, as it was given.
	From map[digest.Digest]string
	Plan *transfer.Plan
	// Result is nil with DryRun.
	Result *transfer.Result
	DryRun bool
	// Starts are the proofs that the tag waited for.
	Starts []*check.Start
	// Requests were sent to registries, in all.
	Requests int64
	Seconds  float64
}

// Options is how results look. Its zero value is plain.
type Options struct {
	// Color is for text alone.
	Color bool
	// Version is that of berth, for formats that say what wrote them.
	Version string
}

// formats are all formats, by the names that they have on the command line.
var formats = []struct {
	name string
	// checks says that the format shows the results of a check and nothing else.
	checks bool
	make   func(io.Writer, Options) Format
}{
	{"text", false, func(w io.Writer, o Options) Format { return &textFormat{w: w, style: style{o.Color}} }},
	{"json", false, func(w io.Writer, _ Options) Format { return &jsonFormat{w} }},
	{"sarif", true, func(w io.Writer, o Options) Format { return &sarifFormat{checkOnly{"sarif"}, w, o.Version} }},
	{"junit", true, func(w io.Writer, _ Options) Format { return &junitFormat{checkOnly{"junit"}, w} }},
	{"github", true, func(w io.Writer, _ Options) Format { return &githubFormat{checkOnly{"github"}, w} }},
	{"markdown", true, func(w io.Writer, _ Options) Format { return &markdownFormat{checkOnly{"markdown"}, w} }},
	{"html", true, func(w io.Writer, o Options) Format { return &htmlFormat{checkOnly{"html"}, w, o.Version} }},
}

// Names are the formats that a command has, the usual one first. Those that show
// findings only are there for the command "check".
func Names(command string) []string {
	var names []string
	for _, f := range formats {
		if !f.checks || command == "check" {
			names = append(names, f.name)
		}
	}
	return names
}

// New returns the format of a name for a command, which must be one of [Names].
func New(command, name string, w io.Writer, opts Options) (Format, error) {
	names := Names(command)
	for _, f := range formats {
		if f.name != name {
			continue
		}
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("output format %s shows what a check finds: berth %s has %s", name, command, Either(names))
		}
		return f.make(w, opts), nil
	}
	return nil, fmt.Errorf("output format %q is not known: write %s", name, Either(names))
}

// Either joins names by commas, and the last by "or".
func Either(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// checkOnly is what the formats that show findings only answer to everything else.
type checkOnly struct{ name string }

func (c checkOnly) refuse() error {
	return fmt.Errorf("output format %s shows what a check finds, and nothing else", c.name)
}

func (c checkOnly) Image(*Opened) error                    { return c.refuse() }
func (c checkOnly) Proofs(*Proved) error                   { return c.refuse() }
func (c checkOnly) Copy(*Copied) error                     { return c.refuse() }
func (c checkOnly) Copies(*Copies) error                   { return c.refuse() }
func (c checkOnly) Index(*Indexed) error                   { return c.refuse() }
func (c checkOnly) Targets([]*target.Target) error         { return c.refuse() }
func (c checkOnly) Explanation(*explain.Explanation) error { return c.refuse() }

// printable keeps control characters of foreign text off the terminal.
func printable(s string) string { return store.Printable(s) }
