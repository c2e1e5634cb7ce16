package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
)

func TestPushStream(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 100_000)
	errSource := errors.New("the source broke")
	open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	for _, c := range []struct {
		name string
		// fails answers for the n-th PATCH or PUT.
		fails func(method string, n int) int
		open  func(context.Context) (io.ReadCloser, error)
		is    error
		says  string
		posts int
	}{
		{"at once", func(string, int) int { return 0 }, open, nil, "", 1},
		{"the second time", func(method string, n int) int {
			if method == http.MethodPatch && n == 1 {
				return http.StatusServiceUnavailable
			}
			return 0
		}, open, nil, "", 2},
		{"its end is refused once", func(method string, n int) int {
			if method == http.MethodPut && n == 1 {
				return http.StatusBadGateway
			}
			return 0
		}, open, nil, "", 2},
		{"never", func(string, int) int { return http.StatusForbidden }, open, store.ErrDenied, "", 1},
		{"the source fails", func(string, int) int { return 0 }, func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("some"), errReader{errSource})), nil
		}, errSource, "the source broke", 1},
		{"the source does not open", func(string, int) int { return 0 }, func(context.Context) (io.ReadCloser, error) { return nil, errSource }, errSource, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var traffic imagetest.Traffic
			seen := map[string]int{}
			host := imagetest.Registry(t, traffic.Record, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPatch || r.Method == http.MethodPut {
						seen[r.Method]++
						if status := c.fails(r.Method, seen[r.Method]); status > 0 {
							_, _ = io.Copy(io.Discard, r.Body) // as registries do
							imagetest.Status(status, "UNKNOWN")(w, r)
							return
						}
					}
					next.ServeHTTP(w, r)
				})
			})
			client := New(Options{Retry: Retry{Sleep: func(context.Context, time.Duration) error { return nil }}})
			defer client.CloseIdleConnections()
			r := client.Repository(host, "app")
			desc, err := r.PushStream(t.Context(), "sha256:of the source", c.open)
			if !errors.Is(err, c.is) || c.says != "" && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("err = %v", err)
			}
			posts := 0
			for _, request := range traffic.Requests() {
				if strings.HasPrefix(request, "POST ") {
					posts++
				}
			}
			if posts != c.posts {
				t.Errorf("%d uploads were started, want %d", posts, c.posts)
			}
			if err != nil {
				return
			}
			if want := (store.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}); desc.Digest != want.Digest || desc.Size != want.Size {
				t.Errorf("%+v, want %+v", desc, want)
			}
			if raw, err := store.ReadBlob(t.Context(), r, desc, 1<<20); err != nil || !bytes.Equal(raw, content) {
				t.Errorf("read back %d bytes, %v", len(raw), err)
			}
		})
	}
}

// errReader fails.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
