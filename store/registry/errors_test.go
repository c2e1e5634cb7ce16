package registry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/store"
)

func TestNoAnswer(t *testing.T) {
	no, yes := false, true
	plain := serve(t, http.NotFound)
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are meant here
	tls.StartTLS()
	t.Cleanup(tls.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(tls.Certificate())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	at := tls.Listener.Addr().String()
	for name, c := range map[string]struct {
		host     string
		config   HostConfig
		category error
		says     string
		requests int64
	}{
		"nothing listens":            {host: gone, says: "connection refused: nothing listens there", requests: 1},
		"TLS to plain HTTP":          {host: plain, config: HostConfig{PlainHTTP: &no}, says: "it speaks plain HTTP: set plainHTTP: true", requests: 1},
		"plain HTTP to TLS":          {host: at, config: HostConfig{PlainHTTP: &yes}, says: "it speaks TLS and was spoken to in plain HTTP: set plainHTTP: false", requests: 1},
		"an authority nobody knows":  {host: at, config: HostConfig{PlainHTTP: &no}, says: "set ca for it", requests: 1},
		"an authority that is given": {host: at, config: HostConfig{PlainHTTP: &no, RootCAs: trusted}, category: store.ErrNotFound, requests: 1},
		"any authority":              {host: at, config: HostConfig{PlainHTTP: &no, InsecureSkipVerify: true}, category: store.ErrNotFound, requests: 1},
		"another name":               {host: strings.Replace(at, "127.0.0.1", "localhost", 1), config: HostConfig{PlainHTTP: &no, RootCAs: trusted}, says: "certificate", requests: 1},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, Options{Config: Config{Hosts: map[string]HostConfig{c.host: c.config}}})
			_, err := client.Repository(c.host, "app").Manifest(t.Context(), "v1")
			wantError(t, err, c.category, "fetching manifest "+c.host+"/app:v1: ", c.says)
			if client.Requests() != c.requests {
				t.Errorf("%d requests, want %d", client.Requests(), c.requests)
			}
		})
	}
}

func TestUnknownHost(t *testing.T) {
	resolver := &net.DNSError{Err: "no such host", Name: "registry.example\x1b", Server: "10.0.0.2:53", IsNotFound: true}
	client := newClient(t, Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: resolver}
	})})
	_, err := client.Repository("registry.example", "app").Manifest(t.Context(), "v1")
	wantError(t, err, resolver, "no such host: registry.example")
	if client.Requests() != 1 || strings.Contains(err.Error(), "10.0.0.2") {
		t.Errorf("%d requests: %v", client.Requests(), err)
	}
	resolver.IsNotFound, resolver.IsTemporary = false, true
	_, err = client.Repository("registry.example", "app").Manifest(t.Context(), "v1")
	wantError(t, err, resolver, "tried 5 times")
}

func TestErrorBody(t *testing.T) {
	long := strings.Repeat("é", maxMessage)
	for body, want := range map[string]string{
		`{"errors":[{"code":"DENIED","message":"no"}]}`:                            "DENIED: no",
		`{"errors":[{"code":"DENIED","message":"no","detail":["x"]}]}`:             "DENIED: no",
		`{"errors":[{},{"code":"SECOND"}]}`:                                        "SECOND: ",
		`{"errors":[{"message":"a\nb\u001b[31mc"}]}`:                               ": a b\uFFFD[31mc",
		`{"details":"incorrect username or password"}`:                             ": incorrect username or password",
		`{"message":"Your authorization token has expired."}`:                      ": Your authorization token has expired.",
		`{"error":"invalid_grant","error_description":"refresh token is revoked"}`: ": refresh token is revoked",
		`{"errors":[{"code":"X","message":"` + long + `"}]}`:                       "X: " + long[:maxMessage] + "…",
		`{"errors":`: ": ",
		`<html>`:     ": ",
		``:           ": ",
		`null`:       ": ",
	} {
		code, message := parseErrorBody([]byte(body))
		if got := code + ": " + message; got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestErrorPage(t *testing.T) {
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<!DOCTYPE html><html><body>Not Found")
	})
	_, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrNotFound, "the answer is an HTML page: is this a registry?")
}

func TestErrorBodyIsBounded(t *testing.T) {
	host := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	_, err := newClient(t, Options{}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, nil, "400")
}

func TestErrorValue(t *testing.T) {
	err := fmt.Errorf("copying: %w", &Error{Op: "pushing blob", Host: "h", Repository: "r", Reference: "@sha256:1", Status: 403, Code: "DENIED", Err: store.ErrDenied})
	if got, want := err.Error(), "copying: pushing blob h/r@sha256:1: denied: the registry says DENIED"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !errors.Is(err, store.ErrDenied) {
		t.Error("it is not ErrDenied")
	}
}
