package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"berth/internal/imagetest"
	"berth/store"
)

func TestSourceFails(t *testing.T) {
	broken := errors.New("the source broke")
	raw := bytesOf(200_000)
	for name, open := range map[string]func(context.Context, int64) (io.ReadCloser, error){
		"to open": func(context.Context, int64) (io.ReadCloser, error) { return nil, broken },
		"on the way": func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:100_000]), failing{broken})), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			traffic := new(imagetest.Traffic)
			r := newClient(t, Options{}).Repository(imagetest.Registry(t, traffic.Record), "app")
			_, err := r.PushBlob(t.Context(), store.Content{Descriptor: descriptor(raw), Open: open})
			wantError(t, err, broken)
			if n := count(traffic, "POST"); n != 1 {
				t.Errorf("%d sessions: a source's failure is not the registry's", n)
			}
		})
	}
	short := store.Content{Descriptor: descriptor(raw), Open: func(context.Context, int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw[:10])), nil
	}}
	_, err := newClient(t, Options{}).Repository(imagetest.Registry(t), "app").PushBlob(t.Context(), short)
	wantError(t, err, nil, "pushing blob")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// The session is on another host, which has a query of its own and is not shown
// who we are.
func TestUploadElsewhere(t *testing.T) {
	var query, authorization atomic.Value
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		query.Store(r.URL.RawQuery)
		authorization.Store(r.Header.Get("Authorization"))
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Location", "http://"+storage+"/up?_state=a;b%3D&X-Signature="+secret)
		w.WriteHeader(http.StatusAccepted)
	})
	blob, _ := content([]byte("x"))
	r := newClient(t, Options{Credentials: credentials(Credential{Username: "alice", Password: secret})}).Repository(registry, "app")
	if _, err := r.PushBlob(t.Context(), blob); err != nil {
		t.Fatal(err)
	}
	if want := "_state=a;b%3D&X-Signature=" + secret + "&digest=sha256%3A" + blob.Descriptor.Digest.Encoded(); query.Load() != want {
		t.Errorf("%s, want %s", query.Load(), want)
	}
	if authorization.Load() != "" {
		t.Error("the storage was shown credentials")
	}
}

// The source waits to be read until it is cancelled: nothing is left behind, as
// TestMain sees.
func TestPushIsCancelled(t *testing.T) {
	for name, match := range map[string]string{"at its session": "POST", "while it is sent": "PUT"} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			host := imagetest.Registry(t, first(1, match, func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					_, _ = io.CopyN(io.Discard, r.Body, 1000)
				}
				cancel()
				// A server notices that its client went when it has read all that was sent.
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}))
			raw := bytesOf(100_000)
			var closed atomic.Int64
			_, err := newClient(t, Options{}).Repository(host, "app").PushBlob(ctx, store.Content{
				Descriptor: descriptor(raw),
				Open: func(ctx context.Context, _ int64) (io.ReadCloser, error) {
					return &slow{io.MultiReader(bytes.NewReader(raw[:50_000]), waiting{ctx}), &closed}, nil
				},
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want the context's error", err)
			}
			if closed.Load() != 1 {
				t.Errorf("the source was closed %d times", closed.Load())
			}
		})
	}
}

type slow struct {
	io.Reader
	closed *atomic.Int64
}

func (s *slow) Close() error { s.closed.Add(1); return nil }

// waiting reads nothing until its context ends.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// A blob that drops at the source is resumed inside the PUT under way.
func TestSourceResumesInsideAnUpload(t *testing.T) {
	raw := bytesOf(500_000)
	source, requests := blobServer(t, raw, func(n int64, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			part(w, r, raw, 200_000)
		}
		return false
	})
	traffic := new(imagetest.Traffic)
	r := newClient(t, Options{}).Repository(imagetest.Registry(t, traffic.Record), "app")
	outcome, err := r.PushBlob(t.Context(), store.Content{Descriptor: descriptor(raw), Open: func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return source.Blob(ctx, descriptor(raw), offset)
	}})
	if err != nil || outcome != store.Copied {
		t.Fatal(outcome, err)
	}
	if count(traffic, "PUT") != 1 || requests.Load() != 2 {
		t.Errorf("%d uploads of %d downloads, want 1 of 2", count(traffic, "PUT"), requests.Load())
	}
}
