package launch

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"berth/rootfs"
)

// maxHops is how many wrappers and scripts are followed one after the other. Images have
// two or three: an init, an entrypoint script, a program that changes the user.
const maxHops = 8

// Derived is what wrappers and shell entrypoints start in turn. It stands on more than the
// rules of the kernel: that a file called tini is tini, and does what its documentation
// says. So it is no part of the proof's own verdict.
type Derived struct {
	// Evidence is always "derived".
	Evidence string `json:"evidence"`
	// Verdict is that of the last program that could be followed.
	Verdict Verdict `json:"verdict"`
	// Args are the arguments of that program, itself first.
	Args []string `json:"args"`
	// Through are the wrappers and scripts that lead to it, at least one.
	Through []Hop `json:"through"`
	// Literal says that nothing runs before it but wrappers that start their arguments. Where
	// it is false, commands of a script run before, and could change what is started.
	Literal bool `json:"literal"`
	// Failure is set exactly when the verdict is [Fails], and Reason when it is [Unknown].
	Failure *Failure `json:"failure,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	// Steps are the files that are executed, of the last program alone.
	Steps    []Step    `json:"steps"`
	Warnings []Warning `json:"warnings"`
}

// Hop is a program that starts another one.
type Hop struct {
	// Path is the file that does it.
	Path string `json:"path"`
	// How is a clause: "tini starts its arguments".
	How string `json:"how"`
}

// derivedEvidence is [Derived.Evidence].
const derivedEvidence = "derived"

// executed is what execve has left running: a program, behind scripts that name it.
type executed struct {
	// argv are the arguments that the program gets, which for a script's interpreter are more
	// than those that execve was called with.
	argv    []string
	program *rootfs.Info
	scripts []script
	// musl says that its loader is musl's; static programs have none.
	musl, dynamic bool
}

// next is what a wrapper or a shell starts in turn.
type next struct {
	args []string
	// literal is how many of args are known as they will be, from the first on.
	literal int
	how     string
	// env are changes, as in [Override.Env]; user is who it runs as, or empty for the same.
	env  []string
	user string
	// scripted says that commands run before it.
	scripted bool
	// moved says that the working folder may be another by then, and pathed that PATH may.
	moved, pathed bool
	starter       starter
	// replaces says that a shell executes it in its own place, crlf that the line of a script
	// which starts it ends in a carriage return.
	replaces, crlf bool
	// refused, where it is set, is why nothing is started.
	refused func(*prover) error
}

// stuck is why what follows cannot be followed: a clause.
type stuck string

func (s stuck) Error() string { return string(s) }

// derive follows what the program starts in turn, as far as that is written down. What it
// finds is beside the verdict; the error is that of the context.
func (p *prover) derive(ctx context.Context) error {
	if p.ran == nil {
		return nil
	}
	d := &Derived{Evidence: derivedEvidence, Verdict: Starts, Literal: true, Args: []string{}, Through: []Hop{}}
	here := p
	for {
		n, err := here.starts()
		var why stuck
		if errors.As(err, &why) {
			here.warn(CauseNotFollowed, "what "+printable(here.shown())+" starts was not followed: "+string(why))
			break
		}
		if err == nil && n == nil {
			break
		}
		if len(d.Through) == maxHops {
			d.Verdict, d.Reason = Unknown, "more than 8 wrappers and scripts start one another"
			break
		}
		hop := Hop{Path: here.shown()}
		if err == nil {
			hop.How = n.how
			d.Literal = d.Literal && !n.scripted
			then := here.become(n)
			d.Args = n.args
			here, err = then, then.spawn(n)
		}
		d.Through = append(d.Through, hop)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.Verdict, d.Failure, d.Reason = judge(here, err)
		if d.Verdict == Fails {
			n.starter.says(n, d.Failure)
			n.carriageReturn(hop.Path, d.Failure)
		}
		if d.Verdict != Starts {
			break
		}
	}
	if len(d.Through) == 0 {
		return nil
	}
	d.Steps, d.Warnings = here.proof.Steps, here.proof.Warnings
	p.proof.Derived = d
	return nil
}

// carriageReturn names the cause where a program is not found because of the line ending
// behind its name.
func (n *next) carriageReturn(script string, f *Failure) {
	if !n.crlf || f.Cause != CauseNotFound && f.Cause != CausePath || !strings.HasSuffix(n.args[0], "\r") {
		return
	}
	f.Cause = CauseCRLFShebang
	f.Detail = "the last line of " + printable(script) + " ends in a carriage return (a Windows line ending), and the shell takes it for a part of the program's name"
	f.Fix = crlfFix(script)
}

// judge is the verdict on a start that ended with err.
func judge(p *prover, err error) (Verdict, *Failure, string) {
	var end *ending
	var budget *rootfs.BudgetError
	switch {
	case err == nil:
		return Starts, nil, ""
	case errors.As(err, &end) && end.failure != nil:
		return Fails, end.failure, ""
	case errors.As(err, &end):
		return Unknown, nil, end.unknown
	case errors.As(err, &budget):
		return Unknown, nil, "berth read as far as it may: " + budget.Error()
	}
	return Unknown, nil, err.Error()
}

// shown is the file that a person would name as what runs: the script, not its
// interpreter.
func (p *prover) shown() string {
	if len(p.ran.scripts) > 0 {
		return p.ran.scripts[0].info.Path
	}
	return p.ran.program.Path
}

// become is a prover of what p starts in turn.
func (p *prover) become(n *next) *prover {
	then := *p
	then.ran, then.loaderInfo = nil, nil
	then.proof = Proof{Steps: []Step{}, Warnings: []Warning{}}
	then.process.Args, then.literal = n.args, n.literal
	then.process.Env = mergeEnv(p.process.Env, n.env)
	return &then
}

// spawn is the execvp of a wrapper or a shell.
func (p *prover) spawn(n *next) error {
	if n.refused != nil {
		return n.refused(p)
	}
	if n.user != "" {
		if p.cred.uid != 0 {
			return unknown("%s changes the user, and that of the container is not root", n.starter.name)
		}
		p.process.User, p.cred = n.user, credential{}
		if err := p.user(); err != nil {
			return err
		}
	}
	if len(p.process.Args) == 0 {
		return fails(Failure{
			Stage: StageRun, Cause: CauseNoCommand, Message: "ends at once, and says nothing",
			Detail: n.how + ", and it has none: the image has no command",
			Fix:    "add CMD to the Dockerfile, or give a command where the container is started",
		})
	}
	name := p.process.Args[0]
	byPath := strings.Contains(name, "/")
	switch {
	case name == "":
		return unknown("the name of the program is empty")
	case byPath && n.moved && !strings.HasPrefix(name, "/"):
		return unknown("%s is relative to a folder that the script changes", printable(name))
	case !byPath && n.pathed:
		return unknown("the script changes PATH, by which %s is found", printable(name))
	case !byPath && slices.ContainsFunc(p.pathFolders(), func(dir string) bool { return !path.IsAbs(dir) }):
		return unknown("PATH has a relative entry, by which %s could be found", printable(name))
	}
	at, err := p.lookPath(name)
	if err == nil {
		err = p.exec(at)
	}
	if err != nil {
		err = p.builtIn(n, name, err)
	}
	var end *ending
	if !errors.As(err, &end) || end.failure == nil || end.failure.Stage != StageExec {
		return err
	}
	switch end.failure.Errno {
	case "ENOEXEC":
		return p.readAsScript(n, at, err)
	case "ENOENT", "EACCES", "ENOTDIR":
		// execvp goes on to the next folder of PATH, which LookPath does not.
		if !byPath {
			for _, dir := range p.pathFolders() {
				other := path.Join(dir, name)
				if _, bad, err := p.executable(other); err == nil && bad == nil && other != at {
					return unknown("%s cannot be executed, and there is %s besides", printable(at), printable(other))
				}
			}
		}
	}
	return err
}

// builtIn ends a failed start with an unknown where the name may be a program that BusyBox
// has in itself: it can be built to prefer those to files.
func (p *prover) builtIn(n *next, name string, failed error) error {
	if path.Base(n.starter.file.Path) != "busybox" || strings.Contains(name, "/") {
		return failed
	}
	raw, err := p.head(n.starter.file, int(min(n.starter.file.Size, maxBusyBox)))
	if err != nil {
		return err
	}
	if strings.Contains(string(raw), "\x00"+name+"\x00") {
		return unknown("%s may be a program that BusyBox has in itself", printable(name))
	}
	return failed
}

// maxBusyBox bounds what is read of BusyBox for the names of its programs. Distributions'
// have up to 2 MiB.
const maxBusyBox = 4 << 20

// readAsScript is what follows where the kernel takes a file for no program: execvp of
// glibc, and shells, have /bin/sh read it (POSIX, exec, and Shell Command Language 2.9.1).
func (p *prover) readAsScript(n *next, at string, failed error) error {
	var end *ending
	errors.As(failed, &end)
	switch end.failure.Cause {
	case CauseNoShebang, CauseEmptyFile:
		// It is text, which a shell can read.
	default:
		return failed
	}
	switch n.starter.fallback {
	case fallsBackNever:
		return failed
	case fallsBackPerhaps:
		return unknown("%s has no #!, and whether %s has a shell read it is not known", printable(at), n.starter.name)
	}
	p.warn(CauseNoShebang, printable(at)+" has no #!, and starts all the same because "+n.starter.name+" has /bin/sh read it")
	f, bad, err := p.open("/bin/sh")
	if err != nil {
		return err
	}
	if bad != nil && n.starter.shell == "" {
		p.faultStep(f, roleInterpreter, bad)
		return failed
	}
	if end.failure.Cause == CauseEmptyFile {
		return unknown("%s is empty: a shell reads it, and does nothing", printable(at))
	}
	return nil
}
