package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestDocker holds what berth says and copies against a Docker daemon: what berth
// says will start does, and what it says will fail fails, in the same words.
func TestDocker(t *testing.T) {
	engine := imagetest.Docker(t)
	host := imagetest.Distribution(t)
	native := strings.TrimSpace(engine.Run(t, "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"))
	foreign := "linux/arm64"
	if native == foreign {
		foreign = "linux/amd64"
	}
	if emulated(t, foreign) {
		imagetest.Missing(t, "a kernel that refuses programs for "+foreign, "take its emulator out of /proc/sys/fs/binfmt_misc")
	}
	greets := "hello from " + native + "\n"

	t.Run("story", func(t *testing.T) {
		image := everywhere()
		vendor := push(t, image, imagetest.Distribution(t), "vendor/hello") + ":v1"
		mirror, story := host+"/mirror:v1", host+"/story:v1"
		berth(t.Context(), "copy", vendor, mirror).wants(t, 0)

		for _, p := range []string{foreign, native} {
			engine.Run(t, "pull", "--platform", p, mirror)
			docker := engine.Run(t, "image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", mirror)
			inspected := berth(t.Context(), "inspect", "--platform", p, "--format", "{{.Os}}/{{.Architecture}}", mirror).wants(t, 0)
			if docker != p+"\n" || docker != inspected.stdout {
				t.Errorf("docker image inspect = %q, berth inspect = %q, want %q", docker, inspected.stdout, p)
			}
		}
		if got := engine.Run(t, "run", "--rm", "--network=none", mirror); got != greets {
			t.Errorf("docker run says %q, want %q", got, greets)
		}

		// Pulled on a machine of another kind, tagged and pushed.
		engine.Run(t, "pull", "--platform", foreign, mirror)
		engine.Run(t, "tag", mirror, story)
		engine.Run(t, "push", story)
		berth(t.Context(), "check", story, "--for", native).wants(t, 1, native, foreign)
		if out, err := engine.Try(t, "run", "--rm", "--network=none", story); err == nil || !strings.Contains(err.Error(), "exec format error") {
			t.Fatalf("docker run of an image for %s: %q, %v", foreign, out, err)
		}

		berth(t.Context(), "copy", vendor, story, "--for", native).wants(t, 0)
		berth(t.Context(), "check", story, "--for", native).wants(t, 0)
		engine.Run(t, "pull", story)
		if got := engine.Run(t, "run", "--rm", "--network=none", story); got != greets {
			t.Errorf("docker run after berth copy says %q, want %q", got, greets)
		}
	})

	t.Run("label", func(t *testing.T) {
		m := imagetest.New()
		m.AddImage(single(native, foreign), "v1")
		mislabelled := push(t, m, host, "mislabelled") + ":v1"
		berth(t.Context(), "prove", mislabelled).wants(t, 1, "exec format error", foreign)
		berth(t.Context(), "check", mislabelled, "--for", native).wants(t, 1)
		berth(t.Context(), "copy", mislabelled, host+"/refused:v1", "--for", native).wants(t, 1, "not written", "--prove=never")
		if out, err := engine.Try(t, "pull", host+"/refused:v1"); err == nil {
			t.Errorf("a copy that was refused can be pulled: %s", out)
		}
		berth(t.Context(), "copy", mislabelled, host+"/forced:v1", "--for", native, "--prove", "never").wants(t, 0)
		if out, err := engine.Try(t, "run", "--rm", "--network=none", host+"/forced:v1"); err == nil || !strings.Contains(err.Error(), "exec format error") {
			t.Errorf("docker run of a program for %s: %q, %v", foreign, out, err)
		}
	})

	program := imagetest.File{Name: "hello", Mode: 0o755, Body: string(programs()[native])}
	stranger := imagetest.File{Name: "hello", Mode: 0o755, Body: string(programs()[foreign])}
	script := func(text string) imagetest.File {
		return imagetest.File{Name: "script", Mode: 0o755, Body: text}
	}
	layers := func(files ...imagetest.File) []imagetest.Layer {
		return []imagetest.Layer{imagetest.GzipLayer(files...)}
	}
	entrypoint := func(args ...string) v1.ImageConfig { return v1.ImageConfig{Entrypoint: args} }
	for _, c := range []startCase{
		{"program", layers(program), entrypoint("/hello"), greets, ""},
		{"program in PATH", layers(imagetest.File{Name: "bin/hello", Mode: 0o755, Body: program.Body}), entrypoint("hello"), greets, ""},
		{"program behind links", layers(program, imagetest.File{Name: "a", Link: "b"}, imagetest.File{Name: "b", Link: "/hello"}), entrypoint("/a"), greets, ""},
		{"script of a program", layers(program, script("#!/hello\n")), entrypoint("/script"), greets, ""},
		{"program of another machine", layers(stranger), entrypoint("/hello"), "", "exec format error"},
		{"program replaced by a later layer", append(layers(stranger), layers(program)...), entrypoint("/hello"), greets, ""},
		{"program removed by a later layer", append(layers(program), layers(imagetest.File{Name: ".wh.hello"})...), entrypoint("/hello"), "", "no such file or directory"},
		{"script of a program of another machine", layers(stranger, script("#!/hello\n")), entrypoint("/script"), "", "exec format error"},
		{"script without its program", layers(script("#!/hello\n")), entrypoint("/script"), "", "no such file or directory"},
		{"script with CRLF", layers(program, script("#!/hello\r\n")), entrypoint("/script"), "", "no such file or directory"},
		{"script without a shebang", layers(script("echo hello\n")), entrypoint("/script"), "", "exec format error"},
		{"empty file", layers(script("")), entrypoint("/script"), "", "exec format error"},
		{"not executable", layers(imagetest.File{Name: "hello", Body: program.Body}), entrypoint("/hello"), "", "permission denied"},
		{"not there", layers(program), entrypoint("/goodbye"), "", "no such file or directory"},
		{"not in PATH", layers(program), entrypoint("hello"), "", "executable file not found in $PATH"},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, engine, host, native) })
	}

	t.Run("Debian", func(t *testing.T) {
		packages := []string{"bash", "libc6", "libtinfo6", "busybox-static"}
		// What they have in /usr is manuals and character sets.
		system := func(p string) []imagetest.File {
			return slices.DeleteFunc(imagetest.DebianFiles(t, platform.MustParse(p), packages...), func(f imagetest.File) bool {
				return strings.HasPrefix(f.Name, "usr/")
			})
		}
		files := system(native)
		bash := entrypoint("/bin/bash", "-c", "echo hello")
		var loaderless, busybox []imagetest.File
		for _, f := range files {
			if !strings.Contains(f.Name, "ld-linux") {
				loaderless = append(loaderless, f)
			}
			if f.Name == "bin/busybox" {
				busybox = append(busybox, f)
			}
		}
		for _, c := range []startCase{
			{"bash", layers(files...), bash, "hello\n", ""},
			{"bash without a loader", layers(loaderless...), bash, "", "no such file or directory"},
			{"bash of another machine", layers(system(foreign)...), bash, "", "exec format error"},
			{"busybox", layers(busybox...), entrypoint("/bin/busybox", "echo", "hello"), "hello\n", ""},
		} {
			t.Run(c.name, func(t *testing.T) { c.run(t, engine, host, native) })
		}
	})
}

