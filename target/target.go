// Package target is what berth knows of deploy targets, as data: one file each
// under data/, every fact with its source and the day it was checked.
//
// Start with [Builtin] and [Set.Need], which reads what a user writes after
// --for: "apprunner", "fargate/arm64", "linux/arm64".
package target

import "berth/platform"

// Answer is a fact that may not be known.
type Answer string

const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Target is one deploy target.
type Target struct {
	// Name is what --for takes, Title what people read, Aliases are other names for --for.
	Name    string
	Title   string
	Aliases []string
	// Runs are the platforms that it can run, sorted; empty where it depends on machines that the
	// target does not determine (an ECS cluster of EC2 instances, a Kubernetes cluster).
	Runs []platform.Platform
	// Default is what it runs when nothing says otherwise; nil where nothing determines it.
	Default *platform.Platform
	// DeclaredIn says where a user declares the platform, "runtimePlatform.cpuArchitecture"; empty for nowhere.
	DeclaredIn string
	Accepts    Accepts
	// Compat is what the hosts run beside their own platform.
	Compat platform.Compat
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

// Need is what --for asks for: a target and the platform it will run.
type Need struct {
	// Target is nil for a bare platform.
	Target *Target
	// Platform is what must be in the image.
	Platform platform.Platform
	// Why says where the platform comes from, "Fargate default", "asked".
	Why string
}
