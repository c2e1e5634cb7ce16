package launch

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"berth/binary"
)

// beyond looks at what follows once the executable runs, as far as its bytes decide it.
func (p *prover) beyond(scripts []script) error {
	if len(scripts) == 0 {
		return nil
	}
	first, last := scripts[0], scripts[len(scripts)-1]
	// The interpreter opens the script by itself, where execve did not need to.
	interpreter := path.Base(last.line.Interpreter)
	if ok, err := p.may(first.info, mayRead); err != nil {
		return err
	} else if !ok {
		return p.unreadable(first, last, interpreter)
	}
	if interpreter == "env" && last.line.HasArgument {
		return p.envFinds(last)
	}
	if strings.HasSuffix(last.line.Argument, "\r") {
		return p.badArgument(last, interpreter)
	}
	return nil
}

// readers are interpreters that open the script that they are given, whatever their options.
var readers = regexp.MustCompile(`^(sh|ash|dash|bash|ksh|zsh|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node|nodejs|php[0-9.]*)$`)

// shells refuse an option that they do not know (dash, bash, BusyBox).
var shells = regexp.MustCompile(`^(sh|ash|dash|bash)$`)

// unreadable is the failure of an interpreter that may not read its script.
func (p *prover) unreadable(first, last script, interpreter string) error {
	if !readers.MatchString(interpreter) {
		return unknown("%s may be executed and not read by this user: its interpreter starts, and what %s does without the script is not modelled", printable(first.info.Path), printable(last.line.Interpreter))
	}
	failure := Failure{
		Stage: StageRun, Cause: CauseNoAccess,
		Message: printable(interpreter) + ": cannot open " + printable(first.info.Path) + ": " + sentence("EACCES"),
		Detail:  printable(first.info.Path) + " has mode " + first.info.Mode.String() + ": the user may execute it, and its interpreter, which runs as that user, may not read it",
		Fix:     "RUN chmod 755 " + printable(first.info.Path) + ", or COPY --chmod=755",
	}
	p.blame(&failure, first.info)
	return fails(failure)
}

// badArgument is the failure of an interpreter whose argument ends in a carriage return.
func (p *prover) badArgument(s script, interpreter string) error {
	if !shells.MatchString(interpreter) || !strings.HasPrefix(s.line.Argument, "-") {
		return unknown("the first line of %s ends in a carriage return, which %s gets as a part of its argument", printable(s.info.Path), printable(s.line.Interpreter))
	}
	failure := Failure{
		Stage: StageRun, Cause: CauseCRLFShebang,
		Message: printable(interpreter) + ": illegal option " + strconv.Quote(s.line.Argument),
		Detail:  "the first line of " + printable(s.info.Path) + " ends in a carriage return (a Windows line ending), and " + printable(interpreter) + " takes it for a part of its option " + strconv.Quote(strings.TrimSuffix(s.line.Argument, "\r")),
		Fix:     crlfFix(s.info.Path),
	}
	p.blame(&failure, s.info)
	return fails(failure)
}

// envFinds ends the proof where env does not find what a shebang line has it start:
// it exits with 127, whichever env it is (POSIX, env, EXIT STATUS). Options and
// assignments are not followed.
func (p *prover) envFinds(s script) error {
	name := s.line.Argument
	if name == "" || strings.ContainsAny(name, "/=") || strings.HasPrefix(name, "-") {
		if strings.HasSuffix(name, "\r") {
			return unknown("the first line of %s ends in a carriage return, and what env makes of it is not modelled", printable(s.info.Path))
		}
		return nil
	}
	if p.path() == "" {
		return nil // libcs disagree on what an empty PATH means
	}
	for _, dir := range p.pathFolders() {
		_, bad, err := p.resolve(path.Join(dir, name))
		if err != nil {
			return err
		}
		if bad == nil || bad.errno != "ENOENT" && bad.errno != "ENOTDIR" {
			return nil
		}
	}
	failure := Failure{
		Stage: StageRun, ExitCode: 127, Cause: CauseMissingInterpreter,
		Message: "env: " + strconv.Quote(name) + ": No such file or directory",
		Detail:  "the first line of " + printable(s.info.Path) + " has env look for " + printable(name) + ", and no folder of PATH has it",
		Fix:     "install " + printable(name) + " in the image, or name an interpreter that it has",
	}
	if strings.HasSuffix(name, "\r") {
		failure.Cause = CauseCRLFShebang
		failure.Detail = "the first line of " + printable(s.info.Path) + " ends in a carriage return (a Windows line ending), and env takes it for a part of the program's name"
		failure.Fix = crlfFix(s.info.Path)
	}
	p.proof.Steps = append(p.proof.Steps, Step{Path: name, Kind: string(binary.Missing), Role: roleInterpreter})
	p.blame(&failure, s.info)
	return fails(failure)
}
