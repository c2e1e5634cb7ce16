// Package registry reads and writes image repositories on registries that speak
// the OCI distribution-spec.
//
// Start with [New], then [Client.Repository], which is a store.Source and a
// store.Destination:
//
//	client := registry.New(registry.Options{Credentials: registry.DefaultCredentials()})
//	repository := client.Repository("docker.io", "library/alpine")
//	manifest, err := repository.Manifest(ctx, "3.20")
//
// One Client serves all the registries of a run: it holds their tokens and their
// connections. Where it is known beforehand what will be needed on a host, [Client.Intend]
// makes its first token one for all of that.
//
// What this package decides:
//
//   - Requests are sent straight away. A registry that answers 401 gets a token
//     for the scopes at hand, which is kept for the host, shared by everybody whose
//     scopes it covers, and renewed before it expires by one request at a time.
//   - Credentials go to the registry's own origin and to the token server that it
//     names, never along a redirect.
//   - Failures that pass (408, 429, 5xx, a connection that breaks) are tried again,
//     after the time that the registry asks for. A blob whose connection breaks is
//     resumed where it stopped, inside the same reader.
//   - A registry that says that there are too many requests gets half as many of that
//     kind at once, and then slowly more.
//   - Loopback hosts are spoken to in plain HTTP, all others with TLS, unless
//     [Config] says otherwise.
//
// Errors are [*Error], which say what was done to which repository, what the
// registry answered, and unwrap to the categories of package store.
package registry

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a [Client]. The zero value is anonymous and useful.
type Options struct {
	// Credentials are asked once per host, when that host wants to know who is
	// there. Nil is anonymous.
	Credentials Credentials
	// Config has what the user set for single hosts.
	Config Config
	// UserAgent is sent with each request; "berth" where empty.
	UserAgent string
	// Retry says how failures that pass are tried again.
	Retry Retry
	// Idle is how long a registry may take over an answer or over the next byte of
	// one; 30 seconds where zero.
	Idle time.Duration
	// Observe, where set, is told of each request when its answer has begun. It is
	// called from several goroutines at once and must not block.
	Observe func(Exchange)
	// Transport replaces the connections, for tests. It is used for all hosts, and
	// what Config says about TLS and what is known of addresses is lost.
	Transport http.RoundTripper
	// Now is the clock by which tokens expire; time.Now where nil.
	Now func() time.Time
}

// Exchange is one HTTP request and the beginning of its answer. It never holds a
// header, nor the query of a URL, which may be signed.
type Exchange struct {
	Method, URL string
	// Status is zero where there was no answer; Err then says why.
	Status   int
	Err      error
	Duration time.Duration
}

// Sizes and times that bound what a registry can make us do.
const (
	// defaultIdle is three times what slow registries were seen to think about a
	// request, and short beside a person's patience.
	defaultIdle = 30 * time.Second
	// commitTimeout is for the answer to an upload's last byte: registries over
	// object stores copy and hash the whole blob before they answer.
	commitTimeout = 10 * time.Minute
	// dialTimeout and handshakeTimeout are those of http.DefaultTransport.
	dialTimeout      = 30 * time.Second
	handshakeTimeout = 10 * time.Second
	// idleConnTimeout is that of http.DefaultTransport.
	idleConnTimeout = 90 * time.Second
	// maxIdlePerHost is above any number of requests that a caller has in flight,
	// so that each request finds a connection that is open (net/http keeps two).
	maxIdlePerHost = 64
	// maxHeaderBytes bounds response headers. Registries send under 4 KiB; net/http
	// would read 10 MiB.
	maxHeaderBytes = 256 << 10
	// maxDrain is what is read of a body nobody wants in order to keep its
	// connection: more costs as much as a new connection.
	maxDrain = 64 << 10
)

// Client speaks to registries. It is safe for concurrent use.
type Client struct {
	options  Options
	requests atomic.Int64
	received atomic.Int64
	sent     atomic.Int64

	mu        sync.Mutex
	endpoints map[string]*endpoint
}

// New makes a client. It touches neither network nor disk.
func New(options Options) *Client {
	if options.UserAgent == "" {
		options.UserAgent = "berth"
	}
	if options.Idle <= 0 {
		options.Idle = defaultIdle
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Retry = options.Retry.withDefaults()
	return &Client{options: options, endpoints: map[string]*endpoint{}}
}

// Requests is the number of HTTP requests sent so far: redirects, tokens and
// repetitions included.
func (c *Client) Requests() int64 { return c.requests.Load() }

// Received is the number of bytes of response bodies read so far.
func (c *Client) Received() int64 { return c.received.Load() }

// Sent is the number of bytes of blobs and manifests sent so far, repetitions included.
func (c *Client) Sent() int64 { return c.sent.Load() }

// CloseIdleConnections closes the connections that no request uses. The client
// can be used on.
func (c *Client) CloseIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.endpoints {
		for _, t := range []http.RoundTripper{e.transport, e.guarded, e.elsewhere} {
			if closer, ok := t.(interface{ CloseIdleConnections() }); ok {
				closer.CloseIdleConnections()
			}
		}
	}
}

