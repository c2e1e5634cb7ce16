package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/store/registry"
)

// figures prints requests and round trips against registries that answer late, bytes
// that a proof reads, and the size of the program.
//
// A round trip here is one answer that a registry holds back: the time of a command
// divided by the delay, less what the command takes without delay. Both registries
// are in memory and ask for bearer tokens.
func figures(ctx context.Context) error {
	b := &bench{ctx: ctx, out: tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)}
	fmt.Fprintln(b.out, "WHAT\tREQUESTS\tROUND TRIPS")
	if err := errors.Join(b.requests(), b.out.Flush()); err != nil {
		return err
	}
	fmt.Fprintln(b.out, "\nPROVE\tREAD\tOF\tSHARE\tVERDICT")
	if err := errors.Join(b.proofs(), b.out.Flush()); err != nil {
		return err
	}
	fmt.Fprintln(b.out, "\nCHECK\tREQUESTS\tTIME")
	if err := errors.Join(b.deployments(), b.out.Flush()); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	program, err := b.program(folder)
	if err != nil {
		return err
	}
	fmt.Fprintln(b.out, "\nREADING\tMB\tSECONDS\tMB/S\tPEAK, MB")
	return errors.Join(b.reading(program), b.out.Flush())
}

type bench struct {
	ctx context.Context
	out *tabwriter.Writer
}

// server is a registry in memory, which waits before each answer.
type server struct {
	host     string
	wait     atomic.Int64
	requests atomic.Int64
	close    func()
}

func serve() (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{host: listener.Addr().String()}
	inner := imagetest.Bearer(imagetest.NewRegistry())
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		time.Sleep(time.Duration(s.wait.Load()))
		inner.ServeHTTP(w, r)
	})}
	go func() { _ = h.Serve(listener) }() // ends with close
	s.close = func() { _ = h.Close() }
	return s, nil
}

// requests measures commands on an image of 8 platforms, 5 layers of 64 KiB each,
// with an attestation each.
func (b *bench) requests() error {
	src, err := serve()
	if err != nil {
		return err
	}
	defer src.close()
	if err := push(b.ctx, src, "app", attested("v1")); err != nil {
		return err
	}
	from := src.host + "/app:v1"
	if err := b.measure("inspect, 8 platforms + 8 attestations", src, nil, func(string) []string { return []string{"inspect", from} }); err != nil {
		return err
	}
	copies := []struct {
		what string
		args []string
	}{
		{"copy all: 8 × 5 layers + 8 attestations", nil},
		{"copy --platform linux/amd64", []string{"--platform", "linux/amd64", "--prove=never"}},
	}
	for _, c := range copies {
		if err := b.measure(c.what, src, serve, func(to string) []string { return append([]string{"copy", from, to + "/app:v1"}, c.args...) }); err != nil {
			return err
		}
	}
	// The same registry, another repository: everything is mounted.
	n := 0
	if err := b.measure("copy to another repository of the registry", src, nil, func(string) []string {
		n++
		return []string{"copy", from, fmt.Sprintf("%s/other%d:v1", src.host, n)}
	}); err != nil {
		return err
	}
	if err := startable(b, src); err != nil {
		return err
	}
	if err := b.measure("prove, 8 platforms × 5 layers, all of them needed", src, nil, func(string) []string {
		return []string{"prove", src.host + "/startable:v1", "--no-cache"}
	}); err != nil {
		return err
	}
	to := src.host + "/other1:v1"
	return b.measure("copy, nothing changed", src, nil, func(string) []string { return []string{"copy", from, to} })
}

// measure runs a command twice, without and with delay, each time with a
// destination of its own where destination is not nil.
func (b *bench) measure(what string, src *server, destination func() (*server, error), args func(to string) []string) error {
	var took [2]time.Duration
	var requests int64
	for i, wait := range []time.Duration{0, delay} {
		dst := &server{}
		if destination != nil {
			var err error
			if dst, err = destination(); err != nil {
				return err
			}
			defer dst.close()
		}
		src.wait.Store(int64(wait))
		dst.wait.Store(int64(wait))
		before := src.requests.Load()
		started := time.Now()
		var out bytes.Buffer
		if code := cli.Main(b.ctx, args(dst.host), strings.NewReader(""), &out, &out); code != 0 {
			return fmt.Errorf("%s: exit code %d: %s", what, code, out.String())
		}
		took[i] = time.Since(started)
		requests = src.requests.Load() - before + dst.requests.Load()
	}
	src.wait.Store(0)
	_, err := fmt.Fprintf(b.out, "%s\t%d\t%.1f\n", what, requests, float64(took[1]-took[0])/float64(delay))
	return err
}

func push(ctx context.Context, s *server, repository string, m *imagetest.Memory) error {
	return m.PushTo(ctx, registry.New(registry.Options{}).Repository(s.host, repository))
}
