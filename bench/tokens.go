package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What the token server and the registries know each other by.
const (
	issuer  = "bench"
	service = "registry"
	keyID   = "bench"
)

// tokens is a token server that gives everybody what they ask for, as the
// distribution project's "Token Authentication Specification" has it.
type tokens struct {
	key    ed25519.PrivateKey
	keys   string // the file with the public key
	line   *line
	server *http.Server
}

func serveTokens(folder string) (*tokens, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	t := &tokens{key: private, keys: filepath.Join(folder, "keys.json")}
	raw, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": keyID, "x": encode(public),
	}}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(t.keys, raw, 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t.server = &http.Server{Handler: http.HandlerFunc(t.give)}
	go func() { _ = t.server.Serve(listener) }() // ends with close
	if t.line, err = newLine(listener.Addr().String()); err != nil {
		_ = t.server.Close() // there is a better error to tell
		return nil, err
	}
	return t, nil
}

func (t *tokens) close() {
	t.line.close()
	_ = t.server.Close() // nobody is waiting for it any more
}

// settings are what a registry is to know of the server.
func (t *tokens) settings() map[string]any {
	return map[string]any{"realm": "http://" + named(t.line.host()) + "/token", "service": service, "issuer": issuer, "jwks": t.keys}
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

func (t *tokens) give(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	granted := []access{}
	for _, scope := range strings.Fields(strings.Join(r.Form["scope"], " ")) {
		if part := strings.SplitN(scope, ":", 3); len(part) == 3 {
			granted = append(granted, access{part[0], part[1], strings.Split(part[2], ",")})
		}
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": "", "aud": service, "jti": "1", "access": granted,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	signed := encode([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"`+keyID+`"}`)) + "." + encode(claims)
	signed += "." + encode(ed25519.Sign(t.key, []byte(signed)))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"token":%q,"access_token":%q,"expires_in":3600,"issued_at":%q}`, signed, signed, now.UTC().Format(time.RFC3339))
}

// named is a loopback address by its name. crane and oras-go refuse a token server
// at a loopback address, but for one that has the name of the registry.
func named(host string) string {
	_, port, _ := strings.Cut(host, ":")
	return "localhost:" + port
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
