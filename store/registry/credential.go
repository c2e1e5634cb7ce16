package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/google/go-containerregistry/pkg/authn"
)

// Credential is what a registry is shown. The zero value is anonymous. Formatting
// one never shows its secrets.
type Credential struct {
	Username, Password string
	// IdentityToken is exchanged for tokens at the registry's token server (OAuth 2
	// refresh token).
	IdentityToken string
	// RegistryToken is sent as it is, as a bearer token.
	RegistryToken string
	// Expires is when to ask for it again; zero is never.
	Expires time.Time
}

// Anonymous tells whether there is nothing to show.
func (c Credential) Anonymous() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// String says who it is for, without secrets.
func (c Credential) String() string {
	switch {
	case c.Anonymous():
		return "anonymous"
	case c.Username != "":
		return "user " + printable(c.Username)
	}
	return "a token"
}

// GoString is String, so that %#v shows no secrets either.
func (c Credential) GoString() string { return c.String() }

// who ends an error about credentials.
func (c Credential) who(host string) string {
	if c.Anonymous() {
		return "anonymous: no credentials were found for " + host
	}
	return "with the credentials of " + c.String()
}

// redact takes the secrets of c out of foreign text.
func (c Credential) redact(s string) string {
	for _, secret := range []string{c.Password, c.IdentityToken, c.RegistryToken} {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return s
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// Credentials find what to show to a registry.
type Credentials interface {
	// Credential returns the credential for host, as references name it (docker.io,
	// localhost:5000), or the zero Credential where there is none.
	Credential(ctx context.Context, host string) (Credential, error)
}

// CredentialsFunc is a function that is [Credentials].
type CredentialsFunc func(ctx context.Context, host string) (Credential, error)

// Credential calls f.
func (f CredentialsFunc) Credential(ctx context.Context, host string) (Credential, error) {
	return f(ctx, host)
}

// DefaultCredentials finds what the user already has.
//
// Each of files is asked first, in order; they have the format of Docker's
// config.json, which is that of podman's auth.json. Empty names and files that are
// not there are left out. Pass the value of REGISTRY_AUTH_FILE and the places of
// podman's auth.json here, to give them the precedence that podman and skopeo give
// them, and because what follows does not find podman's entry for docker.io.
//
// Then comes go-containerregistry's keychain, which looks up the environment
// itself: Docker's configuration ($DOCKER_CONFIG or ~/.docker) where there is one,
// and otherwise $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json or
// $XDG_CONFIG_HOME/containers/auth.json. Credential helpers (credsStore,
// credHelpers) are run in both. Where nothing is found the answer is anonymous.
func DefaultCredentials(files ...string) Credentials {
	return CredentialsFunc(func(ctx context.Context, host string) (Credential, error) {
		for _, file := range files {
			if file == "" {
				continue
			}
			found, err := fromFile(file, host)
			if err != nil || !found.Anonymous() {
				return found, err
			}
		}
		if host == "docker.io" {
			host = "index.docker.io" // the keychain's name for it
		}
		authenticator, err := authn.Resolve(ctx, authn.DefaultKeychain, resource(host))
		if err != nil {
			return Credential{}, err
		}
		auth, err := authn.Authorization(ctx, authenticator)
		if err != nil {
			return Credential{}, err
		}
		return newCredential(auth.Username, auth.Password, auth.IdentityToken, auth.RegistryToken), nil
	})
}

// resource is a host, as the keychain wants it.
type resource string

func (r resource) String() string      { return string(r) }
func (r resource) RegistryStr() string { return string(r) }

func fromFile(path, host string) (Credential, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Credential{}, nil
	}
	if err != nil {
		return Credential{}, err
	}
	defer f.Close()
	var read *configfile.ConfigFile
	if read, err = config.LoadFromReader(io.LimitReader(f, maxConfig)); err != nil {
		return Credential{}, fmt.Errorf("%s: %w", path, err)
	}
	auth, err := read.GetAuthConfig(host)
	if err != nil {
		return Credential{}, fmt.Errorf("%s: %w", path, err)
	}
	found := newCredential(auth.Username, auth.Password, auth.IdentityToken, auth.RegistryToken)
	if found.Anonymous() {
		// docker/cli asks for docker.io by an address of 2014 alone, and podman keeps
		// it under its name.
		auth = read.AuthConfigs[host]
		found = newCredential(auth.Username, auth.Password, auth.IdentityToken, auth.RegistryToken)
	}
	return found, nil
}

// newCredential knows that a credential helper marks an identity token by the user
// name "<token>".
func newCredential(username, password, identityToken, registryToken string) Credential {
	if username == "<token>" && identityToken == "" {
		return Credential{IdentityToken: password}
	}
	return Credential{Username: username, Password: password, IdentityToken: identityToken, RegistryToken: registryToken}
}

// credential asks for the credential of the host, once until it expires. A helper
// may be a program that takes seconds: one runs at a time.
func (e *endpoint) credential(ctx context.Context, again bool) (Credential, error) {
	if e.client.options.Credentials == nil {
		return Credential{}, nil
	}
	e.auth.mu.Lock()
	if e.auth.asking == nil {
		e.auth.asking = make(chan struct{}, 1)
	}
	known := e.auth.credential
	e.auth.mu.Unlock()
	if known != nil && !again && known.fresh(e.client.options.Now()) {
		return *known, nil
	}
	select {
	case e.auth.asking <- struct{}{}:
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	}
	defer func() { <-e.auth.asking }()
	e.auth.mu.Lock()
	latest := e.auth.credential
	e.auth.mu.Unlock()
	if latest != nil && latest != known && latest.fresh(e.client.options.Now()) {
		return *latest, nil
	}
	found, err := e.client.options.Credentials.Credential(ctx, e.host)
	if err != nil {
		return Credential{}, err
	}
	e.auth.mu.Lock()
	e.auth.credential = &found
	e.auth.mu.Unlock()
	return found, nil
}

func (c *Credential) fresh(now time.Time) bool {
	return c.Expires.IsZero() || now.Before(c.Expires)
}
