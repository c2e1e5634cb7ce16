package launch

import (
	"bytes"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// spoken runs a process in root and returns the first line of its standard error, and
// its exit code.
func spoken(tb testing.TB, root string, config v1.ImageConfig) (string, int) {
	tb.Helper()
	args := append(slices.Clone(config.Entrypoint), config.Cmd...)
	var stderr bytes.Buffer
	cmd := &exec.Cmd{
		Path: args[0], Args: args, Dir: "/", Env: append([]string{}, config.Env...), Stderr: &stderr, WaitDelay: time.Second,
		SysProcAttr: &syscall.SysProcAttr{Chroot: root, Pdeathsig: syscall.SIGKILL},
	}
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	watchdog := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	_ = cmd.Wait() // ProcessState says it
	line, _, _ := strings.Cut(stderr.String(), "\n")
	return line, cmd.ProcessState.ExitCode()
}

// loadScenario is a dynamic program with what it loads.
type loadScenario struct {
	name  string
	files []imagetest.File
	env   []string
	want  string
	// unchecked says that a warning is expected for libraries.
	unchecked bool
}

// holdLoader holds proofs against what the loader does: its line and its exit code.
func holdLoader(t *testing.T, base []imagetest.File, scenarios []loadScenario) {
	host := thisMachine(t)
	for _, c := range scenarios {
		t.Run(c.name, func(t *testing.T) {
			process := v1.ImageConfig{Entrypoint: []string{"/app"}, Env: c.env}
			proof := prove(t, imageOf(t, base, c.files), process, host)
			if got := summary(proof); got != c.want {
				t.Errorf("got %s, want %s\n%+v", got, c.want, proof)
			}
			if got := slices.ContainsFunc(proof.Warnings, func(w Warning) bool { return w.Cause == CauseLibraries }); got != c.unchecked {
				t.Errorf("libraries not checked: %v\n%+v", got, proof.Warnings)
			}
			root := t.TempDir()
			layOut(t, root, base)
			layOut(t, root, c.files)
			line, exit := spoken(t, root, process)
			switch f := proof.Failure; {
			case c.unchecked:
			case f == nil && exit != 0:
				t.Errorf("exit code %d: %s", exit, line)
			case f != nil && (exit != f.ExitCode || line != f.Message):
				t.Errorf("exit code %d: %s\npredicted   %d: %s", exit, line, f.ExitCode, f.Message)
			}
		})
	}
}

// loaderOf is Debian's loader and libc. The package's other hundreds of files would only
// take time.
func loaderOf(t *testing.T) []imagetest.File {
	t.Helper()
	return slices.DeleteFunc(imagetest.DebianFiles(t, platform.MustParse("linux/amd64"), "libc6"), func(f imagetest.File) bool {
		return path.Base(f.Name) != "ld-linux-x86-64.so.2" && path.Base(f.Name) != "libc.so.6"
	})
}

// TestGlibc breaks what Debian's loader loads.
func TestGlibc(t *testing.T) {
	base := loaderOf(t)
	const folder = "usr/lib/"
	app := func(d dynamicFile) imagetest.File { return exe("app", d.build()) }
	const (
		ok      = "starts"
		missing = "fails load - " + CauseMissingLibrary
		version = "fails load - " + CauseSymbolVersion
		bad     = "fails load - " + CauseBadLibrary
	)
	libX := library("libx.so.1")
	search := func(rpath, runpath string) imagetest.File {
		d := program("libx.so.1")
		d.rpath, d.runpath = rpath, runpath
		return app(d)
	}
	requires := func(needed []string, r ...[2]string) dynamicFile {
		d := program(needed...)
		d.requires = r
		return d
	}
	versioned := dynamicFile{soname: "libx.so.1", provides: []string{"X_1", "X_2"}}.build()
	holdLoader(t, base, []loadScenario{
		{name: "nothing needed", files: one(app(program())), want: ok},
		{name: "libc", files: one(app(program("libc.so.6"))), want: ok},
		{name: "the loader itself", files: one(app(program("ld-linux-x86-64.so.2", "libc.so.6"))), want: ok},
		{name: "the loader alone", files: one(app(program("ld-linux-x86-64.so.2"))), want: ok, unchecked: true},
		{name: "missing", files: one(app(program("libx.so.1"))), want: missing},
		{name: "missing behind a script", files: one(exe("app", "#!/real -e\n"), exe("real", program("libx.so.1").build())), want: missing},
		{name: "missing of a library", files: one(app(program("libx.so.1")), file(folder+"libx.so.1", 0o644, library("libx.so.1", "liby.so.1"))), want: missing},
		{name: "the first of two missing, breadth first", files: one(app(program("libx.so.1", "libz.so.1")), file(folder+"libx.so.1", 0o644, library("libx.so.1", "liby.so.1"))), want: missing},
		{name: "in /usr/lib", files: one(app(program("libx.so.1")), file(folder+"libx.so.1", 0o644, libX)), want: ok},
		{name: "in /lib", files: one(app(program("libx.so.1")), file("lib/libx.so.1", 0o644, libX)), want: ok},
		{name: "in the multiarch folder", files: one(app(program("libx.so.1")), file("usr/lib/x86_64-linux-gnu/libx.so.1", 0o644, libX)), want: ok},
		{name: "in /usr/local/lib, without a cache", files: one(app(program("libx.so.1")), file("usr/local/lib/libx.so.1", 0o644, libX)), want: missing},
		{name: "in /usr/lib64, which Debian does not search", files: one(app(program("libx.so.1")), file("usr/lib64/libx.so.1", 0o644, libX)), want: missing},
		{name: "a link", files: one(app(program("libx.so.1")), file(folder+"libx.so.1.2", 0o644, libX), link(folder+"libx.so.1", "libx.so.1.2")), want: ok},
		{name: "a dangling link", files: one(app(program("libx.so.1")), link(folder+"libx.so.1", "libx.so.1.2")), want: missing},
		{name: "by a path", files: one(app(program("/opt/libx.so.1")), file("opt/libx.so.1", 0o644, libX)), want: ok},
		{name: "by a path, missing", files: one(app(program("/opt/libx.so.1"))), want: missing},
		{name: "by its soname", files: one(app(program("/opt/x", "libx.so.1")), file("opt/x", 0o644, libX)), want: ok},
		{name: "for another machine", files: one(app(program("libx.so.1")), file(folder+"libx.so.1", 0o644, elf("linux/arm64", ""))), want: missing},
		{name: "of the other class", files: one(app(program("libx.so.1")), file(folder+"libx.so.1", 0o644, elf("linux/386", ""))), want: missing},
		{name: "for another machine, then right", files: one(app(program("libx.so.1")), file("usr/lib/x86_64-linux-gnu/libx.so.1", 0o644, elf("linux/arm64", "")), file(folder+"libx.so.1", 0o644, libX)), want: ok},
		{name: "empty", files: one(app(program("libx.so.1")), file(folder+"libx.so.1", 0o644, "")), want: bad},
		{name: "a text", files: one(app(program("libx.so.1")), file(folder+"libx.so.1", 0o644, strings.Repeat("INPUT(x) ", 200))), want: bad},
		{name: "RUNPATH", files: one(search("", "/opt"), file("opt/libx.so.1", 0o644, libX)), want: ok},
		{name: "RPATH", files: one(search("/opt", ""), file("opt/libx.so.1", 0o644, libX)), want: ok},
		{name: "RPATH beside RUNPATH", files: one(search("/opt", "/else"), file("opt/libx.so.1", 0o644, libX)), want: missing},
		{name: "RPATH for a library's library", files: one(
			exe("app", dynamicFile{interp: amd64Loader, needed: []string{"libx.so.1"}, rpath: "/opt"}.build()),
			file("opt/libx.so.1", 0o644, library("libx.so.1", "liby.so.1")), file("opt/liby.so.1", 0o644, library("liby.so.1"))), want: ok},
		{name: "RUNPATH for a library's library", files: one(
			exe("app", dynamicFile{interp: amd64Loader, needed: []string{"libx.so.1"}, runpath: "/opt"}.build()),
			file("opt/libx.so.1", 0o644, library("libx.so.1", "liby.so.1")), file("opt/liby.so.1", 0o644, library("liby.so.1"))), want: missing},
		{name: "$ORIGIN of a library", files: one(
			exe("app", dynamicFile{interp: amd64Loader, needed: []string{"libx.so.1"}, runpath: "/opt"}.build()),
			file("opt/libx.so.1", 0o644, dynamicFile{soname: "libx.so.1", needed: []string{"liby.so.1"}, runpath: "$ORIGIN/more"}.build()),
			file("opt/more/liby.so.1", 0o644, library("liby.so.1"))), want: ok},
		{name: "$LIB", files: one(search("", "/opt/$LIB"), file("opt/libx.so.1", 0o644, libX)), want: ok, unchecked: true},
		{name: "LD_LIBRARY_PATH", files: one(app(program("libx.so.1")), file("opt/libx.so.1", 0o644, libX)), env: []string{"LD_LIBRARY_PATH=/else:/opt"}, want: ok},
		{name: "LD_LIBRARY_PATH without it", files: one(app(program("libx.so.1"))), env: []string{"LD_LIBRARY_PATH=/else;/opt"}, want: missing},
		{name: "LD_PRELOAD", files: one(app(program("libx.so.1"))), env: []string{"LD_PRELOAD=/x"}, want: ok, unchecked: true},
		{name: "/etc/ld.so.preload", files: one(app(program("libx.so.1")), file("etc/ld.so.preload", 0o644, "/x")), want: ok, unchecked: true},
		{name: "hwcaps", files: one(app(program("libx.so.1")), file(folder+"glibc-hwcaps/x86-64-v2/libx.so.1", 0o644, libX)), want: ok, unchecked: true},
		{name: "version", files: one(app(requires([]string{"libc.so.6"}, [2]string{"libc.so.6", "GLIBC_2.34"}))), want: ok},
		{name: "version too new", files: one(app(requires([]string{"libc.so.6"}, [2]string{"libc.so.6", "GLIBC_2.34"}, [2]string{"libc.so.6", "GLIBC_2.94"}))), want: version},
		{name: "version of a library", files: one(app(requires([]string{"libx.so.1"}, [2]string{"libx.so.1", "X_2"})), file(folder+"libx.so.1", 0o644, versioned)), want: ok},
		{name: "version of a library too new", files: one(app(requires([]string{"libx.so.1"}, [2]string{"libx.so.1", "X_3"})), file(folder+"libx.so.1", 0o644, versioned)), want: version},
		{name: "library without versions", files: one(app(requires([]string{"libx.so.1"}, [2]string{"libx.so.1", "X_3"})), file(folder+"libx.so.1", 0o644, libX)), want: ok},
		{name: "version of a missing library", files: one(app(requires([]string{"libc.so.6", "libx.so.1"}, [2]string{"libc.so.6", "GLIBC_2.94"}))), want: missing},
	})
}
