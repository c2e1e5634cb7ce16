package launch

import (
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// Sweeps go over all values near a bound, where the single cases beside them take one.

// elfSweeps are lengths, machines, types and flags of headers.
func elfSweeps() []scenario {
	var all []scenario
	add := func(name, body, want string, foreign bool) {
		all = append(all, scenario{name: name, files: one(exe("app", body)), want: want, foreign: foreign})
	}
	for n := 24; n < 120; n += 4 {
		if n != 52 && n != 64 && n != 100 {
			add(fmt.Sprintf("cut at %d bytes", n), static[:n], "fails exec ENOEXEC "+CauseMalformedELF, false)
		}
	}
	// e_machine of include/uapi/linux/elf-em.h: SPARC, 68000, 88000, MIPS, PA-RISC, and so on.
	for _, machine := range []byte{1, 2, 4, 5, 7, 8, 15, 18, 20, 21, 22, 40, 42, 43, 50, 75, 76, 80, 83, 88, 94, 106, 113, 164, 183, 195, 243, 247, 252} {
		add(fmt.Sprintf("machine %d", machine), patch(static, atMachine, machine, 0), "fails exec ENOEXEC "+CauseWrongMachine, true)
	}
	for _, typ := range []byte{0, 4, 5, 7} {
		add(fmt.Sprintf("a segment of type %d and none to load", typ), patch(static, atPhdr+phType, typ), "fails run - "+CauseSegmentLayout, false)
	}
	for flags := range byte(8) {
		want := "fails run - " + CauseSegmentLayout
		if flags&1 != 0 {
			want = "starts"
		}
		add(fmt.Sprintf("a segment with flags %d", flags), withStack(patch(static, atPhdr+phFlags, flags)), want, false)
	}
	for _, n := range []byte{2, 3, 10, 36, 37, 72} {
		add(fmt.Sprintf("phnum %d, the others of type 0", n), patch(static+strings.Repeat("\x00", 8192), atPhnum, n, 0), "starts", false)
	}
	return all
}

// loaderSweeps are lengths of loaders and of their names, and places of segments.
func loaderSweeps() []scenario {
	at := strings.TrimPrefix(amd64Loader, "/")
	var all []scenario
	for n := 8; n <= 112; n += 8 {
		if n == 64 {
			continue
		}
		want := "fails exec EIO " + CauseBadLoader
		if n > 64 {
			want = "fails exec ELIBBAD " + CauseBadLoader
		}
		all = append(all, scenario{name: fmt.Sprintf("loader of %d bytes", n), files: withLoader(dynamic, exe(at, sharedObject[:n])), want: want})
	}
	for _, n := range []int{2, 3, 16, 255, 256} {
		name := strings.Repeat("x", n-1)
		all = append(all, scenario{name: fmt.Sprintf("interp of %d bytes", n), files: withLoader(withInterp(name+"\x00"), exe(name, sharedObject)), want: "starts"})
	}
	for _, n := range []int{4095, 4096} {
		all = append(all, scenario{name: fmt.Sprintf("interp of %d bytes, missing", n), files: withLoader(withInterp(strings.Repeat("/", n-2) + "x\x00")), want: "fails exec ENOENT " + CauseMissingLoader})
	}
	for _, by := range []uint64{1, 8, 0x10, 0x100, 0x800, 0xfff} {
		all = append(all, scenario{name: fmt.Sprintf("loader with a segment moved by %d bytes", by), files: withLoader(dynamic, exe(at, patch64(sharedObject, atPhdr+phVaddr, 0x10000+by))), want: "fails run - " + CauseSegmentLayout})
	}
	return all
}

// scriptSweeps are lengths of first lines, and of chains.
func scriptSweeps() []scenario {
	var all []scenario
	// A line of 255 bytes is the longest whose interpreter the kernel can be sure of.
	for n := 244; n < 260; n++ {
		if n == 250 || n == 253 || n == 254 {
			continue
		}
		name, want := strings.Repeat("x", n-1), "starts"
		if n > 253 {
			want = "fails exec ENOEXEC " + CauseBadShebang
			name = name[:252] + "/" + name[252:] // no component may be longer than 255 bytes
		}
		all = append(all, scenario{name: fmt.Sprintf("interpreter of %d bytes", n), files: one(exe("app", "#!/"+name+"\n"), exe(name, static)), want: want})
	}
	for _, n := range []int{1, 3, 4} {
		all = append(all, scenario{name: fmt.Sprintf("%d scripts", n), files: chain(n, exe("prog", static)), want: "starts"})
	}
	for _, n := range []int{7, 8} {
		all = append(all, scenario{name: fmt.Sprintf("%d scripts", n), files: chain(n, exe("prog", static)), want: "fails exec ELOOP " + CauseShebangLoop})
	}
	return all
}

// lookupSweeps are lengths of chains of links, and the places of PATH.
func lookupSweeps() []scenario {
	var all []scenario
	for _, n := range []int{1, 2, 8, 20, 39} {
		all = append(all, scenario{name: fmt.Sprintf("%d links", n), files: links(n), want: "starts"})
	}
	for _, n := range []int{42, 60} {
		all = append(all, scenario{name: fmt.Sprintf("%d links", n), files: links(n), want: "fails create ELOOP " + CausePath})
	}
	for _, folder := range strings.Split(defaultPath, ":") {
		all = append(all, scenario{name: "in " + folder, files: one(exe(folder[1:]+"/p", static)), process: run("p"), want: "starts"})
	}
	return all
}

// userSweeps are all modes, for a user who is the owner, in the group, or neither.
func userSweeps() []scenario {
	var all []scenario
	for mode := range int64(8) {
		want := "fails create EACCES " + CauseNotExecutable
		if mode&1 != 0 {
			want = "starts"
		}
		for _, who := range []struct {
			name     string
			uid, gid int
			shift    int64
		}{{"owner", 1000, 0, 6}, {"group", 0, 50, 3}, {"others", 0, 0, 0}} {
			all = append(all, scenario{
				name:    fmt.Sprintf("mode %d for the %s", mode, who.name),
				files:   one(imagetest.File{Name: "app", Mode: mode << who.shift, Body: static, UID: who.uid, GID: who.gid}),
				process: v1.ImageConfig{Entrypoint: []string{"/app"}, User: "1000:50"}, want: want,
			})
		}
		want = strings.Replace(want, CauseNotExecutable, CauseNoAccess, 1)
		all = append(all, scenario{
			name:    fmt.Sprintf("a folder with mode %d for others", mode),
			files:   one(dir("d", 0o770|mode), exe("d/app", static)),
			process: v1.ImageConfig{Entrypoint: []string{"/d/app"}, User: "1000:50"}, want: want,
		})
	}
	return all
}