// emulated tells whether this machine runs programs for p, which is not its own platform.
func emulated(t *testing.T, p string) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(path, programs()[p], 0o700); err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path).Run() == nil
}

// startCase is an image, and what starting it comes to.
type startCase struct {
	name   string
	layers []imagetest.Layer
	config v1.ImageConfig
	// prints is its output where it starts, fails what the runtime says where not.
	prints, fails string
}

// run asks berth first, and then Docker.
func (c startCase) run(t *testing.T, engine *imagetest.Engine, host, native string) {
	m := imagetest.New()
	m.AddImage(imagetest.Image{Configured: platform.MustParse(native), Config: c.config, Layers: c.layers}, "v1")
	reference := push(t, m, host, strings.ToLower(strings.ReplaceAll(c.name, " ", "-"))) + ":v1"
	if c.fails == "" {
		berth(t.Context(), "prove", reference).wants(t, 0)
	} else {
		berth(t.Context(), "prove", reference).wants(t, 1, c.fails)
	}
	out, err := engine.Try(t, "run", "--rm", "--network=none", reference)
	switch {
	case c.fails == "" && (err != nil || out != c.prints):
		t.Errorf("docker run = %q, %v, want %q", out, err, c.prints)
	case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
		t.Errorf("docker run = %q, %v, want %q", out, err, c.fails)
	}
}
