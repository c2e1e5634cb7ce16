package launch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// derivation is one image whose entrypoint starts something else.
type derivation struct {
	name    string
	files   []imagetest.File
	process v1.ImageConfig
	// want is how it goes on: "starts ARGS", "fails CAUSE ARGS", "unknown", each with
	// " scripted" where commands run before; or "none", with what was not followed.
	want string
}

// derivations start programs that stand for wrappers and shells: their names decide.
func derivations() []derivation {
	base := one(
		exe("usr/bin/tini", static), exe("usr/bin/dumb-init", static), exe("usr/bin/env", static), exe("usr/bin/nice", static),
		exe("usr/bin/gosu", static), exe("usr/bin/su-exec", static), exe("usr/bin/catatonit", static), exe("usr/bin/nohup", static),
		exe("bin/dash", static), link("bin/sh", "dash"), exe("bin/bash", static), exe("bin/busybox", static+"\x00ls\x00"), link("bin/ash", "busybox"),
		exe("app", static), exe("arm", elf("linux/arm64", "")), exe("text", "echo hello\n"), exe("crlf", "#!/bin/sh\r\n"), exe("usr/bin/prog", static),
		file("data", 0o644, ""), file("etc/passwd", 0o644, "web:x:1000:1000::/:\n"), file("etc/group", 0o644, ""),
		imagetest.File{Name: "private", Mode: 0o700, Body: static},
	)
	var all []derivation
	add := func(want string, args ...string) {
		all = append(all, derivation{name: strings.Join(args, " "), files: base, process: run(args...), want: want})
	}
	script := func(want, body string, cmd ...string) {
		all = append(all, derivation{
			name: fmt.Sprintf("%q %s", body, strings.Join(cmd, " ")), files: append(base[:len(base):len(base)], exe("entry", "#!/bin/sh\n"+body)),
			process: v1.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: cmd}, want: want,
		})
	}
	add("starts /app serve", "/usr/bin/tini", "--", "/app", "serve")
	add("starts /app serve", "tini", "/app", "serve")
	add("starts /app -v", "tini", "-g", "-p", "SIGTERM", "-e143", "--", "/app", "-v")
	add("none: without --", "tini", "/app", "-v")
	add("none: its option -z", "tini", "-z", "/app")
	add("none", "tini")
	add("none", "/app", "tini")
	add("fails wrong-machine /arm", "tini", "--", "/arm")
	add("fails not-found /nope", "tini", "--", "/nope")
	add("fails not-found nope", "tini", "--", "nope")
	add("fails not-executable /data", "tini", "--", "/data")
	add("fails is-a-directory /etc", "tini", "--", "/etc")
	add("fails crlf-shebang /crlf", "tini", "--", "/crlf")
	add("unknown /text", "tini", "--", "/text") // the tini here is static
	add("starts prog", "dumb-init", "-c", "--", "prog")
	add("starts prog -x", "dumb-init", "prog", "-x")
	add("starts prog", "dumb-init", "--rewrite=15:2", "prog")
	add("starts prog", "catatonit", "--", "prog")
	add("starts prog", "nice", "-n", "5", "prog")
	add("starts prog", "nice", "-5", "prog")
	add("starts prog", "nohup", "prog")
	add("starts prog", "env", "-u", "X", "A=1", "prog")
	add("none: env changes PATH", "env", "PATH=/nope", "prog")
	add("none: its option -i", "env", "-i", "/app")
	add("starts prog", "gosu", "web", "prog")
	add("fails not-executable /private", "su-exec", "web:1000", "/private")
	add("fails unknown-user prog", "gosu", "nobody", "prog")
	add("fails no-shebang /text", "gosu", "0", "/text")
	add("starts prog", "tini", "--", "gosu", "web", "env", "A=1", "nice", "prog")
	add("starts /app serve", "/bin/sh", "-c", "/app serve")
	add("starts /app serve", "/bin/sh", "-c", "exec /app serve")
	add("starts /app a b $PORT", "/bin/sh", "-ec", "A=1 /app 'a b' $PORT # comment")
	add("starts /text", "/bin/sh", "-c", "/text")
	add("fails wrong-machine /arm --flag", "sh", "-c", "exec /arm --flag")
	add("fails not-found nope", "sh", "-c", "nope")
	add("fails not-found nope", "ash", "-c", "nope")
	add("unknown ls", "ash", "-c", "ls")
	add("starts prog", "busybox", "sh", "-c", "prog")
	add("none: it is more than one simple command", "sh", "-c", "prog && /arm")
	add("none: it is more than one simple command", "sh", "-c", "prog > /log")
	add("none: which program it starts depends on variables", "sh", "-c", "$APP serve")
	add("none: cd is a command of the shell itself", "sh", "-c", "cd /")
	add("none: it sets PATH", "sh", "-c", "PATH=/x prog")
	add("none: its option -lc", "sh", "-lc", "prog")
	add("starts /app x", "sh", "-c", `exec "$@"`, "--", "/app", "x")
	add("fails not-found /entry.sh", "sh", "/entry.sh")
	add("none: it may find", "bash", "entry.sh")
	add("fails no-access /etc", "dash", "/etc")
	add("starts prog $X", "sh", "-c", "prog $X")
	add("starts tini -- $APP", "sh", "-c", "tini -- $APP")

	script("starts /app serve", "exec \"$@\"\n", "/app", "serve")
	script("starts /app", "set -e\n# comment\n\nexec \"$@\"", "/app")
	script("starts /app scripted", "set -e\nmkdir -p /run\nexec \"$@\"\n", "/app")
	script("fails wrong-machine /arm scripted", "echo hello\nexec \"$@\"\n", "/arm")
	script("fails not-found /nope scripted", "chown x /y\nexec tini -- \"$@\"\n", "/nope")
	script("fails no-command ", "exec \"$@\"\n")
	script("fails crlf-shebang /app\r", "exec \"$@\"\r\n", "/app")
	script("starts prog scripted", "if true; then\n  exec su-exec web prog\nfi\nexec prog\n")
	script("none: it changes its own arguments", "if [ \"$1\" = x ]; then set -- prog \"$@\"; fi\nexec \"$@\"\n", "x")
	script("none: it changes its own arguments", "shift\nexec \"$@\"\n", "x", "/app")
	script("unknown prog scripted", "PATH=/x:$PATH\nexec \"$@\"\n", "prog")
	script("unknown ./app scripted", "cd /srv\nexec \"$@\"\n", "./app")
	script("starts /app scripted", "cd /srv\nexec \"$@\"\n", "/app")
	script("none: its last command begins", "[ -x /app ] &&\nexec \"$@\"\n", "/app")
	script("none: its last line may be", "cat <<EOF\nexec \"$@\"\n", "/app")
	script("none: it is a script that does not end in exec", "prog &\nwait\n")
	script("none: prog is a function", "prog() { :; }\nexec \"$@\"\n", "prog")
	script("none: prog is a function", "set -e; function prog { :; }\nexec \"$@\"\n", "prog")
	script("starts /app serve", "/app serve\n")
	script("none: it has no commands", "# nothing\n")

	all = append(all,
		derivation{
			name: "env bash", files: append(base[:len(base):len(base)], exe("entry", "#!/usr/bin/env bash\nexec \"$@\"\n")),
			process: v1.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"/arm"}}, want: "fails wrong-machine /arm",
		},
		derivation{
			name: "tini, script, gosu", files: append(base[:len(base):len(base)], exe("usr/local/bin/entry", "#!/bin/sh -e\nexec gosu web \"$@\"\n")),
			process: v1.ImageConfig{Entrypoint: []string{"tini", "--", "entry"}, Cmd: []string{"/private"}}, want: "fails not-executable /private",
		},
		derivation{
			name: "a script of a script of itself", files: append(base[:len(base):len(base)], exe("entry", "#!/bin/sh\nexec /entry\n")),
			process: run("/entry"), want: "unknown /entry",
		},
		derivation{name: "commands of bash in the environment", files: base, process: env("BASH_ENV=/x", "bash", "-c", "prog"), want: "none: the environment has commands for it"},
		derivation{name: "the user is not root", files: base, process: v1.ImageConfig{Entrypoint: []string{"gosu", "web", "prog"}, User: "4711"}, want: "unknown prog"},
		derivation{name: "PATH with an empty entry", files: base, process: env("PATH=/usr/bin:", "tini", "--", "prog"), want: "unknown prog"},
		derivation{
			name: "another in PATH", files: append(base[:len(base):len(base)], exe("usr/local/bin/prog", "#!/nope\n")),
			process: run("tini", "--", "prog"), want: "unknown prog",
		},
	)
	return all
}

