package imagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"

	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/platform"
	"berth/store"
)

// Fault is one thing that goes wrong, or is different, in a copy from one registry to
// another: the rows of the fault matrix.
type Fault struct {
	// Name says what happens.
	Name string
	// Source and Destination stand before the ends, and make it happen; nil does
	// nothing. Each call starts anew.
	Source, Destination func() Middleware
	// Tag is what the destination's tag names before: "same", "other" or nothing.
	Tag string
	// Same has the copy end in another repository of the source's registry, behind
	// Destination.
	Same bool
	// Fails says that nobody can do anything about it: what is asked for is an error
	// that says which end and what of it, and no tag.
	Fails bool
	// Slow takes longer than a test may.
	Slow bool
}

// faultBody is from which size on a body has a middle.
const faultBody = 64 << 10

// Faults are the rows of the fault matrix.
func Faults() []Fault {
	blob := regexp.MustCompile(`^GET .*/blobs/sha256:`)
	child := regexp.MustCompile(`^GET .*/manifests/sha256:`)
	start := regexp.MustCompile(`^POST .*/blobs/uploads/`)
	upload := regexp.MustCompile(`^(PUT|PATCH) .*/blobs/uploads/`)
	manifest := regexp.MustCompile(`^PUT .*/manifests/`)
	tagged := regexp.MustCompile(`^PUT .*/manifests/v1$`)
	always := 1 << 30
	refused := func(status int, code string) http.HandlerFunc { return Status(status, code) }
	later := func(seconds int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			Status(http.StatusTooManyRequests, "TOOMANYREQUESTS")(w, r)
		}
	}
	return []Fault{
		{Name: "source: a blob ends early", Source: inBody(1, ends)},
		{Name: "source: a blob's connection is reset", Source: inBody(1, resets)},
		{Name: "source: a blob ends early, and ranges are ignored", Source: both(inBody(1, ends), withoutRanges)},
		{Name: "source: a blob ends early, and the rest has a wrong Content-Range", Source: both(inBody(1, ends), wrongRange(1))},
		{Name: "source: a blob stops coming", Source: inBody(1, stalls), Slow: true},
		{Name: "source: a blob has other bytes, each time", Source: inBody(always, nil), Fails: true},
		{Name: "source: 503 for a blob", Source: instead(1, blob, refused(503, "UNAVAILABLE"))},
		{Name: "source: 429 for a blob, Retry-After 2", Source: instead(1, blob, later(2))},
		{Name: "source: a signed URL has run out", Source: signed},
		{Name: "source: 503 for a manifest", Source: instead(1, child, refused(503, "UNAVAILABLE"))},
		{Name: "source: a token runs out", Source: expires(blob)},
		{Name: "source: 404 for a blob", Source: instead(always, blob, refused(404, "BLOB_UNKNOWN")), Fails: true},
		{Name: "destination: 503 when an upload starts", Destination: instead(1, start, refused(503, "UNAVAILABLE"))},
		{Name: "destination: 503 in the middle of an upload", Destination: half(1, upload, refused(503, "UNAVAILABLE"))},
		{Name: "destination: reset in the middle of an upload", Destination: half(1, upload, resets)},
		{Name: "destination: 429 for an upload, Retry-After 2", Destination: half(1, upload, later(2))},
		{Name: "destination: a token runs out during an upload", Destination: expires(upload)},
		{Name: "destination: 404 for the session of an upload", Destination: half(1, upload, refused(404, "BLOB_UPLOAD_UNKNOWN"))},
		{Name: "destination: 503 for a manifest", Destination: instead(1, manifest, refused(503, "UNAVAILABLE"))},
		{Name: "destination: 503 for the tag", Destination: instead(1, tagged, refused(503, "UNAVAILABLE"))},
		{Name: "destination: ECR discards all parts but the first", Destination: discards},
		{Name: "destination: ECR answers 416 when a session is used again", Destination: both(half(1, upload, refused(503, "UNAVAILABLE")), onceASession)},
		{Name: "destination: ECR knows a blob half a second after its 201", Destination: instead(3, manifest, refused(404, "MANIFEST_BLOB_UNKNOWN"))},
		{Name: "destination: ECR mounts nothing", Destination: mountsNothing, Same: true},
		{Name: "destination: an immutable tag that names the image", Destination: immutable, Tag: "same"},
		{Name: "destination: an immutable tag that names another", Destination: immutable, Tag: "other", Fails: true},
		{Name: "destination: 405 for an attestation with a subject", Destination: withoutSubjects, Fails: true},
		{Name: "destination: 403 for uploads", Destination: instead(always, start, refused(403, "DENIED")), Fails: true},
		{Name: "destination: no HEAD", Destination: instead(always, regexp.MustCompile("^HEAD "), refused(405, "UNSUPPORTED"))},
		{Name: "destination: PUT takes no content, PATCH does", Destination: onlyPatches},
		{Name: "destination: the place to upload to is relative", Destination: relative},
		{Name: "destination: mounting is refused", Destination: refusesMounts, Same: true},
	}
}

