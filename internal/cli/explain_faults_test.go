package cli

import (
	"archive/tar"
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store/registry"
)

// faulty is an amd64 image with an entrypoint and files, one layer each.
func faulty(entrypoint string, files ...imagetest.File) imagetest.Image {
	img := imagetest.Image{Configured: amd64, Config: v1.ImageConfig{Entrypoint: strings.Fields(entrypoint)}}
	for _, f := range files {
		img.Layers = append(img.Layers, imagetest.GzipLayer(f))
		img.History = append(img.History, v1.History{CreatedBy: "COPY " + f.Name + " /" + f.Name})
	}
	return img
}

func executable(name, body string) imagetest.File {
	return imagetest.File{Name: name, Mode: 0o755, Body: body}
}

// fault is an image, what users paste of it, and what is to be said.
type fault struct {
	name  string
	image imagetest.Image
	text  string
	args  []string
	// What is wanted: a conclusion and, unless empty, the cause that is established, the
	// file that is blamed, and a part of the layer's Dockerfile line.
	conclusion, cause, path, from string
}

func faults() []fault {
	static, other := string(imagetest.ELF(amd64, "")), string(imagetest.ELF(arm64, ""))
	glibc := string(imagetest.ELF(amd64, "/lib64/ld-linux-x86-64.so.2"))
	return []fault{
		{
			"the label is right, and a file is for another machine",
			faulty("/app", executable("app", other)),
			"exec /app: exec format error", nil,
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"the architecture is right, and the script has no shebang",
			faulty("/entrypoint.sh", executable("app", static), executable("entrypoint.sh", "set -e\nexec /app\n")),
			"standard_init_linux.go:228: exec user process caused: exec format error",
			[]string{"--for", "fargate"},
			"confirmed", "no-shebang", "/entrypoint.sh", "COPY entrypoint.sh",
		}, {
			"a Git LFS pointer",
			faulty("/app", executable("app", "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 12\n")),
			`{"errorMessage":"RequestId: 8e4f Error: fork/exec /app: exec format error","errorType":"Runtime.InvalidEntrypoint"}`, nil,
			"confirmed", "git-lfs-pointer", "/app", "COPY app",
		}, {
			"an empty file",
			faulty("/app", executable("app", "")),
			"terminated: Application failed to start: failed to load /app: exec format error", nil,
			"confirmed", "empty-file", "/app", "COPY app",
		}, {
			"a byte order mark",
			faulty("/run.sh", executable("bin/sh", static), executable("run.sh", "\ufeff#!/bin/sh\n")),
			"exec container process `/run.sh`: Exec format error",
			[]string{"--platform", "linux/amd64"},
			"confirmed", "byte-order-mark", "/run.sh", "COPY run.sh",
		}, {
			"Windows line endings: it exists, and is not found",
			faulty("/run.sh", executable("bin/sh", static), executable("run.sh", "#!/bin/sh\r\necho\r\n")),
			"exec /run.sh: no such file or directory", nil,
			"confirmed", "crlf-shebang", "", "COPY run.sh",
		}, {
			"Windows line endings, by way of env",
			faulty("/run.sh", executable("usr/bin/env", static), executable("bin/sh", static), executable("run.sh", "#!/usr/bin/env sh\r\n")),
			"/usr/bin/env: ‘sh\\r’: No such file or directory", nil,
			"confirmed", "crlf-shebang", "", "COPY run.sh",
		}, {
			"the interpreter is missing",
			faulty("/run.sh", executable("bin/sh", static), executable("run.sh", "#!/bin/bash\n")),
			"web-1  | exec /run.sh: no such file or directory\nweb-1 exited with code 255\n", nil,
			"confirmed", "missing-interpreter", "/bin/bash", "COPY run.sh",
		}, {
			"a glibc program without its loader",
			faulty("/app", executable("app", glibc)),
			"exec /app: no such file or directory", nil,
			"confirmed", "missing-loader", "/lib64", "COPY app",
		}, {
			"the loader is for another machine",
			faulty("/app", executable("lib64/ld-linux-x86-64.so.2", other), executable("app", glibc)),
			"exec /app: accessing a corrupted shared library", nil,
			"confirmed", "wrong-machine-loader", "/lib64/ld-linux-x86-64.so.2", "COPY lib64/ld-linux-x86-64.so.2",
		}, {
			"mode bits",
			faulty("/app", imagetest.File{Name: "app", Mode: 0o644, Body: static}),
			`Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/app": permission denied: unknown`, nil,
			"confirmed", "not-executable", "/app", "COPY app",
		}, {
			"not in PATH",
			faulty("serve", executable("app", static)),
			`exec: "serve": executable file not found in $PATH: unknown`, nil,
			"confirmed", "not-found", "", "",
		}, {
			"a folder",
			faulty("/app", imagetest.File{Name: "app", Type: tar.TypeDir}),
			`exec: "/app": is a directory: unknown`, nil,
			"confirmed", "is-a-directory", "/app", "",
		}, {
			"a folder, as runc before 1.5 says it",
			faulty("/app", imagetest.File{Name: "app", Type: tar.TypeDir}),
			`exec: "/app": permission denied: unknown`, nil,
			"confirmed", "is-a-directory", "/app", "",
		}, {
			"an unknown user",
			func() imagetest.Image {
				img := faulty("/app", executable("app", static))
				img.Config.User = "app"
				return img
			}(),
			"docker: Error response from daemon: unable to find user app: no matching entries in passwd file", nil,
			"confirmed", "unknown-user", "", "",
		}, {
			"nothing but an exit code",
			faulty("/run.sh", executable("bin/sh", static), executable("usr/bin/env", static), executable("run.sh", "#!/usr/bin/env bash\n")),
			"127", nil,
			"confirmed", "missing-interpreter", "", "COPY run.sh",
		}, {
			"a target's summary that says nothing",
			faulty("/app", executable("app", "echo\n")),
			"Container failed to start. Failed to start and then listen on the port defined by the PORT environment variable.", nil,
			"confirmed", "no-shebang", "/app", "COPY app",
		}, {
			"a lone image for another platform than the host's",
			func() imagetest.Image {
				img := faulty("/app", executable("app", other))
				img.Configured = arm64
				return img
			}(),
			"exec /app: exec format error",
			[]string{"--for", "apprunner"},
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"a program that the entrypoint starts",
			faulty("/tini -- /app", executable("tini", static), executable("app", other)),
			"[FATAL tini (7)] exec /app failed: Exec format error", nil,
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"a command that the deployment gives",
			faulty("/app", executable("app", static), executable("migrate", "echo\n")),
			"exec /migrate: exec format error", nil,
			"confirmed", "no-shebang", "/migrate", "COPY migrate",
		}, {
			"an emulator: a program for another architecture in an image of the right one",
			faulty("/app", executable("app", string(imagetest.ELF(arm64, "/lib/ld-linux-aarch64.so.1")))),
			"qemu-aarch64: Could not open '/lib/ld-linux-aarch64.so.1': No such file or directory", nil,
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"an emulator, and a loader that is missing",
			faulty("/app", executable("app", glibc)),
			"rosetta error: failed to open elf at /lib64/ld-linux-x86-64.so.2", nil,
			"confirmed", "missing-loader", "/lib64", "COPY app",
		}, {
			"a warning alone, which names the host",
			func() imagetest.Image {
				img := faulty("/app", executable("app", other))
				img.Configured = arm64
				return img
			}(),
			"WARNING: The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64/v3) and no specific platform was requested", nil,
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"a shell that reads a program",
			faulty("/tini /app", executable("tini", static), executable("app", other)),
			`/app: 1: Syntax error: "(" unexpected`, nil,
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"links in a circle",
			faulty("/app", imagetest.File{Name: "app", Link: "app"}),
			`exec: "/app": stat /app: too many levels of symbolic links`, nil,
			"confirmed", "bad-path", "/app", "COPY app",
		}, {
			"scripts that interpret one another",
			faulty("/a", executable("a", "#!/b\n"), executable("b", "#!/a\n")),
			"exec /a: too many levels of symbolic links", nil,
			"confirmed", "shebang-loop", "", "COPY",
		}, {
			"it starts: nobody said where it ran",
			faulty("/app", executable("app", static)),
			"exec /app: exec format error", nil,
			"likely", "", "", "",
		}, {
			"it starts where it ran",
			faulty("/app", executable("app", static)),
			"exec /app: exec format error",
			[]string{"--for", "fargate"},
			"contradicted", "", "", "",
		}, {
			"it fails in another way than the text says",
			faulty("/app", imagetest.File{Name: "app", Mode: 0o644, Body: other}),
			"exec /app: exec format error", nil,
			"differs", "", "", "",
		}, {
			"the program that the text names is not in the image",
			faulty("/app", executable("app", static)),
			"exec /server: exec format error", nil,
			"differs", "", "", "",
		}, {
			"a library: beyond the proof, which says so",
			faulty("/app", executable("lib64/ld-linux-x86-64.so.2", static), executable("app", glibc)),
			"/app: error while loading shared libraries: libfoo.so.1: cannot open shared object file: No such file or directory", nil,
			"likely", "", "", "",
		}, {
			"an unknown text, and the image fails",
			faulty("/app", executable("app", "echo\n")),
			"it does not work", nil,
			"unrecognised", "no-shebang", "/app", "COPY app",
		},
	}
}

