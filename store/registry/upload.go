package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// headThreshold is the size from which on it is worth a request to learn that a
// blob is there already, on registries that do not say so otherwise. Below it, the
// request costs about as much as the blob.
const headThreshold = 64 << 10

// selfLink is whether a registry answers the wish to mount a blob from its own
// repository by saying that it is there: distribution does, ECR does not.
type selfLink struct{ answer atomic.Int32 }

const (
	linkUnknown int32 = iota
	linkHonoured
	linkIgnored
)

// PushBlob implements store.Pusher.
//
// It asks to mount the blob, from content.MountFrom or else from the repository
// itself, which tells whether it is there with the one request that opens the
// upload otherwise. The content is opened meanwhile, and sent in a single PUT.
// After a failure that passes it is opened again, for a new upload: sessions
// cannot be resumed everywhere (ECR).
func (r *Repository) PushBlob(ctx context.Context, content store.Content) (store.Outcome, error) {
	desc := content.Descriptor
	if err := store.ValidDigest(desc.Digest); err != nil {
		return "", err
	}
	if desc.Size < 0 {
		return "", fmt.Errorf("blob %s has the size %d", desc.Digest, desc.Size)
	}
	u := &pushing{repository: r, endpoint: r.endpoint, content: content}
	for tried := (tries{}); ; {
		outcome, err := u.push(ctx)
		if err == nil {
			if outcome == store.Present {
				r.held.Store(true)
			}
			return outcome, nil
		}
		if u.sourceFailed || !r.endpoint.client.again(ctx, err, &tried) {
			return "", final(ctx, err, tried.failed)
		}
	}
}

// pushing is a blob on its way.
type pushing struct {
	repository *Repository
	endpoint   *endpoint
	content    store.Content
	// asked is set once the registry has said that the blob is not there yet.
	asked bool
	// sourceFailed is set when the content could not be read, which the source has
	// tried all it could about.
	sourceFailed bool
}

// push makes one attempt.
func (u *pushing) push(ctx context.Context) (store.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e, desc := u.endpoint, u.content.Descriptor

	// Content that will hardly be wanted is not opened yet: to close it again costs
	// the source its connection.
	var opened *opening
	if u.asked || u.content.MountFrom == "" && !u.repository.held.Load() {
		opened = u.open(ctx)
		defer opened.discard(cancel)
	}
	var present <-chan bool
	if !u.asked && u.content.MountFrom == "" && desc.Size >= headThreshold && e.selfLink.answer.Load() != linkHonoured {
		present = u.lookUp(ctx)
		defer func() { cancel(); <-present }()
		// Where the one is likely and the mount says nothing, no session is opened only
		// to be left behind.
		if e.selfLink.answer.Load() == linkIgnored && u.repository.held.Load() && <-present {
			return store.Present, nil
		}
	}

	session, linked, err := u.start(ctx)
	switch {
	case err != nil:
		return "", err
	case linked && u.content.MountFrom != "":
		return store.Mounted, nil
	case linked:
		e.selfLink.answer.Store(linkHonoured)
		return store.Present, nil
	}
	if present != nil && <-present {
		e.selfLink.answer.CompareAndSwap(linkUnknown, linkIgnored)
		return store.Present, nil
	}
	u.asked = true
	if opened == nil {
		opened = u.open(ctx)
		defer opened.discard(cancel)
	}
	body, err := opened.take()
	if err != nil {
		u.sourceFailed = true
		return "", err
	}
	return store.Copied, u.put(ctx, cancel, session, body)
}

