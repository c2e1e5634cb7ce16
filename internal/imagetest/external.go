package imagetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Missing skips a test for want of something and says how to get it. Under
// CI=true it fails the test instead: there, nothing may be missing.
func Missing(tb testing.TB, what, remedy string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("missing: %s; %s", what, remedy)
	}
	tb.Skipf("missing: %s; %s", what, remedy)
}

// Program returns the path of a program, or reports it [Missing] with the Debian
// package that has it.
func Program(tb testing.TB, name, debianPackage string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, name, "on Debian: apt-get install "+debianPackage)
	}
	return path
}

// Tool returns the path of a program that the tools module pins. The first time
// on a machine, Go downloads and builds it.
func Tool(tb testing.TB, name string) string {
	tb.Helper()
	goCommand := Program(tb, "go", "golang")
	gomod, err := exec.Command(goCommand, "env", "GOMOD").Output()
	if err != nil {
		tb.Fatalf("go env GOMOD: %v", err)
	}
	cmd := exec.CommandContext(tb.Context(), goCommand, "tool", "-n", name)
	cmd.Dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(gomod))), "tools")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=", "GOARCH=")
	path, err := cmd.Output()
	if err != nil {
		Missing(tb, name, fmt.Sprintf("`go tool -n %s` in tools/ builds it: %v", name, withStderr(err)))
	}
	return strings.TrimSpace(string(path))
}

// Skopeo runs skopeo and returns its standard output; it fails the test where
// skopeo does.
func Skopeo(tb testing.TB, args ...string) string {
	tb.Helper()
	return Output(tb, Program(tb, "skopeo", "skopeo"), append([]string{"--insecure-policy"}, args...)...)
}

// Crane runs crane and returns its standard output; it fails the test where crane
// does.
func Crane(tb testing.TB, args ...string) string {
	tb.Helper()
	return Output(tb, Tool(tb, "crane"), args...)
}

// Output runs a program and returns its standard output; it fails the test where
// the program does. The program finds no credentials of the user who runs the
// tests.
func Output(tb testing.TB, path string, args ...string) string {
	tb.Helper()
	home := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), path, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+filepath.Join(home, "auth.json"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s %s: %v\n%s", filepath.Base(path), strings.Join(args, " "), err, &stderr)
	}
	return stdout.String()
}

// withStderr adds what a program said to the error with which it ended.
func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}
