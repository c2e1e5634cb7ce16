package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// contender is a program that copies images.
type contender struct {
	name string
	// args are the program and what it is started with.
	args func(from, to string) []string
}

// programs are what a comparison starts.
type programs struct {
	registry string
	berth    contender
	peers    []contender
	missing  string // what could not be compared, and why
}

// atOnce is how many requests each peer that has a setting for it may have in flight:
// where they are fastest over 50 ms of round-trip time, and more than their default.
const atOnce = "16"

// build builds berth, the registry and the peers into bin/, from the versions that
// go.mod, tools/go.mod and bench/peers/go.mod pin.
func build(ctx context.Context) (*programs, error) {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(root, "bin", "bench")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	for _, b := range []struct {
		module   string
		packages []string
	}{
		{".", []string{"./cmd/berth"}},
		{"tools", []string{"github.com/distribution/distribution/v3/cmd/registry"}},
		{"bench/peers", []string{"./oras", "github.com/google/go-containerregistry/cmd/crane", "github.com/regclient/regclient/cmd/regctl"}},
	} {
		args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", bin + string(filepath.Separator)}, b.packages...)
		if _, err := output(ctx, filepath.Join(root, b.module), "go", args...); err != nil {
			return nil, err
		}
	}
	program := func(name string) string { return filepath.Join(bin, name) }
	versions, err := output(ctx, filepath.Join(root, "bench/peers"), "go", "list", "-m", "-f", "{{.Path}} {{.Version}}",
		"github.com/google/go-containerregistry", "github.com/regclient/regclient", "oras.land/oras-go/v2")
	if err != nil {
		return nil, err
	}
	version := map[string]string{}
	for line := range strings.Lines(versions) {
		path, v, _ := strings.Cut(strings.TrimSpace(line), " ")
		version[path] = v
	}
	p := &programs{registry: program("registry")}
	p.berth = contender{name: "berth", args: func(from, to string) []string { return []string{program("berth"), "copy", from, to} }}
	p.peers = []contender{
		{name: "crane " + version["github.com/google/go-containerregistry"], args: func(from, to string) []string {
			return []string{program("crane"), "copy", "--jobs", atOnce, from, to}
		}},
		{name: "regctl " + version["github.com/regclient/regclient"], args: func(from, to string) []string {
			return []string{program("regctl"), "image", "copy", from, to}
		}},
		{name: "oras-go " + version["oras.land/oras-go/v2"], args: func(from, to string) []string {
			return []string{program("oras"), from, to}
		}},
	}
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		p.missing = "skopeo is not installed (on Debian: apt-get install skopeo), and left out"
		return p, nil
	}
	said, err := output(ctx, "", skopeo, "--version")
	if err != nil {
		return nil, err
	}
	p.peers = append(p.peers, contender{name: "skopeo " + regexp.MustCompile(`[0-9][0-9.]*`).FindString(said), args: func(from, to string) []string {
		return []string{skopeo, "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://" + from, "docker://" + to}
	}})
	return p, nil
}

// settings writes what regctl wants to know of registries without TLS into folder.
func settings(folder string, hosts ...string) (env []string, err error) {
	known := map[string]any{}
	for _, host := range hosts {
		known[host] = map[string]any{"hostname": host, "tls": "disabled", "reqConcurrent": json.Number(atOnce)}
	}
	raw, err := json.Marshal(map[string]any{"hosts": known})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "regctl.json")
	return []string{"REGCTL_CONFIG=" + path}, os.WriteFile(path, raw, 0o600)
}

// output runs a program in folder and returns what it writes, without white space
// around it.
func output(ctx context.Context, folder, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=", "GOARCH=")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}
