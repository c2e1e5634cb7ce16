package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"berth/internal/imagetest"
	"berth/store"
)

// noTime is for http.ServeContent, which then sends no date.
var noTime time.Time

// blobServer serves raw, with ranges, after fault has had a look at the n-th
// request; fault returns true where it has answered.
func blobServer(t *testing.T, raw []byte, fault func(n int64, w http.ResponseWriter, r *http.Request) bool) (r *Repository, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := requests.Add(1); fault == nil || !fault(n, w, r) {
			http.ServeContent(w, r, "", noTime, bytes.NewReader(raw))
		}
	})
	return newClient(t, Options{Idle: 250 * time.Millisecond}).Repository(host, "app"), requests
}

// part answers with n bytes of raw from the range's start on, and breaks off.
func part(w http.ResponseWriter, r *http.Request, raw []byte, n int) {
	start := 0
	if header := r.Header.Get("Range"); header != "" {
		if _, err := fmt.Sscanf(header, "bytes=%d-", &start); err != nil {
			panic(err)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(raw)-1, len(raw)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)-start))
	if start > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(raw[start : start+n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestBlob(t *testing.T) {
	raw := bytesOf(30_000)
	r, requests := blobServer(t, raw, nil)
	for _, offset := range []int64{0, 1, 29_999, 30_000} {
		reader, err := r.Blob(t.Context(), descriptor(raw), offset)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(reader, raw[offset:]); err != nil {
			t.Errorf("from %d on: %v", offset, err)
		}
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	}
	if requests.Load() != 3 {
		t.Errorf("%d requests, want 3: nothing is left to be asked for at the end", requests.Load())
	}
	for _, offset := range []int64{-1, 30_001} {
		_, err := r.Blob(t.Context(), descriptor(raw), offset)
		wantError(t, err, nil, fmt.Sprintf("from byte %d on", offset))
	}
	empty, err := store.ReadBlob(t.Context(), newClient(t, Options{}).Repository(serve(t, func(http.ResponseWriter, *http.Request) {}), "app"), descriptor(nil), 0)
	if err != nil || len(empty) != 0 {
		t.Errorf("an empty blob: %q, %v", empty, err)
	}
}

func TestBlobResumes(t *testing.T) {
	const size = 1_000_000
	raw := bytesOf(size)
	for name, fault := range map[string]func(n int64, w http.ResponseWriter, r *http.Request) bool{
		"after one break": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				part(w, r, raw, 400_000)
			}
			return false
		},
		"after a dozen with progress": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if n <= 12 {
				part(w, r, raw, 70_000)
			}
			return false
		},
		"after one and a refusal": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			switch n {
			case 1:
				part(w, r, raw, 400_000)
			case 2:
				w.WriteHeader(http.StatusServiceUnavailable)
			case 3:
				panic(http.ErrAbortHandler)
			}
			return n <= 3
		},
		"where ranges are ignored": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				part(w, r, raw, 400_000)
			}
			r.Header.Del("Range")
			return false
		},
		"where the first range is another": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			switch n {
			case 1:
				part(w, r, raw, 400_000)
			case 2:
				r.Header.Set("Range", "bytes=5-")
			}
			return false
		},
		"after it stalled": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(size))
				_, _ = w.Write(raw[:1000])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"after it stalled before it began": func(n int64, _ http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, requests := blobServer(t, raw, fault)
			got, err := store.ReadBlob(t.Context(), r, descriptor(raw), size)
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%d bytes: %v", len(got), err)
			}
			if requests.Load() < 2 {
				t.Error("it was never resumed")
			}
		})
	}
}

