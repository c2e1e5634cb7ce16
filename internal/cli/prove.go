package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/binary"
	"berth/check"
	"berth/image"
	"berth/launch"
	"berth/report"
	"berth/target"
)

func (a *app) prove() *cobra.Command {
	var platformFlags, forFlags []string
	var profile hostProfile
	var process processFlags
	var proving *provingFlags
	cmd := &cobra.Command{
		Use:   "prove IMAGE",
		Short: "Prove from an image's bytes whether it starts",
		Long: `Prove from an image's bytes, without pulling it, what happens when it is started:
for every platform on a host of its own kind, for --platform, or on the hosts of
the deploy targets of --for.

It reads as much of the layers as makes the answer certain. With --budget it stops
there; what could still change the answer makes it sampled instead of proven. With
--strict it reads all of them, and a layer that is not what its digest says is no proof.
Layers that were read to their ends are remembered, and are not read again.

With --entrypoint, --command, --user, --workdir and --env it proves what a
deployment starts instead of what the image says, merged as docker run does: an
entrypoint drops the image's command.`,
		Example: `berth prove grafana/grafana
berth prove HOST/app:v1 --platform linux/arm64
berth prove HOST/app:v1 --for fargate -o json
berth prove HOST/app:v1 --entrypoint /bin/sh --command '-c "exec app"' --user 1000
berth prove HOST/app:v1 --budget 8MiB`,
		Args: arguments(1, 1, "an IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			wants, err := platforms(platformFlags)
			if err != nil {
				return err
			}
			needs, err := a.needs(forFlags)
			if err != nil {
				return err
			}
			for _, p := range wants {
				needs = append(needs, target.Need{Platform: p, Why: "asked for"})
			}
			override, err := process.override(cmd)
			if err != nil {
				return err
			}
			if err := proving.validate(); err != nil {
				return err
			}
			src, im, err := a.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			manifests, hosts, err := toProve(im, needs)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", args[0], err)}
			}
			if err := profile.apply(cmd, hosts); err != nil {
				return err
			}
			prover := a.prover(proving)
			prover.Override = override
			starts, err := prover.All(cmd.Context(), src, manifests, hosts)
			if err != nil {
				return err
			}
			if err := f.Proofs(&report.Proved{Name: args[0], Image: im, Starts: starts}); err != nil {
				return err
			}
			return startsAnswer(starts)
		},
	}
	cmd.Flags().StringArrayVar(&platformFlags, "platform", nil, "prove what an engine of this platform would take (repeatable)")
	cmd.Flags().StringArrayVar(&forFlags, "for", nil, "prove it on the hosts of this deploy target (repeatable)")
	proving = a.provingFlags(cmd)
	cmd.Flags().BoolVar(&proving.strict, "strict", false, "read whole layers, also those that the answer does not need, and verify them")
	a.targetsFlag(cmd)
	profile.flags(cmd)
	process.flags(cmd)
	return cmd
}

// hostProfile is what the user knows of the hosts.
type hostProfile struct {
	ia32, aarch32 bool
	x32           bool
	pageSize      int
	cpuLevel      string
	kernel        string
}

// cpuLevels are the levels of the x86-64 psABI, lowest first.
var cpuLevels = []string{"x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"}

func (h *hostProfile) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&h.ia32, "ia32", false, "amd64 hosts execute 32-bit x86 programs, or not (--ia32=false); the default is what is known of the target")
	cmd.Flags().BoolVar(&h.aarch32, "aarch32", false, "arm64 hosts execute 32-bit ARM programs, or not (--aarch32=false); the default is what is known of the target")
	cmd.Flags().BoolVar(&h.x32, "x32", false, "amd64 hosts have the x32 ABI, or not (--x32=false), which few kernels have; the default is not known")
	cmd.Flags().IntVar(&h.pageSize, "page-size", 0, "the hosts' page size in bytes: 4096, 16384 or 65536")
	cmd.Flags().StringVar(&h.kernel, "kernel", "", "the hosts' release of Linux, such as 6.1: decides what changed between releases")
	cmd.Flags().StringVar(&h.cpuLevel, "cpu-level", "", "the CPU level of amd64 hosts: "+strings.Join(cpuLevels, ", "))
}

