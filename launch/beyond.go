package launch

import (
	"path"
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
	if ok, err := p.may(first.info, mayRead); err != nil {
		return err
	} else if !ok {
		return unknown("%s may be executed and not read by this user: its interpreter starts, and what it does without the script is not modelled", printable(first.info.Path))
	}
	if path.Base(last.line.Interpreter) == "env" && last.line.HasArgument {
		if err := p.envFinds(last); err != nil {
			return err
		}
	} else if strings.HasSuffix(last.line.Argument, "\r") {
		return unknown("the first line of %s ends in a carriage return, which %s gets as a part of its argument", printable(last.info.Path), printable(last.line.Interpreter))
	}
	return nil
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
