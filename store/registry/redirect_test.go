package registry

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"berth/internal/imagetest"
	"berth/store"
)

// signed is a signed URL of a storage for the blob that a path ends with.
func signed(scheme, host, path string) string {
	return fmt.Sprintf("%s://%s/storage/%s?X-Signature=%s", scheme, host, path[strings.LastIndexByte(path, '/')+1:], secret)
}

func TestRedirectCarriesNoCredentials(t *testing.T) {
	raw := bytesOf(100_000)
	var seen atomic.Int64
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Referer"} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s: %s went to the storage", name, r.Header.Get(name))
			}
		}
		if r.URL.RawQuery != "X-Signature="+secret {
			t.Errorf("the signature did not arrive: %s", r.URL)
		}
		http.ServeContent(w, r, "", noTime, strings.NewReader(string(raw)))
	})
	registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != secret {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Set-Cookie", "session="+secret)
		http.Redirect(w, r, signed("http", storage, r.URL.Path), http.StatusTemporaryRedirect)
	})
	r := newClient(t, Options{Credentials: credentials(Credential{Username: "alice", Password: secret})}).Repository(registry, "app")
	if got, err := store.ReadBlob(t.Context(), r, descriptor(raw), 1<<20); err != nil || string(got) != string(raw) {
		t.Fatalf("%d bytes: %v", len(got), err)
	}
	rest, err := r.Blob(t.Context(), descriptor(raw), 99_000)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rest); err != nil || string(got) != string(raw[99_000:]) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if err := rest.Close(); err != nil {
		t.Error(err)
	}
	if seen.Load() != 2 {
		t.Errorf("the storage was asked %d times", seen.Load())
	}
}

// On the same host but another port, which is another origin.
func TestChallengeOfAStorageIsNotMet(t *testing.T) {
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the storage was shown credentials")
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	})
	registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, signed("http", storage, r.URL.Path), http.StatusFound)
	})
	r := newClient(t, Options{Credentials: credentials(Credential{Username: "alice", Password: secret})}).Repository(registry, "app")
	_, err := r.Blob(t.Context(), descriptor([]byte("x")), 0)
	wantError(t, err, store.ErrUnauthorized, "redirected to "+storage)
}

func TestRedirectIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ to, says string }{
		"to http":           {signed("http", "storage.example", ""), "from https to http"},
		"to this machine":   {signed("https", "127.0.0.1:8080", ""), "may not lead to a private one (127.0.0.1:8080)"},
		"by name":           {signed("https", "LocalHost.", ""), "may not lead to a private one"},
		"in IPv6":           {signed("https", "[::1]", ""), "may not lead to a private one"},
		"mapped into IPv6":  {signed("https", "[::ffff:10.0.0.1]", ""), "may not lead to a private one"},
		"to metadata":       {signed("https", "169.254.169.254", ""), "may not lead to a private one"},
		"to a private net":  {signed("https", "192.168.1.1", ""), "may not lead to a private one"},
		"to nowhere":        {"", "Location header is missing"},
		"to what is no URL": {"https://[" + secret, "Location header is missing or is no URL"},
		"to a file":         {"file:///etc/" + secret, "neither https nor http"},
		"round and round":   {"/v2/?" + secret, "there were 10 in a row"},
		"with a user in it": {"https://u:" + secret + "@10.0.0.1/", "(10.0.0.1)"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host != "registry.example" {
					t.Errorf("%s was asked", r.URL.Host)
				}
				return answer(http.StatusTemporaryRedirect, http.Header{"Location": {c.to}}, ""), nil
			})})
			_, err := client.Repository("registry.example", "app").Blob(t.Context(), descriptor([]byte("x")), 0)
			wantError(t, err, nil, c.says)
			want := int64(1)
			if name == "round and round" {
				want += maxRedirects
			}
			if n := client.Requests(); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		})
	}
}

func TestRedirectIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		host, to string
		config   Config
	}{
		"to the internet":       {host: "registry.example", to: "https://storage.example/x"},
		"from inside to inside": {host: "10.0.0.1:5000", to: "https://10.0.0.2/x"},
		"to a host that the user named": {
			host: "registry.example", to: "https://10.0.0.2/x",
			config: Config{Hosts: map[string]HostConfig{"10.0.0.2": {}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, Options{Config: c.config, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == c.host {
					return answer(http.StatusTemporaryRedirect, http.Header{"Location": {c.to}}, ""), nil
				}
				return answer(http.StatusOK, nil, "x"), nil
			})})
			if _, err := store.ReadBlob(t.Context(), client.Repository(c.host, "app"), descriptor([]byte("x")), 1); err != nil {
				t.Error(err)
			}
		})
	}
}

// The real transports: from TLS to plain HTTP on loopback, where inside is allowed.
func TestRedirectFromTLS(t *testing.T) {
	storage := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the storage was asked") })
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, signed("http", storage, r.URL.Path), http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	no, host, trusted := false, server.Listener.Addr().String(), x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	client := newClient(t, Options{Config: Config{Hosts: map[string]HostConfig{host: {PlainHTTP: &no, RootCAs: trusted}}}})
	_, err := client.Repository(host, "app").Blob(t.Context(), descriptor([]byte("x")), 0)
	wantError(t, err, nil, "from https to http ("+storage+")")
}

func TestSignedURLRunsOut(t *testing.T) {
	raw := []byte("content")
	for _, c := range []struct {
		refusals int64
		says     string
	}{{1, ""}, {9, "denied"}} {
		traffic := new(imagetest.Traffic)
		var seen atomic.Int64
		storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if seen.Add(1) <= c.refusals {
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message>")
				return
			}
			_, _ = w.Write(raw)
		})
		registry := serve(t, traffic.Record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, signed("http", storage, r.URL.Path), http.StatusTemporaryRedirect)
		})).ServeHTTP)
		_, err := store.ReadBlob(t.Context(), newClient(t, Options{}).Repository(registry, "app"), descriptor(raw), 100)
		if c.says == "" && err != nil {
			t.Error(err)
		}
		if c.says != "" {
			wantError(t, err, store.ErrDenied, c.says, "redirected to "+storage, "tried 2 times")
		}
		if n := len(traffic.Requests()); n != 2 {
			t.Errorf("the registry was asked %d times for a new URL, want 2", n)
		}
	}
}

func TestRefuseInside(t *testing.T) {
	for address, refused := range map[string]bool{
		"127.0.0.1:443":       true,
		"[::1]:443":           true,
		"0.0.0.0:443":         true,
		"169.254.169.254:80":  true,
		"[fe80::1%eth0]:443":  true,
		"[::ffff:7f00:1]:443": true,
		"10.0.0.1:443":        false,
		"93.184.216.34:443":   false,
		"not an address":      true,
	} {
		if err := refuseInside(context.Background(), "tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestClassify(t *testing.T) {
	for address, want := range map[string]place{
		"127.1.2.3": loopback, "::1": loopback, "0.0.0.0": loopback,
		"169.254.1.1": linkLocal, "fe80::1": linkLocal,
		"10.1.2.3": private, "172.16.0.1": private, "192.168.0.1": private, "fd00::1": private, "::ffff:10.0.0.1": private,
		"8.8.8.8": outside, "172.32.0.1": outside, "2001:db8::1": outside,
	} {
		if got := classify(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is %d, want %d", address, got, want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://h/x", "https://H:443/y", true},
		{"http://h", "http://h:80", true},
		{"https://h", "http://h", false},
		{"https://h", "https://h:444", false},
		{"https://h", "https://h.evil.example", false},
		{"https://h", "https://h@evil.example", false},
	} {
		a, errA := url.Parse(c.a)
		b, errB := url.Parse(c.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := sameOrigin(*a, *b); got != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}
