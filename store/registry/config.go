package registry

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Config is what the user set for single registries.
type Config struct {
	// Hosts has registries by the name that references use: docker.io,
	// registry.example.com:5000. A host that is named here is trusted as far as to be
	// redirected to, wherever it is.
	Hosts map[string]HostConfig
}

// HostConfig is what the user set for one registry. The zero value is as good as none.
type HostConfig struct {
	// PlainHTTP speaks HTTP without TLS where true, and TLS where false. Where nil,
	// loopback hosts are spoken to in plain HTTP and all others with TLS.
	PlainHTTP *bool
	// RootCAs sign this registry's certificate; the system's where nil.
	RootCAs *x509.CertPool
	// Certificates are shown to a registry that asks for a client certificate.
	Certificates []tls.Certificate
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
	// Mirrors are registries with the same repositories that are read from first, in
	// order. What they do not have, or fail to give, is read from the host itself. A
	// tag stands for what the first mirror that has it says.
	Mirrors []string
}

const (
	// maxConfig bounds a configuration or credentials file, which a person wrote.
	maxConfig = 1 << 20
	// maxCertificates bounds a PEM file; the bundle of all public authorities has
	// some 250 KB.
	maxCertificates = 4 << 20
)

// configFile is the file's schema.
type configFile struct {
	Registries map[string]struct {
		PlainHTTP          *bool    `yaml:"plainHTTP"`
		CA                 string   `yaml:"ca"`
		ClientCert         string   `yaml:"clientCert"`
		ClientKey          string   `yaml:"clientKey"`
		InsecureSkipVerify bool     `yaml:"insecureSkipVerify"`
		Mirrors            []string `yaml:"mirrors"`
	} `yaml:"registries"`
}

// ReadConfig reads what --registry-config names, in YAML:
//
//	registries:
//	  registry.example.com:5000:
//	    ca: /etc/ssl/example.pem       # besides the system's authorities
//	    clientCert: client.pem         # both or neither
//	    clientKey: client.key
//	  10.0.0.5:5000:
//	    plainHTTP: true                # false asks for TLS on a loopback host
//	  staging.example.com:
//	    insecureSkipVerify: true       # any certificate will do
//	  docker.io:
//	    mirrors: [mirror.example.com]  # read from first
//
// An unknown key is an error that names its line. Files are read at once; relative
// names are relative to the working directory.
func ReadConfig(from io.Reader) (Config, error) {
	raw, err := io.ReadAll(io.LimitReader(from, maxConfig+1))
	if err != nil {
		return Config{}, err
	}
	if len(raw) > maxConfig {
		return Config{}, fmt.Errorf("the registry configuration has more than %d bytes", maxConfig)
	}
	var file configFile
	loader, err := yaml.NewLoader(bytes.NewReader(raw), yaml.WithKnownFields())
	if err != nil {
		return Config{}, err
	}
	// A file without a document sets nothing.
	if err := loader.Load(&file); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, errors.New(shorten(err.Error()))
	}
	config := Config{Hosts: map[string]HostConfig{}}
	for host, set := range file.Registries {
		if err := checkHost(host); err != nil {
			return Config{}, err
		}
		one := HostConfig{PlainHTTP: set.PlainHTTP, InsecureSkipVerify: set.InsecureSkipVerify, Mirrors: set.Mirrors}
		if set.PlainHTTP != nil && *set.PlainHTTP && (set.CA != "" || set.ClientCert != "" || set.InsecureSkipVerify) {
			return Config{}, fmt.Errorf("registry %s: plainHTTP has no certificates to go by: leave out ca, clientCert and insecureSkipVerify, or plainHTTP", host)
		}
		if one.RootCAs, err = readAuthorities(set.CA); err != nil {
			return Config{}, fmt.Errorf("registry %s: ca: %w", host, err)
		}
		if (set.ClientCert == "") != (set.ClientKey == "") {
			return Config{}, fmt.Errorf("registry %s: clientCert and clientKey belong together", host)
		}
		if set.ClientCert != "" {
			pair, err := tls.LoadX509KeyPair(set.ClientCert, set.ClientKey)
			if err != nil {
				return Config{}, fmt.Errorf("registry %s: clientCert: %w", host, err)
			}
			one.Certificates = []tls.Certificate{pair}
		}
		for _, mirror := range set.Mirrors {
			if err := checkHost(mirror); err != nil {
				return Config{}, fmt.Errorf("registry %s: mirrors: %w", host, err)
			}
		}
		if slices.Contains(set.Mirrors, host) {
			return Config{}, fmt.Errorf("registry %s: mirrors: it cannot be a mirror of itself", host)
		}
		config.Hosts[host] = one
	}
	return config, nil
}

// checkHost refuses what is not HOST[:PORT].
func checkHost(host string) error {
	u, err := url.Parse("https://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" || strings.ContainsAny(host, " @") {
		return fmt.Errorf("%q is not a registry: write HOST or HOST:PORT", printable(host))
	}
	return nil
}

// readAuthorities returns the system's authorities and those of file: what the
// registry redirects to is often signed by another one.
func readAuthorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxCertificates))
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
