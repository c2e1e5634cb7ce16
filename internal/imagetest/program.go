package imagetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/platform"
)

// GoPlatforms are platforms for which Go compiles: one of each family, and the
// ones that images are built for.
var GoPlatforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/s390x", "linux/ppc64le", "linux/riscv64"}

// GoProgram compiles the text of a Go program into a static executable for p. It
// needs nothing but Go and the standard library; programs that import nothing
// compile fastest.
func GoProgram(tb testing.TB, p platform.Platform, source string) []byte {
	tb.Helper()
	Program(tb, "go", "golang")
	raw, err := CompileGo(tb.Context(), p, source)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// CompileGo is [GoProgram] outside of tests.
func CompileGo(ctx context.Context, p platform.Platform, source string) (executable []byte, err error) {
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "main", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.OS, "GOARCH="+p.Architecture, "PWD="+dir)
	if p.Architecture == "arm" && p.Variant != "" {
		cmd.Env = append(cmd.Env, "GOARM="+strings.TrimPrefix(p.Variant, "v"))
	}
	if p.Architecture == "amd64" && p.Variant != "" {
		cmd.Env = append(cmd.Env, "GOAMD64="+p.Variant)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling for %s: %w\n%s", platform.Format(p), err, out)
	}
	return os.ReadFile(filepath.Join(dir, "main"))
}
