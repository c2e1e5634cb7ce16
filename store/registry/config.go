package registry

import (
	"crypto/tls"
	"crypto/x509"
)

// Config is what the user set for single registries.
type Config struct {
	// Hosts has registries by the name that references use: docker.io,
	// registry.example.com:5000.
	Hosts map[string]HostConfig
}

// HostConfig is what the user set for one registry.
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
	// order. What they do not have, or fail to give, is read from the host itself.
	Mirrors []string
}
