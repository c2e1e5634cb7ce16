package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/imagetest"
	"berth/store"
)

func TestQuota(t *testing.T) {
	var left atomic.Int64
	left.Store(14)
	var gets atomic.Int64
	counted := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				next.ServeHTTP(w, r)
				return
			}
			if r.Method == http.MethodGet {
				gets.Add(1)
				left.Store(max(0, left.Add(-1)))
			}
			w.Header().Set("Ratelimit-Limit", "100;w=21600")
			w.Header().Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=21600", left.Load()))
			if left.Load() == 0 {
				imagetest.Status(http.StatusTooManyRequests, "TOOMANYREQUESTS")(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	host := imagetest.Registry(t, counted)
	client := newClient(t, Options{})
	repository := client.Repository(host, "app")
	m := imagetest.New()
	m.AddManifest("application/vnd.oci.image.index.v1+json", []byte(minimal), "v1")
	if err := m.PushTo(t.Context(), repository); err != nil {
		t.Fatal(err)
	}

	// A question about a tag costs nothing.
	for range 20 {
		if _, err := repository.Resolve(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if q := client.Quotas()[host]; gets.Load() != 0 || q != (Quota{14, 100, 6 * time.Hour}) || q.Low() {
		t.Errorf("%d GETs, %+v", gets.Load(), q)
	}
	for range 4 {
		if _, err := repository.Manifest(t.Context(), "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if q := client.Quotas()[host]; !q.Low() || q.String() != "10 of 100 pulls are left within 6 hours" {
		t.Errorf("%s", q)
	}
	left.Store(1)
	before := gets.Load()
	_, err := repository.Manifest(t.Context(), "v1")
	if !errors.Is(err, store.ErrRateLimited) || !strings.Contains(err.Error(), "0 of 100 pulls are left within 6 hours") {
		t.Error(err)
	}
	if n := gets.Load() - before; n != 1 {
		t.Errorf("it was asked %d times, and what is used up does not come back", n)
	}
}

func TestParseQuota(t *testing.T) {
	for s, want := range map[string]Quota{
		"76;w=21600":           {Remaining: 76, Window: 6 * time.Hour},
		"100":                  {Remaining: 100},
		"0;w=x":                {},
		"5; w=60":              {Remaining: 5, Window: time.Minute},
		"1;w=99999999999999":   {Remaining: 1},
		"2;burst=3;w=21600":    {Remaining: 2},
		"2147483647;w=2147483": {Remaining: 2147483647, Window: 2147483 * time.Second},
	} {
		n, window, ok := parseQuota(s)
		if !ok || n != want.Remaining || window != want.Window {
			t.Errorf("%q: %d, %s, %v", s, n, window, ok)
		}
	}
	for _, s := range []string{"", "-1", "x", ";w=1", "2147483648", "1e3"} {
		if n, _, ok := parseQuota(s); ok {
			t.Errorf("%q is taken for %d", s, n)
		}
	}
}
