package launch

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/rootfs"
)

// scenario is one image with one thing wrong, or right, about its start. Its programs are
// for linux/amd64, and exit with 0 where they run.
type scenario struct {
	// class is the row of docs/agreement.md.
	class, name string
	files       []imagetest.File
	// lower is a layer below files; most have none.
	lower []imagetest.File
	// layers, where they are set, are all of it, lowest first.
	layers [][]imagetest.File
	// strict has every layer read to its end: a path that a layer has twice is seen only then.
	strict  bool
	process v1.ImageConfig
	// want is the verdict and, for what fails, stage, errno ("-" for none) and cause.
	want string
	// message is the runtime's line, where it is worth spelling out.
	message string
	// foreign cases have a program for another machine, and mean nothing on a machine
	// that emulates it.
	foreign bool
}

// Short names for what the corpus is made of.
func file(name string, mode int64, body string) imagetest.File {
	return imagetest.File{Name: name, Mode: mode, Body: body}
}

func exe(name, body string) imagetest.File { return file(name, 0o755, body) }

func link(name, target string) imagetest.File { return imagetest.File{Name: name, Link: target} }

func dir(name string, mode int64) imagetest.File {
	return imagetest.File{Name: name, Mode: mode, Type: tar.TypeDir}
}

func elf(p, interp string) string { return string(imagetest.ELF(platform.MustParse(p), interp)) }

const (
	amd64Loader = "/lib64/ld-linux-x86-64.so.2"
	// Offsets in what imagetest.ELF makes for amd64: the fields of Elf64_Ehdr, and of
	// the first Elf64_Phdr.
	atType, atMachine, atEntry, atPhoff, atFlags, atPhentsize, atPhnum = 16, 18, 24, 32, 48, 54, 56
	atPhdr                                                             = 64
	phType, phFlags, phOffset, phVaddr, phFilesz, phMemsz, phAlign     = 0, 4, 8, 16, 32, 40, 48
	phSize                                                             = 56
)

// static and dynamic are a program that runs, and one with a loader.
var (
	static  = elf("linux/amd64", "")
	dynamic = elf("linux/amd64", amd64Loader)
	// sharedObject is static as a loader is: position-independent.
	sharedObject = patch(static, atType, 3, 0)
)

// patch returns s with bytes at an offset replaced.
func patch(s string, at int, with ...byte) string {
	b := []byte(s)
	copy(b[at:], with)
	return string(b)
}

// patch64 is patch with a little-endian number of 8 bytes.
func patch64(s string, at int, v uint64) string {
	var b [8]byte
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	return patch(s, at, b[:]...)
}

// withLoader is an image with the dynamic program and something at the loader's place.
func withLoader(program string, loader ...imagetest.File) []imagetest.File {
	return append([]imagetest.File{exe("app", program)}, loader...)
}

// withInterp is a program whose PT_INTERP has these raw bytes.
func withInterp(raw string) string {
	s := elf("linux/amd64", strings.Repeat("x", max(len(raw), 2)-1))
	at := strings.Index(s, "xx")
	if len(raw) < 3 {
		at = strings.LastIndexByte(s, 'x')
	}
	s = patch(s, at, []byte(raw)...)
	return patch64(s, atPhdr+phFilesz, uint64(len(raw)))
}

// chain is a program that n scripts lead to.
func chain(n int, last imagetest.File) []imagetest.File {
	files := []imagetest.File{last}
	next := "/" + last.Name
	for i := n; i > 0; i-- {
		name := fmt.Sprintf("s%d", i)
		if i == 1 {
			name = "app"
		}
		files = append(files, exe(name, "#!"+next+"\n"))
		next = "/" + name
	}
	return files
}

// links is a program that n symbolic links lead to.
func links(n int) []imagetest.File {
	files := []imagetest.File{exe("program", static)}
	next := "program"
	for i := n; i > 0; i-- {
		name := fmt.Sprintf("l%d", i)
		if i == 1 {
			name = "app"
		}
		files = append(files, link(name, next))
		next = name
	}
	return files
}

func one(f ...imagetest.File) []imagetest.File { return f }

