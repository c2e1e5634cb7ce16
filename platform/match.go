package platform

import (
	"slices"

	"github.com/containerd/platforms"
)

// Selects tells whether an engine that was asked for want takes an image of
// platform have. The rule is containerd's platforms.Only, which Docker uses too:
// an amd64 engine also takes 386, arm64 takes arm/v5 to arm/v8, arm/v7 takes
// arm/v5 and v6, and amd64/v3 takes v2 and v1.
//
// Being selected is not being able to run: see [Compat.Runs].
func Selects(want, have Platform) bool {
	return Known(want) && Known(have) && platforms.Only(Normalize(want)).Match(have)
}

// Best returns the position in have of the platform that an engine asked for
// want takes, or -1 where it takes none. Among equals the first wins, as it does
// in Docker and containerd.
func Best(want Platform, have []Platform) int {
	if !Known(want) {
		return -1
	}
	order := platforms.Only(Normalize(want))
	best := -1
	for i, p := range have {
		if !Known(p) || !order.Match(p) {
			continue
		}
		if best < 0 || order.Less(p, have[best]) {
			best = i
		}
	}
	return best
}

// Compat is what a host runs beside its own platform. Its zero value is the safe
// one: nothing.
type Compat struct {
	// IA32 is a 64-bit x86 kernel with CONFIG_IA32_EMULATION, which runs 386.
	IA32 bool
	// AArch32 is an arm64 machine whose CPU has 32-bit EL0 and whose kernel has
	// CONFIG_COMPAT, which runs arm/v5 to arm/v8. Neoverse V2 (Graviton4) has none.
	AArch32 bool
}

// Runs tells whether a kernel of platform host executes code for p. Variants
// count as they do for [Selects]: a v8 runs v7, a v7 does not run v8.
func (c Compat) Runs(host, p Platform) bool {
	if !Selects(host, p) {
		return false
	}
	host, p = Normalize(host), Normalize(p)
	switch {
	case host.Architecture == p.Architecture:
		return true
	case host.Architecture == "amd64" && p.Architecture == "386":
		return c.IA32
	case host.Architecture == "arm64" && p.Architecture == "arm":
		return c.AArch32
	}
	return false
}

// Sort orders platforms by OS, architecture and variant, for output that does
// not change from run to run.
func Sort(ps []Platform) {
	slices.SortStableFunc(ps, func(a, b Platform) int {
		fa, fb := Format(a)+a.OSVersion, Format(b)+b.OSVersion
		switch {
		case fa < fb:
			return -1
		case fa > fb:
			return 1
		}
		return 0
	})
}
