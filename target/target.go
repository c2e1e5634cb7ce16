// Package target is what berth knows of deploy targets, as data: one file each
// under data/, every fact with its source and the day it was checked.
//
// Start with [Builtin] and [Set.Need], which reads what a user writes after
// --for: "apprunner", "fargate/arm64", "linux/arm64". [Set.Add] reads further
// targets from a file of the same schema.
//
// # Schema
//
// A target is one YAML document. Every key has to be there, so that leaving
// something out is a decision: what nobody has found out is written "unknown".
//
//	name:       what --for takes: lower-case letters and digits, joined by '-'
//	title:      what people read
//	aliases:    [other names for --for]
//	runs:       [os/architecture, …], or "depends" where it is up to machines
//	            that the target does not determine
//	default:    the one of runs that it takes when nothing says otherwise,
//	            "none" where nothing determines it, or unknown
//	declaredIn: the field where a user declares the platform, or "nowhere"
//	accepts:
//	  index, attestation, zstd, oci: yes, no or unknown
//	  maxUncompressed: bytes, or unknown
//	compat:
//	  ia32, aarch32: yes, no or unknown
//	facts:
//	  - topic: one of the keys above, or availability, registry
//	    says: a sentence
//	    source: the URL where it says so; https:// may be left out
//	    checked: YYYY-MM-DD
//
// Everything that is stated and not unknown needs a fact on its topic. Two
// things need none: the default of a target that runs one platform, and
// "nowhere" as the place where that one platform is declared.
package target

import "berth/platform"

// Answer is a fact that may not be known.
type Answer string

const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Target is one deploy target. Those that a [Set] returns are shared and must
// not be changed.
type Target struct {
	// Name is what --for takes, Title what people read, Aliases are other names for --for.
	Name    string
	Title   string
	Aliases []string
	// Runs are the platforms that it can run, sorted; empty where it depends on machines that the
	// target does not determine (an ECS cluster of EC2 instances, a Kubernetes cluster).
	Runs []platform.Platform
	// Default is what it runs when nothing says otherwise; nil where nothing determines it or
	// where that is not known.
	Default *platform.Platform
	// DeclaredIn says where a user declares the platform, "runtimePlatform.cpuArchitecture"; empty for nowhere.
	DeclaredIn string
	Accepts    Accepts
	// Compat is what the hosts are known to run beside their own platform.
	Compat platform.Compat
	// CompatUnknown has a field set where nobody has found out whether Compat should have it. A
	// failure that turns on such a field is unknown, not certain.
	CompatUnknown platform.Compat
	// Facts back the above up, in the order of the file.
	Facts []Fact
}

// Accepts is which images a target takes.
type Accepts struct {
	// Index: a multi-platform index. Attestation: an index whose only platform comes with attestations.
	Index, Attestation Answer
	// Zstd: layers compressed with zstd. OCI: OCI media types beside Docker's.
	Zstd, OCI Answer
	// MaxUncompressed is the largest image in bytes, zero for no known limit.
	MaxUncompressed int64
}

// Fact is one statement with its source.
type Fact struct {
	Topic   string // "runs", "default", "index", "zstd", ...
	Says    string
	Source  string // a URL, without scheme where it is https
	Checked string // YYYY-MM-DD
}

// Fact returns the first fact on a topic, or nil where there is none.
func (t *Target) Fact(topic string) *Fact {
	for i := range t.Facts {
		if t.Facts[i].Topic == topic {
			return &t.Facts[i]
		}
	}
	return nil
}

// Need is what --for asks for: a target and the platform it will run.
type Need struct {
	// Target is nil for a bare platform.
	Target *Target
	// Platform is what must be in the image.
	Platform platform.Platform
	// Why says where the platform comes from: "asked for", "AWS App Runner runs
	// linux/amd64 only".
	Why string
}