// corpus is all scenarios, by stage. One that says nothing else starts /app.
func corpus() []scenario {
	var all []scenario
	for _, class := range []struct {
		name  string
		cases []scenario
	}{
		{classFormats, formatFaults()},
		{classELF, append(elfFaults(), elfSweeps()...)},
		{classScripts, append(scriptFaults(), scriptSweeps()...)},
		{classLoaders, append(loaderFaults(), loaderSweeps()...)},
		{classLookup, append(createFaults(), lookupSweeps()...)},
		{classUsers, append(userFaults(), userSweeps()...)},
		{classLayers, layerCases()},
	} {
		for _, c := range class.cases {
			c.class = class.name
			all = append(all, c)
		}
	}
	for i := range all {
		if all[i].process.Entrypoint == nil && all[i].process.Cmd == nil {
			all[i].process.Entrypoint = []string{"/app"}
		}
	}
	return all
}

// image is the file system of a scenario.
func (c scenario) image(t *testing.T) *rootfs.FS {
	t.Helper()
	fsys := imageOf(t, c.stack()...)
	if c.strict {
		if _, err := fsys.Lstat(t.Context(), "/no such file"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Logf("reading all layers: %v", err)
		}
	}
	return fsys
}

// stack is a scenario's layers, lowest first.
func (c scenario) stack() [][]imagetest.File {
	if c.layers != nil {
		return c.layers
	}
	return [][]imagetest.File{c.lower, c.files}
}