// start asks to mount and returns the upload session that it got in its place. A
// registry that does not know how to mount is asked for a session alone.
func (u *pushing) start(ctx context.Context) (session url.URL, linked bool, err error) {
	r, e, desc := u.repository, u.endpoint, u.content.Descriptor
	c := r.call(e, "pushing blob", locator(desc.Digest.String()), http.MethodPost, "/blobs/uploads/", PushScope(r.name))
	if !u.asked && (u.content.MountFrom != "" || e.selfLink.answer.Load() != linkIgnored) {
		mount, from := c, r.name
		if u.content.MountFrom != "" {
			from = u.content.MountFrom
			mount.scopes = []string{PushScope(r.name), PullScope(from)}
		}
		mount.url.RawQuery = url.Values{"mount": {desc.Digest.String()}, "from": {from}}.Encode()
		response, err := e.do(ctx, mount, http.StatusCreated, http.StatusAccepted)
		if err == nil {
			return u.session(mount, response)
		}
		if failed, ok := errors.AsType[*Error](err); !ok || failed.passes || failed.Status < 400 || failed.Status >= 500 {
			return url.URL{}, false, err
		}
	}
	response, err := e.do(ctx, c, http.StatusAccepted)
	if err != nil {
		return url.URL{}, false, err
	}
	return u.session(c, response)
}

// session reads where to upload to.
func (u *pushing) session(c call, response *http.Response) (session url.URL, linked bool, err error) {
	drain(response.Body)
	if response.StatusCode == http.StatusCreated {
		return url.URL{}, true, nil
	}
	if session, err = locate(response); err != nil {
		return url.URL{}, false, u.endpoint.corrupt(c, "no place to upload to: %w", err)
	}
	if err := u.endpoint.checkHop(*response.Request.URL, session); err != nil {
		return url.URL{}, false, u.endpoint.corrupt(c, "the place to upload to is refused: %w", err)
	}
	return session, false, nil
}

// put sends the blob in one request, and ends its upload with the same or, on a
// registry that takes no content there, with another.
func (u *pushing) put(ctx context.Context, cancel context.CancelFunc, session url.URL, body io.ReadCloser) error {
	e, desc := u.endpoint, u.content.Descriptor
	method, want := http.MethodPut, []int{http.StatusCreated, http.StatusOK, http.StatusNoContent}
	patches := e.patches.Load()
	if patches {
		method, want = http.MethodPatch, []int{http.StatusAccepted, http.StatusCreated, http.StatusNoContent}
	} else {
		session = withDigest(session, desc.Digest)
	}
	c, response, err := u.send(ctx, cancel, method, session, body, want...)
	if failed, ok := errors.AsType[*Error](err); ok && !patches && refusesContent(failed.Status) {
		e.patches.Store(true)
		failed.passes = true
		return err
	}
	if err != nil || !patches {
		return u.stored(c, response, err)
	}
	if session, err = locate(response); err == nil {
		err = e.checkHop(*response.Request.URL, session)
	}
	if err != nil {
		return e.corrupt(c, "no place to end the upload at: %w", err)
	}
	c = u.call(http.MethodPut, withDigest(session, desc.Digest))
	if response, err = e.do(ctx, c, http.StatusCreated, http.StatusOK, http.StatusNoContent); err == nil {
		drain(response.Body)
	}
	return u.stored(c, response, err)
}

// refusesContent tells whether a registry may take with PATCH what it does not with PUT.
// The distribution-spec has both; some have one of them.
func refusesContent(status int) bool {
	switch status {
	case http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return true
	}
	return false
}

// withDigest adds what ends an upload. What is there is left as it is: it is the
// registry's own state.
func withDigest(session url.URL, d digest.Digest) url.URL {
	if session.RawQuery != "" {
		session.RawQuery += "&"
	}
	session.RawQuery += "digest=" + url.QueryEscape(d.String())
	return session
}

// call is a call to where the blob is uploaded to. Where that is on another host, that
// host is not shown who we are.
func (u *pushing) call(method string, to url.URL) call {
	c := u.repository.call(u.endpoint, "pushing blob", locator(u.content.Descriptor.Digest.String()), method, "", PushScope(u.repository.name))
	c.url, c.once = to, true
	c.header = http.Header{"Content-Type": {"application/octet-stream"}}
	return c
}

