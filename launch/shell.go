package launch

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"berth/rootfs"
)

// Only what every POSIX shell reads alike is followed: one simple command. The words of
// this file are those of POSIX, Shell Command Language.

// shellKind is which shell it is, where the name of its file says.
type shellKind string

const (
	shellAny     shellKind = "sh" // a shell, and which one is not known
	shellDash    shellKind = "dash"
	shellBash    shellKind = "bash"
	shellBusyBox shellKind = "busybox"
)

// maxScript bounds what is read of a script. The largest entrypoint of Docker's official
// images has 15 KiB.
const maxScript = 256 << 10

// shellOf is the kind of a shell that is called name, in file; empty where it is none.
func shellOf(name, file string) shellKind {
	if !slices.Contains([]string{"sh", "ash", "dash", "bash"}, name) {
		return ""
	}
	switch file {
	case "dash", "bash", "busybox":
		return shellKind(file)
	}
	return shellAny
}

// shell is what a shell starts, from its arguments.
func (p *prover) shell(args []string, kind shellKind) (*next, error) {
	if p.literal < len(p.process.Args) {
		return nil, stuck("its arguments depend on variables of another shell")
	}
	for _, kv := range p.process.Env {
		if strings.HasPrefix(kv, "BASH_ENV=") || strings.HasPrefix(kv, "BASH_FUNC_") {
			return nil, stuck("the environment has commands for it")
		}
	}
	own := starter{name: "the shell", fallback: fallsBack, shell: kind, file: p.ran.program}
	rest := args[1:]
	command := false
	for ; len(rest) > 0 && len(rest[0]) > 1 && strings.ContainsAny(rest[0][:1], "-+") && rest[0] != "--"; rest = rest[1:] {
		if strings.Trim(rest[0][1:], "ceuxo") != "" {
			return nil, stuck("its option " + printable(rest[0]) + " is not modelled")
		}
		command = command || strings.Contains(rest[0], "c")
		if strings.Contains(rest[0], "o") && len(rest) > 1 {
			rest = rest[1:]
		}
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	switch {
	case len(rest) == 0 && !command:
		return nil, nil // it reads standard input
	case len(rest) == 0:
		return nil, stuck("it has no command behind -c")
	case command:
		var params []string
		if len(rest) > 2 {
			params = rest[2:]
		}
		n := &next{starter: own, how: "the shell runs " + clipped(rest[0])}
		return n, n.command(rest[0], params)
	}
	return p.scriptFile(own, rest[0], rest[1:])
}

// scriptFile is what a script starts that a shell was given the name of.
func (p *prover) scriptFile(own starter, name string, params []string) (*next, error) {
	n := &next{starter: own}
	f, bad, err := p.resolve(name)
	if err != nil {
		return nil, err
	}
	readable := false
	if bad == nil {
		if readable, err = p.may(f.info, mayRead); err != nil {
			return nil, err
		}
	}
	switch {
	case bad == nil && readable && f.info.Mode.IsRegular():
	case !strings.Contains(name, "/") && own.shell != shellDash && own.shell != shellBusyBox:
		return nil, stuck("it may find " + printable(name) + " by PATH")
	default:
		n.args, n.how = append([]string{name}, params...), "a shell reads the script "+printable(name)
		n.literal = len(n.args)
		n.refused = func(then *prover) error { return then.cannotRead(own, name, f, bad) }
		return n, nil
	}
	if f.info.Size > maxScript {
		return nil, stuck(printable(f.info.Path) + " is too large for a script that is read")
	}
	raw, err := p.head(f.info, int(f.info.Size))
	if err != nil {
		return nil, err
	}
	n.how = printable(f.info.Path) + " ends in "
	return n, n.script(string(raw), params)
}

// cannotRead is the failure of a shell that cannot open its script.
func (p *prover) cannotRead(own starter, name string, f found, bad *fault) error {
	if bad == nil {
		bad = &fault{errno: "EACCES", at: f.info.Path, info: f.info}
		if f.info.Mode.IsDir() {
			bad.errno = "EISDIR"
		}
	}
	failure := Failure{
		Stage: StageRun, Errno: bad.errno, Cause: CauseNotFound, Path: bad.at,
		Message: own.shell.cannotOpen(name, bad.errno),
		Detail:  "a shell is started with the script " + printable(name) + ", which it cannot read: " + printable(bad.at) + ": " + strerror(bad.errno),
		Fix:     "correct the path of the script in ENTRYPOINT or CMD, or copy it there",
	}
	if bad.errno != "ENOENT" {
		failure.Cause = CauseNoAccess
	}
	if bad.info != nil {
		p.blame(&failure, bad.info)
	}
	p.faultStep(f, roleEntrypoint, bad)
	return fails(failure)
}

// cannotOpen is what a shell says of a script that it cannot read.
func (k shellKind) cannotOpen(name, errno string) string {
	switch {
	case k == shellBash:
		return "bash: " + printable(name) + ": " + sentence(errno)
	case k == shellBusyBox:
		return "sh: can't open '" + printable(name) + "': " + sentence(errno)
	case errno == "ENOENT":
		return "sh: 0: cannot open " + printable(name) + ": No such file"
	}
	return "sh: 0: cannot open " + printable(name) + ": " + sentence(errno)
}

// builtins are names that a shell of one kind or another does not look for in PATH, and
// words that begin more than a simple command.
var builtins = strings.Fields(`! . : [ [[ { } ( alias bg break builtin caller case cd command compgen complete continue declare
	dirs disown do done echo elif else enable esac eval exit export false fc fg fi for function getopts hash help history if in
	jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set shift shopt source suspend test
	then time times trap true type typeset ulimit umask unalias unset until wait while`)

// word is a word of a simple command.
type word struct {
	text string
	// dynamic says that it depends on what is expanded; params that it is "$@".
	dynamic, params bool
}

// command reads text as one simple command with these positional parameters.
func (n *next) command(text string, params []string) error {
	words, err := simpleCommand(text)
	if err != nil {
		return err
	}
	for len(words) > 0 && assignment.MatchString(words[0].text) && !words[0].params {
		name, _, _ := strings.Cut(words[0].text, "=")
		if words[0].dynamic || name == "PATH" || strings.HasPrefix(name, "LD_") {
			return stuck("it sets " + printable(name))
		}
		n.env, words = append(n.env, words[0].text), words[1:]
	}
	n.replaces = len(words) > 0 && words[0].text == "exec" && !words[0].dynamic
	if n.replaces {
		words = words[1:]
	}
	if len(words) > 0 && n.replaces && strings.HasPrefix(words[0].text, "-") {
		return stuck("options of exec are not modelled")
	}
	if len(words) == 0 {
		return stuck("it starts no program")
	}
	n.args, n.literal = []string{}, 0
	known, bytes := true, 0
	for _, w := range words {
		added := []string{w.text}
		if w.params {
			// What stands before and behind "$@" in the word joins the first and the last.
			added = slices.Clone(params)
			if len(added) > 0 {
				added[len(added)-1] += w.text
			} else if w.text != "" {
				added = []string{w.text}
			}
		}
		// "$@" can stand there many times, of scripts that start one another.
		for _, s := range added {
			if bytes += len(s) + 1; bytes > maxArguments {
				return stuck("its arguments are too many")
			}
		}
		known = known && !w.dynamic
		n.args = append(n.args, added...)
		if known {
			n.literal = len(n.args)
		}
	}
	if len(n.args) > 0 && n.literal == 0 {
		return stuck("which program it starts depends on variables")
	}
	if len(n.args) > 0 && !n.replaces && slices.Contains(builtins, n.args[0]) {
		return stuck(printable(n.args[0]) + " is a command of the shell itself")
	}
	return nil
}

var assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

// simpleCommand splits text into words. It fails with a [stuck] where there is more than
// one simple command, or a redirection.
func simpleCommand(text string) ([]word, error) {
	var words []word
	var current word
	var b strings.Builder
	started := false
	end := func() {
		if started {
			current.text = b.String()
			words = append(words, current)
		}
		current, started = word{}, false
		b.Reset()
	}
	text = strings.TrimRight(text, " \t\n")
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == ' ' || c == '\t':
			end()
		case c == '#' && !started:
			if strings.Contains(text[i:], "\n") {
				return nil, stuck("it is more than one command")
			}
			end()
			return words, nil
		case strings.HasPrefix(text[i:], `"$@"`) && !started:
			current.params, started = true, true
			i += len(`"$@"`) - 1
		case c == '\'':
			closing := strings.IndexByte(text[i+1:], '\'')
			if closing < 0 {
				return nil, stuck("it has a quote that is not closed")
			}
			b.WriteString(text[i+1 : i+1+closing])
			started = true
			i += closing + 1
		case c == '"':
			length, dynamic, ok := doubleQuoted(text[i+1:], &b)
			if !ok {
				return nil, stuck("it has a quote that is not closed, or a command within quotes")
			}
			current.dynamic = current.dynamic || dynamic
			started = true
			i += length
		case c == '\\' && i+1 < len(text) && text[i+1] != '\n':
			i++
			b.WriteByte(text[i])
			started = true
		case strings.IndexByte("`;&|<>()\n\\", c) >= 0, strings.HasPrefix(text[i:], "$("):
			return nil, stuck("it is more than one simple command")
		case strings.IndexByte("$*?[]{}~", c) >= 0:
			current.dynamic = true
			fallthrough
		default:
			b.WriteByte(c)
			started = true
		}
	}
	end()
	return words, nil
}

