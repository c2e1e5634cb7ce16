// Package platform is the one place that knows what an OCI platform is: its
// strict grammar, its one normal spelling, and which of several platforms a
// container engine takes.
//
// Start with [Parse] for what a user typed, [Normalize] for what an index or a
// config says, [Best] for the entry that Docker and containerd would pull, and
// [Compat.Runs] for what a kernel can execute. Those last two differ: an engine
// on arm64 pulls arm/v7 where nothing better is there, whether or not its CPU
// still has AArch32.
//
// # Grammar
//
//	platform = os "/" architecture [ "/" variant ]
//
// Both os and architecture are needed. Nothing is ever filled in from the
// machine that berth runs on: the answer for an image does not depend on who asks.
package platform

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platform is the image-spec's platform object.
type Platform = v1.Platform

// component is one part of a platform as the OCI image-spec's examples and
// containerd's grammar have it.
var component = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// maxLength bounds a platform string. The longest real one,
// windows(10.0.20348.2031)/amd64, stays far below.
const maxLength = 128

// Parse reads os/architecture[/variant] and returns it normalised. It fails on
// anything else, a lone architecture included: "arm64" does not say which OS.
func Parse(s string) (Platform, error) {
	if len(s) > maxLength {
		return Platform{}, fmt.Errorf("platform of %d characters: at most %d are allowed", len(s), maxLength)
	}
	parts := strings.Split(s, "/")
	if len(parts) == 1 && component.MatchString(s) {
		if isOS(s) {
			return Platform{}, fmt.Errorf("platform %q has no architecture: write os/architecture, for example %s/amd64", s, s)
		}
		return Platform{}, fmt.Errorf("platform %q has no operating system: write os/architecture, for example linux/%s", s, s)
	}
	if len(parts) < 2 || len(parts) > 3 {
		return Platform{}, fmt.Errorf("platform %q is not os/architecture[/variant], for example linux/amd64 or linux/arm/v7", s)
	}
	for _, part := range parts {
		if !component.MatchString(part) {
			return Platform{}, fmt.Errorf("platform %q is not os/architecture[/variant]: %q is not a word of letters, digits, '.', '_' and '-'", s, part)
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return Normalize(p), nil
}

// isOS tells the operating systems that images are made for from architectures,
// only to word an error.
func isOS(s string) bool {
	return slices.Contains([]string{"linux", "windows", "darwin", "freebsd", "wasip1"}, strings.ToLower(s))
}

// MustParse is Parse for literals; it panics where Parse fails.
func MustParse(s string) Platform {
	p, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return p
}

// Normalize returns p in its one spelling: lower case, Go's names for
// architectures (aarch64 is arm64, x86_64 is amd64, armhf is arm/v7), no variant
// where it is the default (arm64/v8, amd64/v1), and arm without a variant as
// arm/v7, which is how containerd and Docker read it. Empty fields stay empty.
func Normalize(p Platform) Platform {
	if p.OS != "" {
		p = platforms.Normalize(p)
	} else {
		// containerd fills an empty OS with that of the machine it runs on.
		p.OS = "linux"
		p = platforms.Normalize(p)
		p.OS = ""
	}
	return p
}

// Format writes p as os/architecture[/variant]; an empty field is "unknown".
func Format(p Platform) string {
	orUnknown := func(s string) string {
		if s == "" {
			return "unknown"
		}
		return s
	}
	s := orUnknown(p.OS) + "/" + orUnknown(p.Architecture)
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Known tells whether p says an OS and an architecture at all. Attestations
// are filed under unknown/unknown, which is not a platform.
func Known(p Platform) bool {
	known := func(s string) bool { return s != "" && s != "unknown" }
	return known(p.OS) && known(p.Architecture)
}

// Equal tells whether a and b are the same platform once normalised. OS version
// and features are compared only where both say them.
func Equal(a, b Platform) bool {
	a, b = Normalize(a), Normalize(b)
	if a.OS != b.OS || a.Architecture != b.Architecture || a.Variant != b.Variant {
		return false
	}
	return a.OSVersion == "" || b.OSVersion == "" || a.OSVersion == b.OSVersion
}
