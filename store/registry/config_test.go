package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/store"
)

func TestReadConfig(t *testing.T) {
	config, err := ReadConfig(strings.NewReader(`
registries:
  localhost:5000: { plainHTTP: false }
  "[::1]:5000": { insecureSkipVerify: true }
  docker.io:
    mirrors: [mirror.example.com, "localhost:5001"]
`))
	if err != nil {
		t.Fatal(err)
	}
	if plain := config.Hosts["localhost:5000"].PlainHTTP; plain == nil || *plain {
		t.Error("plainHTTP: false was not read")
	}
	if !config.Hosts["[::1]:5000"].InsecureSkipVerify || len(config.Hosts["docker.io"].Mirrors) != 2 {
		t.Errorf("%+v", config)
	}
	for _, empty := range []string{"", "# nothing\n", "registries: {}\n"} {
		if config, err := ReadConfig(strings.NewReader(empty)); err != nil || len(config.Hosts) != 0 {
			t.Errorf("%q: %+v, %v", empty, config, err)
		}
	}
}

func TestReadConfigRefuses(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	if err := os.WriteFile(none, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ in, says string }{
		"an unknown key":         {"registries:\n  h:\n    plainHttp: true\n", "line 3"},
		"an unknown key on top":  {"hosts: {}\n", "hosts"},
		"a key given twice":      {"registries:\n  h: {}\n  h: {}\n", "line 3"},
		"another type":           {"registries: [h]\n", "line 1"},
		"no YAML":                {"registries: {", "L2.C1"},
		"a URL for a host":       {"registries: {\"https://h\": {}}\n", "write HOST or HOST:PORT"},
		"a path for a host":      {"registries: {h/app: {}}\n", "write HOST or HOST:PORT"},
		"no host":                {"registries: {\"\": {}}\n", "write HOST or HOST:PORT"},
		"a URL for a mirror":     {"registries: {h: {mirrors: [\"http://m\"]}}\n", "registry h: mirrors: \"http://m\""},
		"a mirror of itself":     {"registries: {h: {mirrors: [h]}}\n", "mirror of itself"},
		"a missing authority":    {"registries: {h: {ca: missing.pem}}\n", "registry h: ca: open missing.pem"},
		"an authority of none":   {"registries: {h: {ca: '" + none + "'}}\n", "no certificate in PEM"},
		"half a client":          {"registries: {h: {clientCert: c.pem}}\n", "belong together"},
		"a missing client":       {"registries: {h: {clientCert: c.pem, clientKey: c.key}}\n", "registry h: clientCert: open c.pem"},
		"certificates of no use": {"registries: {h: {plainHTTP: true, insecureSkipVerify: true}}\n", "no certificates to go by"},
		"control characters":     {"\x1b[2J: 1", ""},
		"over the bound":         {strings.Repeat("#", maxConfig+1), "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadConfig(strings.NewReader(c.in))
			wantError(t, err, nil, c.says)
		})
	}
}

// A registry with an authority of its own that wants to see a client certificate.
func TestClientCertificate(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 {
			t.Errorf("%d client certificates", len(r.TLS.PeerCertificates))
		}
		http.NotFound(w, r)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	host := server.Listener.Addr().String()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config, err := ReadConfig(strings.NewReader("registries:\n  " + host + ":\n    plainHTTP: false" +
		"\n    ca: " + write("ca.pem", "CERTIFICATE", server.Certificate().Raw) +
		"\n    clientCert: " + write("client.pem", "CERTIFICATE", certificate) +
		"\n    clientKey: " + write("client.key", "PRIVATE KEY", private) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = newClient(t, Options{Config: config}).Repository(host, "app").Manifest(t.Context(), "v1")
	wantError(t, err, store.ErrNotFound)
}

func FuzzReadConfig(f *testing.F) {
	f.Add("registries:\n  h:5000: {plainHTTP: true}\n")
	f.Add("registries: {h: {mirrors: [m]}}")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, s string) {
		// Files are not opened: what is there on this machine is not the point.
		if strings.Contains(s, "ca") || strings.Contains(s, "client") {
			return
		}
		config, err := ReadConfig(strings.NewReader(s))
		if err == nil && config.Hosts == nil {
			t.Errorf("%q: neither a configuration nor an error", s)
		}
	})
}
