package imagetest

import (
	"fmt"
	"io"
	"log"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Distribution starts the registry of the distribution project, empty, on a
// loopback port that the kernel chooses, until the test ends, and returns its
// host:port. With middleware, what is returned is a proxy in front of it.
func Distribution(tb testing.TB, middleware ...Middleware) string {
	tb.Helper()
	dir := tb.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `version: 0.1
storage:
  filesystem:
    rootdirectory: %s
  delete:
    enabled: true
http:
  addr: 127.0.0.1:0
  relativeurls: true
`, filepath.Join(dir, "data")), 0o600); err != nil {
		tb.Fatal(err)
	}

	cmd := exec.CommandContext(tb.Context(), Tool(tb, "registry"), "serve", config)
	// It takes REGISTRY_AUTH_FILE, which is for clients, for a setting of its own.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "REGISTRY_") }), "OTEL_TRACES_EXPORTER=none")
	host := startServer(tb, cmd, regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`))
	if len(middleware) == 0 {
		return host
	}
	return Proxy(tb, host, middleware...)
}

// Proxy puts middleware in front of the registry at host, and returns the host:port
// to use instead.
func Proxy(tb testing.TB, host string, middleware ...Middleware) string {
	tb.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	proxy.ErrorLog = log.New(io.Discard, "", 0) // clients that go away are part of the tests
	return Serve(tb, proxy, middleware...)
}

// startServer starts cmd, which ends with the test's context, and returns what the
// first group of ready matches in its log.
func startServer(tb testing.TB, cmd *exec.Cmd, ready *regexp.Regexp) string {
	tb.Helper()
	name := filepath.Base(cmd.Path)
	log := &serverLog{ready: ready, found: make(chan string, 1)}
	cmd.Stdout, cmd.Stderr = log, log
	neverOrphaned(cmd)
	if err := cmd.Start(); err != nil {
		tb.Fatalf("starting %s: %v", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case answer := <-log.found:
		tb.Cleanup(func() { <-ended }) // by a signal, which is as it should be
		return answer
	case err := <-ended:
		tb.Fatalf("%s did not start: %v\n%s", name, err, &log.text)
		return ""
	}
}

// serverLog keeps what a server says and looks for the line that says it is ready.
// Only the one goroutine that package exec has for it writes to it.
type serverLog struct {
	text  strings.Builder
	ready *regexp.Regexp
	found chan string
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.text.Write(p)
	if l.ready != nil {
		if m := l.ready.FindStringSubmatch(l.text.String()); m != nil {
			l.found <- m[1]
			l.ready = nil
		}
	}
	return len(p), nil
}