// formatFaults are entrypoints that are no programs for the host.
func formatFaults() []scenario {
	var all []scenario
	for _, c := range []struct{ name, body, cause string }{
		{"empty", "", CauseEmptyFile},
		{"text", "echo hello\n", CauseNoShebang},
		{"newline before the shebang", "\n#!/sh\n", CauseNoShebang},
		{"space before the shebang", " #!/sh\n", CauseNoShebang},
		{"byte order mark before the shebang", "\xef\xbb\xbf#!/sh\n", CauseByteOrderMark},
		{"UTF-16 little endian", "\xff\xfe#\x00!\x00/\x00", CauseByteOrderMark},
		{"UTF-16 big endian", "\xfe\xff\x00#\x00!\x00/", CauseByteOrderMark},
		{"zeros", strings.Repeat("\x00", 5000), CauseNotAProgram},
		{"one byte", "\x7f", CauseNotAProgram},
		{"magic alone", "\x7fELF", CauseMalformedELF},
		{"Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", CauseLFSPointer},
		{"gzip", "\x1f\x8b\x08\x00rest", CauseCompressed},
		{"zip", "PK\x03\x04rest", CauseCompressed},
		{"Windows executable", "MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00PE\x00\x00\x64\x86rest", CauseWindowsExecutable},
		{"cut Windows executable", "MZ\x90", CauseWindowsExecutable},
		{"macOS executable", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01rest", CauseMachO},
		{"macOS universal executable", "\xca\xfe\xba\xbe\x00\x00\x00\x02rest", CauseMachO},
		{"Java class", "\xca\xfe\xba\xbe\x00\x00\x00\x41rest", CauseNotAProgram},
		{"WebAssembly", "\x00asm\x01\x00\x00\x00", CauseNotAProgram},
		{"static library", "!<arch>\nx", CauseNotAProgram},
	} {
		all = append(all, scenario{name: c.name, files: one(exe("app", c.body)), want: "fails exec ENOEXEC " + c.cause, message: "exec /app: exec format error"})
	}
	for _, p := range []string{"linux/arm64", "linux/arm/v7", "linux/s390x", "linux/ppc64le", "linux/riscv64", "linux/loong64"} {
		all = append(all,
			scenario{name: "for " + p, files: one(exe("app", elf(p, ""))), want: "fails exec ENOEXEC " + CauseWrongMachine, foreign: true},
			scenario{name: "interpreter for " + p, files: one(exe("app", "#!/sh\n"), exe("sh", elf(p, ""))), want: "fails exec ENOEXEC " + CauseWrongMachine, foreign: true, message: "exec /app: exec format error"},
		)
	}
	return append(all,
		scenario{name: "for linux/386", files: one(exe("app", elf("linux/386", ""))), want: "starts"},
		scenario{name: "interpreter for linux/386", files: one(exe("app", "#!/sh\n"), exe("sh", elf("linux/386", ""))), want: "starts"},
		scenario{name: "486", files: one(exe("app", patch(elf("linux/386", ""), atMachine, 6))), want: "starts"},
	)
}

// elfFaults are changes to the headers of a program that runs.
func elfFaults() []scenario {
	var all []scenario
	add := func(name, body, want string) {
		all = append(all, scenario{name: name, files: one(exe("app", body)), want: want})
	}
	const malformed = "fails exec ENOEXEC " + CauseMalformedELF
	const layout = "fails run - " + CauseSegmentLayout
	add("static", static, "starts")
	add("static, position-independent", sharedObject, "starts")
	// The kernel of x86-64 looks at none of these.
	add("class 32", patch(static, 4, 1), "starts")
	add("class 0", patch(static, 4, 0), "starts")
	add("data big endian", patch(static, 5, 2), "starts")
	add("EI_VERSION 0", patch(static, 6, 0), "starts")
	add("OSABI Linux", patch(static, 7, 3), "starts")
	add("OSABI unheard of", patch(static, 7, 0xee), "starts")
	add("OSABI FreeBSD", patch(static, 7, 9), "unknown")
	add("e_version 9", patch(static, 20, 9), "starts")
	add("e_flags", patch(static, atFlags, 0xff, 0xff), "starts")
	add("e_ehsize 0", patch(static, 52, 0, 0), "starts")
	add("section headers past the end", patch64(static, 40, 1<<40), "starts")

	for _, n := range []int{16, 20, 52, 63, 64, 100, 119} {
		add(fmt.Sprintf("cut at %d bytes", n), static[:n], malformed)
	}
	add("relocatable object", patch(static, atType, 1, 0), "fails exec ENOEXEC "+CauseObjectFile)
	add("core dump", patch(static, atType, 4, 0), "fails exec ENOEXEC "+CauseObjectFile)
	add("type 0", patch(static, atType, 0, 0), malformed)
	add("type unheard of", patch(static, atType, 0xee, 0xee), malformed)
	add("machine 0", patch(static, atMachine, 0, 0), "fails exec ENOEXEC "+CauseWrongMachine)
	add("magic broken", patch(static, 3, 'G'), "fails exec ENOEXEC "+CauseNotAProgram)
	add("phnum 0", patch(static, atPhnum, 0, 0), malformed)
	add("phnum past the end", patch(static, atPhnum, 40, 0), malformed)
	add("phnum more than a page", patch(static+strings.Repeat("\x00", 8192), atPhnum, 74, 0), "unknown")
	add("phnum as many as a page holds", patch(static+strings.Repeat("\x00", 8192), atPhnum, 73, 0), "starts")
	add("phnum huge", patch(static, atPhnum, 0xff, 0xff), malformed)
	add("phentsize 0", patch(static, atPhentsize, 0, 0), malformed)
	add("phentsize 32", patch(static, atPhentsize, 32, 0), malformed)
	add("phoff past the end", patch64(static, atPhoff, 1<<20), malformed)
	add("phoff negative", patch64(static, atPhoff, 1<<63), malformed)
	add("phoff within the header", patch64(static, atPhoff, 8), layout)
	moved := patch64(static+strings.Repeat("\x00", 8192)+static[atPhdr:atPhdr+phSize], atPhoff, uint64(len(static)+8192))
	add("program headers beyond the first page", moved, "starts")

	add("no segment to load", patch(static, atPhdr+phType, 6), layout)
	add("no segment to load, position-independent", patch(sharedObject, atPhdr+phType, 6), layout)
	add("address and offset differ", patch64(static, atPhdr+phVaddr, 0x10010), layout)
	add("offset within a page", patch64(static, atPhdr+phOffset, 8), layout)
	add("more in the file than in memory", patch64(static, atPhdr+phMemsz, 1), layout)
	add("entry 0", patch64(static, atEntry, 0), layout)
	add("entry beyond", patch64(static, atEntry, 0x7000000), layout)
	add("entry beyond every address", patch64(static, atEntry, 1<<63), layout)
	add("cut within the code's page", static[:len(static)-4], "unknown")
	add("code beyond the end of the file", farCode(), "fails run - "+CauseSegmentLayout)
	add("entry in data", withStack(patch(static, atPhdr+phFlags, 6)), layout)
	add("shared library", withStack(patch(patch64(patch64(sharedObject, atPhdr+phVaddr, 0), atEntry, 0), atPhdr+phFlags, 4)), layout)
	add("entry in data, without PT_GNU_STACK", patch(static, atPhdr+phFlags, 6), "unknown")
	add("address 0", patch64(patch64(static, atPhdr+phVaddr, 0), atEntry, 0x78), "unknown")
	add("address beyond 47 bits", patch64(patch64(static, atPhdr+phVaddr, 1<<50), atEntry, 1<<50+0x80), "unknown")
	add("alignment odd", patch64(static, atPhdr+phAlign, 3), "starts")
	add("x32", x32(), "unknown")
	return all
}

// withStack adds a PT_GNU_STACK that asks for no executable stack to a program with one
// segment.
func withStack(s string) string {
	stack := make([]byte, phSize)
	copy(stack, []byte{0x51, 0xe5, 0x74, 0x64, 6})
	moved := s + s[atPhdr:atPhdr+phSize] + string(stack)
	return patch(patch64(moved, atPhoff, uint64(len(s))), atPhnum, 2)
}

// farCode is a program whose code would lie in the file's third page, and that ends
// before it.
func farCode() string {
	s := patch64(static, atPhdr+phFilesz, 0x3000)
	s = patch64(s, atPhdr+phMemsz, 0x3000)
	return patch64(s, atEntry, 0x12000)
}

// x32 is a program with 32-bit pointers for x86-64: that of 386 with another machine.
func x32() string { return patch(elf("linux/386", ""), atMachine, 62) }

// scriptFaults are scripts and what they name.
func scriptFaults() []scenario {
	sh := exe("sh", static)
	script := func(name, body, want string, more ...imagetest.File) scenario {
		return scenario{name: name, files: append(one(exe("app", body), sh), more...), want: want}
	}
	const bad = "fails exec ENOEXEC " + CauseBadShebang
	all := []scenario{
		script("script", "#!/sh\n", "starts"),
		script("script without a newline", "#!/sh", "starts"),
		script("script with blanks", "#! \t/sh \t \n", "starts"),
		script("script with an argument", "#!/sh -e -u\n", "starts"),
		script("script with a NUL after the interpreter", "#!/sh\x00junk\n", "starts"),
		script("script whose argument is cut", "#!/sh "+strings.Repeat("x", 400)+"\n", "starts"),
		script("only #!", "#!", "fails exec EACCES "+CauseBadShebang),
		script("#! and a newline", "#!\n", bad),
		script("#!, blanks and a newline", "#! \t \n", bad),
		script("#! and 300 blanks", "#!"+strings.Repeat(" ", 300), bad),
		script("interpreter after 250 blanks", "#!"+strings.Repeat(" ", 250)+"/sh\n", "starts"),
		script("interpreter after 251 blanks", "#!"+strings.Repeat(" ", 251)+"/sh\n", bad),
		script("interpreter missing", "#!/bash\n", "fails exec ENOENT "+CauseMissingInterpreter),
		script("interpreter a dangling link", "#!/bash\n", "fails exec ENOENT "+CauseMissingInterpreter, link("bash", "nowhere")),
		script("interpreter a link", "#!/bash\n", "starts", link("bash", "sh")),
		script("interpreter in a circle of links", "#!/a\n", "fails exec ELOOP "+CauseBadInterpreter, link("a", "b"), link("b", "a")),
		script("interpreter below a file", "#!/sh/x\n", "fails exec ENOTDIR "+CauseBadInterpreter),
		script("interpreter with a slash at its end", "#!/sh/\n", "fails exec ENOTDIR "+CauseBadInterpreter),
		script("interpreter not executable", "#!/bash\n", "fails exec EACCES "+CauseBadInterpreter, file("bash", 0o644, static)),
		script("interpreter a folder", "#!/d\n", "fails exec EACCES "+CauseBadInterpreter, dir("d", 0o755)),
		script("interpreter a pipe", "#!/p\n", "fails exec EACCES "+CauseBadInterpreter, imagetest.File{Name: "p", Mode: 0o755, Type: tar.TypeFifo}),
		script("interpreter relative", "#!sh\n", "starts"),
		script("interpreter empty", "#!/bash\n", "fails exec ENOEXEC "+CauseEmptyFile, exe("bash", "")),
		script("interpreter a text", "#!/bash\n", "fails exec ENOEXEC "+CauseNoShebang, exe("bash", "true\n")),
		script("interpreter with a long name", "#!/"+strings.Repeat("x", 252)+"\n", "fails exec ENOENT "+CauseMissingInterpreter),
		script("CRLF", "#!/sh\r\n", "fails exec ENOENT "+CauseCRLFShebang),
		script("CRLF after an argument", "#!/sh -e\r\n", "fails run - "+CauseCRLFShebang),
		script("env", "#!/env sh\n", "starts", exe("env", static), exe("bin/sh", static)),
		script("env without the program", "#!/env python3\n", "fails run - "+CauseMissingInterpreter, exe("env", static)),
		script("env and CRLF", "#!/env sh\r\n", "fails run - "+CauseCRLFShebang, exe("env", static), exe("bin/sh", static)),
		script("env with an option", "#!/env -S sh -e\n", "starts", exe("env", static)),
	}
	// A line of 255 bytes is the longest whose interpreter the kernel can be sure of.
	for _, n := range []int{250, 253, 254} {
		name := strings.Repeat("x", n-1)
		want := "starts"
		if n == 254 {
			want = bad
		}
		all = append(all, script(fmt.Sprintf("interpreter of %d bytes", n), "#!/"+name+"\n", want, exe(name, static)))
	}
	for _, n := range []int{2, 5} {
		all = append(all, scenario{name: fmt.Sprintf("%d scripts", n), files: chain(n, exe("prog", static)), want: "starts"})
	}
	return append(all,
		scenario{name: "6 scripts", files: chain(6, exe("prog", static)), want: "fails exec ELOOP " + CauseShebangLoop},
		scenario{name: "6 scripts and no interpreter", files: chain(6, exe("prog", static))[1:], want: "fails exec ENOENT " + CauseMissingInterpreter},
		scenario{name: "script that names itself", files: one(exe("app", "#!/app\n")), want: "fails exec ELOOP " + CauseShebangLoop},
		scenario{name: "interpreter of more than 256 bytes", files: one(exe("app", "#!"+path.Join("/", strings.Repeat("x/", 200)))), want: bad},
	)
}

// loaderFaults are dynamic programs and what PT_INTERP names.
func loaderFaults() []scenario {
	at := strings.TrimPrefix(amd64Loader, "/")
	loaded := func(name, want string, files ...imagetest.File) scenario {
		return scenario{name: name, files: withLoader(dynamic, files...), want: want}
	}
	interp := func(name, raw, want string, files ...imagetest.File) scenario {
		return scenario{name: name, files: withLoader(withInterp(raw), files...), want: want}
	}
	return []scenario{
		loaded("loader", "starts", exe(at, sharedObject)),
		loaded("loader missing", "fails exec ENOENT "+CauseMissingLoader),
		loaded("loader a dangling link", "fails exec ENOENT "+CauseMissingLoader, link(at, "ld.so")),
		loaded("loader behind a link", "starts", link("lib64", "usr/lib64"), exe("usr/"+at, sharedObject)),
		loaded("loader behind an absolute link", "starts", link("lib64", "/usr/lib64"), exe("usr/"+at, sharedObject)),
		loaded("loader empty", "fails exec EIO "+CauseBadLoader, exe(at, "")),
		loaded("loader of 63 bytes", "fails exec EIO "+CauseBadLoader, exe(at, sharedObject[:63])),
		loaded("loader of 64 bytes", "fails exec ELIBBAD "+CauseBadLoader, exe(at, sharedObject[:64])),
		loaded("loader a script", "fails exec ELIBBAD "+CauseBadLoader, exe(at, "#!/sh\n"+strings.Repeat("#", 100))),
		loaded("loader not executable", "fails exec EACCES "+CauseBadLoader, file(at, 0o644, sharedObject)),
		loaded("loader a folder", "fails exec EACCES "+CauseBadLoader, dir(at, 0o755)),
		loaded("loader for arm64", "fails exec ELIBBAD "+CauseWrongMachineLoader, exe(at, elf("linux/arm64", ""))),
		loaded("loader for 386", "fails exec ELIBBAD "+CauseWrongMachineLoader, exe(at, elf("linux/386", "")+strings.Repeat("\x00", 64))),
		loaded("loader that is an object file", "fails run - "+CauseSegmentLayout, exe(at, patch(static, atType, 1))),
		loaded("loader without a segment", "fails run - "+CauseSegmentLayout, exe(at, patch(sharedObject, atPhdr+phType, 6))),
		loaded("loader with phnum 0", "fails exec ELIBBAD "+CauseBadLoader, exe(at, patch(sharedObject, atPhnum, 0))),
		loaded("loader below a file", "fails exec ENOTDIR "+CauseBadLoader, exe("lib64", static)),
		{name: "386 program with an amd64 loader", files: one(exe("app", elf("linux/386", "/ld.so")), exe("ld.so", sharedObject)), want: "fails exec ELIBBAD " + CauseWrongMachineLoader},
		{name: "386 program without a loader", files: one(exe("app", elf("linux/386", "/ld.so"))), want: "fails exec ENOENT " + CauseMissingLoader},
		interp("interp relative", "ld.so\x00", "starts", exe("ld.so", sharedObject)),
		interp("interp relative and missing", "ld.so\x00", "fails exec ENOENT "+CauseMissingLoader),
		interp("interp empty", "\x00\x00", "fails exec EACCES "+CauseBadLoader),
		interp("interp of one byte", "\x00", "fails exec ENOEXEC "+CauseMalformedELF),
		interp("interp without NUL", "/ld.so", "fails exec ENOEXEC "+CauseMalformedELF, exe("ld.so", sharedObject)),
		interp("interp with NUL inside", "/ld.so\x00xx\x00", "starts", exe("ld.so", sharedObject)),
		interp("interp of 4097 bytes", "/"+strings.Repeat("x", 4095)+"\x00", "fails exec ENOEXEC "+CauseMalformedELF),
		interp("interp with a component too long", "/"+strings.Repeat("x", 256)+"\x00", "fails exec ENAMETOOLONG "+CauseBadLoader),
		{name: "interp past the end", files: one(exe("app", patch64(dynamic, atPhdr+phOffset, 1<<20))), want: "fails exec EIO " + CauseMalformedELF},
		{name: "interp at a negative offset", files: one(exe("app", patch64(dynamic, atPhdr+phOffset, 1<<63))), want: "fails exec EINVAL " + CauseMalformedELF},
		{name: "interp past every offset", files: one(exe("app", patch64(dynamic, atPhdr+phOffset, 1<<63-4))), want: "fails exec EINVAL " + CauseMalformedELF},
		{name: "script with a dynamic interpreter", files: withLoader("#!/sh\n", exe("sh", dynamic)), want: "fails exec ENOENT " + CauseMissingLoader, message: "exec /app: no such file or directory"},
		{name: "address and offset differ, with a loader", files: withLoader(patch64(dynamic, atPhdr+phSize+phVaddr, 0x10010), exe(at, sharedObject)), want: "fails run - " + CauseSegmentLayout},
		{name: "file cut inside the interp string", files: one(exe("app", dynamic[:bytes.Index([]byte(dynamic), []byte("ld-linux"))])), want: "fails exec EIO " + CauseMalformedELF},
	}
}