// send sends the content, without a Content-Range, which GitHub's registry does not
// take everywhere. When it returns, body is closed.
func (u *pushing) send(ctx context.Context, cancel context.CancelFunc, method string, to url.URL, body io.ReadCloser, want ...int) (call, *http.Response, error) {
	source := &source{body: body, closed: make(chan struct{})}
	sending := false
	c := u.call(method, to)
	c.size = u.content.Descriptor.Size
	c.body = func() io.ReadCloser { sending = true; return source }

	inner, stop := context.WithCancel(ctx)
	response, err := u.endpoint.do(inner, c, want...)
	failure := source.failure()
	if err == nil {
		drain(response.Body)
	}
	// net/http closes a request's body in its own time, and the source may be slow
	// to notice. Nothing of either is left behind.
	stop()
	if method == http.MethodPut || err != nil {
		cancel()
	}
	if !sending {
		source.close()
	}
	<-source.closed
	if failure != nil {
		u.sourceFailed = true
		return c, nil, fmt.Errorf("reading blob %s to push it: %w", u.content.Descriptor.Digest, failure)
	}
	return c, response, err
}

// stored reads what the registry says of the blob that it has now.
func (u *pushing) stored(c call, response *http.Response, err error) error {
	if err != nil {
		if u.sourceFailed {
			return err
		}
		return restartable(err)
	}
	want := u.content.Descriptor.Digest
	if stored := digest.Digest(response.Header.Get("Docker-Content-Digest")); stored != "" && stored.Algorithm() == want.Algorithm() && stored != want {
		return u.endpoint.corrupt(c, "%w: the registry stored it as %s", store.ErrCorrupt, shorten(stored.String()))
	}
	return nil
}

// restartable lets a new session be tried after what is wrong with this one: it is
// gone (404), out of step (416), or its token ran out (401).
func restartable(err error) error {
	if failed, ok := errors.AsType[*Error](err); ok {
		switch failed.Status {
		case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
			failed.passes = true
		}
		if failed.Code == "DIGEST_INVALID" {
			failed.Err = fmt.Errorf("%w: what was read from the source is something else", store.ErrCorrupt)
		}
	}
	return err
}

// lookUp asks whether the blob is there. A registry that cannot say has it sent.
func (u *pushing) lookUp(ctx context.Context) <-chan bool {
	r, desc := u.repository, u.content.Descriptor
	answer := make(chan bool, 1)
	go func() {
		defer close(answer)
		c := r.call(u.endpoint, "looking up blob", locator(desc.Digest.String()), http.MethodHead, "/blobs/"+desc.Digest.String(), PushScope(r.name))
		response, err := u.endpoint.do(ctx, c, http.StatusOK)
		if err != nil {
			return
		}
		drain(response.Body)
		answer <- response.ContentLength < 0 || response.ContentLength == desc.Size
	}()
	return answer
}

// opening is content that is being opened while something else is asked.
type opening struct {
	done  chan struct{}
	body  io.ReadCloser
	err   error
	taken bool
}

func (u *pushing) open(ctx context.Context) *opening {
	o := &opening{done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.body, o.err = u.content.Open(ctx, 0)
	}()
	return o
}

// take waits for the content. Whoever takes it closes it.
func (o *opening) take() (io.ReadCloser, error) {
	<-o.done
	o.taken = o.err == nil
	return o.body, o.err
}

// discard closes content that nobody took.
func (o *opening) discard(cancel context.CancelFunc) {
	if o.taken {
		return
	}
	cancel()
	<-o.done
	if o.err == nil {
		// It was not wanted: an error here changes nothing.
		_ = o.body.Close()
	}
}

// source is content as a request body. It remembers how reading it failed, so that
// the source's failure is not taken for the destination's, and it does not close
// the content while that is being read.
type source struct {
	body   io.ReadCloser
	closed chan struct{}

	mu               sync.Mutex
	reading, closing bool
	err              error
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return 0, errors.New("content is closed")
	}
	s.reading = true
	s.mu.Unlock()
	n, err := s.body.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	if s.closing {
		s.finish()
	} else if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func (s *source) Close() error {
	s.close()
	return nil
}

func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	if !s.reading {
		s.finish()
	}
}

func (s *source) finish() {
	// What was read was sent, or is not wanted: an error here changes nothing.
	_ = s.body.Close()
	close(s.closed)
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
