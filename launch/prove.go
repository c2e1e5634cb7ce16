package launch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// Prove says what happens when host starts process in the file system fsys. The
// error is one of reading fsys; everything else is in the proof.
func Prove(ctx context.Context, fsys FileSystem, process Process, host Host) (*Proof, error) {
	p := &prover{ctx: ctx, fsys: fsys, process: process, host: host}
	p.proof.Steps, p.proof.Warnings = []Step{}, []Warning{}
	err := p.run()
	var end *ending
	switch {
	case err == nil:
		p.proof.Verdict = Starts
	case errors.As(err, &end) && end.failure != nil:
		p.proof.Verdict, p.proof.Failure = Fails, end.failure
	case errors.As(err, &end):
		p.proof.Verdict, p.proof.Reason = Unknown, end.unknown
	default:
		return nil, err
	}
	p.proof.Evidence = Sampled
	if fsys.Certain() {
		p.proof.Evidence = Proven
	}
	return &p.proof, nil
}

// prover is one proof in the making.
type prover struct {
	ctx     context.Context
	fsys    FileSystem
	process Process
	host    Host
	kernel  binary.Kernel
	cred    credential
	// cwd is the working folder; nil until it is known, which is the root.
	cwd   *rootfs.Info
	proof Proof
}

// ending is the error that ends a proof before the end of the chain: with a
// failure, or with what keeps berth from telling.
type ending struct {
	failure *Failure
	unknown string
}

func (e *ending) Error() string {
	if e.failure != nil {
		return e.failure.Message
	}
	return e.unknown
}

func unknown(format string, args ...any) error {
	return &ending{unknown: fmt.Sprintf(format, args...)}
}

// run follows the start from the arguments to the loader. It returns nil where all
// of it works, or an [*ending].
func (p *prover) run() error {
	var ok bool
	if p.kernel, ok = binary.KernelFor(p.host.Platform, p.host.Compat, p.host.PageSize); !ok {
		return unknown("hosts of %s are not modelled", platform.Format(p.host.Platform))
	}
	name, err := p.create()
	if err != nil {
		return err
	}
	return p.exec(name)
}

// step adds the links that led to a file, and the file itself.
func (p *prover) step(f found, role string, format binary.Format) {
	p.linkSteps(f, role)
	s := Step{Path: f.info.Path, Kind: string(format.Kind), Role: role, Layer: layerOf(f.info)}
	if platform.Known(format.Platform) {
		s.Platform = platform.Format(format.Platform)
	}
	p.proof.Steps = append(p.proof.Steps, s)
}

func (p *prover) linkSteps(f found, role string) {
	for _, link := range f.links {
		p.proof.Steps = append(p.proof.Steps, Step{Path: link.Path, Kind: "symlink", Role: role, Target: link.Target, Layer: layerOf(link)})
	}
}

// faultSteps adds the links that led to a fault, and what is there.
func (p *prover) faultSteps(f found, role string, at *fault) {
	p.linkSteps(f, role)
	s := Step{Path: at.at, Kind: string(binary.Missing), Role: role}
	if at.info != nil {
		if slices.ContainsFunc(f.links, func(link *rootfs.Info) bool { return link.Path == at.at }) {
			return
		}
		s.Kind, s.Target, s.Layer = kindOf(at.info), at.info.Target, layerOf(at.info)
	}
	p.proof.Steps = append(p.proof.Steps, s)
}
