package launch

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"berth/rootfs"
)

// starter is a program whose work is to start another one.
type starter struct {
	// name is what people call it.
	name     string
	fallback fallback
	// shell is set for shells.
	shell shellKind
	// file is the program.
	file *rootfs.Info
}

// fallback tells whether a program has /bin/sh read a file that the kernel takes for no
// program.
type fallback int

const (
	fallsBackNever   fallback = iota // it calls execve, or musl's execvp
	fallsBack                        // it is a shell, or calls glibc's execvp
	fallsBackPerhaps                 // it calls execvp of a libc that is not known
)

// wrapperKind is how a wrapper reads its arguments.
type wrapperKind struct {
	// flags are single letters without a value, values those with one. Long options that take
	// a value have it behind "=".
	flags, values string
	long          []string
	// permutes says that it looks for options behind the program's name too, unless "--" is
	// before that: glibc's getopt.
	permutes bool
	// user says that the first argument is who to run as.
	user bool
	// exits are what it exits with where the program is not found, and where it is found and
	// cannot be executed.
	exits [2]int
	// says is its message, with NAME and TEXT for the program and strerror.
	says string
}

// wrapperKinds are read from: tini src/tini.c of 0.19, dumb-init dumb-init.c of 1.2.5,
// catatonit catatonit.c of 0.1.7, gosu main.go of 1.14, su-exec su-exec.c of 0.2, and nice,
// nohup of coreutils 9.1.
var wrapperKinds = map[string]wrapperKind{
	"tini":      {flags: "swvg", values: "peR", permutes: true, exits: [2]int{127, 126}, says: "[FATAL tini] exec NAME failed: TEXT"},
	"dumb-init": {flags: "cv", values: "r", long: []string{"--single-child", "--verbose", "--rewrite="}, exits: [2]int{2, 2}, says: "[dumb-init] NAME: TEXT"},
	"catatonit": {flags: "g", permutes: true, exits: [2]int{1, 1}, says: "ERROR (catatonit): failed to exec pid1: TEXT"},
	"gosu":      {user: true, exits: [2]int{1, 1}, says: "error: NAME: TEXT"},
	"su-exec":   {user: true, exits: [2]int{1, 1}, says: "su-exec: NAME: TEXT"},
	"nice":      {values: "n", long: []string{"--adjustment="}, exits: [2]int{127, 126}, says: "nice: NAME: TEXT"},
	"nohup":     {exits: [2]int{127, 126}, says: "nohup: failed to run command 'NAME': TEXT"},
	"env":       {exits: [2]int{127, 126}, says: "env: NAME: TEXT"},
}

// aliases are other names of wrappers. docker run --init brings the first.
var aliases = map[string]string{"docker-init": "tini", "tini-static": "tini", "tini-amd64": "tini", "tini-arm64": "tini"}

// otherWrappers start another program in ways that are not read here.
var otherWrappers = []string{"chroot", "s6-svscan", "setpriv", "setsid", "stdbuf", "su", "sudo", "supervisord", "timeout", "xargs", "execlineb", "init", "runuser", "unshare"}

// starts is what the program that runs starts in turn. It is nil for a program that does
// its own work; the error can be a [stuck].
func (p *prover) starts() (*next, error) {
	if p.ran == nil {
		return nil, nil // a shell reads it, for want of a first line
	}
	args := p.ran.argv
	name := p.called(args[0])
	if name == "busybox" && len(args) > 1 && p.literal > 1 {
		args, name = args[1:], path.Base(args[1])
	}
	file := path.Base(p.ran.program.Path)
	if kind := shellOf(name, file); kind != "" {
		return p.shell(args, kind)
	}
	kind, ok := wrapperKinds[name]
	switch {
	case !ok && len(args) > 1 && slices.Contains(otherWrappers, name):
		return nil, stuck("how " + name + " starts it is not modelled")
	case !ok || len(args) == 1:
		return nil, nil
	case p.literal < len(p.process.Args):
		return nil, stuck("its arguments depend on variables of the shell")
	}
	n := &next{starter: starter{name: name, fallback: p.fallback(name), file: p.ran.program}, how: name + " starts its arguments"}
	var err error
	if name == "env" {
		n.args, n.env, err = envArguments(args[1:])
	} else {
		n.args, err = kind.arguments(args[1:])
	}
	if err != nil || len(n.args) == 0 {
		return nil, err
	}
	if kind.user {
		if n.user, n.args = n.args[0], n.args[1:]; len(n.args) == 0 {
			return nil, nil
		}
		n.how = name + " starts its arguments as " + printable(n.user)
	}
	n.literal = len(n.args)
	return n, nil
}

// called is the name that a program goes by: how it was called, where that is known, or
// else its file's.
func (p *prover) called(arg0 string) string {
	for _, name := range []string{path.Base(arg0), path.Base(p.ran.program.Path)} {
		if a, ok := aliases[name]; ok {
			name = a
		}
		if _, ok := wrapperKinds[name]; ok || name == "busybox" || shellOf(name, name) != "" || slices.Contains(otherWrappers, name) {
			return name
		}
	}
	return path.Base(arg0)
}

