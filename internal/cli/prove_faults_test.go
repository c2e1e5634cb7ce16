package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
)

// faultsPage is where the outputs of berth prove for images with one fault each stand.
const faultsPage = "../../docs/prove.md"

// proofFault is an image with a fault, for a section of the page.
type proofFault struct {
	title, about string
	images       []imagetest.Image // of an index, or one
	flags        string
}

// layered puts files of several layers into an image, each with the line that made it.
func layered(p platform.Platform, config v1.ImageConfig, layers ...[]imagetest.File) imagetest.Image {
	img := imagetest.Image{Configured: p, Config: config}
	for _, files := range layers {
		img.Layers = append(img.Layers, imagetest.GzipLayer(files...))
		last := files[len(files)-1].Name
		img.History = append(img.History, v1.History{CreatedBy: "COPY " + last + " /" + last})
	}
	return img
}

func proofFaults() []proofFault {
	static, other := string(imagetest.ELF(amd64, "")), string(imagetest.ELF(arm64, ""))
	const loader = "usr/lib64/ld-linux-x86-64.so.2"
	glibc := string(imagetest.ELF(amd64, "/lib64/ld-linux-x86-64.so.2"))
	base := []imagetest.File{
		{Name: "bin", Link: "usr/bin"},
		{Name: "lib64", Link: "usr/lib64"},
		{Name: "usr/bin/sh", Link: "dash"},
		executable("usr/bin/dash", static), executable("usr/bin/env", static), executable("usr/bin/tini", static), executable(loader, static),
	}
	start := func(args ...string) v1.ImageConfig { return v1.ImageConfig{Entrypoint: args} }
	one := func(config v1.ImageConfig, layers ...[]imagetest.File) []imagetest.Image {
		return []imagetest.Image{layered(amd64, config, append([][]imagetest.File{base}, layers...)...)}
	}
	files := func(f ...imagetest.File) []imagetest.File { return f }
	wrong := layered(arm64, start("/app"), files(executable("app", static)))
	return []proofFault{
		{
			"A program for another machine", "The label of the second platform is wrong: the build stage compiled for the machine that it ran on.",
			[]imagetest.Image{layered(amd64, start("/app"), files(executable("app", static))), wrong},
			"",
		},
		{"No shebang", "", one(start("/entrypoint.sh"), files(executable("entrypoint.sh", "set -e\nexec /app\n"))), ""},
		{"Windows line endings", "", one(start("/entrypoint.sh"), files(executable("entrypoint.sh", "#!/bin/sh\r\nexec /app\r\n"))), ""},
		{"A Git LFS pointer", "", one(start("/app"), files(executable("app", "version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 12\n"))), ""},
		{"A missing loader", "A program built on Alpine in an image without musl.", one(start("/app"), files(executable("app", string(imagetest.ELF(amd64, "/lib/ld-musl-x86_64.so.1"))))), ""},
		{"Mode bits", "", one(start("/app"), files(imagetest.File{Name: "app", Mode: 0o644, Body: static})), ""},
		{"A user that is not there", "", one(v1.ImageConfig{Entrypoint: []string{"/app"}, User: "app"}, files(executable("app", static), imagetest.File{Name: "etc/passwd", Body: "root:x:0:0::/root:/bin/sh\n"})), ""},
		{
			"A layer that destroys a merged /usr", "Nothing was removed: the link from `/lib64` is a folder now.",
			one(start("/app"), files(executable("app", glibc)), files(imagetest.File{Name: "lib64/libvendor.so", Body: "x"})), "",
		},
		{"An init that starts a foreign program", "The container starts, and dies at once.", one(start("tini", "--", "/app"), files(executable("app", other))), ""},
		{
			"An entrypoint script and a command that is not there", "What a script does before is not followed, so that this is a warning.",
			one(v1.ImageConfig{Entrypoint: []string{"/entrypoint.sh"}, Cmd: []string{"serve", "--port", "80"}}, files(executable("entrypoint.sh", "#!/bin/sh\nset -e\nmkdir -p /run/app\nexec \"$@\"\n"))), "",
		},
		{
			"What a deployment starts instead", "",
			one(start("/app"), files(executable("app", static), executable("worker", other))), "--entrypoint /worker",
		},
	}
}

// TestProvePage runs berth prove on images with one fault each, and holds what it says
// against docs/prove.md. UPDATE_README=1 writes that anew.
func TestProvePage(t *testing.T) {
	host := imagetest.Registry(t)
	client := registry.New(registry.Options{})
	var page strings.Builder
	page.WriteString("# What a failed proof says\n\nEach section is an image with one fault and what `berth prove` makes of it. A test makes these images, runs the commands\nand holds the output against this page; the layers are tiny, so that everything is read.\n")
	for i, c := range proofFaults() {
		m := imagetest.New()
		var entries []store.Descriptor
		for _, img := range c.images {
			entries = append(entries, m.AddImage(img, ""))
		}
		m.AddIndex("v1", "", entries...)
		repository := fmt.Sprintf("faults/%d", i)
		if err := m.PushTo(context.Background(), client.Repository(host, repository)); err != nil {
			t.Fatal(err)
		}
		var output bytes.Buffer
		args := append([]string{"prove", host + "/" + repository + ":v1", "--color=never"}, strings.Fields(c.flags)...)
		Main(context.Background(), args, strings.NewReader(""), &output, &output)
		if c.about != "" {
			c.about += "\n\n"
		}
		command := strings.TrimSpace("berth prove app:v1 " + c.flags)
		fmt.Fprintf(&page, "\n## %s\n\n%s```console\n$ %s\n%s```\n", c.title, c.about, command, strings.ReplaceAll(output.String(), host+"/"+repository, "app"))
	}
	// Digests depend on the compression library.
	got := regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(page.String(), "sha256:…")
	got = regexp.MustCompile(`\d+ B of \d+ B`).ReplaceAllString(got, "142 B of 142 B")
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(faultsPage, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(faultsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/prove.md is not what berth says (UPDATE_README=1 writes it anew):\n%s", diff)
	}
}
