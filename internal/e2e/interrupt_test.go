package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/registry"
)

// TestInterrupted interrupts a copy at every request that it makes, at either end,
// before and after the request was served. Whatever the point, the tag must not be
// there, or what it names must be complete.
func TestInterrupted(t *testing.T) {
	image := imagetest.New()
	var entries []store.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		entries = append(entries, image.AddImage(single(p, p), ""))
	}
	image.AddIndex("v1", "", append(entries, image.AddAttestation(entries[0]))...)
	source, destination := imagetest.Registry(t), imagetest.NewRegistry()
	push(t, image, source, "app")

	// Read past the fuse, or looking would be counted too.
	direct := imagetest.Serve(t, destination)

	copies := 0
	at := func(fuse *fuse) {
		copies++
		repository := fmt.Sprintf("copy%d", copies)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fuse.blow = cancel
		from, to := imagetest.Proxy(t, source, fuse.middleware), imagetest.Serve(t, destination, fuse.middleware)
		r := berth(ctx, "copy", from+"/app:v1", to+"/"+repository+":v1", "--jobs", "2")
		tagged := complete(t, direct, repository, "v1")
		switch {
		case r.code != 0 && (ctx.Err() == nil || r.code != 3):
			t.Errorf("interrupted at request %d: exit code %d\n%s", fuse.at, r.code, r)
		case r.code == 0 && !tagged:
			t.Errorf("interrupted at request %d: exit code 0, and no tag\n%s", fuse.at, r)
		case tagged && strings.Contains(r.stderr, "no tag was written"):
			t.Errorf("interrupted at request %d: the tag is there\n%s", fuse.at, r)
		}
	}
	whole := &fuse{}
	at(whole)
	for _, after := range []bool{false, true} {
		for n := 1; n <= whole.requests; n++ {
			at(&fuse{at: n, after: after})
		}
	}
	t.Logf("interrupted before and after each of %d requests", whole.requests)
}

// fuse interrupts at a request: before or after it is served.
type fuse struct {
	at    int
	after bool
	blow  func()

	mu       sync.Mutex
	requests int
}

func (f *fuse) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests++
		now := f.requests == f.at
		f.mu.Unlock()
		if now && !f.after {
			f.blow()
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
		if now {
			f.blow()
		}
	})
}

// complete tells whether a tag is there, and fails the test where it is and
// something that it refers to is not.
func complete(t *testing.T, host, repository, tag string) bool {
	t.Helper()
	client := registry.New(registry.Options{})
	defer client.CloseIdleConnections()
	from := client.Repository(host, repository)
	if _, err := from.Manifest(t.Context(), tag); err != nil {
		if !strings.Contains(err.Error(), "not found") {
			t.Fatal(err)
		}
		return false
	}
	var walk func(reference string)
	walk = func(reference string) {
		found, err := from.Manifest(t.Context(), reference)
		if err != nil {
			t.Errorf("the tag is there, and this is not: %v", err)
			return
		}
		var manifest struct {
			v1.Manifest
			Manifests []store.Descriptor
		}
		if err := json.Unmarshal(found.Raw, &manifest); err != nil {
			t.Fatal(err)
		}
		for _, child := range manifest.Manifests {
			walk(child.Digest.String())
		}
		if len(manifest.Manifests) > 0 {
			return
		}
		for _, blob := range append(manifest.Layers, manifest.Config) {
			if _, err := store.ReadBlob(t.Context(), from, blob, blob.Size); err != nil {
				t.Errorf("the tag is there, and this is not: %v", err)
			}
		}
	}
	walk(tag)
	return true
}

// TestCtrlC sends the built command the signal that Ctrl-C sends, in the middle of
// an upload.
func TestCtrlC(t *testing.T) {
	if runtime.GOOS == "windows" {
		imagetest.Missing(t, "signals", "run the tests on Linux or macOS")
	}
	image := imagetest.New()
	image.AddImage(single("linux/amd64", "linux/amd64"), "v1")
	source := push(t, image, imagetest.Registry(t), "app") + ":v1"

	cmd := exec.CommandContext(t.Context(), build(t), "copy", source, "")
	var once sync.Once
	uploading := make(chan struct{})
	hold := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				once.Do(func() { close(uploading) })
				// A server notices that its client has gone once it has read the body.
				io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	inner := imagetest.Registry(t)
	destination := imagetest.Proxy(t, inner, hold)
	cmd.Args[3] = destination + "/copy:v1"
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-uploading:
	case err := <-ended:
		t.Fatalf("it ended before it uploaded anything: %v\n%s", err, &stderr)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	err := <-ended
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("after Ctrl-C: %v\n%s", err, &stderr)
	}
	if stdout.Len() > 0 {
		t.Errorf("printed a result: %s", &stdout)
	}
	untagged(t, inner, "copy", "v1")
}

// build builds the command and returns its path.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth")
	cmd := exec.CommandContext(t.Context(), imagetest.Program(t, "go", "golang"), "build", "-o", path, "berth/cmd/berth")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
