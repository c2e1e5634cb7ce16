package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
)

// ownCache runs tests with a cache of their own.
type ownCache struct{ *testing.M }

func (m ownCache) Run() int {
	folder, err := os.MkdirTemp("", "berth-cache-")
	if err == nil {
		defer os.RemoveAll(folder)
		err = os.Setenv(cacheVariable, folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

func TestMain(m *testing.M) {
	// As the command of a script it has the cache of that script; else none of the user's.
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") != "berth" {
		folder, err := os.MkdirTemp("", "berth-cache-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(folder)
		if err := os.Setenv(cacheVariable, folder); err != nil {
			panic(err)
		}
	}
	testscript.Main(ownCache{m}, map[string]func(){
		"berth": func() {
			os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs testdata/script/*.txtar, each against a registry of its own, $REGISTRY,
// that holds the images of publish. Set UPDATE_SCRIPTS=1 to accept new output.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "expand": expand},
		Setup: func(env *testscript.Env) error {
			host := imagetest.Registry(t)
			env.Setenv("REGISTRY", host)
			env.Setenv("COUNTED", imagetest.Proxy(t, host, rationed))
			env.Setenv(cacheVariable, "")
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			return publish(host)
		},
	})
}

// rationed says that few pulls are left.
func rationed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Ratelimit-Limit", "100;w=21600")
		w.Header().Set("Ratelimit-Remaining", "3;w=21600")
		next.ServeHTTP(w, r)
	})
}

// exits is the script command "exits CODE program argument…".
func exits(ts *testscript.TestScript, _ bool, args []string) {
	var failed *exec.ExitError
	err := ts.Exec(args[1], args[2:]...)
	if err == nil || !errors.As(err, &failed) || fmt.Sprint(failed.ExitCode()) != args[0] {
		ts.Fatalf("%s ended with %v, want exit code %s\n%s%s", args[1], err, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// expand is the script command "expand FILE…": it puts the registry into files.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := strings.ReplaceAll(ts.ReadFile(name), "$REGISTRY", ts.Getenv("REGISTRY"))
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// publish puts the images that the scripts talk about into a registry:
//
//	app:v1     amd64 and arm64, with attestations, both right
//	arm:v1     arm64 alone, without an index
//	one:v1     amd64 alone, an index because of its attestation
//	lying:v1   declared and configured as arm64, its program is amd64
//	torn:v1    declared as arm64, and it is; configured as amd64
//	signed:v1  app:v1 without attestations; the index is signed, amd64 has an SBOM that is
//	           signed, and arm64 a signature of cosign's
//	zstd:v1    amd64, packed with zstd and with an attestation, and arm64
//	shell:v1   amd64, a script without a shebang
func publish(host string) error {
	client := registry.New(registry.Options{})
	amd64, arm64 := platform.MustParse("linux/amd64"), platform.MustParse("linux/arm64")
	for repository, build := range map[string]func(*imagetest.Memory){
		"app": func(m *imagetest.Memory) {
			one, two := m.AddImage(program(amd64, amd64), ""), m.AddImage(program(arm64, arm64), "")
			m.AddIndex("v1", "", one, two, m.AddAttestation(one), m.AddAttestation(two))
		},
		"arm": func(m *imagetest.Memory) { m.AddImage(program(arm64, arm64), "v1") },
		"one": func(m *imagetest.Memory) {
			one := m.AddImage(program(amd64, amd64), "")
			m.AddIndex("v1", "", one, m.AddAttestation(one))
		},
		"zstd": func(m *imagetest.Memory) {
			one := program(amd64, amd64)
			one.Layers = []imagetest.Layer{imagetest.ZstdLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(amd64, ""))})}
			entry := m.AddImage(one, "")
			m.AddIndex("v1", "", entry, m.AddImage(program(arm64, arm64), ""), m.AddAttestation(entry))
		},
		"signed": func(m *imagetest.Memory) {
			one, two := m.AddImage(program(amd64, amd64), ""), m.AddImage(program(arm64, arm64), "")
			root := m.AddIndex("v1", "", one, two)
			m.AddReferrer(root, "application/vnd.example.signature", "of the index", "")
			sbom := m.AddReferrer(one, "application/spdx+json", "of amd64", "")
			m.AddReferrer(sbom, "application/vnd.example.signature", "of the SBOM", "")
			m.AddReferrer(two, "", "of arm64", store.ReferrersTag(two.Digest)+".sig")
		},
		"lying": func(m *imagetest.Memory) { m.AddIndex("v1", "", m.AddImage(program(arm64, amd64), "")) },
		"torn": func(m *imagetest.Memory) {
			img := program(amd64, arm64)
			img.Declared = arm64
			m.AddIndex("v1", "", m.AddImage(img, ""))
		},
		"shell": func(m *imagetest.Memory) { m.AddImage(running(amd64, "echo hello\n"), "v1") },
	} {
		m := imagetest.New()
		build(m)
		if err := m.PushTo(context.Background(), client.Repository(host, repository)); err != nil {
			return err
		}
	}
	return nil
}

// program is an image labelled with one platform whose program is for another.
func program(label, actual platform.Platform) imagetest.Image {
	return running(label, string(imagetest.ELF(actual, "")))
}

func running(label platform.Platform, executable string) imagetest.Image {
	return imagetest.Image{
		Configured: label,
		Config:     v1.ImageConfig{Entrypoint: []string{"/app"}},
		Layers:     []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: executable})},
		History:    []v1.History{{CreatedBy: "COPY app /app"}},
	}
}
