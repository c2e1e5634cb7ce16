package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// maxRedirects is net/http's.
const maxRedirects = 10

// place is where an address is, seen from the internet.
type place int

const (
	outside   place = iota // everywhere else
	loopback               // this machine
	linkLocal              // cloud metadata services are here
	private                // RFC 1918, RFC 4193
)

// classify tells where an address is.
func classify(ip netip.Addr) place {
	ip = ip.Unmap()
	switch {
	case ip.IsLoopback(), ip.IsUnspecified():
		return loopback
	case ip.IsLinkLocalUnicast(), ip.IsLinkLocalMulticast(), ip.IsInterfaceLocalMulticast():
		return linkLocal
	case ip.IsPrivate():
		return private
	}
	return outside
}

// classifyHost tells where a host is by its name alone.
func classifyHost(host string) place {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return loopback
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return classify(ip)
	}
	return outside
}

// connected notes where the registry is.
func (e *endpoint) connected(info httptrace.GotConnInfo) {
	if address, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil && classify(address.Addr()) != outside {
		e.inside.Store(true)
	}
}

type controlFunc = func(ctx context.Context, network, address string, c syscall.RawConn) error

// refuseInside refuses connections to this machine and to link-local addresses,
// whatever name led there. Private addresses are let through here, and refused in
// URLs: where a private endpoint is set up, a cloud's storage has public names for
// them.
func refuseInside(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if where := classify(to.Addr()); where == loopback || where == linkLocal {
		return fmt.Errorf("%w: it leads to %s", errInside, to.Addr())
	}
	return nil
}

// errInside refuses what a registry on the internet says about addresses that only
// this machine can reach.
var errInside = errors.New("a registry on a public address may not lead to a private one")

// checkHop tells whether the registry may lead from one URL to another.
func (e *endpoint) checkHop(from, to url.URL) error {
	switch {
	case to.Scheme != "https" && to.Scheme != "http":
		return fmt.Errorf("it leads to a URL that is neither https nor http")
	case from.Scheme == "https" && to.Scheme == "http":
		return fmt.Errorf("it leads from https to http (%s)", to.Host)
	case sameOrigin(to, e.base), e.client.configured(to.Host):
		return nil
	case classifyHost(to.Hostname()) != outside && !e.inside.Load():
		return fmt.Errorf("%w (%s)", errInside, to.Host)
	}
	return nil
}

// transportTo returns what may carry a request to target, which checkHop let through.
func (e *endpoint) transportTo(target url.URL) http.RoundTripper {
	switch {
	case sameOrigin(target, e.base):
		return e.transport
	case e.client.configured(target.Host):
		return e.client.endpoint(target.Host).transport
	case e.inside.Load(), proxied(target):
		return e.elsewhere
	}
	return e.guarded
}

// configured tells whether the user named host in the configuration, and so
// vouches for it.
func (c *Client) configured(host string) bool {
	_, ok := c.options.Config.Hosts[host]
	return ok
}

// proxied tells whether requests to target go through a proxy. Then it is the
// proxy that is connected to, wherever that is.
func proxied(target url.URL) bool {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &target})
	return err == nil && proxy != nil
}

// redirectError is a redirect that is not followed. Trying again would not help.
type redirectError struct{ err error }

func (e *redirectError) Error() string { return "its redirect is not followed: " + e.err.Error() }
func (e *redirectError) Unwrap() error { return e.err }

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirectTarget reads the Location of a redirect, the hop-th in a row.
func redirectTarget(response *http.Response, hop int) (url.URL, error) {
	if hop >= maxRedirects {
		return url.URL{}, &redirectError{fmt.Errorf("there were %d in a row", maxRedirects)}
	}
	location, err := locate(response)
	if err != nil {
		return url.URL{}, &redirectError{err}
	}
	return location, nil
}

// locate reads the Location header, which may be relative to the request.
func locate(response *http.Response) (url.URL, error) {
	// The text of a URL that cannot be read is not repeated: it may be signed.
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil || response.Header.Get("Location") == "" {
		return url.URL{}, errors.New("its Location header is missing or is no URL")
	}
	location = response.Request.URL.ResolveReference(location)
	location.User, location.Fragment = nil, ""
	return *location, nil
}

// sameOrigin tells whether two URLs have scheme, host and port in common.
func sameOrigin(a, b url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}
