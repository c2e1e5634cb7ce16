package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestMusl breaks what musl's loader loads.
func TestMusl(t *testing.T) {
	base := imagetest.DebianFiles(t, platform.MustParse("linux/amd64"), "musl")
	// Debian searches its multiarch folders; Alpine has no such file.
	var alpine []imagetest.File
	for _, f := range base {
		if f.Name != "etc/ld-musl-x86_64.path" {
			alpine = append(alpine, f)
		}
	}
	const loader = "/lib/ld-musl-x86_64.so.1"
	app := func(needed ...string) imagetest.File {
		return exe("app", dynamicFile{interp: loader, needed: needed}.build())
	}
	libX := library("libx.so.1")
	const missing = "fails load - " + CauseMissingLibrary
	versions := dynamicFile{interp: loader, needed: []string{"libc.musl-x86_64.so.1"}, requires: [][2]string{{"libc.musl-x86_64.so.1", "GLIBC_2.94"}}, isa: 16}
	rpath := dynamicFile{interp: loader, needed: []string{"libx.so.1"}, runpath: "/opt"}
	path := file("etc/ld-musl-x86_64.path", 0o644, "/opt\n/else:/more\n")
	holdLoader(t, alpine, []loadScenario{
		{name: "nothing needed", files: one(app()), want: "starts"},
		{name: "libc by several names", files: one(app("libc.musl-x86_64.so.1", "libc.so", "libpthread.so.0", "libm.so.6")), want: "starts"},
		{name: "versions and CPU levels", files: one(exe("app", versions.build())), want: "starts"},
		{name: "missing", files: one(app("libx.so.1")), want: missing},
		{name: "missing behind a script", files: one(exe("app", "#!/real\n"), exe("real", dynamicFile{interp: loader, needed: []string{"libx.so.1"}}.build())), want: missing},
		{name: "missing of a library", files: one(app("libx.so.1"), file("lib/libx.so.1", 0o644, library("libx.so.1", "liby.so.1"))), want: missing},
		{name: "in /lib", files: one(app("libx.so.1"), file("lib/libx.so.1", 0o644, libX)), want: "starts"},
		{name: "in /usr/local/lib", files: one(app("libx.so.1"), file("usr/local/lib/libx.so.1", 0o644, libX)), want: "starts"},
		{name: "in /opt", files: one(app("libx.so.1"), file("opt/libx.so.1", 0o644, libX)), want: missing},
		{name: "LD_LIBRARY_PATH", files: one(app("libx.so.1"), file("opt/libx.so.1", 0o644, libX)), env: []string{"LD_LIBRARY_PATH=/opt"}, want: "starts"},
		{name: "RUNPATH for a library's library", files: one(exe("app", rpath.build()), file("opt/libx.so.1", 0o644, library("libx.so.1", "liby.so.1")), file("opt/liby.so.1", 0o644, library("liby.so.1"))), want: "starts"},
		{name: "its path file", files: one(app("libx.so.1"), path, file("more/libx.so.1", 0o644, libX)), want: "starts"},
		{name: "not in its path file", files: one(app("libx.so.1"), path, file("lib/libx.so.1", 0o644, libX)), want: missing},
		{name: "for another machine", files: one(app("libx.so.1"), file("lib/libx.so.1", 0o644, elf("linux/arm64", ""))), want: "starts", unchecked: true},
	})
}

// TestCPULevel starts a program that needs a level which no CPU has yet, and one that some have.
func TestCPULevel(t *testing.T) {
	base := loaderOf(t)
	host := thisMachine(t)
	future := one(exe("app", dynamicFile{interp: amd64Loader, isa: 16}.build()))
	process := v1.ImageConfig{Entrypoint: []string{"/app"}}
	if proof := prove(t, imageOf(t, base, future), process, host); proof.Verdict != Starts || len(proof.Warnings) != 1 || proof.Warnings[0].Cause != CauseCPULevel {
		t.Errorf("on a CPU that is not known: %+v", proof)
	}
	host.CPULevel = 4
	proof := prove(t, imageOf(t, base, future), process, host)
	root := t.TempDir()
	layOut(t, root, base)
	layOut(t, root, future)
	line, exit := spoken(t, root, process)
	if f := proof.Failure; f == nil || f.Message != line || f.ExitCode != exit || summary(proof) != "fails run - "+CauseCPULevel {
		t.Errorf("exit code %d: %s\npredicted %+v", exit, line, f)
	}
	v3 := one(exe("app", dynamicFile{interp: amd64Loader, isa: 4}.build()))
	for variant, want := range map[string]Verdict{"linux/amd64/v2": Fails, "linux/amd64/v3": Starts} {
		if proof := prove(t, imageOf(t, base, v3), process, Host{Platform: platform.MustParse(variant)}); proof.Verdict != want || len(proof.Warnings) != 0 {
			t.Errorf("%s: %+v", variant, proof)
		}
	}
}

// TestCache has ldconfig make the loader's cache, and then changes what it is about.
func TestCache(t *testing.T) {
	ldconfig := imagetest.Program(t, "ldconfig", "libc-bin")
	base := append(loaderOf(t), file("usr/local/lib/libx.so.1", 0o644, library("libx.so.1")), file("etc/ld.so.conf", 0o644, "/usr/local/lib\n"), exe("app", program("libx.so.1", "libc.so.6").build()))
	root := t.TempDir()
	layOut(t, root, base)
	if out, err := exec.CommandContext(t.Context(), ldconfig, "-r", root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(root, "etc/ld.so.cache"))
	if err != nil {
		t.Fatal(err)
	}
	cache := file("etc/ld.so.cache", 0o644, string(raw))
	const missing = "fails load - " + CauseMissingLibrary
	gone := func(f ...imagetest.File) []imagetest.File {
		return append(f, cache, file("usr/local/lib/.wh.libx.so.1", 0, ""))
	}
	holdLoader(t, base, []loadScenario{
		{name: "in the cache", files: one(cache), want: "starts"},
		{name: "without a cache", files: one(file("other", 0o644, "")), want: missing},
		{name: "in the cache and gone", files: gone(), want: missing},
		{name: "in the cache, gone, and elsewhere", files: gone(file("usr/lib/libx.so.1", 0o644, library("libx.so.1"))), want: "starts"},
		{name: "a cache of nothing", files: one(file("etc/ld.so.cache", 0o644, "")), want: "starts", unchecked: true},
	})
}
