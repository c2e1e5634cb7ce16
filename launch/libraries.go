package launch

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"berth/binary"
	"berth/rootfs"
)

// Bounds on what following libraries may cost.
const (
	// maxLibraries is how many files are loaded. Debian's largest programs load some 300.
	maxLibraries = 512
	// maxAgain is what reading libraries may fetch beside the size of all layers: a library
	// that streamed past is fetched again, with all of its layer before it.
	maxAgain = 32 << 20
)

// roleLibrary is a shared library: [Step.Role].
const roleLibrary = "library"

// meter is a [FileSystem] that knows what it costs. *rootfs.FS is one.
type meter interface {
	Fetched() int64
	Total() int64
}

// keeper is a [FileSystem] that keeps parts of files. *rootfs.FS is one, with [Keep].
type keeper interface {
	Kept(ctx context.Context, path string) (rootfs.Kept, error)
}

// object is a file that the loader has mapped.
type object struct {
	info    *rootfs.Info
	dynamic *binary.Dynamic
	// name is what the loader calls it: as it was found, before symbolic links.
	name string
	// asked are further names that it was found by.
	asked []string
	// by is what first needed it; nil for the program and the loader.
	by *object
}

// loading is what the dynamic loader does before it enters the program.
type loading struct {
	*prover
	program *binary.Program
	// execName is what execve was called with, argv0 the program's first argument.
	execName, argv0 string
	main, loader    *object
	// text is all of the loader's file.
	text []byte
	// objects are in the order in which the loader maps them: the program is first.
	objects []*object
	// limit is how far the file system may be read, zero where it has no meter.
	limit int64
	// closed are folders or files that the user may not read.
	closed bool
}

// libraries follows what the loader loads, where the loader is glibc's or musl's. It fails
// with a failure only where the loader is certain to; what it cannot tell is a warning.
func (p *prover) libraries(name string, info *rootfs.Info, program *binary.Program, loader *rootfs.Info, scripts []script) error {
	l := &loading{prover: p, program: program, execName: name, argv0: p.process.Args[0]}
	if n := len(scripts); n > 0 {
		l.argv0 = scripts[n-1].line.Interpreter
	}
	if m, ok := p.fsys.(meter); ok {
		l.limit = m.Fetched() + m.Total() + maxAgain
	}
	certain, steps := p.fsys.Certain(), len(p.proof.Steps)
	err := l.run(info, loader)
	var end *ending
	var budget *rootfs.BudgetError
	reason := ""
	switch {
	case errors.As(err, &budget):
		reason = "berth read as far as it may: " + budget.Error()
	case errors.As(err, &end) && end.failure == nil:
		reason = end.unknown
	default:
		return err
	}
	p.settled, p.proof.Steps = certain, p.proof.Steps[:steps]
	p.warn(CauseLibraries, printable(info.Path)+" is a dynamic executable that needs the loader "+printable(program.Interp)+", which is there and right; not all of the libraries that it loads were checked: "+reason)
	return nil
}

func (l *loading) run(info, loader *rootfs.Info) error {
	var err error
	if l.main, err = l.object(info, ""); err != nil {
		return err
	}
	if l.loader, err = l.object(loader, l.program.Interp); err != nil {
		return err
	}
	if l.text, err = l.head(loader, int(loader.Size)); err != nil {
		return err
	}
	for _, entry := range l.process.Env {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "LD_") && name != "LD_LIBRARY_PATH" && name != "LD_BIND_NOW" {
			return unknown("the image sets %s, and what the loader makes of that is not modelled", printable(name))
		}
	}
	l.objects = []*object{l.main}
	switch {
	case l.isGlibc():
		return l.glibc()
	case l.isMusl():
		return l.musl()
	}
	return unknown("its loader is neither glibc's nor musl's")
}

// isGlibc tells by the name that the loader gives itself and the versions that it has: a
// compatibility loader (gcompat) has the name of the file alone.
func (l *loading) isGlibc() bool {
	d := l.loader.dynamic
	known := strings.HasPrefix(d.Soname, "ld-linux") || strings.HasPrefix(d.Soname, "ld64.so") || d.Soname == "ld.so.1"
	return known && d.Provides["GLIBC_PRIVATE"]
}

// isMusl tells by the name of the file and by what it would say.
func (l *loading) isMusl() bool {
	return strings.HasPrefix(path.Base(l.program.Interp), "ld-musl-") && bytes.Contains(l.text, []byte("Error loading shared library %s: %m (needed by %s)"))
}

// all are the objects, with the loader.
func (l *loading) all() []*object {
	return append(l.objects[:len(l.objects):len(l.objects)], l.loader)
}

