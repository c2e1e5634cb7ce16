package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/imagetest"
	"berth/store"
)

func TestBasic(t *testing.T) {
	var refused, asked atomic.Int64
	protect := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "AWS" || password != secret {
				refused.Add(1)
				w.Header().Set("WWW-Authenticate", `Basic realm="https://ecr.example/",service="ecr.amazonaws.com"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	host := imagetest.Registry(t, protect)
	password, now := secret, time.Now()
	c := newClient(t, Options{
		Now: func() time.Time { return now },
		Credentials: CredentialsFunc(func(_ context.Context, host string) (Credential, error) {
			asked.Add(1)
			return Credential{Username: "AWS", Password: password, Expires: now.Add(time.Hour)}, nil
		}),
	})
	r := c.Repository(host, "app")
	image(t, r)
	if err := concurrently(10, func() error { _, err := r.Manifest(t.Context(), "v1"); return err }); err != nil {
		t.Fatal(err)
	}
	if refused.Load() != 1 || asked.Load() != 1 {
		t.Errorf("refused %d times and asked for credentials %d times; want one each", refused.Load(), asked.Load())
	}
	now = now.Add(2 * time.Hour)
	if _, err := r.Manifest(t.Context(), "v1"); err != nil || asked.Load() != 2 {
		t.Errorf("credentials that expired were asked for %d times: %v", asked.Load(), err)
	}
	password, now = secret+"-wrong", now.Add(2*time.Hour)
	_, err := r.Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "user AWS")

	_, err = newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "anonymous: no credentials were found")
}

func TestBasicIsRefused(t *testing.T) {
	var requests atomic.Int64
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, password, _ := r.BasicAuth()
		if password == secret+"-new" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"not %s"}]}`, password)
	})
	_, err := newClient(t, Options{Credentials: credentials(Credential{Username: "alice", Password: secret})}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "not [redacted]", "user alice")
	if requests.Load() != 2 {
		t.Errorf("%d requests, want 2: what was refused is not sent again", requests.Load())
	}

	// The credentials changed meanwhile.
	passwords := []string{secret, secret + "-new"}
	client := newClient(t, Options{Credentials: CredentialsFunc(func(context.Context, string) (Credential, error) {
		next := passwords[0]
		passwords = passwords[min(1, len(passwords)-1):]
		return Credential{Username: "alice", Password: next}, nil
	})})
	_, err = client.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized)
	_, err = client.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrNotFound)
}

func TestCredentialsFail(t *testing.T) {
	g := new(guard)
	host := imagetest.Registry(t, g.protect)
	c := newClient(t, Options{Credentials: CredentialsFunc(func(context.Context, string) (Credential, error) {
		return Credential{}, errors.New("docker-credential-gone: not found")
	})})
	_, err := c.Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrUnauthorized, "reading its credentials: docker-credential-gone: not found")
}
