package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/imagetest"
	"berth/store"
)

func credentials(c Credential) Credentials {
	return CredentialsFunc(func(context.Context, string) (Credential, error) { return c, nil })
}

// concurrently calls do n times at once and returns the errors.
func concurrently(n int, do func() error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do() })
	}
	all.Wait()
	return errors.Join(errs...)
}

func TestBearer(t *testing.T) {
	const n = 20
	var started sync.WaitGroup
	started.Add(n)
	// The token is issued when all are under way, so that many of them want it.
	g := &guard{tokens: map[string][]string{"seed": {PushScope("app")}}}
	host := imagetest.Registry(t, g.protect)
	image(t, newClient(t, Options{Credentials: credentials(Credential{RegistryToken: "seed"})}).Repository(host, "app"))

	g.before = func(*http.Request) { started.Wait() }
	client := newClient(t, Options{})
	r := client.Repository(host, "app")
	refused := g.refused
	err := concurrently(n, func() error {
		started.Done()
		_, err := r.Manifest(t.Context(), "v1")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if g.issued != 1 {
		t.Errorf("%d tokens for one scope", g.issued)
	}
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	// One token, and each manifest once, but for those that came before the challenge.
	if got, want := client.Requests(), int64(1+n+1+g.refused-refused); got != want {
		t.Errorf("%d requests, want %d", got, want)
	}
}

func TestIntend(t *testing.T) {
	g := new(guard)
	host := imagetest.Registry(t, g.protect)
	c := newClient(t, Options{})
	c.Intend(host, PushScope("copy"), PullScope("app"))
	for _, name := range []string{"app", "copy"} {
		if _, err := c.Repository(host, name).Resolve(t.Context(), "v1"); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	blob, _ := content([]byte("x"))
	blob.MountFrom = "app"
	if outcome, err := c.Repository(host, "copy").PushBlob(t.Context(), blob); err != nil || outcome != store.Copied {
		t.Fatal(outcome, err)
	}
	if want := []string{PushScope("copy") + " " + PullScope("app")}; !slices.Equal(g.asked, want) {
		t.Errorf("asked for %q, want %q", g.asked, want)
	}
}

func TestTokenIsRenewed(t *testing.T) {
	g := &guard{expires: `,"expires_in":300`}
	host := imagetest.Registry(t, g.protect)
	now := time.Now()
	c := newClient(t, Options{Now: func() time.Time { return now }})
	r := c.Repository(host, "app")
	image(t, r)
	manifest := func() {
		t.Helper()
		if _, err := r.Manifest(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	refused := g.refused
	now = now.Add(280 * time.Second)
	manifest()
	if g.issued != 1 {
		t.Errorf("%d tokens after 280 of 300 seconds", g.issued)
	}
	now = now.Add(10 * time.Second)
	manifest()
	if g.issued != 2 || g.refused != refused {
		t.Errorf("%d tokens and %d more refusals after 290 of 300 seconds: it was not renewed in time", g.issued, g.refused-refused)
	}
}

func TestTokenLifetime(t *testing.T) {
	const date = "Sat, 21 Nov 2026 10:00:00 GMT"
	for _, c := range []struct {
		body, date string
		want       time.Duration
	}{
		{`{}`, "", 45 * time.Second},
		{`{"expires_in":300}`, "", 285 * time.Second},
		{`{"expires_in":"300"}`, "", 285 * time.Second},
		{`{"expires_in":8}`, "", 6 * time.Second},
		{`{"expires_in":-5}`, "", 45 * time.Second},
		{`{"expires_in":1e300}`, "", 24*time.Hour - 15*time.Second},
		{`{"expires_in":300,"issued_at":"2026-11-21T09:58:00Z"}`, date, 165 * time.Second},
		{`{"expires_in":300,"issued_at":"2026-11-21T10:58:00Z"}`, date, 285 * time.Second},
		{`{"expires_in":300,"issued_at":"2026-11-21T09:58:00Z"}`, "", 285 * time.Second},
		{`{"expires_in":300,"issued_at":"yesterday"}`, date, 285 * time.Second},
	} {
		var answer tokenAnswer
		if err := json.Unmarshal([]byte(c.body), &answer); err != nil {
			t.Fatal(err)
		}
		if got := answer.lifetime(c.date); got != c.want {
			t.Errorf("%s served at %q lives for %s, want %s", c.body, c.date, got, c.want)
		}
	}
}

func TestTokenRefusedOnTheWay(t *testing.T) {
	g := new(guard)
	host := imagetest.Registry(t, g.protect)
	r := newClient(t, Options{}).Repository(host, "app")
	image(t, r)
	g.mu.Lock()
	clear(g.tokens) // revoked
	g.mu.Unlock()
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	if g.issued != 2 {
		t.Errorf("%d tokens, want a second one after the first was refused", g.issued)
	}
}

func TestTokenNeverAccepted(t *testing.T) {
	var requests, tokens atomic.Int64
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			fmt.Fprintf(w, `{"token":"%s-x-%d"}`, secret, tokens.Add(1))
			return
		}
		requests.Add(1)
		echo := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"not with %s\u001b[31m"}]}`, echo)
	})
	c := newClient(t, Options{Credentials: credentials(Credential{Username: "alice", Password: secret})})
	_, err := c.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, host+"/app:v1: unauthorized: the registry says UNAUTHORIZED: not with [redacted]", "with the credentials of user alice")
	if requests.Load() != 2 {
		t.Errorf("%d requests, want 2: one without a token and one with", requests.Load())
	}
	_, err = c.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized)
	if requests.Load() != 4 {
		t.Errorf("%d more requests, want 2: one with the token kept, one with a new one", requests.Load()-2)
	}

	_, err = newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "anonymous: no credentials were found for "+host)
}

func TestWrongPassword(t *testing.T) {
	g := &guard{user: "alice"}
	host := imagetest.Registry(t, g.protect)
	wrong := newClient(t, Options{Credentials: credentials(Credential{Username: "bob", Password: secret})})
	_, err := wrong.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "authenticating at "+host, "gives no token", "incorrect username or password, not [redacted]", "user bob")

	right := newClient(t, Options{Credentials: credentials(Credential{Username: "alice", Password: secret})})
	image(t, right.Repository(host, "app"))
}

func TestIdentityToken(t *testing.T) {
	g := &guard{identity: secret + "-identity"}
	host := imagetest.Registry(t, g.protect)
	image(t, newClient(t, Options{Credentials: credentials(newCredential("<token>", secret+"-identity", "", ""))}).Repository(host, "app"))

	wrong := newClient(t, Options{Credentials: credentials(Credential{IdentityToken: secret + "-old"})})
	_, err := wrong.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "not [redacted]", "with the credentials of a token")
}

func TestTokenServerIsTriedAgain(t *testing.T) {
	g := new(guard)
	host := imagetest.Registry(t, first(2, "GET /token", imagetest.Status(http.StatusServiceUnavailable, "UNAVAILABLE")), g.protect)
	if _, err := newClient(t, Options{}).Repository(host, "app").Resolve(t.Context(), "v1"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	traffic := new(imagetest.Traffic)
	host = imagetest.Registry(t, traffic.Record, first(1000, "GET /token", imagetest.Status(http.StatusServiceUnavailable, "UNAVAILABLE")), g.protect)
	_, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, nil, "obtaining a token from "+host, "503", "tried 5 times")
	if n := count(traffic, "GET /token"); n != 5 {
		t.Errorf("%d requests for a token, want 5", n)
	}
}

func TestTokenServerAnswersNonsense(t *testing.T) {
	for name, body := range map[string]string{
		"HTML":     "<html>" + secret,
		"no token": `{"error":"` + secret + `"}`,
		"oversize": `{"token":"` + strings.Repeat("x", maxTokenBody) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			host := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					fmt.Fprint(w, body)
					return
				}
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token"`, r.Host))
				w.WriteHeader(http.StatusUnauthorized)
			})
			_, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
			wantError(t, err, nil, host)
		})
	}
}

func TestTokenServerIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ realm, says string }{
		"plain HTTP":       {"http://auth.example/token", "from https to http"},
		"metadata service": {"https://169.254.169.254/latest", "public address"},
		"this machine":     {"https://localhost/token", "public address"},
		"no URL":           {"token", "not a URL"},
		"with a user":      {"https://user:" + secret + "@auth.example/token", "not a URL"},
		"missing":          {"", "not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, Options{
				Credentials: credentials(Credential{Username: "alice", Password: secret}),
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.URL.Host != "registry.example" {
						t.Errorf("%s was asked", r.URL.Host)
					}
					return answer(http.StatusUnauthorized, http.Header{"Www-Authenticate": {fmt.Sprintf("Bearer realm=%q", c.realm)}}, ""), nil
				}),
			})
			_, err := client.Repository("registry.example", "app").Manifest(t.Context(), "v1")
			wantError(t, err, store.ErrUnauthorized, c.says)
		})
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		have, want string
		covers     bool
	}{
		{"repository:a:pull,push", "repository:a:pull", true},
		{"repository:a:pull", "repository:a:pull,push", false},
		{"repository:a:pull", "repository:b:pull", false},
		{"repository:a:5000/x:pull", "repository:a:5000/x:pull", true},
		{"", "repository:a:pull", false},
		{"repository:a:pull", "", true},
	} {
		if got := covers(strings.Fields(c.have), strings.Fields(c.want)); got != c.covers {
			t.Errorf("%q covers %q: %v", c.have, c.want, got)
		}
	}
}

func TestCancelledWaiterLeavesTheOthers(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	var one sync.Once
	g := &guard{before: func(r *http.Request) {
		one.Do(func() {
			close(started)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	}}
	host := imagetest.Registry(t, g.protect)
	r := newClient(t, Options{}).Repository(host, "app")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	resolve := func(ctx context.Context) error {
		_, err := r.Resolve(ctx, "v1")
		return err
	}
	go func() { failed <- resolve(ctx) }()
	<-started
	done := make(chan error)
	go func() { done <- resolve(t.Context()) }()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
	close(release)
	if err := <-done; !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the one who waited got the other's failure: %v", err)
	}
}