// fallback is what a wrapper does where the kernel takes the file for no program.
func (p *prover) fallback(name string) fallback {
	switch {
	case name == "gosu" || p.ran.musl:
		return fallsBackNever
	case p.ran.dynamic:
		return fallsBack
	}
	return fallsBackPerhaps
}

// arguments are what is behind the options.
func (k wrapperKind) arguments(args []string) ([]string, error) {
	for len(args) > 0 {
		arg := args[0]
		switch {
		case k.user || arg == "-" || !strings.HasPrefix(arg, "-"):
			if k.permutes && slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") && a != "-" }) {
				return nil, stuck("without -- before the program it may take the program's options for its own")
			}
			return args, nil
		case arg == "--":
			return args[1:], nil
		case strings.HasPrefix(arg, "--"):
			name, _, valued := strings.Cut(arg, "=")
			if valued {
				name += "="
			}
			if !slices.Contains(k.long, name) {
				return nil, stuck("its option " + printable(arg) + " is not modelled")
			}
			args = args[1:]
		default:
			used, err := k.letters(arg[1:])
			if err != nil || used > len(args) {
				return nil, err
			}
			args = args[used:]
		}
	}
	return nil, nil
}

// letters reads a cluster of options, and returns how many arguments it takes.
func (k wrapperKind) letters(cluster string) (int, error) {
	if _, err := strconv.Atoi(cluster); err == nil && k.values == "n" {
		return 1, nil // nice -5
	}
	for i, c := range cluster {
		switch {
		case strings.ContainsRune(k.flags, c):
		case strings.ContainsRune(k.values, c) && i == len(cluster)-1:
			return 2, nil
		case strings.ContainsRune(k.values, c):
			return 1, nil
		default:
			return 0, stuck("its option " + printable("-"+cluster) + " is not modelled")
		}
	}
	return 1, nil
}

// envArguments are what env starts, and what it changes of the environment (POSIX, env).
func envArguments(args []string) (program, changes []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		name, _, assigns := strings.Cut(arg, "=")
		switch {
		case arg == "--":
		case arg == "-u" && len(args) > 1:
			changes, args = append(changes, args[1]), args[1:]
		case strings.HasPrefix(arg, "-"):
			return nil, nil, stuck("its option " + printable(arg) + " is not modelled")
		case !assigns:
			return args, changes, nil
		case name == "PATH":
			// Whether the program is looked for in the old or in the new one differs.
			return nil, nil, stuck("env changes PATH")
		default:
			changes = append(changes, arg)
		}
		args = args[1:]
	}
	return nil, nil, nil
}

// says puts the words of a starter into the failure of what it starts.
func (s starter) says(n *next, f *Failure) {
	if len(n.args) == 0 || f.Stage != StageCreate && f.Stage != StageExec {
		return
	}
	text, missing := sentence(f.Errno), f.Errno == "ENOENT" || f.Errno == "" && f.ExitCode == 127
	if missing {
		text = sentence("ENOENT")
	} else if f.Errno == "" || f.Errno == "EISDIR" {
		text = sentence("EACCES")
	}
	kind, isWrapper := wrapperKinds[s.name]
	switch {
	case f.Cause == CauseUnknownUser || f.Cause == CauseUnknownGroup:
		f.ExitCode = 1
		f.Message = s.name + ": " + f.Message
	case f.Errno == "ENOEXEC" && s.fallback != fallsBackNever:
		// /bin/sh reads it as a script, and what it stumbles over first is chance.
		f.ExitCode, f.Message = 0, printable(n.args[0])+": "+strerror("ENOEXEC")+", or a syntax error of the shell that reads it as a script"
	case isWrapper:
		f.ExitCode = kind.exits[1]
		if missing {
			f.ExitCode = kind.exits[0]
		} else if f.Errno == "ENOTDIR" {
			f.ExitCode = 0 // they differ
		}
		f.Message = strings.NewReplacer("NAME", printable(n.args[0]), "TEXT", text).Replace(kind.says)
		if s.name == "gosu" {
			f.Message = gosuSays(n.args[0], f)
		}
	case s.shell != "":
		s.shell.says(n, f, missing, text)
	}
	f.Stage = StageRun
}

// gosuSays is what gosu, which is written in Go, passes on.
func gosuSays(name string, f *Failure) string {
	switch {
	case f.Stage == StageExec:
		return "error: exec failed: " + strerror(f.Errno)
	case !strings.Contains(name, "/"):
		return "error: exec: " + strconv.Quote(name) + ": executable file not found in $PATH"
	case f.Errno == "ENOENT":
		return "error: exec: " + strconv.Quote(name) + ": stat " + name + ": " + strerror(f.Errno)
	}
	return "error: exec: " + strconv.Quote(name) + ": " + strerror(f.Errno)
}

// sentence is strerror of C libraries: as Go's, with a capital.
func sentence(errno string) string {
	text := strerror(errno)
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