// TestExplainFaults is what users paste, each with the image that it came from.
func TestExplainFaults(t *testing.T) {
	for _, c := range faults() {
		t.Run(c.name, func(t *testing.T) {
			host := imagetest.Registry(t)
			m := imagetest.New()
			m.AddImage(c.image, "v1")
			if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "app")); err != nil {
				t.Fatal(err)
			}
			e, code := explainJSON(t, c.text, append([]string{"--image", host + "/app:v1"}, c.args...)...)
			if e.Conclusion != c.conclusion {
				t.Fatalf("conclusion %s, want %s\n%+v", e.Conclusion, c.conclusion, e)
			}
			if want := map[bool]int{true: exitUnknown, false: exitYes}[c.conclusion == "unrecognised"]; code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if c.cause == "" {
				if c.conclusion != "likely" && len(e.Conflicts) == 0 {
					t.Error("text and proof disagree, and no conflict is stated")
				}
				return
			}
			top := e.Causes[0]
			if top.Cause != c.cause || top.Status != "established" || top.Evidence != "proven" || top.Failure == nil {
				t.Fatalf("%+v\nwant %s, established and proven", top, c.cause)
			}
			if !strings.HasPrefix(top.Failure.Path, c.path) || !strings.Contains(top.Failure.CreatedBy, c.from) || c.from != "" && top.Failure.Layer == "" {
				t.Errorf("blamed is %+v", top.Failure)
			}
			for _, other := range e.Causes[1:] {
				if other.Status == "established" {
					t.Errorf("%s is established too", other.Cause)
				}
				if other.Why == "" {
					t.Errorf("%s: %s without a reason", other.Cause, other.Status)
				}
			}
			if len(e.Next) == 0 {
				t.Error("nothing to do is said")
			}
		})
	}
}

