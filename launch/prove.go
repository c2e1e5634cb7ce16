package launch

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/binary"
	"berth/platform"
	"berth/rootfs"
)

// Prove says what happens when host starts process in the file system fsys. The
// error is one of reading fsys; everything else is in the proof.
func Prove(ctx context.Context, fsys FileSystem, process Process, host Host) (*Proof, error) {
	p := &prover{ctx: ctx, prints: map[string]digest.Digest{}, fsys: fsys, process: process, host: host, literal: len(process.Args)}
	p.proof.Steps, p.proof.Warnings = []Step{}, []Warning{}
	err := p.run()
	var end *ending
	var budget *rootfs.BudgetError
	var unpack *rootfs.UnpackError
	switch {
	case errors.As(err, &budget):
		err = unknown("berth read as far as it may: %s", budget)
	case errors.As(err, &unpack):
		err = p.unpackFailed(unpack)
	}
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
	if fsys.Certain() || p.settled && err == nil {
		p.proof.Evidence = Proven
	}
	if err == nil {
		if err := p.derive(ctx); err != nil {
			return nil, err
		}
	}
	p.replacedLinks()
	return &p.proof, nil
}

// replacedLinks warns of links that a layer made folders of: a layer that brings
// "lib/x" destroys a merged /usr, and what is missing then is not missing in any layer.
func (p *prover) replacedLinks() {
	fsys, ok := p.fsys.(interface{ Replaced() []rootfs.Replaced })
	if !ok {
		return
	}
	for _, r := range fsys.Replaced() {
		p.hidden(r)
		by := "layer " + r.By.Descriptor.Digest.String()
		if r.By.CreatedBy != "" {
			by += " (" + printable(r.By.CreatedBy) + ")"
		}
		p.proof.Warnings = append(p.proof.Warnings, Warning{
			Cause: CauseLinkReplaced, Path: r.Path, Layer: r.By.Descriptor.Digest, CreatedBy: r.By.CreatedBy,
			Detail: printable(r.Path) + " was a symbolic link to " + printable(r.Target) + ", and " + by + " made it a folder by bringing something below it: what the link led to is not there any more; copy to " + printable(r.Target) + " instead",
		})
	}
}

// hidden puts the blame for a missing file where it belongs: on the layer that made a
// folder of the link to the file. Nothing is read that the proof had not to read.
func (p *prover) hidden(r rootfs.Replaced) {
	failures := []*Failure{p.proof.Failure}
	if p.proof.Derived != nil {
		failures = append(failures, p.proof.Derived.Failure)
	}
	for _, f := range failures {
		if f == nil {
			continue
		}
		rest, below := strings.CutPrefix(f.Path, r.Path+"/")
		if !below || f.Errno != "ENOENT" {
			continue
		}
		target := r.Target
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(r.Path), target)
		}
		there, bad, err := p.engine().resolve(path.Join(target, rest))
		if err != nil || bad != nil {
			continue
		}
		f.Detail += ": it is at " + printable(there.info.Path) + ", and " + printable(r.Path) + ", which was a link to it, is a folder since this layer brought something below it"
		f.Layer, f.CreatedBy = r.By.Descriptor.Digest, r.By.CreatedBy
		f.Fix = "bring the layer's files below " + printable(target) + " instead of " + printable(r.Path) + ": the link then shows them in both places"
	}
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
	cwd *rootfs.Info
	// made is the working folder where the engine has to make it, or empty.
	made string
	// prints are those of executables, by path: [Step.Print].
	prints map[string]digest.Digest
	// settled says that the verdict was certain before the libraries were looked at, which
	// ended without an answer.
	settled bool
	// loaderInfo is the loader of the program, nil for a static one.
	loaderInfo *rootfs.Info
	// ran is what execve left running; nil until it succeeds.
	ran *executed
	// emulates says that this is an emulator's view.
	emulates bool
	// literal is how many of the arguments are known as they will be.
	literal int
	proof   Proof
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
	known := platform.Compat{
		IA32:    p.host.Compat.IA32 && !p.host.CompatUnknown.IA32,
		AArch32: p.host.Compat.AArch32 && !p.host.CompatUnknown.AArch32,
	}
	var ok bool
	if p.kernel, ok = binary.KernelFor(p.host.Platform, known, p.host.PageSize); !ok {
		return unknown("hosts of %s are not modelled", platform.Format(p.host.Platform))
	}
	p.kernel.Version = p.host.Kernel
	if p.host.NoX32 {
		p.kernel = p.kernel.WithoutX32()
	}
	name, err := p.create()
	if err != nil {
		return err
	}
	return p.exec(name)
}
