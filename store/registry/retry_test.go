package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"berth/internal/imagetest"
	"berth/store"
)

func TestRetry(t *testing.T) {
	seconds := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", s)
			imagetest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS")(w, r)
		}
	}
	status := func(s int) http.HandlerFunc { return imagetest.Status(s, "TEST") }
	for name, c := range map[string]struct {
		fault    http.HandlerFunc
		times    int64
		requests int
		says     string // empty: it succeeds
		wait     time.Duration
	}{
		"408":                       {fault: status(408), times: 1, requests: 2},
		"429":                       {fault: status(429), times: 4, requests: 5},
		"500 twice":                 {fault: status(500), times: 2, requests: 3},
		"500 that stays":            {fault: status(500), times: 9, requests: 3, says: "500 (Internal Server Error): the registry says TEST"},
		"502":                       {fault: status(502), times: 1, requests: 2},
		"503":                       {fault: status(503), times: 4, requests: 5},
		"503 that stays":            {fault: status(503), times: 9, requests: 5, says: "tried 5 times"},
		"504":                       {fault: status(504), times: 1, requests: 2},
		"501 is for good":           {fault: status(501), times: 9, requests: 1, says: "501 (Not Implemented)"},
		"400 is for good":           {fault: status(400), times: 9, requests: 1, says: "400 (Bad Request)"},
		"a status of its own":       {fault: status(499), times: 9, requests: 1, says: "unexpected answer 499"},
		"connection ends":           {fault: reset, times: 4, requests: 5},
		"connection always ends":    {fault: reset, times: 9, requests: 5, says: "tried 5 times"},
		"Retry-After":               {fault: seconds("7"), times: 1, requests: 2, wait: 7 * time.Second},
		"Retry-After for too long":  {fault: seconds("3600"), times: 1, requests: 1, says: "rate limited: it asks to come back in 1h0m0s"},
		"Retry-After that is wrong": {fault: seconds("soon"), times: 1, requests: 2},
	} {
		t.Run(name, func(t *testing.T) {
			host := imagetest.Registry(t)
			image(t, newClient(t, Options{}).Repository(host, "app"))
			traffic, slept := new(imagetest.Traffic), new(waits)
			proxy := serve(t, traffic.Record(first(c.times, "GET", c.fault)(forward(host))).ServeHTTP)
			client := newClient(t, Options{Retry: Retry{Sleep: slept.sleep}})
			_, err := client.Repository(proxy, "app").Manifest(t.Context(), "v1")
			if c.says == "" && err != nil {
				t.Fatal(err)
			}
			if c.says != "" {
				wantError(t, err, nil, c.says)
			}
			if n := len(traffic.Requests()); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			if n := len(slept.list()); n != c.requests-1 {
				t.Errorf("%d waits between %d requests", n, c.requests)
			}
			if c.wait != 0 && slept.list()[0] != c.wait {
				t.Errorf("waited %s, want %s", slept.list()[0], c.wait)
			}
		})
	}
}

// forward hands requests to the registry at host.
func forward(host string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", host
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer response.Body.Close()
		for name, values := range response.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
	})
}

func TestManifestIsSentAgain(t *testing.T) {
	host := imagetest.Registry(t, first(2, "PUT /v2/app/manifests", imagetest.Status(http.StatusBadGateway, "")), first(1, "PUT /v2/app/manifests", reset))
	image(t, newClient(t, Options{}).Repository(host, "app"))
}

func TestBackoff(t *testing.T) {
	r := Retry{Base: 100 * time.Millisecond}.withDefaults()
	for attempt, most := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 9: maxBackoff, 60: maxBackoff} {
		for range 100 {
			if got := r.backoff(attempt); got < most/2 || got > most {
				t.Errorf("wait %d is %s, want between %s and %s", attempt, got, most/2, most)
			}
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"120":                           2 * time.Minute,
		"-1":                            0,
		"1.5":                           0,
		"99999999999999999999":          0,
		"Sat, 21 Nov 2026 10:00:30 GMT": 30 * time.Second,
		"Sat, 21 Nov 2026 09:00:00 GMT": 0,
	} {
		if got := parseRetryAfter(in, now); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	host := serve(t, imagetest.Status(http.StatusServiceUnavailable, "UNAVAILABLE"))
	client := newClient(t, Options{Retry: Retry{Sleep: func(ctx context.Context, _ time.Duration) error {
		cancel()
		return ctx.Err()
	}}})
	_, err := client.Repository(host, "app").Manifest(ctx, "v1")
	wantError(t, err, context.Canceled, "UNAVAILABLE")
	if client.Requests() != 1 {
		t.Errorf("%d requests", client.Requests())
	}
}

func TestSleep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := sleep(ctx, 1); err != nil {
		t.Error(err)
	}
	cancel()
	if err := sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	host := serve(t, imagetest.Status(http.StatusServiceUnavailable, "UNAVAILABLE"))
	for _, attempts := range []int{1, 2} {
		client := newClient(t, Options{Retry: Retry{Attempts: attempts}})
		_, err := client.Repository(host, "app").Resolve(t.Context(), "v1")
		wantError(t, err, nil, "503")
		if client.Requests() != int64(attempts) {
			t.Errorf("%d requests with %d attempts", client.Requests(), attempts)
		}
		if errors.Is(err, store.ErrNotFound) {
			t.Error("a server that is down is not an image that is not there")
		}
	}
}
