package launch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// repeated is n pieces, each made for its number.
func repeated(n int, piece func(int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(piece(i))
	}
	return b.String()
}

// manyLibraries are n libraries, each of which needs the next.
func manyLibraries(n int) []imagetest.File {
	var files []imagetest.File
	for i := range n {
		files = append(files, file(fmt.Sprintf("lib64/l%d.so", i), 0o644, library(fmt.Sprintf("l%d.so", i), fmt.Sprintf("l%d.so", i+1))))
	}
	return files
}

// TestHostileCosts bounds the memory that proofs of hostile images take, and with the time
// limit of the tests how long they take: configs, accounts, headers, scripts and libraries
// that are made to cost something. Layers and registries have tests of their own in rootfs,
// image and store/registry.
func TestHostileCosts(t *testing.T) {
	const glibcs = "/lib64/\x00/usr/lib64/\x00"
	loader := exe("lib64/ld-linux-x86-64.so.2", dynamicFile{soname: "ld-linux-x86-64.so.2", provides: []string{"GLIBC_PRIVATE"}}.build()+glibcs)
	needsMany := dynamicFile{interp: amd64Loader, needed: []string{"l0.so"}}.build()
	manyNeeded := dynamicFile{interp: amd64Loader, needed: strings.Fields(repeated(5000, func(i int) string { return fmt.Sprintf("l%d.so ", i) }))}.build()
	far := patch64(patch(static, atPhnum, 2, 0), atPhoff, 8<<20-2*phSize) + strings.Repeat("\x00", 9<<20)
	shell := one(exe("bin/sh", static), exe("app", static))
	script := func(body string) []imagetest.File { return append(shell[:2:2], exe("entry", body)) }
	for _, c := range []struct {
		name    string
		files   []imagetest.File
		process v1.ImageConfig
		want    string // a verdict, and the derived one behind a slash
	}{
		{"no entrypoint", shell, v1.ImageConfig{Entrypoint: []string{}}, "fails"},
		{"NUL in an argument", shell, run("/app", "a\x00b"), "unknown"},
		{"arguments without bounds", shell, run("/app", strings.Repeat("x", 64<<20)), "unknown"},
		{"a PATH of 60,000 folders", shell, env("PATH="+repeated(60_000, func(int) string { return "/:" }), "x"), "fails"},
		{"a PATH of folders that are not there", shell, env("PATH="+repeated(10_000, func(i int) string { return fmt.Sprintf("/d%d:", i) }), "x"), "fails"},
		{"10,000 variables of env", append(one(exe("bin/env", static)), shell...), run(append([]string{"/bin/env"}, append(strings.Fields(repeated(10_000, func(i int) string { return fmt.Sprintf("A%d= ", i) })), "/app")...)...), "starts/starts"},
		{"a circle of links", one(link("app", "b/c"), link("b", "app")), run("/app"), "fails"},
		{"links that grow", one(link("app", strings.Repeat("app/", 1000))), run("/app"), "fails"},
		{"/etc/passwd of a million lines", append(one(file("etc/passwd", 0o644, strings.Repeat("\n", 1<<20))), shell...), v1.ImageConfig{Cmd: []string{"/app"}, User: "x"}, "fails"},
		{"/etc/passwd without bounds", append(one(file("etc/passwd", 0o644, strings.Repeat("x:\n", 20<<20))), shell...), v1.ImageConfig{Cmd: []string{"/app"}, User: "x"}, "unknown"},
		{"/etc/group with a user in all of them", append(one(file("etc/group", 0o644, repeated(40_000, func(i int) string { return fmt.Sprintf("g:x:%d:x\n", i) })), file("etc/passwd", 0o644, "x:x:1:1::/:\n"), imagetest.File{Name: "d/app", Mode: 0o070, GID: 39_999, Body: static}), shell...), v1.ImageConfig{Cmd: []string{"/d/app"}, User: "x"}, "starts"},
		{"program headers at the end of 8 MiB", one(exe("app", far)), run("/app"), "fails"},
		{"65,535 program headers", one(exe("app", patch(static+strings.Repeat("\x00", 4<<20), atPhnum, 0xff, 0xff))), run("/app"), "fails"},
		{"a name of the loader of 4 KiB", one(exe("app", withInterp(strings.Repeat("/", 4094)+"x\x00"))), run("/app"), "fails"},
		{"a loader of 64 MiB", one(exe("app", needsMany), exe("lib64/ld-linux-x86-64.so.2", loader.Body+strings.Repeat("\x00", 64<<20))), run("/app"), "starts"},
		{"600 libraries in a row", append(manyLibraries(600), loader, exe("app", needsMany)), run("/app"), "starts"},
		{"5,000 needed libraries", one(loader, exe("app", manyNeeded)), run("/app"), "starts"},
		{"a cache of the loader without bounds", one(loader, exe("app", needsMany), file("etc/ld.so.cache", 0o644, strings.Repeat("x", 32<<20))), run("/app"), "starts"},
		{"a script of blanks", script("#!/bin/sh\n" + strings.Repeat(" \n", 120_000) + "exec \"$@\"\n"), v1.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"/app"}}, "starts/starts"},
		{"a script of one line", script("#!/bin/sh\nexec " + strings.Repeat("'x'\"$@\"", 30_000) + "\n"), v1.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"/app"}}, "starts"},
		{"a script whose arguments multiply", script("#!/bin/sh\nexec /entry " + strings.Repeat(`"$@" `, 100) + "\n"), v1.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"/app", "x", "y"}}, "starts/starts"},
		{"a script without bounds", script("#!/bin/sh\n" + strings.Repeat("# x\n", 16<<20)), run("/entry"), "starts"},
		{"a script that runs itself", script("#!/bin/sh\nexec /entry \"$@\"\n"), run("/entry"), "starts/unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := imageOf(t, c.files)
			start := time.Now()
			var proof *Proof
			most := imagetest.Peak(func() { proof = prove(t, fsys, c.process, amd64) })
			got := string(proof.Verdict)
			if proof.Derived != nil {
				got += "/" + string(proof.Derived.Verdict)
			}
			if got != c.want {
				t.Errorf("%s, want %s: %.300s", got, c.want, fmt.Sprintf("%+v %s %+v", proof.Failure, proof.Reason, proof.Derived))
			}
			if most > 64<<20 {
				t.Errorf("%d MiB of memory", most>>20)
			}
			t.Logf("%d MiB of memory, %v", most>>20, time.Since(start).Round(time.Millisecond))
		})
	}
}

