// Package report renders what berth found: an image's claims, proofs, the
// results of a check, a copy, the targets, an explanation. It decides nothing.
//
// Start with [New], which gives the [Format] of a name. Each format is one file.
package report

import (
	"fmt"
	"io"

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
	// Requests were sent to registries, in all.
	Requests int64
	Seconds  float64
	// Err is why nothing was written, where there are several destinations. Then
	// Selection, Plan and Result may be nil.
	Err error
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

// TextOptions is how text looks. The zero value is plain.
type TextOptions struct {
	Color bool
}

// New returns the format of a name, text or json.
func New(name string, w io.Writer, opts TextOptions) (Format, error) {
	switch name {
	case "text":
		return &textFormat{w: w, style: style{opts.Color}}, nil
	case "json":
		return &jsonFormat{w}, nil
	}
	return nil, fmt.Errorf("output format %q is not known: write text or json", name)
}

// printable keeps control characters of foreign text off the terminal.
func printable(s string) string { return store.Printable(s) }