// apply changes hosts by the flags that were given.
func (h *hostProfile) apply(cmd *cobra.Command, hosts []launch.Host) error {
	level := slices.Index(cpuLevels, h.cpuLevel) + 1
	if h.cpuLevel != "" && level == 0 {
		return usageError{fmt.Errorf("--cpu-level %s is none: give one of %s", h.cpuLevel, strings.Join(cpuLevels, ", "))}
	}
	if cmd.Flags().Changed("page-size") && !slices.Contains([]int{4096, 16384, 65536}, h.pageSize) {
		return usageError{fmt.Errorf("--page-size %d is none that Linux has: give 4096, 16384 or 65536", h.pageSize)}
	}
	kernel, err := kernelVersion(h.kernel)
	if err != nil {
		return err
	}
	for i := range hosts {
		host := &hosts[i]
		host.Kernel = kernel
		host.NoX32 = cmd.Flags().Changed("x32") && !h.x32
		if cmd.Flags().Changed("ia32") {
			host.Compat.IA32, host.CompatUnknown.IA32 = h.ia32, false
		}
		if cmd.Flags().Changed("aarch32") {
			host.Compat.AArch32, host.CompatUnknown.AArch32 = h.aarch32, false
		}
		if h.pageSize != 0 {
			host.PageSize = h.pageSize
		}
		if level != 0 && host.Platform.Architecture == "amd64" {
			host.CPULevel = level
		}
	}
	return nil
}

// oldestKernel is where the rules that are modelled begin: Linux 5.1 made the first line of a
// script twice as long.
var oldestKernel = binary.Version{Major: 5, Minor: 1}

// kernelVersion reads MAJOR.MINOR, with whatever uname -r has behind it; empty is none.
func kernelVersion(s string) (binary.Version, error) {
	var v binary.Version
	if s == "" {
		return v, nil
	}
	if n, err := fmt.Sscanf(s, "%d.%d", &v.Major, &v.Minor); err != nil || n != 2 || v.Major < 0 || v.Minor < 0 {
		return v, usagef("--kernel %s is no release of Linux: write one such as 6.1", s)
	}
	if !v.Since(oldestKernel.Major, oldestKernel.Minor) {
		return v, usagef("--kernel %s is older than 5.1, where the rules that berth knows begin", s)
	}
	return v, nil
}

// toProve are the manifests that the needs select, each with its host; without
// needs all images, each on a host of its own platform.
func toProve(im *image.Image, needs []target.Need) ([]*image.Manifest, []launch.Host, error) {
	var manifests []*image.Manifest
	var hosts []launch.Host
	if len(needs) == 0 {
		for _, m := range im.Images() {
			manifests, hosts = append(manifests, m), append(hosts, check.HostFor(m))
		}
		if len(manifests) == 0 {
			return nil, nil, fmt.Errorf("it has no image in it, so there is nothing to start")
		}
		return manifests, hosts, nil
	}
	for _, need := range needs {
		m, err := im.Select(need.Platform)
		if err != nil {
			return nil, nil, err
		}
		manifests, hosts = append(manifests, m), append(hosts, check.HostOf(need))
	}
	return manifests, hosts, nil
}

// startsAnswer is the answer of several proofs together.
func startsAnswer(starts []*check.Start) error {
	answer := error(nil)
	for _, s := range starts {
		switch {
		case s.Proof != nil && (s.Proof.Verdict == launch.Fails || check.DerivedIsCertain(s.Proof.Derived)):
			return errNo
		case s.Proof == nil || s.Proof.Verdict == launch.Unknown:
			answer = errUnknown
		}
	}
	return answer
}