// secure tells whether the kernel may set AT_SECURE. File capabilities, which do it too for
// users other than root, are not read.
func (l *loading) secure() bool {
	return l.main.info.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0
}

// object reads a file that the loader maps.
func (l *loading) object(info *rootfs.Info, name string) (*object, error) {
	if m, ok := l.fsys.(meter); ok && m.Fetched() > l.limit {
		return nil, unknown("reading them all would take more than the image's own size again")
	}
	dynamic, err := l.dynamic(info)
	if err != nil {
		return nil, unmodelled(info, err)
	}
	if dynamic == nil {
		return nil, unknown("%s has no dynamic section", printable(info.Path))
	}
	return &object{info: info, dynamic: dynamic, name: name}, nil
}

// dynamic is what the loader reads of a file: of what is kept of it, or else of the file.
func (l *loading) dynamic(info *rootfs.Info) (*binary.Dynamic, error) {
	if keeps, ok := l.fsys.(keeper); ok {
		kept, err := keeps.Kept(l.ctx, info.Path)
		if err != nil {
			return nil, err
		}
		if len(kept.From(0)) >= min(binary.HeadSize, int(info.Size)) {
			dynamic, err := l.program.DynamicOf(kept, info.Size)
			var need *binary.NeedError
			if !errors.As(err, &need) {
				return dynamic, err
			}
		}
	}
	return readAs(l.prover, info, l.program.Dynamic)
}

// add maps a library that was found, or notes one more name of it.
func (l *loading) add(f found, as, name string, by *object) error {
	for _, o := range l.all() {
		if o.info.Path == f.info.Path {
			o.asked = append(o.asked, name)
			return nil
		}
	}
	if len(l.objects) == maxLibraries {
		return unknown("it loads more than %d libraries", maxLibraries)
	}
	o, err := l.object(f.info, as)
	if err != nil {
		return err
	}
	o.asked, o.by = []string{name}, by
	l.objects = append(l.objects, o)
	format, err := l.identify(f.info)
	if err == nil {
		l.step(f, roleLibrary, format)
	}
	return err
}

// openLibrary is open(2) of a library. It is false where a search goes on.
func (l *loading) openLibrary(name string) (found, bool, error) {
	f, bad, err := l.resolve(name)
	if err != nil {
		return f, false, err
	}
	if bad == nil {
		ok, err := l.may(f.info, mayRead)
		if err != nil {
			return f, false, err
		}
		if !ok {
			bad = &fault{errno: "EACCES"}
		}
	}
	switch {
	case bad == nil && !f.info.Mode.IsRegular():
		return f, false, unknown("%s is no regular file", printable(name))
	case bad == nil:
		return f, true, nil
	case bad.errno == "EACCES":
		l.closed = true
	case bad.errno != "ENOENT" && bad.errno != "ENOTDIR":
		return f, false, unknown("%s: %s", printable(name), strerror(bad.errno))
	}
	return f, false, nil
}

// origin is the folder that $ORIGIN stands for.
func (o *object) origin() string {
	if o.name == "" {
		return path.Dir(o.info.Path)
	}
	return path.Dir(o.name)
}

// expand puts the folder of o where a search path or a name says $ORIGIN.
func (l *loading) expand(text string, o *object) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	if l.secure() {
		return "", unknown("%s has setuid or setgid bits, and what its loader makes of $ORIGIN then is not modelled", printable(l.main.info.Path))
	}
	if !strings.HasPrefix(o.origin(), "/") {
		return "", unknown("%s was found by a relative path", printable(o.name))
	}
	text = strings.NewReplacer("$ORIGIN", o.origin(), "${ORIGIN}", o.origin()).Replace(text)
	if strings.Contains(text, "$") {
		return "", unknown("the search path %s depends on the loader", printable(text))
	}
	return text, nil
}

// missing is the failure where a library is in none of the places. What could be elsewhere
// after all ends it with an unknown.
func (l *loading) missing(name, message string, by *object) error {
	if l.closed {
		return unknown("%s may be where the user may not look", printable(name))
	}
	l.proof.Steps = append(l.proof.Steps, Step{Path: name, Kind: string(binary.Missing), Role: roleLibrary})
	failure := Failure{
		Stage: StageLoad, ExitCode: 127, Cause: CauseMissingLibrary, Path: name, Message: message,
		Detail: printable(by.info.Path) + " needs the library " + printable(name) + ", and no folder that its loader searches has it",
		Fix:    "install the package that has " + printable(path.Base(name)) + " in the final stage of the build, or build the program statically (Go: CGO_ENABLED=0)",
	}
	l.blame(&failure, by.info)
	return fails(failure)
}

// env is an environment variable, or empty. The last of several wins.
func (l *loading) env(name string) string {
	value := ""
	for _, entry := range l.process.Env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
