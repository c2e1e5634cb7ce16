// Command bench prints what berth costs: requests and round trips against
// registries that answer 50 ms late, bytes that a proof reads, the size of the
// program. Run it with make figures.
//
// A round trip here is one answer that a registry holds back: the time of a command
// divided by the delay, less what the command takes without delay. Both registries
// are in memory and ask for bearer tokens.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
)

// delay is the round-trip time that the registries pretend to be away.
const delay = 50 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := &bench{ctx: ctx, out: tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)}
	fmt.Fprintln(b.out, "WHAT\tREQUESTS\tROUND TRIPS")
	if err := errors.Join(b.requests(), b.out.Flush()); err != nil {
		return err
	}
	fmt.Fprintln(b.out, "\nPROVE\tREAD\tOF\tSHARE\tVERDICT")
	if err := errors.Join(b.proofs(), b.out.Flush()); err != nil {
		return err
	}
	fmt.Println()
	return b.program()
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

var eight = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64"}

// requests measures commands on an image of 8 platforms, 5 layers of 64 KiB each,
// with an attestation each.
func (b *bench) requests() error {
	src, err := serve()
	if err != nil {
		return err
	}
	defer src.close()
	m := imagetest.New()
	var entries, attestations []store.Descriptor
	for _, p := range eight {
		var layers []imagetest.Layer
		for i := range 5 {
			layers = append(layers, imagetest.GzipLayer(imagetest.File{Name: fmt.Sprint("file", i), Body: noise(p+fmt.Sprint(i), 64<<10)}))
		}
		d := m.AddImage(imagetest.Image{Configured: platform.MustParse(p), Layers: layers}, "")
		entries, attestations = append(entries, d), append(attestations, m.AddAttestation(d))
	}
	m.AddIndex("v1", "", append(entries, attestations...)...)
	if err := push(b.ctx, src, "app", m); err != nil {
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

// proofs measures what prove reads of a static program on a large base, and of a
// dynamic one whose loader is in the base.
func (b *bench) proofs() error {
	src, err := serve()
	if err != nil {
		return err
	}
	defer src.close()
	base := []imagetest.File{{Name: "usr/lib64/", Type: '5'}, {Name: "lib64", Link: "usr/lib64"}}
	for i := range 400 {
		base = append(base, imagetest.File{Name: fmt.Sprintf("usr/share/data%03d", i), Body: noise(fmt.Sprint(i), 100<<10)})
		if i == 320 { // in Debian's base the loader lies at about four fifths
			base = append(base, imagetest.File{Name: "usr/lib64/ld-linux-x86-64.so.2", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse("linux/amd64"), ""))})
		}
	}
	big := imagetest.GzipLayer(base...)
	static, err := imagetest.CompileGo(b.ctx, platform.MustParse("linux/amd64"), "package main\n\nfunc main() {}\n")
	if err != nil {
		return err
	}
	for _, image := range []struct {
		name   string
		layers []imagetest.Layer
	}{
		{"static Go program on a base of 40 MB", []imagetest.Layer{big, imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(static)})}},
		{"dynamic program, its loader in the base", []imagetest.Layer{big, imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse("linux/amd64"), "/lib64/ld-linux-x86-64.so.2"))})}},
	} {
		m := imagetest.New()
		m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Config: v1.ImageConfig{Entrypoint: []string{"/app"}}, Layers: image.layers}, "v1")
		if err := push(b.ctx, src, "proof", m); err != nil {
			return err
		}
		var out, complaints bytes.Buffer
		cli.Main(b.ctx, []string{"prove", src.host + "/proof:v1", "-o", "json"}, strings.NewReader(""), &out, &complaints)
		var doc struct {
			Proofs []struct {
				Verdict string
				Bytes   struct{ Fetched, Total int64 }
			}
		}
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
			return fmt.Errorf("%w: %s", err, complaints.String())
		}
		p := doc.Proofs[0]
		fmt.Fprintf(b.out, "%s\t%d\t%d\t%.1f%%\t%s\n", image.name, p.Bytes.Fetched, p.Bytes.Total, 100*float64(p.Bytes.Fetched)/float64(p.Bytes.Total), p.Verdict)
	}
	return nil
}

// program measures the binary: its size, stripped, and the modules in it.
func (b *bench) program() error {
	folder, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "berth")
	build := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "berth/cmd/berth")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w: %s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	listed, err := exec.CommandContext(b.ctx, "go", "version", "-m", path).Output()
	if err != nil {
		return err
	}
	fmt.Printf("binary: %.1f MB stripped, %d modules\n", float64(info.Size())/1e6, strings.Count(string(listed), "\n\tdep\t"))
	return nil
}

func push(ctx context.Context, s *server, repository string, m *imagetest.Memory) error {
	return m.PushTo(ctx, registry.New(registry.Options{}).Repository(s.host, repository))
}

// noise is n bytes that do not compress, always the same for a seed.
func noise(seed string, n int) string {
	var out bytes.Buffer
	block := sha256.Sum256([]byte(seed))
	for out.Len() < n {
		out.Write(block[:])
		block = sha256.Sum256(block[:])
	}
	out.Truncate(n)
	return out.String()
}
