package imagetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Engine is a Docker daemon of the test's own.
type Engine struct {
	docker string
	env    []string
}

// Docker starts a Docker daemon that shares nothing with one that may run already,
// until the test ends. It takes seconds: start one in a parent test and use it in
// the subtests. Its containers have no network but the host's; registries on
// loopback need no TLS.
func Docker(tb testing.TB) *Engine {
	tb.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		Missing(tb, "root on Linux, which a Docker daemon for tests needs", "run the tests as root there")
	}
	dockerd := Program(tb, "dockerd", "docker.io")
	engine := &Engine{docker: Program(tb, "docker", "docker.io")}

	// The path of a Unix socket has at most 107 bytes, so this is not tb.TempDir.
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// What is mounted below is not ours to delete: the daemon did not unmount it.
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("the Docker daemon left something behind: %v", err)
		}
	})
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	engine.env = append(os.Environ(), "HOME="+dir, "DOCKER_CONFIG="+dir, "DOCKER_HOST="+socket, "DOCKER_CONTEXT=", "DOCKER_DEFAULT_PLATFORM=")

	// The machine's own configuration could contradict the flags below.
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), dockerd,
		"--config-file", config,
		"--host", socket,
		"--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "docker.pid"),
		"--bridge", "none", "--iptables=false", "--ip6tables=false")
	// SIGTERM makes it stop its containers and its containerd. The bound is for a
	// daemon that hangs; it takes part of a second otherwise.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	startServer(tb, cmd, regexp.MustCompile(`API listen on ([^\s"]+)`))
	return engine
}

// Try runs docker and returns its standard output, and an error that has its
// standard error.
func (e *Engine) Try(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), e.docker, args...)
	cmd.Env = e.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("docker %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return stdout.String(), nil
}

// Run runs docker and returns its standard output; it fails the test where docker
// does.
func (e *Engine) Run(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := e.Try(tb, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}
