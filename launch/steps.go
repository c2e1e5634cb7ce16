package launch

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// What a file is in the chain: [Step.Role]. Links have the role of what they lead to.
const (
	roleEntrypoint  = "entrypoint"
	roleInterpreter = "interpreter"
	roleLoader      = "loader"
)

// step adds the links that led to a file, and the file itself.
func (p *prover) step(f found, role string, format binary.Format) {
	p.linkSteps(f, role)
	s := Step{Path: f.info.Path, Kind: string(format.Kind), Role: role, Layer: layerOf(f.info)}
	if platform.Known(format.Platform) {
		s.Platform, s.Print = platform.Format(format.Platform), p.prints[f.info.Path]
	}
	p.proof.Steps = append(p.proof.Steps, s)
}

// linkSteps adds each link once: a circle has as many as the kernel follows.
func (p *prover) linkSteps(f found, role string) {
	for i, link := range f.links {
		if !slices.ContainsFunc(f.links[:i], at(link.Path)) {
			p.proof.Steps = append(p.proof.Steps, Step{Path: link.Path, Kind: "symlink", Role: role, Target: link.Target, Layer: layerOf(link)})
		}
	}
}

// faultStep adds the links that led to a fault, and what is there.
func (p *prover) faultStep(f found, role string, bad *fault) {
	p.linkSteps(f, role)
	switch {
	case bad.info == nil:
		p.proof.Steps = append(p.proof.Steps, Step{Path: bad.at, Kind: string(binary.Missing), Role: role})
	case !slices.ContainsFunc(f.links, at(bad.at)):
		p.proof.Steps = append(p.proof.Steps, Step{Path: bad.at, Kind: kindOf(bad.info), Role: role, Target: bad.info.Target, Layer: layerOf(bad.info)})
	}
}

func at(path string) func(*rootfs.Info) bool {
	return func(info *rootfs.Info) bool { return info.Path == path }
}

// kindOf is the kind of a file whose content was not read.
func kindOf(info *rootfs.Info) string {
	switch {
	case info.Mode.IsDir():
		return "directory"
	case info.Target != "":
		return "symlink"
	}
	return string(binary.Data)
}

func layerOf(info *rootfs.Info) digest.Digest {
	if info.Layer == nil {
		return ""
	}
	return info.Layer.Descriptor.Digest
}