// FuzzDerived has shells and wrappers start arbitrary texts: what is followed holds
// together, and nothing is said to start that is not there.
func FuzzDerived(f *testing.F) {
	for _, d := range derivations() {
		args := strings.Join(append(d.process.Entrypoint, d.process.Cmd...), "\n")
		for _, file := range d.files {
			if file.Name == "entry" {
				f.Add(file.Body, args)
			}
		}
		f.Add("#!/bin/sh\nexec \"$@\"\n", args)
	}
	f.Fuzz(func(t *testing.T, body, args string) {
		files := one(exe("bin/sh", static), exe("bin/env", static), exe("bin/tini", static), exe("bin/gosu", static), exe("app", static), exe("entry", body))
		for _, entrypoint := range [][]string{strings.Split(args, "\n"), {"/bin/sh", "-c", args}, {"/bin/sh", "/entry", args}} {
			proof := prove(t, imageOf(t, files), v1.ImageConfig{Entrypoint: entrypoint}, amd64)
			d := proof.Derived
			if d == nil {
				continue
			}
			if len(d.Through) == 0 || len(d.Through) > maxHops || (d.Failure != nil) != (d.Verdict == Fails) || (d.Reason != "") != (d.Verdict == Unknown) {
				t.Errorf("%+v", d)
			}
			if d.Verdict == Starts && (len(d.Args) == 0 || len(d.Steps) == 0) {
				t.Errorf("nothing starts: %+v", d)
			}
		}
	})
}