// FaultImage is the image that the fault matrix copies, under the tag v1: two platforms
// with a blob each that is large enough to have a middle, and an attestation that names
// its subject.
func FaultImage() *Memory {
	m := New()
	var entries []store.Descriptor
	for i, p := range []string{"linux/amd64", "linux/arm64"} {
		noise := make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{byte(i)}).Read(noise) // never fails
		entries = append(entries, m.AddImage(Image{Configured: platform.MustParse(p), Layers: []Layer{
			TarLayer(File{Name: "noise", Body: string(noise)}),
			GzipLayer(File{Name: "name", Body: p}),
		}}, ""))
	}
	subject := entries[0]
	subject.Platform = nil
	statement := m.AddBlob("application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v1"}`))
	attestation := m.AddManifest(v1.MediaTypeImageManifest, marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/vnd.docker.attestation.manifest.v1+json",
		Config: m.AddBlob(v1.MediaTypeEmptyJSON, []byte("{}")), Layers: []store.Descriptor{statement}, Subject: &subject,
	}), "")
	attestation.Platform = &platform.Platform{OS: "unknown", Architecture: "unknown"}
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": subject.Digest.String()}
	m.AddIndex("v1", "", append(entries, attestation)...)
	m.AddImage(Image{Configured: platform.MustParse("linux/s390x")}, "other")
	return m
}

func both(first, second func() Middleware) func() Middleware {
	return func() Middleware {
		one, two := first(), second()
		return func(next http.Handler) http.Handler { return one(two(next)) }
	}
}

// counter lets something happen so many times.
type counter struct {
	mu   sync.Mutex
	left int
}

func (c *counter) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left >= 0
}

// instead answers the first n requests that match.
func instead(n int, match *regexp.Regexp, handler http.HandlerFunc) func() Middleware {
	return func() Middleware {
		times := &counter{left: n}
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if match.MatchString(r.Method+" "+r.URL.Path) && times.take() {
					handler(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
}

// withoutSubjects refuses manifests that have a subject, as ECR does with some
// (aws/containers-roadmap#2783).
func withoutSubjects() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
				raw, err := io.ReadAll(io.LimitReader(r.Body, store.MaxManifestSize))
				if err != nil || strings.Contains(string(raw), `"subject"`) {
					refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", errors.New("invalid referrer"))
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(raw))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// half answers the first n requests that match after half of their body, where that is
// large enough to have a middle.
func half(n int, match *regexp.Regexp, handler http.HandlerFunc) func() Middleware {
	return func() Middleware {
		times := &counter{left: n}
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				large := r.ContentLength >= faultBody || r.ContentLength < 0
				if large && match.MatchString(r.Method+" "+r.URL.Path) && times.take() {
					n := r.ContentLength / 2
					if n < 0 {
						n = faultBody
					}
					if _, err := io.CopyN(io.Discard, r.Body, n); err == nil {
						handler(w, r)
						return
					}
				}
				next.ServeHTTP(w, r)
			})
		}
	}
}

// ends ends a connection.
func ends(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// resets resets a connection.
func resets(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // at worst it is closed in another way
	}
	_ = conn.Close()
}

// stalls sends no more until the client gives up.
func stalls(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// inBody lets something happen in the middle of the bodies of the first n blobs that
// are large enough to have one. Where nothing happens a byte is another.
func inBody(n int, happens http.HandlerFunc) func() Middleware {
	return func() Middleware {
		times := &counter{left: n}
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
					w = &middle{ResponseWriter: w, request: r, times: times, happens: happens}
				}
				next.ServeHTTP(w, r)
			})
		}
	}
}

// middle is a response in whose middle something happens.
type middle struct {
	http.ResponseWriter
	request *http.Request
	times   *counter
	happens http.HandlerFunc
	// left is how much comes before the middle, where it is to have one.
	left   int64
	chosen bool
}

func (m *middle) WriteHeader(status int) {
	size, err := strconv.ParseInt(m.Header().Get("Content-Length"), 10, 64)
	if err == nil && size >= faultBody && (status == http.StatusOK || status == http.StatusPartialContent) {
		m.left, m.chosen = size/2, m.times.take()
	}
	m.ResponseWriter.WriteHeader(status)
}

func (m *middle) Write(p []byte) (int, error) {
	if !m.chosen || int64(len(p)) < m.left {
		m.left -= int64(len(p))
		return m.ResponseWriter.Write(p)
	}
	m.chosen = false
	if m.happens == nil {
		p = bytes.Clone(p)
		p[max(m.left-1, 0)] ^= 1
		return m.ResponseWriter.Write(p)
	}
	n, err := m.ResponseWriter.Write(p[:m.left])
	if err == nil {
		err = http.NewResponseController(m.ResponseWriter).Flush()
	}
	m.happens(m.ResponseWriter, m.request)
	return n, errors.Join(err, io.ErrClosedPipe)
}

// Unwrap is for http.ResponseController.
func (m *middle) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// withoutRanges answers with all of a blob, as a pull-through cache does that is cold.
func withoutRanges() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			next.ServeHTTP(w, r)
		})
	}
}

// wrongRange answers the first n ranges with another's Content-Range.
func wrongRange(n int) func() Middleware {
	return func() Middleware {
		times := &counter{left: n}
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" && times.take() {
					r.Header.Set("Range", "bytes=1-100")
				}
				next.ServeHTTP(w, r)
			})
		}
	}
}

// signed redirects to a place whose URL has run out the first time.
func signed() Middleware {
	times := &counter{left: 1}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			blob := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
			switch {
			case blob && !r.URL.Query().Has("signature"):
				signature := "good"
				if times.take() {
					signature = "old"
				}
				// Another name of this machine is another origin.
				_, port, _ := net.SplitHostPort(r.Host)
				w.Header().Set("Location", "http://localhost:"+port+r.URL.Path+"?signature="+signature)
				w.WriteHeader(http.StatusTemporaryRedirect)
			case r.URL.Query().Get("signature") == "old":
				w.WriteHeader(http.StatusForbidden)
				io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// expires asks for a token, and once again in the middle of the first request that
// matches.
func expires(match *regexp.Regexp) func() Middleware {
	return func() Middleware {
		times := &counter{left: 1}
		return func(next http.Handler) http.Handler {
			return Bearer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				large := r.Method == http.MethodGet || r.ContentLength >= faultBody || r.ContentLength < 0
				if !large || !match.MatchString(r.Method+" "+r.URL.Path) || !times.take() {
					next.ServeHTTP(w, r)
					return
				}
				if r.Body != nil {
					_, _ = io.CopyN(io.Discard, r.Body, max(r.ContentLength, 0)/2) // the answer is the same
				}
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",error="invalid_token"`, r.Host))
				refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", errors.New("the token has expired"))
			}))
		}
	}
}

