package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// cost is what one run of a program took.
type cost struct {
	Took time.Duration
	// CPU is its user and system time, Peak the most memory it held, in bytes.
	CPU  time.Duration
	Peak int64
}

// stopwatch runs a program and writes its cost to standard output. It is a process
// of its own because Linux counts the memory of whoever starts a program as that
// program's until it has replaced it, and the bench itself holds images.
func stopwatch(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	started := time.Now()
	err := cmd.Run()
	took := time.Since(started)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	state := cmd.ProcessState
	return json.NewEncoder(os.Stdout).Encode(cost{took, state.UserTime() + state.SystemTime(), peak(state)})
}

// strangers is an environment in which no tool finds credentials, settings or caches of
// the user who runs this.
func strangers(home string) []string {
	return append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home,
		"DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+home+"/auth.json",
		"_CONTAINERS_ROOTLESS_UID=65534") // or skopeo keeps root's cache of blobs in /var, and mounts from the last round's
}

// clock runs a program under a stopwatch, with home for its home folder.
func clock(ctx context.Context, home string, env []string, args ...string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{"time"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends what it started
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(strangers(home), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cost{}, cause
		}
		return cost{}, errors.Join(err, errors.New(strings.TrimSpace(said.String())))
	}
	var c cost
	return c, json.Unmarshal(out, &c)
}
