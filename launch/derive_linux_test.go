package launch

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestDerivedReality has the wrappers and shells of Debian start what the model says that
// they start, or fail with its words.
func TestDerivedReality(t *testing.T) {
	host := thisMachine(t)
	if emulated := handlers(t); len(emulated) > 0 {
		imagetest.Missing(t, "a kernel without emulation (binfmt_misc has "+strings.Join(emulated, ", ")+")", "switch them off: echo 0 into each")
	}
	files := imagetest.DebianFiles(t, platform.MustParse("linux/amd64"),
		"tini", "dumb-init", "catatonit", "gosu", "dash", "bash", "busybox-static", "coreutils", "libc6", "libtinfo6", "libselinux1", "libpcre2-8-0")
	// Less to read, and to lay out.
	needed := regexp.MustCompile(`bin/(sh|dash|bash|busybox|tini|dumb-init|catatonit|gosu|env|nice|nohup)$|/(ld-linux-x86-64|libc|libtinfo|libselinux|libpcre2-8)\.so|/(ld|libc|libtinfo)-[0-9.]+\.so$`)
	files = slices.DeleteFunc(files, func(f imagetest.File) bool { return f.Type != tar.TypeDir && !needed.MatchString(f.Name) })
	files = append(files, dir("proc", 0o755),
		exe("app", static), exe("usr/bin/prog", static), exe("arm", elf("linux/arm64", "")), exe("text", "exit 0\n"), exe("crlf", "#!/bin/sh\r\n"),
		file("data", 0o644, ""), file("etc/passwd", 0o644, "web:x:1000:1000::/:\n"), file("etc/group", 0o644, "web:x:1000:\n"), link("usr/bin/ash", "../../bin/busybox"),
		exe("entry", "#!/bin/sh\nset -e\nexec \"$@\"\n"), exe("entry.bash", "#!/usr/bin/env bash\nset -euo pipefail\necho hello >&2\nexec gosu web \"$@\"\n"),
		exe("entry.crlf", "#!/bin/sh\nexec \"$@\"\r\n"), exe("entry.busybox", "#!/bin/busybox sh\nexec nice \"$@\"\n"),
		imagetest.File{Name: "private", Mode: 0o700, Body: static},
	)
	root := t.TempDir()
	layOut(t, root, files)
	// gosu looks at itself in /proc.
	if err := syscall.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(filepath.Join(root, "proc"), 0); err != nil {
			t.Error(err)
		}
	})
	fsys := imageOf(t, files)
	var cases [][]string
	// tini and catatonit want to be the first process, or to be told so.
	for _, wrapper := range [][]string{{"tini", "-s", "--"}, {"dumb-init"}, {"catatonit", "--"}, {"gosu", "web"}, {"gosu", "0"}, {"env", "A=1"}, {"nice", "-n", "1"}, {"nohup"}, {"tini", "-s", "--", "env", "--", "nice"}, {"/entry"}, {"/entry.bash"}, {"/entry.crlf"}, {"/entry.busybox"}} {
		for _, program := range []string{"/app", "prog", "/nope", "nope", "/arm", "/data", "/etc", "/app/x", "/text", "/crlf", "/private"} {
			cases = append(cases, append(wrapper[:len(wrapper):len(wrapper)], program))
		}
	}
	for _, shell := range []string{"dash", "bash", "ash", "sh"} {
		for _, text := range []string{"/app", "prog x", "/nope", "nope", "exec nope", "exec /nope", "/arm", "exec /arm", "/data", "/text", "exec /text", "/crlf", "exec prog 'a b'", `A=1 /app "$HOME"`} {
			cases = append(cases, []string{shell, "-c", text})
		}
		cases = append(cases, []string{shell, "-ec", `exec "$@"`, "x", "/app"}, []string{shell, "/nope"}, []string{shell, "/entry", "/app"}, []string{shell, "/entry", "nope"}, []string{shell, "/entry"})
	}
	var table tally
	for _, args := range cases {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			proof := prove(t, fsys, v1.ImageConfig{Entrypoint: args}, host)
			d := proof.Derived
			if proof.Verdict != Starts || d == nil {
				t.Fatalf("%s, %+v, %+v", proof.Verdict, proof.Failure, proof.Warnings)
			}
			if d.Verdict == Unknown {
				table.count(classWrappers, open)
				return
			}
			defer table.held(t, classWrappers)
			path := proof.Steps[0].Path
			cmd := exec.Command(path, args[1:]...)
			cmd.Args[0] = args[0]
			cmd.Dir, cmd.Env = "/", []string{"PATH=" + defaultPath}
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			code := cmd.ProcessState.ExitCode()
			if d.Verdict == Starts {
				if code != 0 {
					t.Errorf("predicted to start: exit code %d\n%s", code, &out)
				}
				return
			}
			f := d.Failure
			if f.Cause == CauseNoCommand {
				if code != 0 || out.Len() > 0 {
					t.Errorf("predicted to end at once: exit code %d\n%s", code, &out)
				}
				return
			}
			if code == 0 || f.ExitCode != 0 && f.ExitCode != code {
				t.Errorf("exit code %d, predicted %d\n%s", code, f.ExitCode, &out)
			}
			message := f.Message
			if strings.HasPrefix(message, "error: exec") {
				message = "error: exec" // what follows is of Go, and changes with its releases
			}
			if f.Cause != CauseWrongMachine && !said(out.String(), message) {
				t.Errorf("predicted %q, it says\n%s", f.Message, &out)
			}
		})
	}
	table.holds(t, "execve")
	if _, err := os.Stat("/nope"); err == nil {
		t.Fatal("this machine has /nope")
	}
}

// said tells whether all words of a message are in the text, in order: process ids, line
// numbers and quotation marks are between them.
func said(text, message string) bool {
	for _, word := range strings.FieldsFunc(message, func(r rune) bool { return strings.ContainsRune(" :[]()'\"", r) }) {
		_, after, found := strings.Cut(text, word)
		if !found {
			return false
		}
		text = after
	}
	return true
}
