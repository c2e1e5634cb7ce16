package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"berth/store"
)

// call is one operation of the distribution-spec, to be sent once or several times.
type call struct {
	// op, repository and reference are for errors: "fetching manifest", "app", ":v1".
	op, repository, reference string

	method string
	url    url.URL
	header http.Header
	scopes []string
	// body opens what is sent, from its first byte; nil where nothing is.
	body func() io.ReadCloser
	size int64
	// once is for a body that cannot be opened again, or not for the same URL.
	once bool
}

// url is the address of a path on the registry.
func (e *endpoint) url(path string) url.URL {
	u := e.base
	u.Path = path
	return u
}

// call starts a call on the repository.
func (r *Repository) call(e *endpoint, op, reference, method, path string, scopes ...string) call {
	return call{
		op: op, repository: r.name, reference: reference,
		method: method, url: e.url("/v2/" + r.name + path), scopes: scopes,
	}
}

// do sends c when its turn has come: see pace. The answer is one of want; anything else
// is an error.
func (e *endpoint) do(ctx context.Context, c call, want ...int) (*http.Response, error) {
	p := e.paceOf(c)
	cut, err := p.enter(ctx)
	if err != nil {
		return nil, e.broken(c, err)
	}
	response, err := e.exchange(ctx, c, want...)
	failed, ok := errors.AsType[*Error](err)
	tooMany := ok && throttled(failed.Status, failed.Code)
	if passed := p.leave(cut, tooMany); tooMany {
		failed.tooMany, failed.passed = true, passed
	}
	return response, err
}

// exchange sends c with what the registry wants to be shown, and once more where it was
// refused that.
func (e *endpoint) exchange(ctx context.Context, c call, want ...int) (*http.Response, error) {
	// An upload may go on elsewhere, where nobody is shown anything.
	var authorization string
	var err error
	if sameOrigin(c.url, e.base) {
		if authorization, err = e.authorization(ctx, c, ""); err != nil {
			return nil, err
		}
	}
	response, err := e.send(ctx, c, authorization)
	if err != nil {
		return nil, e.broken(c, err)
	}
	own := sameOrigin(*response.Request.URL, e.base)
	if response.StatusCode == http.StatusUnauthorized && own {
		offered, err := chooseChallenge(response.Header)
		refusal := e.failed(c, response).withhold(authorization)
		if err != nil {
			return nil, e.unauthorized(c, response.StatusCode, Credential{}, err)
		}
		c.scopes = e.auth.learn(offered, c.scopes)
		again, err := e.authorization(ctx, c, authorization)
		if err != nil {
			return nil, err
		}
		if again == "" || again == authorization || c.once {
			return nil, e.refused(ctx, c, refusal)
		}
		authorization = again
		if response, err = e.send(ctx, c, authorization); err != nil {
			return nil, e.broken(c, err)
		}
	}
	for _, status := range want {
		if response.StatusCode == status {
			return response, nil
		}
	}
	failed := e.failed(c, response).withhold(authorization)
	if own && (failed.Status == http.StatusUnauthorized || failed.Status == http.StatusForbidden) {
		return nil, e.refused(ctx, c, failed)
	}
	return nil, failed
}

// refused adds to a 401 or 403 whose credentials they were.
func (e *endpoint) refused(ctx context.Context, c call, failed *Error) error {
	credential, err := e.credential(ctx, false)
	if err != nil {
		return e.unauthorized(c, failed.Status, Credential{}, err)
	}
	failed.Message = credential.redact(failed.Message)
	failed.note = credential.who(e.host)
	return failed
}

// send sends c and follows redirects of GET and HEAD. The error it returns is that
// of the connection, unwrapped.
func (e *endpoint) send(ctx context.Context, c call, authorization string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watch := newWatch(cancel, e.client.options.Idle)
	response, err := e.follow(ctx, c, authorization, watch)
	if err != nil {
		watch.stop()
		if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		cancel(nil)
		return nil, err
	}
	watch.pause()
	response.Body = &body{ReadCloser: response.Body, watch: watch, cancel: cancel, ctx: ctx, client: e.client}
	return response, nil
}

