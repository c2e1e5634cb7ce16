// Package e2e tests the command against what it meets in the world: the
// distribution registry, skopeo, crane, a Docker daemon, and servers that misbehave.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
)

// TestMain keeps the credentials and settings of whoever runs the tests out of them.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, value := range map[string]string{
		"DOCKER_CONFIG":             home,
		"BERTH_CACHE":               home,
		"REGISTRY_AUTH_FILE":        "",
		"AWS_CONFIG_FILE":           filepath.Join(home, "config"),
		"AWS_EC2_METADATA_DISABLED": "true",
		"NO_COLOR":                  "1",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(home); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// ran is what one run of the command came to.
type ran struct {
	args           []string
	code           int
	stdout, stderr string
}

// berth runs the command in this process.
func berth(ctx context.Context, args ...string) ran {
	var stdout, stderr bytes.Buffer
	code := cli.Main(ctx, args, strings.NewReader(""), &stdout, &stderr)
	return ran{args, code, stdout.String(), stderr.String()}
}

// wants fails the test unless the command ended with code and said all of says.
func (r ran) wants(t *testing.T, code int, says ...string) ran {
	t.Helper()
	var wrong []string
	if r.code != code {
		wrong = append(wrong, fmt.Sprintf("exit code %d, want %d", r.code, code))
	}
	for _, s := range says {
		if !strings.Contains(r.stdout+r.stderr, s) {
			wrong = append(wrong, fmt.Sprintf("does not say %q", s))
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%s%s", r, strings.Join(wrong, "\n"))
	}
	return r
}

func (r ran) String() string {
	return fmt.Sprintf("berth %s:\n%s%s", strings.Join(r.args, " "), r.stdout, r.stderr)
}

// greeting is a program that says where it runs. It imports little, for that is
// compiled for every platform.
const greeting = `package main

import (
	"runtime"
	"syscall"
)

func main() {
	syscall.Write(1, []byte("hello from "+runtime.GOOS+"/"+runtime.GOARCH+"\n"))
}
`

// programs are the executables of greeting, by platform.
var programs = sync.OnceValue(func() map[string][]byte {
	var mu sync.Mutex
	compiled := map[string][]byte{}
	var group errgroup.Group
	group.SetLimit(2) // go build takes several cores by itself
	for _, p := range imagetest.GoPlatforms {
		group.Go(func() error {
			raw, err := imagetest.CompileGo(context.Background(), platform.MustParse(p), greeting)
			mu.Lock()
			defer mu.Unlock()
			compiled[p] = raw
			return err
		})
	}
	if err := group.Wait(); err != nil {
		panic(err)
	}
	return compiled
})

// single is an image that starts the executable of one platform and says that it
// is for another, or for the same.
func single(says, executable string) imagetest.Image {
	return imagetest.Image{
		Configured: platform.MustParse(says),
		Config:     v1.ImageConfig{Entrypoint: []string{"/hello"}},
		Layers: []imagetest.Layer{
			imagetest.GzipLayer(imagetest.File{Name: "hello", Mode: 0o755, Body: string(programs()[executable])}),
			imagetest.GzipLayer(imagetest.File{Name: "etc/platform", Body: says}),
		},
	}
}

// everywhere is an image of all [imagetest.GoPlatforms], each with an attestation,
// under the tag v1, as buildx builds it.
func everywhere() *imagetest.Memory {
	m := imagetest.New()
	var entries, attestations []store.Descriptor
	for _, p := range imagetest.GoPlatforms {
		entry := m.AddImage(single(p, p), "")
		entries = append(entries, entry)
		attestations = append(attestations, m.AddAttestation(entry))
	}
	m.AddIndex("v1", "", append(entries, attestations...)...)
	return m
}

// push sends an image to a registry, and returns host/repository.
func push(t *testing.T, m *imagetest.Memory, host, repository string) string {
	t.Helper()
	client := registry.New(registry.Options{})
	defer client.CloseIdleConnections()
	if err := m.PushTo(t.Context(), client.Repository(host, repository)); err != nil {
		t.Fatal(err)
	}
	return host + "/" + repository
}

// manifest is the raw manifest that m has under a tag or digest.
func manifest(t *testing.T, m *imagetest.Memory, reference string) string {
	t.Helper()
	found, err := m.Manifest(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	return string(found.Raw)
}

// index parses a raw index.
func index(t *testing.T, raw string) v1.Index {
	t.Helper()
	var parsed v1.Index
	if err := json.Unmarshal([]byte(raw), &parsed); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	return parsed
}