// TestExplainDocker has a real engine start the images, and explains what it says in
// its own words.
func TestExplainDocker(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		imagetest.Missing(t, "a Docker daemon on amd64, which the images are for", "run the tests there")
	}
	engine := imagetest.Docker(t)
	failed := 0
	for i, c := range faults() {
		t.Run(c.name, func(t *testing.T) {
			host := imagetest.Registry(t)
			m := imagetest.New()
			m.AddImage(c.image, "v1")
			if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "app")); err != nil {
				t.Fatal(err)
			}
			name := host + "/app:v1"
			engine.Run(t, "pull", name)
			_, err := engine.Try(t, "run", "--rm", "--network=none", "--name", fmt.Sprintf("fault-%d", i), name)
			if err == nil {
				return // what fails is another program than the image's own
			}
			failed++
			e, _ := explainJSON(t, err.Error(), "--image", name)
			if e.Conclusion != "confirmed" || e.Causes[0].Status != "established" || e.Causes[0].Evidence != "proven" {
				t.Errorf("%s\nis explained as %s: %+v", err, e.Conclusion, e.Causes)
			}
			if c.conclusion == "confirmed" && e.Causes[0].Cause != c.cause {
				t.Errorf("%s\nis explained by %s, want %s", err, e.Causes[0].Cause, c.cause)
			}
		})
	}
	if failed < 20 {
		t.Errorf("only %d images fail to start", failed)
	}
}
