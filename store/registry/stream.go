package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

var _ store.StreamPusher = (*Repository)(nil)

// PushStream implements store.StreamPusher: a PATCH with all of the content, as docker
// push sends it, and a PUT with the digest (distribution-spec, "Pushing a blob in
// chunks"). There is one PATCH, because ECR does not keep what comes with a second
// (aws/containers-roadmap#2831).
func (r *Repository) PushStream(ctx context.Context, from digest.Digest, open func(context.Context) (io.ReadCloser, error)) (store.Descriptor, error) {
	var attempt tries
	for {
		u := &pushing{repository: r, endpoint: r.endpoint, asked: true, content: store.Content{Descriptor: store.Descriptor{Digest: from, Size: -1}}}
		desc, err := u.stream(ctx, open)
		if err == nil {
			return desc, nil
		}
		if u.sourceFailed || !r.endpoint.client.again(ctx, err, &attempt) {
			return desc, final(ctx, err, attempt.failed)
		}
	}
}

// stream makes one attempt.
func (u *pushing) stream(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (desc store.Descriptor, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := u.endpoint
	session, _, err := u.start(ctx)
	if err != nil {
		return desc, err
	}
	content, err := open(ctx)
	if err != nil {
		u.sourceFailed = true
		return desc, err
	}
	counted := &counting{ReadCloser: content, hash: digest.Canonical.Digester()}
	c, response, err := u.send(ctx, cancel, http.MethodPatch, session, counted, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return desc, u.stored(c, response, err)
	}
	if session, err = locate(response); err == nil {
		err = e.checkHop(*response.Request.URL, session)
	}
	if err != nil {
		return desc, e.corrupt(c, "no place to end the upload at: %w", err)
	}
	if !counted.ended {
		return desc, e.corrupt(c, "it answered before the content had ended")
	}
	desc = store.Descriptor{Digest: counted.hash.Digest(), Size: counted.size}
	u.content.Descriptor = desc
	c = u.call(http.MethodPut, withDigest(session, desc.Digest))
	if response, err = e.do(ctx, c, http.StatusCreated, http.StatusOK, http.StatusNoContent); err == nil {
		drain(response.Body)
	}
	if err := u.stored(c, response, err); err != nil {
		return desc, fmt.Errorf("ending the upload: %w", err)
	}
	return desc, nil
}

// counting hashes and counts content that is read to its end.
type counting struct {
	io.ReadCloser
	hash  digest.Digester
	size  int64
	ended bool
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	_, _ = c.hash.Hash().Write(p[:n]) // a hash takes everything
	c.size += int64(n)
	c.ended = c.ended || err == io.EOF
	return n, err
}
