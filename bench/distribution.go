package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// distribution is the registry of the distribution project on a loopback port, and a
// long line to it.
type distribution struct {
	// host is where it listens, line leads there.
	host string
	line *line
	end  func()
}

// startDistribution starts an empty registry with its data under folder. With guard
// it wants tokens.
func startDistribution(ctx context.Context, program, folder string, guard *tokens) (*distribution, error) {
	settings := map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "info", "accesslog": map[string]any{"disabled": true}},
		"storage": map[string]any{"filesystem": map[string]any{"rootdirectory": filepath.Join(folder, "data"), "maxthreads": 100}},
		"http":    map[string]any{"addr": "127.0.0.1:0", "relativeurls": true},
	}
	if guard != nil {
		settings["auth"] = map[string]any{"token": guard.settings()}
	}
	config := filepath.Join(folder, "config.yml")
	raw, err := json.Marshal(settings) // which YAML includes
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, raw, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "serve", config)
	// It takes REGISTRY_AUTH_FILE, which is for clients, for a setting of its own.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "REGISTRY_") }), "OTEL_TRACES_EXPORTER=none")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &distribution{}
	log := bufio.NewScanner(out)
	ready := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
	said := ""
	for d.host == "" && log.Scan() {
		said += log.Text() + "\n"
		if found := ready.FindStringSubmatch(log.Text()); found != nil {
			d.host = found[1]
		}
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for log.Scan() {
		}
	}()
	end := func() {
		_ = cmd.Process.Kill() // it keeps nothing that anybody wants
		<-read
		_ = cmd.Wait() // by a signal, as it should be
	}
	if d.host == "" {
		end()
		return nil, fmt.Errorf("the registry did not start: %s", said)
	}
	if d.line, err = newLine(d.host); err != nil {
		end()
		return nil, err
	}
	d.end = func() { d.line.close(); end() }
	return d, nil
}

// pair is a source and a destination.
type pair struct {
	src, dst *distribution
	guard    *tokens
	end      func()
}

// startPair starts two registries with their data under folder, which want tokens
// where guarded.
func startPair(ctx context.Context, program, folder string, guarded bool) (*pair, error) {
	p := &pair{}
	var ends []func()
	p.end = func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	if guarded {
		var err error
		if p.guard, err = serveTokens(folder); err != nil {
			return nil, err
		}
		ends = append(ends, p.guard.close)
	}
	for name, to := range map[string]**distribution{"src": &p.src, "dst": &p.dst} {
		own := filepath.Join(folder, name)
		err := os.Mkdir(own, 0o700)
		if err == nil {
			*to, err = startDistribution(ctx, program, own, p.guard)
		}
		if err != nil {
			p.end()
			return nil, err
		}
		ends = append(ends, (*to).end)
	}
	return p, nil
}

// setRTT puts the registries, and the token server, that far away.
func (p *pair) setRTT(d time.Duration) {
	p.src.line.setRTT(d)
	p.dst.line.setRTT(d)
	if p.guard != nil {
		p.guard.line.setRTT(d)
	}
}