// doubleQuoted reads up to a closing quote, and returns how many bytes it took with it.
func doubleQuoted(text string, b *strings.Builder) (length int, dynamic, ok bool) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1, dynamic, true
		case c == '`', strings.HasPrefix(text[i:], "$("):
			return 0, false, false
		case c == '$':
			dynamic = true
			b.WriteByte(c)
		case c == '\\' && i+1 < len(text):
			i++
			if strings.IndexByte("$`\"\\", text[i]) < 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return 0, false, false
}

// What the lines of a script before its last one could change of that. A match that means
// something else costs an answer, and never gives a wrong one.
var (
	harmless   = regexp.MustCompile(`^set( [-+][eux]+| [-+]o [a-z]+| [-+][eux]*o [a-z]+)+$`)
	changesArg = regexp.MustCompile(`(?m)(^|[\s;&|({])(shift|set\s+[^-+\s]|set\s+--|set\s+-\s|eval|source|\.)(\s|$)|set\s+--`)
	changesDir = regexp.MustCompile(`(?m)(^|[\s;&|({])(cd|pushd|popd|eval|source|\.)(\s|$)`)
	changesEnv = regexp.MustCompile(`(?m)PATH=|(^|[\s;&|({])(eval|source|\.|alias)(\s|$)`)
	functions  = regexp.MustCompile(`(?m)(?:^|[\s;{])(?:([^\s(){};]+)\s*\(\s*\)|function\s+([^\s(){};]+))`)
	goesOn     = regexp.MustCompile(`(\\|&&|\|\|?)\s*$`)
)