// session is what tells uploads apart.
func session(r *http.Request) string {
	_, after, _ := strings.Cut(r.URL.Path, "/blobs/uploads/")
	return after
}

// discards answers all PATCHes of an upload, and keeps the first
// (aws/containers-roadmap#2831).
func discards() Middleware {
	var mu sync.Mutex
	sent := map[string]int64{}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPatch {
				next.ServeHTTP(w, r)
				return
			}
			mu.Lock()
			before, again := sent[session(r)]
			mu.Unlock()
			body := &counted{ReadCloser: r.Body}
			r.Body = body
			if again {
				_, _ = io.Copy(io.Discard, r.Body) // what cannot be read is discarded too
				w.Header().Set("Location", r.URL.RequestURI())
				w.Header().Set("Range", fmt.Sprintf("0-%d", before+body.n-1))
				w.WriteHeader(http.StatusAccepted)
			} else {
				next.ServeHTTP(w, r)
			}
			mu.Lock()
			sent[session(r)] = before + body.n
			mu.Unlock()
		})
	}
}

type counted struct {
	io.ReadCloser
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

// onceASession refuses a session that content was sent to before.
func onceASession() Middleware {
	var mu sync.Mutex
	used := map[string]bool{}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut || r.Method == http.MethodPatch {
				mu.Lock()
				again := used[session(r)] && r.ContentLength != 0 && session(r) != ""
				used[session(r)] = true
				mu.Unlock()
				if again {
					refuse(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", errors.New("the upload is invalid"))
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// mountsNothing answers the wish to mount with a session.
func mountsNothing() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				r.URL.RawQuery = ""
			}
			next.ServeHTTP(w, r)
		})
	}
}

// refusesMounts answers the wish to mount with an error.
func refusesMounts() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Query().Has("mount") {
				refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", errors.New("mounting is not supported"))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// immutable refuses a tag that is there, also for what it names
// (aws/containers-roadmap#2380).
func immutable() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "sha256:") {
				probe := r.Clone(r.Context())
				probe.Method, probe.Body, probe.ContentLength = http.MethodHead, http.NoBody, 0
				probe.Header.Set("Accept", v1.MediaTypeImageIndex+", "+v1.MediaTypeImageManifest)
				there := httptest.NewRecorder()
				next.ServeHTTP(there, probe)
				if there.Code == http.StatusOK {
					refuse(w, http.StatusBadRequest, "TAG_INVALID", errors.New("the image tag already exists and cannot be overwritten because the tag is immutable"))
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// onlyPatches takes no content with the PUT that ends an upload.
func onlyPatches() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") && r.ContentLength != 0 {
				refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", errors.New("content is sent with PATCH"))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// relative makes the place to upload to a path.
func relative() Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&relocated{w}, r)
		})
	}
}

type relocated struct{ http.ResponseWriter }

func (l *relocated) WriteHeader(status int) {
	if _, path, ok := strings.Cut(l.Header().Get("Location"), "://"); ok {
		_, path, _ = strings.Cut(path, "/")
		l.Header().Set("Location", "/"+path)
	}
	l.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (l *relocated) Unwrap() http.ResponseWriter { return l.ResponseWriter }