func TestBlobGivesUp(t *testing.T) {
	raw := bytesOf(100_000)
	for name, c := range map[string]struct {
		fault    func(n int64, w http.ResponseWriter, r *http.Request) bool
		offset   int64
		category error
		says     string
		requests int64
	}{
		"breaks without progress": {
			fault: func(_ int64, w http.ResponseWriter, r *http.Request) bool { part(w, r, raw, 10); return true },
			// The first request, and one more after each break but the last.
			category: io.ErrUnexpectedEOF, says: "bytes came: unexpected EOF", requests: 5,
		},
		"not found": {fault: refuseWith(404, "BLOB_UNKNOWN"), category: store.ErrNotFound, says: "BLOB_UNKNOWN", requests: 1},
		"416":       {fault: refuseWith(416, ""), offset: 10, says: "416 (Requested Range Not Satisfiable)", requests: 1},
		"shorter than promised": {
			fault:    func(_ int64, w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write(raw[:500]); return true },
			category: store.ErrCorrupt, says: "the registry has 500 bytes, and the descriptor says 100000", requests: 1,
		},
		"longer than promised": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Length", "100001")
				_, _ = w.Write(append(bytes.Clone(raw), 'x'))
				return true
			},
			category: store.ErrCorrupt, says: "the registry has 100001 bytes", requests: 1,
		},
		"longer without saying so": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.(http.Flusher).Flush()
				_, _ = w.Write(append(bytes.Clone(raw), 'x'))
				return true
			},
			category: store.ErrCorrupt, says: "more than the 100000 bytes", requests: 1,
		},
		"a range of something longer": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 10-99999/100001")
				w.WriteHeader(http.StatusPartialContent)
				return true
			},
			offset: 10, category: store.ErrCorrupt, says: "the registry has 100001 bytes", requests: 1,
		},
		"another range for ever": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 5-99999/100000")
				w.WriteHeader(http.StatusPartialContent)
				return true
			},
			offset: 10, says: `bytes 10-99999 were asked for, and its Content-Range is "bytes 5-99999/100000"`, requests: 5,
		},
		"half of the range": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 10-99/100000")
				w.WriteHeader(http.StatusPartialContent)
				return true
			},
			offset: 10, says: `its Content-Range is "bytes 10-99/100000"`, requests: 5,
		},
		"a range nobody asked for": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusPartialContent)
				return true
			},
			says: `its Content-Range is ""`, requests: 5,
		},
		"encoded": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Encoding", "br")
				_, _ = w.Write([]byte("x"))
				return true
			},
			says: "the answer is encoded (br)", requests: 1,
		},
		"a web page": {
			fault: func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
				_, _ = w.Write([]byte("<!DOCTYPE html>log in"))
				return true
			},
			says: "it sent an HTML page", requests: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, requests := blobServer(t, raw, c.fault)
			reader, err := r.Blob(t.Context(), descriptor(raw), c.offset)
			if err == nil {
				_, err = io.ReadAll(reader)
				if again, _ := reader.Read(make([]byte, 1)); again != 0 {
					t.Error("it can be read on after its error")
				}
				if err := reader.Close(); err != nil {
					t.Error(err)
				}
			}
			wantError(t, err, c.category, "fetching blob", c.says)
			if requests.Load() != c.requests {
				t.Errorf("%d requests, want %d", requests.Load(), c.requests)
			}
		})
	}
}

func refuseWith(status int, code string) func(int64, http.ResponseWriter, *http.Request) bool {
	return func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		imagetest.Status(status, code)(w, r)
		return true
	}
}

func TestBlobIsCancelled(t *testing.T) {
	raw := bytesOf(100_000)
	r, _ := blobServer(t, raw, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
		_, _ = w.Write(raw[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	reader, err := r.Blob(ctx, descriptor(raw), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(reader, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := reader.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
}

// A blob that is closed early leaves nothing behind: TestMain looks.
func TestBlobIsClosedEarly(t *testing.T) {
	raw := bytesOf(5_000_000)
	r, _ := blobServer(t, raw, nil)
	reader, err := r.Blob(t.Context(), descriptor(raw), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	if _, err := reader.Read(make([]byte, 1)); err == nil {
		t.Error("a closed blob can be read")
	}
}

func TestBlobMovesOnFromAMirror(t *testing.T) {
	raw := bytesOf(100_000)
	var requests atomic.Int64
	mirror := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		part(w, r, raw, 50_000)
	})
	home := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "bytes=50000-99999" {
			t.Errorf("Range: %s", r.Header.Get("Range"))
		}
		http.ServeContent(w, r, "", noTime, bytes.NewReader(raw))
	})
	client := newClient(t, Options{Config: Config{Hosts: map[string]HostConfig{home: {Mirrors: []string{mirror}}}}})
	got, err := store.ReadBlob(t.Context(), client.Repository(home, "app"), descriptor(raw), 100_000)
	if err != nil || !bytes.Equal(got, raw) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

func TestParseContentRange(t *testing.T) {
	for in, want := range map[string]contentRange{
		"bytes 0-0/1":                   {0, 0, 1},
		"bytes 5-9/10":                  {5, 9, 10},
		"Bytes 5-9/*":                   {5, 9, -1},
		"bytes 0-9/007":                 {},
		"bytes 5-9/9":                   {},
		"bytes 9-5/10":                  {},
		"bytes */10":                    {},
		"bytes -5-9/10":                 {},
		"bytes +5-9/10":                 {},
		"bytes 5-9":                     {},
		"bytes=5-9/10":                  {},
		"bytes 5-9223372036854775808/*": {},
		"":                              {},
	} {
		got, err := parseContentRange(in)
		if got != want || (err == nil) != (want != contentRange{}) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, seed := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseContentRange(s)
		if err != nil {
			if strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("%q has a control character", err)
			}
			return
		}
		if got.first < 0 || got.last < got.first || got.size >= 0 && got.last >= got.size {
			t.Fatalf("%q is %+v", s, got)
		}
		size := "*"
		if got.size >= 0 {
			size = fmt.Sprint(got.size)
		}
		if again, err := parseContentRange(fmt.Sprintf("bytes %d-%d/%s", got.first, got.last, size)); err != nil || again != got {
			t.Fatalf("%q is %+v, read back as %+v, %v", s, got, again, err)
		}
	})
}
