package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store/registry"
)

// explained is what the tests look at of berth/explanation/v1.
type explained struct {
	Conclusion, Summary string
	Log                 struct{ Reference, Target string }
	Said                []struct{ ID, Path string }
	Causes              []struct {
		Cause, Status, Evidence, Why string
		Failure                      *struct{ Path, Layer, CreatedBy, Fix string }
	}
	Conflicts []string
	Next      []struct{ Title, Command string }
	Images    []struct {
		Needed, Error string
		Proof, Named  *struct{ Verdict string }
	}
}

// explainJSON runs berth explain -o json, and holds the document against its schema.
func explainJSON(t *testing.T, stdin string, args ...string) (explained, int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main(context.Background(), append([]string{"explain", "-o", "json"}, args...), strings.NewReader(stdin), &out, &errs)
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema", "explanation-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	var e explained
	if err := json.Unmarshal(out.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	return e, code
}

var (
	amd64 = platform.MustParse("linux/amd64")
	arm64 = platform.MustParse("linux/arm64")
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

// TestExplainFaults is what users paste, each with the image that it came from.
func TestExplainFaults(t *testing.T) {
	static, other := string(imagetest.ELF(amd64, "")), string(imagetest.ELF(arm64, ""))
	glibc := string(imagetest.ELF(amd64, "/lib64/ld-linux-x86-64.so.2"))
	for _, c := range []struct {
		name  string
		image imagetest.Image
		text  string
		args  []string
		// What is wanted: a conclusion and, unless empty, the cause that is established, the
		// file that is blamed, and a part of the layer's Dockerfile line.
		conclusion, cause, path, from string
	}{
		{
			"the label is right, and a file is for another machine",
			faulty("/app", executable("app", other)),
			"exec /app: exec format error", nil,
			"confirmed", "wrong-machine", "/app", "COPY app",
		}, {
			"the architecture is right, and the script has no shebang",
			faulty("/entrypoint.sh", executable("app", static), executable("entrypoint.sh", "set -e\nexec /app\n")),
			"standard_init_linux.go:228: exec user process caused: exec format error", []string{"--for", "fargate"},
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
			"exec container process `/run.sh`: Exec format error", []string{"--platform", "linux/amd64"},
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
			"exec /app: exec format error", []string{"--for", "apprunner"},
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
			"exec /app: exec format error", []string{"--for", "fargate"},
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
	} {
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

// TestExplainRefusals is what says that an image is not taken at all.
func TestExplainRefusals(t *testing.T) {
	host := imagetest.Registry(t)
	m := imagetest.New()
	one := m.AddImage(program(amd64, amd64), "plain")
	two := m.AddImage(program(arm64, arm64), "")
	m.AddIndex("both", "", one, two)
	m.AddIndex("arm", "", two)
	m.AddIndex("attested", "", one, m.AddAttestation(one))
	zstd := program(amd64, amd64)
	zstd.Layers[0].MediaType = v1.MediaTypeImageLayerZstd
	m.AddImage(zstd, "zstd")
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "app")); err != nil {
		t.Fatal(err)
	}
	lambda := "The image manifest, config or layer media type for the source image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1 is not supported. (Service: Lambda, Status Code: 400)"
	for _, c := range []struct {
		name, tag, text   string
		args              []string
		conclusion, cause string
		command           string // a part of one of the commands
	}{
		{"Fargate finds no platform", "arm", "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'", nil, "confirmed", "platform-missing", "--for fargate"},
		{"it has it now", "both", "no matching manifest for linux/arm64/v8 in the manifest list entries", nil, "contradicted", "", "docker inspect"},
		{"kubelet, and --for says where", "arm", `Failed to pull image "x": no match for platform in manifest: not found`, []string{"--for", "eks/amd64"}, "confirmed", "platform-missing", "--for eks/amd64"},
		{"Container Apps", "arm", "no child with platform linux/amd64 in index app.azurecr.io/web:v1", nil, "confirmed", "platform-missing", "docker buildx build --platform linux/amd64"},
		{"Lambda and attestations", "attested", lambda, nil, "confirmed", "attestation-refused", "--provenance=false"},
		{"Lambda and an index", "both", lambda, nil, "confirmed", "index-refused", "berth copy"},
		{"Lambda, and nothing is wrong", "plain", lambda, nil, "contradicted", "", "aws lambda get-function"},
		{"zstd and an old engine", "zstd", "failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header", nil, "confirmed", "compression-refused", ""},
		{"exec format error of an index without the platform", "arm", "exec /app: exec format error", []string{"--for", "cloudrun"}, "confirmed", "wrong-machine", "--for cloudrun"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, code := explainJSON(t, c.text, append([]string{"--image", host + "/app:" + c.tag}, c.args...)...)
			if e.Conclusion != c.conclusion || code != exitYes {
				t.Fatalf("conclusion %s, exit code %d; want %s and 0\n%+v", e.Conclusion, code, c.conclusion, e)
			}
			if c.cause != "" && (e.Causes[0].Cause != c.cause || e.Causes[0].Status != "established") {
				t.Errorf("%+v, want %s", e.Causes[0], c.cause)
			}
			if c.cause == "" && len(e.Conflicts) == 0 {
				t.Error("no conflict is stated")
			}
			if !slices.ContainsFunc(e.Next, func(n struct{ Title, Command string }) bool { return strings.Contains(n.Command, c.command) }) {
				t.Errorf("no command has %q: %+v", c.command, e.Next)
			}
		})
	}
}

// TestExplainSaysWhatDisagrees holds the statements about conflicts.
func TestExplainSaysWhatDisagrees(t *testing.T) {
	host := imagetest.Registry(t)
	m := imagetest.New()
	one := m.AddImage(program(amd64, amd64), "v1")
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "app")); err != nil {
		t.Fatal(err)
	}
	image := host + "/app:v1"
	absent := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name, text string
		args       []string
		conflict   string
	}{
		{"another image", "Failed to start image \"ghcr.io/acme/other:v2\"\nUnable to find image 'ghcr.io/acme/other:v2' locally\nexec /app: exec format error", nil, "is about the image ghcr.io/acme/other:v2"},
		{"another target", "RequestId: 1 Error: fork/exec /app: exec format error\nRuntime.InvalidEntrypoint", []string{"--for", "fargate"}, "is from lambda, and berth was asked about fargate"},
		{"another platform", "no matching manifest for linux/arm64/v8 in the manifest list entries", []string{"--platform", "linux/amd64"}, "a host of linux/arm64"},
		{"another digest", "Image ID: ghcr.io/acme/app@" + absent + "\nexec /app: exec format error", nil, absent},
		{"another program", "exec /other: permission denied", nil, "names /other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := explainJSON(t, c.text, append([]string{"--image", image}, c.args...)...)
			if !strings.Contains(strings.Join(e.Conflicts, "\n"), c.conflict) {
				t.Errorf("%q is not among %q", c.conflict, e.Conflicts)
			}
		})
	}
	t.Run("the same digest", func(t *testing.T) {
		e, _ := explainJSON(t, "\"imageDigest\": \""+one.Digest.String()+"\"\nexec /app: exec format error", "--image", image)
		for _, cause := range e.Causes {
			if cause.Cause == "other-image" && cause.Status != "ruled-out" {
				t.Errorf("the log names the image's own digest, and another image is %s", cause.Status)
			}
		}
	})
	t.Run("another platform than the log says", func(t *testing.T) {
		e, _ := explainJSON(t, "image OS/Arc must be linux/amd64 but found linux/arm64", "--image", image)
		if e.Conclusion != "contradicted" || !strings.Contains(strings.Join(e.Conflicts, "\n"), "was for linux/arm64, and berth looked at one for linux/amd64") {
			t.Errorf("%s, %q", e.Conclusion, e.Conflicts)
		}
	})
	t.Run("an image that is not there", func(t *testing.T) {
		e, code := explainJSON(t, "exec /app: exec format error", "--image", host+"/app:none")
		if e.Conclusion != "unknown" || code != exitUnknown || e.Images[0].Error == "" {
			t.Errorf("%+v, exit code %d", e, code)
		}
	})
}
