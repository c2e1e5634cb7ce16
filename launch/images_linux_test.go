package launch

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store/registry"
)

// realImage is a program that people really run in containers.
type realImage struct {
	name     string
	packages []string // of Debian; none for a static Go program
	process  v1.ImageConfig
	says     string // in what it writes to standard output
	only     string // the platform, where others would only cost time
}

func realImages() []realImage {
	run := func(args ...string) v1.ImageConfig { return v1.ImageConfig{Entrypoint: args} }
	python := run("/usr/bin/python3.11", "-S", "-c", "print('hello')")
	python.Env = []string{"PYTHONHOME=/usr"}
	return []realImage{
		{"static Go", nil, run("/app"), "hello", ""},
		{"bash", []string{"bash", "libc6", "libtinfo6"}, run("/bin/bash", "-c", "echo hello"), "hello", ""},
		{"nginx", []string{"nginx", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"}, run("/usr/sbin/nginx", "-v"), "", ""},
		{"python3", []string{"python3.11-minimal", "libpython3.11-minimal", "libc6", "libexpat1", "zlib1g"}, python, "hello", ""},
		{"openjdk", []string{"openjdk-17-jre-headless", "libc6", "libgcc-s1", "libstdc++6", "zlib1g"}, run("/usr/lib/jvm/java-17-openjdk-amd64/bin/java", "--version"), "openjdk 17", "linux/amd64"},
	}
}

// layers are what the image has on a platform: one for each package.
func (r realImage) layers(t *testing.T, p platform.Platform, debian map[string][]imagetest.File) [][]imagetest.File {
	t.Helper()
	if r.packages == nil {
		return [][]imagetest.File{one(exe("app", string(imagetest.GoProgram(t, p, "package main\nimport \"os\"\nfunc main() { os.Stdout.WriteString(\"hello\\n\") }\n"))))}
	}
	var layers [][]imagetest.File
	for _, name := range r.packages {
		layers = append(layers, debian[name])
	}
	return layers
}

// TestRealImages proves images of programs that people run, on their own platforms and on
// another, and has a Docker daemon run those for this machine.
func TestRealImages(t *testing.T) {
	host := thisMachine(t)
	engine := imagetest.Docker(t)
	server := imagetest.Registry(t)
	client := registry.New(registry.Options{})
	runs := func(t *testing.T, layers [][]imagetest.File, r realImage) {
		img := imagetest.Image{Configured: host.Platform, Config: r.process}
		for _, files := range layers {
			img.Layers = append(img.Layers, imagetest.TarLayer(files...))
		}
		m := imagetest.New()
		m.AddImage(img, "v1")
		repository := strings.ToLower(strings.ReplaceAll(r.name, " ", "-"))
		if err := m.PushTo(t.Context(), client.Repository(server, repository)); err != nil {
			t.Fatal(err)
		}
		name := server + "/" + repository + ":v1"
		engine.Run(t, "pull", "--quiet", name)
		if said := engine.Run(t, "run", "--rm", "--network=none", name); !strings.Contains(said, r.says) {
			t.Errorf("docker run says %q, want %q", said, r.says)
		}
	}
	starts := func(t *testing.T, layers [][]imagetest.File, r realImage, p platform.Platform) {
		proof := prove(t, imageOf(t, layers...), r.process, Host{Platform: p})
		if proof.Verdict != Starts || proof.Evidence != Proven || strings.Contains(causes(proof), CauseLibraries) {
			t.Errorf("%s (%s), %+v\n%+v", proof.Verdict, proof.Evidence, proof.Failure, proof.Warnings)
		}
	}
	for _, name := range []string{"linux/amd64", "linux/arm64"} {
		p := platform.MustParse(name)
		var images []realImage
		var packages []string
		for _, r := range realImages() {
			if r.only == "" || r.only == name {
				images, packages = append(images, r), append(packages, r.packages...)
			}
		}
		slices.Sort(packages)
		debian := imagetest.DebianPackages(t, p, slices.Compact(packages)...)
		for pkg, files := range debian {
			debian[pkg] = slices.DeleteFunc(files, func(f imagetest.File) bool {
				return strings.HasPrefix(f.Name, "usr/share/") || strings.Contains(f.Name, "/gconv/")
			})
		}
		for _, r := range images {
			t.Run(r.name+" "+name, func(t *testing.T) {
				layers := r.layers(t, p, debian)
				starts(t, layers, r, p)
				if platform.Equal(p, host.Platform) {
					runs(t, layers, r)
					return
				}
				if got := summary(prove(t, imageOf(t, layers...), r.process, Host{Platform: host.Platform})); got != "fails exec ENOEXEC "+CauseWrongMachine {
					t.Errorf("on this machine: %s", got)
				}
			})
		}
	}
}
