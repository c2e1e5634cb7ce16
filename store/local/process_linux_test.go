package local_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/store"
	"berth/store/local"
)

// The test program runs itself for what concerns a whole process: a lock, a
// limit, a user. The name of the part to play is in this variable.
const partVariable = "BERTH_TEST_PART"

func TestMain(m *testing.M) {
	part := os.Getenv(partVariable)
	if part == "" {
		os.Exit(m.Run())
	}
	if err := parts[part](os.Args[1], os.Args[2]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

const tagsEach = 25

var parts = map[string]func(dir, name string) error{
	"tag": func(dir, name string) error {
		l, err := local.CreateLayout(dir)
		if err != nil {
			return err
		}
		for i := range tagsEach {
			desc, raw := bare(name)
			if err := l.PushManifest(context.Background(), desc, raw, fmt.Sprintf("%s-%d", name, i)); err != nil {
				return err
			}
		}
		return l.Close()
	},
	// A limit for files answers EFBIG where a full disk answers ENOSPC, at the same place.
	"full": func(dir, _ string) error {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
			return err
		}
		l, err := local.CreateLayout(dir)
		if err != nil {
			return err
		}
		_, err = l.PushBlob(context.Background(), imageContent(strings.Repeat("x", 1<<20)))
		if !errors.Is(err, syscall.EFBIG) {
			return fmt.Errorf("PushBlob: %v, want %v", err, syscall.EFBIG)
		}
		return nil
	},
	"full-archive": func(dir, _ string) error {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
			return err
		}
		ctx, content := context.Background(), imageContent(strings.Repeat("x", 1<<20))
		oci, err := local.CreateOCIArchive(filepath.Join(dir, "oci.tar"), local.Options{})
		if err != nil {
			return err
		}
		docker, err := local.CreateDockerArchive(filepath.Join(dir, "docker.tar"), "", local.Options{})
		if err != nil {
			return err
		}
		for _, w := range []interface {
			store.Destination
			io.Closer
		}{oci, docker} {
			if _, err := w.PushBlob(ctx, content); !errors.Is(err, syscall.EFBIG) {
				return fmt.Errorf("PushBlob: %v, want %v", err, syscall.EFBIG)
			}
			if err := w.Close(); err != nil {
				return err
			}
		}
		_, err = local.OpenOCIArchive(ctx, store.Standard, local.Options{Stdin: strings.NewReader(strings.Repeat("x", 1<<20)), TempDir: dir})
		if !errors.Is(err, syscall.EFBIG) {
			return fmt.Errorf("OpenOCIArchive: %v, want %v", err, syscall.EFBIG)
		}
		return nil
	},
	"nobody": func(dir, _ string) error {
		if os.Getuid() == 0 {
			if err := syscall.Setuid(65534); err != nil {
				return err
			}
		}
		for _, d := range []string{dir, filepath.Join(dir, "new")} {
			l, err := local.CreateLayout(d)
			if err != nil {
				return err
			}
			if _, err = l.PushBlob(context.Background(), imageContent("hello")); !errors.Is(err, store.ErrReadOnly) {
				return fmt.Errorf("PushBlob to %s: %v, want %v", d, err, store.ErrReadOnly)
			}
		}
		return nil
	},
}

func play(t *testing.T, part, dir, name string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, dir, name)
	cmd.Env = append(os.Environ(), partVariable+"="+part)
	return cmd
}

func TestConcurrentProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	var running []*exec.Cmd
	for _, name := range []string{"a", "b", "c"} {
		cmd := play(t, "tag", dir, name)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if got, want := len(tags(t, dir)), len(running)*tagsEach; got != want {
		t.Errorf("%d tags, want %d", got, want)
	}
}

func TestFullDisk(t *testing.T) {
	for _, part := range []string{"full", "full-archive"} {
		dir := t.TempDir()
		if out, err := play(t, part, dir, "").CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", part, err, out)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("%s: left behind: %s", part, left)
		}
	}
}

func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	// Only the user of the test may look into the folder that holds its folders.
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	if out, err := play(t, "nobody", dir, "").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// A pipe would keep whoever opens it waiting.
func TestBlobThatIsAPipe(t *testing.T) {
	dir := layout(t, index())
	d := digest.FromString("content")
	if err := syscall.Mkfifo(filepath.Join(dir, "blobs", "sha256", d.Encoded()), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, dir).Blob(t.Context(), store.Descriptor{Digest: d, Size: 7}, 0)
	if err == nil || !strings.Contains(err.Error(), "special file, not a regular file") {
		t.Errorf("%v", err)
	}
}