// follow is send without its clean-up.
func (e *endpoint) follow(ctx context.Context, c call, authorization string, watch *watch) (*http.Response, error) {
	target, transport := c.url, e.transportTo(c.url)
	for hop := 0; ; hop++ {
		request := (&http.Request{
			Method: c.method, URL: &target, Host: target.Host,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{},
		}).WithContext(ctx)
		for name, values := range c.header {
			request.Header[name] = values
		}
		request.Header.Set("User-Agent", e.client.options.UserAgent)
		// The origin of the call is the registry's, or its token server's. Nobody else
		// is shown anything.
		if authorization != "" && sameOrigin(target, c.url) {
			request.Header.Set("Authorization", authorization)
		}
		if c.body != nil {
			request.Body, request.ContentLength = &upload{ReadCloser: c.body(), watch: watch, client: e.client}, c.size
			if c.size == 0 {
				if err := request.Body.Close(); err != nil {
					return nil, err
				}
				request.Body = http.NoBody
			}
		}
		if sameOrigin(target, e.base) && !proxied(target) {
			request = request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: e.connected}))
		}
		response, err := e.client.roundTrip(transport, request)
		if err != nil {
			return nil, err
		}
		watch.touch()
		if sameOrigin(target, e.base) {
			e.noteQuota(response.Header)
		}
		if !isRedirect(response.StatusCode) || c.method != http.MethodGet && c.method != http.MethodHead {
			return response, nil
		}
		location, err := redirectTarget(response, hop)
		drain(response.Body)
		if err != nil {
			return nil, err
		}
		if err := e.checkHop(target, location); err != nil {
			return nil, &redirectError{err}
		}
		target, transport = location, e.transportTo(location)
	}
}

// roundTrip sends one request, counts it and shows it to the observer.
func (c *Client) roundTrip(transport http.RoundTripper, request *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	start := time.Now()
	response, err := transport.RoundTrip(request)
	if c.options.Observe != nil {
		exchange := Exchange{Method: request.Method, URL: withoutQuery(*request.URL), Err: err, Duration: time.Since(start)}
		if response != nil {
			exchange.Status = response.StatusCode
		}
		c.options.Observe(exchange)
	}
	if err == nil {
		// For callers to see where the answer comes from.
		response.Request = request
	}
	return response, err
}

// withoutQuery is u as it may be shown: a query may be a signature.
func withoutQuery(u url.URL) string {
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}

// errStalled is the cause of a context that ended because nothing came.
var errStalled = errors.New("connection stalled")

// watch cancels a request that makes no progress.
type watch struct {
	mu      sync.Mutex
	timer   *time.Timer
	idle    time.Duration
	stopped bool
}

func newWatch(cancel context.CancelCauseFunc, idle time.Duration) *watch {
	return &watch{idle: idle, timer: time.AfterFunc(idle, func() {
		cancel(fmt.Errorf("%w: nothing came for %s", errStalled, idle))
	})}
}

// touch says that there was progress, and starts the wait for more.
func (w *watch) touch() { w.allow(w.idle) }

// allow starts a wait of that length.
func (w *watch) allow(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(d)
	}
}

// pause ends the wait until the next touch.
func (w *watch) pause() { w.timer.Stop() }

// stop ends the watch.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

// body is a response body that is watched and counted.
type body struct {
	io.ReadCloser
	watch  *watch
	cancel context.CancelCauseFunc
	ctx    context.Context
	client *Client
}

// Read is watched only while it waits for the registry: how long its caller thinks
// between two reads is the caller's business.
func (b *body) Read(p []byte) (int, error) {
	b.watch.touch()
	n, err := b.ReadCloser.Read(p)
	b.watch.pause()
	b.client.received.Add(int64(n))
	if cause := context.Cause(b.ctx); err != nil && errors.Is(cause, errStalled) {
		err = cause
	}
	return n, err
}

func (b *body) Close() error {
	b.watch.stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// upload is a request body. The watch runs while the connection has the bytes, and
// rests while the source is asked for more.
type upload struct {
	io.ReadCloser
	watch  *watch
	client *Client
}

func (u *upload) Read(p []byte) (int, error) {
	u.watch.pause()
	n, err := u.ReadCloser.Read(p)
	u.client.sent.Add(int64(n))
	if err != nil {
		// All is sent, or as much as there will be.
		u.watch.allow(commitTimeout)
	} else {
		u.watch.touch()
	}
	return n, err
}

// readBounded reads a body of at most limit bytes and closes it. A body that ends
// before its announced length is an error (net/http's).
func readBounded(response *http.Response, limit int64) ([]byte, error) {
	defer response.Body.Close()
	if response.ContentLength > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, and at most %d are read", store.ErrTooLarge, response.ContentLength, limit)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%w: it has more than the %d bytes that are read", store.ErrTooLarge, limit)
	}
	return raw, nil
}

// printable keeps control characters of foreign text off the terminal.
func printable(s string) string { return store.Printable(s) }
