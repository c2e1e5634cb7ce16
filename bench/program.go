package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program builds the binary into a folder and measures it: its size, stripped, and the modules
// in it.
func (b *bench) program(folder string) (string, error) {
	path := filepath.Join(folder, "berth")
	build := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "berth/cmd/berth")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w: %s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	listed, err := exec.CommandContext(b.ctx, "go", "version", "-m", path).Output()
	if err != nil {
		return "", err
	}
	fmt.Printf("\nbinary: %.1f MB stripped, %d modules\n", float64(info.Size())/1e6, strings.Count(string(listed), "\n\tdep\t"))
	return path, nil
}