// script reads the last line of a script that a shell runs with these parameters.
func (n *next) script(text string, params []string) error {
	if strings.ContainsRune(text, 0) {
		return stuck("it is no text")
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return stuck("it has no commands")
	}
	last, before := lines[len(lines)-1], lines[:len(lines)-1]
	last = strings.TrimLeft(last, " \t")
	// A carriage return at the end of a line is a part of its last word.
	if !strings.HasPrefix(last, "exec ") && !strings.HasPrefix(last, `"$@"`) && len(before) > 0 {
		only := !slices.ContainsFunc(before, func(l string) bool { return !harmless.MatchString(strings.Trim(l, " \t")) })
		if !only {
			return stuck("it is a script that does not end in exec")
		}
	}
	for _, line := range before {
		n.scripted = n.scripted || !harmless.MatchString(strings.Trim(line, " \t"))
	}
	all := strings.Join(before, "\n")
	switch {
	case len(before) > 0 && goesOn.MatchString(before[len(before)-1]):
		return stuck("its last command begins on a line before the last")
	case strings.Contains(last, "$@") && changesArg.MatchString(all):
		return stuck("it changes its own arguments before it starts them")
	case strings.Contains(all, "<<"):
		return stuck("its last line may be a part of a here-document")
	}
	n.moved, n.pathed = changesDir.MatchString(all), changesEnv.MatchString(all)
	n.how += clipped(strings.TrimRight(last, "\r"))
	if err := n.command(last, params); err != nil {
		return err
	}
	if strings.HasSuffix(last, "\r") {
		n.crlf = true
	}
	if len(n.args) > 0 {
		for _, f := range functions.FindAllStringSubmatch(all, -1) {
			if name := f[1] + f[2]; name == n.args[0] || name == path.Base(n.args[0]) {
				return stuck(printable(n.args[0]) + " is a function of the script")
			}
		}
	}
	return nil
}

// says is what a shell says where it cannot start a program.
func (k shellKind) says(n *next, f *Failure, missing bool, text string) {
	name := printable(strings.TrimSuffix(n.args[0], "\r"))
	missing = missing || f.Errno == "ENOTDIR" && k != shellBash
	f.ExitCode = 126
	if missing {
		f.ExitCode = 127
	}
	switch {
	case k == shellBash && missing && f.Stage == StageExec:
		f.Message = name + ": cannot execute: required file not found" // since 5.2
	case k == shellBash && missing && f.Stage == StageCreate && !strings.Contains(name, "/") && !n.replaces:
		f.Message = name + ": command not found"
	case missing && (k != shellBash || !strings.Contains(name, "/")):
		f.Message = name + ": not found"
	default:
		f.Message = name + ": " + text
	}
}

// clipped is printable text that fits into a sentence.
func clipped(s string) string {
	const most = 200
	if r := []rune(s[:min(len(s), 4*most)]); len(r) > most {
		return printable(string(r[:most])) + "…"
	}
	return printable(s)
}

// interpreted is what an interpreter's arguments are, for execve of name.
func interpreted(argv []string, name string, scripts []script) []string {
	for _, s := range scripts {
		before := []string{s.line.Interpreter}
		if s.line.HasArgument {
			before = append(before, s.line.Argument)
		}
		argv = append(append(before, name), argv[min(1, len(argv)):]...)
		name = s.line.Interpreter
	}
	return argv
}

// isMuslLoader tells by the name of the file alone.
func isMuslLoader(info *rootfs.Info) bool {
	return info != nil && strings.Contains(path.Base(info.Path), "musl")
}