// Intend says what the requests to host will need in all, as [PullScope] and
// [PushScope] have it, so that the first token is for all of it and is the only one.
// It sends nothing.
func (c *Client) Intend(host string, scopes ...string) {
	c.endpoint(host).auth.grantFor(scopes)
}

// endpoint is a registry: its address, its connections, its tokens.
type endpoint struct {
	client *Client
	// host is the name that references use; base is where it answers.
	host   string
	base   url.URL
	config HostConfig
	// transport serves the registry itself. What it leads to (token server, storage)
	// is served by guarded, which does not connect to this machine and its
	// neighbourhood, or by elsewhere where that is no danger. Both trust the same
	// authorities as transport, and show no client certificate.
	transport, guarded, elsewhere http.RoundTripper
	// inside is set when the registry is on a loopback, private or link-local
	// address, by its name or by where its connections went.
	inside   atomic.Bool
	auth     authorizer
	quota    atomic.Pointer[Quota]
	selfLink selfLink
	// patches is set once the registry has refused content with PUT.
	patches atomic.Bool
	paces   struct {
		sync.Mutex
		of map[string]*pace
	}
}

// dockerHub is where docker.io answers.
const dockerHub = "registry-1.docker.io"

// endpoint returns the one endpoint of host.
func (c *Client) endpoint(host string) *endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.endpoints[host]; ok {
		return e
	}
	e := &endpoint{client: c, host: host, config: c.options.Config.Hosts[host]}
	e.base = url.URL{Scheme: "https", Host: host}
	if host == "docker.io" {
		e.base.Host = dockerHub
	}
	class := classifyHost(e.base.Hostname())
	e.inside.Store(class != outside)
	plain := class == loopback
	if e.config.PlainHTTP != nil {
		plain = *e.config.PlainHTTP
	}
	if plain {
		e.base.Scheme = "http"
	}
	e.transport, e.guarded, e.elsewhere = c.options.Transport, c.options.Transport, c.options.Transport
	if c.options.Transport == nil {
		foreign := HostConfig{RootCAs: e.config.RootCAs}
		e.transport = newTransport(e.config, http.ProxyFromEnvironment, nil)
		e.guarded = newTransport(foreign, nil, refuseInside)
		e.elsewhere = newTransport(foreign, http.ProxyFromEnvironment, nil)
	}
	c.endpoints[host] = e
	return e
}

// newTransport makes HTTP/1.1 connections: HTTP/2's flow control can bound
// uploads (go-containerregistry#799; BuildKit turned it off for push), and one
// connection per request in flight is faster for large blobs.
func newTransport(config HostConfig, proxy func(*http.Request) (*url.URL, error), control controlFunc) *http.Transport {
	dialer := &dialer{net.Dialer{Timeout: dialTimeout, ControlContext: control}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.dial,
		TLSHandshakeTimeout:    handshakeTimeout,
		TLSClientConfig:        config.tls(),
		Protocols:              protocols,
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// A layer is compressed already, and a manifest must arrive bit for bit.
		DisableCompression: true,
	}
}

func (c HostConfig) tls() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            c.RootCAs,
		Certificates:       c.Certificates,
		InsecureSkipVerify: c.InsecureSkipVerify,
	}
}

// Repository is one repository of a registry.
type Repository struct {
	endpoint *endpoint
	mirrors  []*endpoint
	name     string
	// held is set once a blob was found to be here already: the next ones may be
	// too, so their content is not opened before that is known.
	held atomic.Bool
	// listsNone is set once the registry is known not to list referrers. listing is held
	// by whoever writes the index that lists them in its place.
	listsNone atomic.Bool
	listing   chan struct{}
}

// Repository returns the repository of that name on host, both as store.Reference
// has them. It sends nothing.
func (c *Client) Repository(host, repository string) *Repository {
	r := &Repository{endpoint: c.endpoint(host), name: repository, listing: make(chan struct{}, 1)}
	for _, mirror := range r.endpoint.config.Mirrors {
		r.mirrors = append(r.mirrors, c.endpoint(mirror))
	}
	return r
}

// Host is the registry's name, as references have it.
func (r *Repository) Host() string { return r.endpoint.host }

// Name is the repository's name on its registry.
func (r *Repository) Name() string { return r.name }

// Mirrored tells whether what is read may come from another registry.
func (r *Repository) Mirrored() bool { return len(r.mirrors) > 0 }

// String is HOST/REPOSITORY.
func (r *Repository) String() string { return r.endpoint.host + "/" + r.name }

// drain reads a little of a body nobody wants, so that its connection can be used
// again, and closes it.
func drain(body io.ReadCloser) {
	// The answer is known already: an error here changes nothing.
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	_ = body.Close()
}
