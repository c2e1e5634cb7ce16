package launch

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/rootfs"
)

// TestSteps reads the chain of a start back: links, scripts, program, loader.
func TestSteps(t *testing.T) {
	files := one(
		link("app", "srv/start.sh"), exe("srv/start.sh", "#!/bin/sh\n"),
		link("bin", "usr/bin"), link("usr/bin/sh", "dash"), exe("usr/bin/dash", dynamic),
		link("lib64", "usr/lib64"), exe("usr/"+amd64Loader, sharedObject))
	for _, c := range []struct {
		name  string
		files []imagetest.File
		want  []string
	}{
		{"all there", files, []string{
			"entrypoint symlink /app srv/start.sh", "entrypoint script /srv/start.sh",
			"interpreter symlink /bin usr/bin", "interpreter symlink /usr/bin/sh dash", "interpreter elf /usr/bin/dash linux/amd64",
			"loader symlink /lib64 usr/lib64", "loader elf /usr/lib64/ld-linux-x86-64.so.2 linux/amd64",
		}},
		{"without the loader", files[:6], []string{
			"entrypoint symlink /app srv/start.sh", "entrypoint script /srv/start.sh",
			"interpreter symlink /bin usr/bin", "interpreter symlink /usr/bin/sh dash", "interpreter elf /usr/bin/dash linux/amd64",
			"loader symlink /lib64 usr/lib64", "loader missing /usr/lib64/ld-linux-x86-64.so.2",
		}},
		{"a circle", one(link("app", "b"), link("b", "app")), []string{"entrypoint symlink /app b", "entrypoint symlink /b app"}},
		{"a folder", one(dir("app", 0o755)), []string{"entrypoint directory /app"}},
		{"nothing", one(exe("other", static)), []string{"entrypoint missing /app"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			proof := prove(t, imageOf(t, c.files), run("/app"), amd64)
			var got []string
			for _, s := range proof.Steps {
				got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s %s%s", s.Role, s.Kind, s.Path, s.Target, s.Platform), " "))
				if (s.Layer == "") != (s.Kind == "missing") {
					t.Errorf("%s %s has layer %q", s.Kind, s.Path, s.Layer)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestBlame asks which layer a failure is due to.
func TestBlame(t *testing.T) {
	for _, c := range []struct {
		name         string
		lower, upper []imagetest.File
		path         string
		createdBy    string
	}{
		{"the program", one(exe("other", "")), one(exe("app", "")), "/app", "COPY app /"},
		{"the program of the base", one(exe("app", "")), one(exe("other", "")), "/app", "COPY base /"},
		{"the script whose interpreter is missing", one(exe("other", "")), one(exe("app", "#!/bash\n")), "/bash", "COPY app /"},
		{"the interpreter", one(exe("sh", "")), one(exe("app", "#!/sh\n")), "/sh", "COPY base /"},
		{"the program whose loader is missing", one(exe("other", "")), one(exe("app", dynamic)), amd64Loader, "COPY app /"},
		{"the link that leads nowhere", one(exe("other", "")), one(link("app", "nowhere")), "/nowhere", "COPY app /"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := prove(t, imageOf(t, c.lower, c.upper), run("/app"), amd64).Failure
			if f == nil || f.Path != c.path || f.CreatedBy != c.createdBy || f.Layer == "" {
				t.Errorf("%+v, want %s from %q", f, c.path, c.createdBy)
			}
		})
	}
}

// TestHosts starts one program on hosts that differ.
func TestHosts(t *testing.T) {
	host := func(p string) Host { return Host{Platform: platform.MustParse(p)} }
	ia32 := platform.Compat{IA32: true}
	aarch32 := platform.Compat{AArch32: true}
	for _, c := range []struct {
		name, program string
		host          Host
		want          string
	}{
		{"386 without IA32", elf("linux/386", ""), host("linux/amd64"), "fails exec ENOEXEC wrong-machine"},
		{"386 with IA32", elf("linux/386", ""), Host{Platform: amd64.Platform, Compat: ia32}, "starts"},
		{"386 where IA32 is not known", elf("linux/386", ""), Host{Platform: amd64.Platform, CompatUnknown: ia32}, "unknown"},
		{"386 where IA32 is said and not known", elf("linux/386", ""), Host{Platform: amd64.Platform, Compat: ia32, CompatUnknown: ia32}, "unknown"},
		{"arm64 where IA32 is not known", elf("linux/arm64", ""), Host{Platform: amd64.Platform, CompatUnknown: ia32}, "fails exec ENOEXEC wrong-machine"},
		{"arm on arm64", elf("linux/arm/v7", ""), host("linux/arm64"), "fails exec ENOEXEC wrong-machine"},
		{"arm on arm64 with AArch32", elf("linux/arm/v7", ""), Host{Platform: platform.MustParse("linux/arm64"), Compat: aarch32}, "starts"},
		{"arm on arm64 where AArch32 is not known", elf("linux/arm/v7", ""), Host{Platform: platform.MustParse("linux/arm64"), CompatUnknown: aarch32}, "unknown"},
		{"arm without EABI on arm64 with AArch32", patch(elf("linux/arm/v7", ""), 36, 0, 0, 0, 0), Host{Platform: platform.MustParse("linux/arm64"), Compat: aarch32}, "fails exec ENOEXEC malformed-elf"},
		{"riscv64 of another class", patch(elf("linux/riscv64", ""), 4, 1), host("linux/riscv64"), "fails exec ENOEXEC wrong-machine"},
		{"s390x on a host of the other byte order", elf("linux/s390x", ""), host("linux/ppc64le"), "fails exec ENOEXEC wrong-machine"},
		{"a page size that does not fit", patch64(patch64(static, atPhdr+phVaddr, 0x11000), atEntry, 0x11080), Host{Platform: amd64.Platform, PageSize: 65536}, "fails run - segment-layout"},
		{"Windows", static, host("windows/amd64"), "unknown"},
		{"an architecture that is not modelled", static, host("linux/sparc64"), "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proof := prove(t, imageOf(t, one(exe("app", c.program))), run("/app"), c.host)
			if got := summary(proof); got != c.want {
				t.Errorf("got %s, want %s\n%+v %s", got, c.want, proof.Failure, proof.Reason)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	loader := exe(strings.TrimPrefix(amd64Loader, "/"), sharedObject)
	smallPages := patch64(patch64(elf("linux/arm64", ""), atPhdr+phVaddr, 0x11000), atEntry, 0x11080)
	for _, c := range []struct {
		name    string
		files   []imagetest.File
		process v1.ImageConfig
		host    Host
		want    []string
	}{
		{"static", one(exe("app", static)), run("/app"), amd64, nil},
		{"dynamic", one(exe("app", dynamic), loader), run("/app"), amd64, []string{CauseLibraries}},
		{"script", one(exe("app", "#!/sh\n"), exe("sh", static)), run("/app"), amd64, []string{CauseNotFollowed}},
		{"shell", one(exe("bin/sh", dynamic), loader), run("/bin/sh", "-c", "app; app"), amd64, []string{CauseLibraries, CauseNotFollowed}},
		{"tini", one(exe("tini", static)), run("/tini", "-z", "app"), amd64, []string{CauseNotFollowed}},
		{"pages of 4 KiB on arm64", one(exe("app", smallPages)), run("/app"), Host{Platform: platform.MustParse("linux/arm64")}, []string{CausePageSize}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			proof := prove(t, imageOf(t, c.files), c.process, c.host)
			for _, w := range proof.Warnings {
				got = append(got, w.Cause)
			}
			if proof.Verdict != Starts || !slices.Equal(got, c.want) {
				t.Errorf("%s with warnings %v, want %v", proof.Verdict, got, c.want)
			}
		})
	}
}

// faulty is a file system that fails, or is not certain.
type faulty struct {
	FileSystem
	err     error
	certain bool
}

func (f faulty) Head(ctx context.Context, path string, n int) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.FileSystem.Head(ctx, path, n)
}

func (f faulty) Certain() bool { return f.certain }

// TestEvidence ends proofs in all the ways in which reading can.
func TestEvidence(t *testing.T) {
	image := imageOf(t, one(exe("app", static)))
	layer := &rootfs.Layer{CreatedBy: "ADD app.tar /"}
	if p := prove(t, faulty{FileSystem: image}, run("/app"), amd64); p.Verdict != Starts || p.Evidence != Sampled {
		t.Errorf("not certain: %s (%s)", p.Verdict, p.Evidence)
	}
	if p := prove(t, faulty{FileSystem: image, err: fmt.Errorf("reading: %w", &rootfs.BudgetError{Limit: "enough"})}, run("/app"), amd64); p.Verdict != Unknown || p.Evidence != Sampled {
		t.Errorf("over budget: %s (%s)", p.Verdict, p.Evidence)
	}
	p := prove(t, faulty{FileSystem: image, err: &rootfs.UnpackError{Layer: layer, Path: "/x", Reason: "twice"}, certain: true}, run("/app"), amd64)
	if got := summary(p); got != "fails create - cannot-unpack" || p.Failure.CreatedBy != layer.CreatedBy || p.Evidence != Proven {
		t.Errorf("not to be unpacked: %s, %+v", got, p.Failure)
	}
	if p, err := Prove(t.Context(), faulty{FileSystem: image, err: fs.ErrPermission}, FromConfig(run("/app")), amd64); !errors.Is(err, fs.ErrPermission) || p != nil {
		t.Errorf("a source that fails: %+v, %v", p, err)
	}
}

// TestHostile bounds what odd images cost, and keeps control characters out of sentences.
func TestHostile(t *testing.T) {
	for _, c := range []struct {
		name    string
		files   []imagetest.File
		process v1.ImageConfig
		want    string
	}{
		{"NUL in an argument", one(exe("app", static)), run("/app", "a\x00b"), "unknown"},
		{"arguments beyond bounds", one(exe("app", static)), run("/app", strings.Repeat("x", 1<<20)), "unknown"},
		{"/etc/passwd beyond bounds", one(exe("app", static), file("etc/passwd", 0o644, strings.Repeat("x\n", 1<<20))), v1.ImageConfig{Cmd: []string{"/app"}, User: "x"}, "unknown"},
		{"/etc/passwd with a long line", one(exe("app", static), file("etc/passwd", 0o644, strings.Repeat("x", 1<<17))), v1.ImageConfig{Cmd: []string{"/app"}, User: "x"}, "unknown"},
		{"/etc/passwd a folder", one(exe("app", static), dir("etc/passwd", 0o755)), v1.ImageConfig{Cmd: []string{"/app"}, User: "x"}, "fails create - unknown-user"},
		{"/etc/passwd a device", one(exe("app", static), imagetest.File{Name: "etc/passwd", Type: tar.TypeChar}), v1.ImageConfig{Cmd: []string{"/app"}, User: "x"}, "fails create - unknown-user"},
		{"control characters", one(exe("a\x1b[31m", "")), run("/a\x1b[31m"), "fails exec ENOEXEC empty-file"},
		{"control characters in the interpreter", one(exe("app", "#!/\x1b[31m\n")), run("/app"), "fails exec ENOENT missing-interpreter"},
		{"control characters in the name", one(exe("app", static)), run("/\x1b[31m"), "fails create ENOENT not-found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proof := prove(t, imageOf(t, c.files), c.process, amd64)
			if got := summary(proof); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if f := proof.Failure; f != nil && strings.ContainsRune(f.Message+f.Detail+f.Fix, '\x1b') {
				t.Errorf("%+v has control characters", f)
			}
		})
	}
}