// derived is a proof as derivation.want has it.
func derived(p *Proof) string {
	d := p.Derived
	if d == nil {
		for _, w := range p.Warnings {
			if w.Cause == CauseNotFollowed {
				return "none: " + w.Detail[strings.LastIndex(w.Detail, "was not followed: ")+len("was not followed: "):]
			}
		}
		return "none"
	}
	out := string(d.Verdict)
	if d.Failure != nil {
		out += " " + d.Failure.Cause
	}
	out += " " + strings.Join(d.Args, " ")
	if !d.Literal {
		out += " scripted"
	}
	return out
}

func TestDerived(t *testing.T) {
	for _, c := range derivations() {
		t.Run(c.name, func(t *testing.T) {
			proof := prove(t, imageOf(t, c.files), c.process, amd64)
			if proof.Verdict != Starts || proof.Evidence != Proven {
				t.Fatalf("the wrapper itself: %s (%s) %+v %s", proof.Verdict, proof.Evidence, proof.Failure, proof.Reason)
			}
			got := derived(proof)
			if got != c.want && !(strings.HasPrefix(c.want, "none: ") && strings.HasPrefix(got, c.want)) {
				t.Errorf("got  %s\nwant %s\n%+v", got, c.want, proof.Derived)
			}
			d := proof.Derived
			if d == nil {
				return
			}
			if d.Evidence != "derived" || len(d.Through) == 0 || d.Through[0].How == "" || (d.Failure != nil) != (d.Verdict == Fails) || (d.Reason != "") != (d.Verdict == Unknown) {
				t.Errorf("%+v", d)
			}
			if d.Failure != nil && (d.Failure.Stage != StageRun || d.Failure.Message == "" || d.Failure.Detail == "" || d.Failure.Fix == "") {
				t.Errorf("a failure must say what it is and what to do: %+v", d.Failure)
			}
		})
	}
}

// TestDerivedThrough reads the way to a program back.
func TestDerivedThrough(t *testing.T) {
	files := one(exe("tini", static), exe("bin/sh", static), exe("app", static), exe("entry", "#!/bin/sh\nexec \"$@\"\n"))
	d := prove(t, imageOf(t, files), run("/tini", "--", "/entry", "/app"), amd64).Derived
	want := []Hop{{"/tini", "tini starts its arguments"}, {"/entry", `/entry ends in exec "$@"`}}
	if !slices.Equal(d.Through, want) || len(d.Steps) != 1 || d.Steps[0].Path != "/app" {
		t.Errorf("%+v", d)
	}
}
