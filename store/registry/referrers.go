package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

const (
	// maxReferrers of one manifest. An image that is signed and scanned daily for a year
	// has some 700.
	maxReferrers = 4096
	// maxReferrerPages keeps a list that goes in circles from being read for ever.
	maxReferrerPages = 256
	// listAttempts is how often the index of referrers is written again that somebody
	// else wrote at the same time.
	listAttempts = 4
)

var (
	_ store.ReferrerLister = (*Repository)(nil)
	_ store.ReferrerPusher = (*Repository)(nil)
)

// Referrers implements store.ReferrerLister (distribution-spec, "Listing Referrers"):
// all pages of what the registry lists, or where it lists none, the index under the
// referrers tag ("Unavailable Referrers API").
func (r *Repository) Referrers(ctx context.Context, subject digest.Digest) ([]store.Descriptor, error) {
	if err := store.ValidDigest(subject); err != nil {
		return nil, err
	}
	var found []store.Descriptor
	if !r.listsNone.Load() {
		var known bool
		err := r.read(ctx, func(e *endpoint, try attempts) error {
			var err error
			found, known, err = r.list(ctx, e, try, subject)
			return err
		})
		if err != nil || known {
			return found, err
		}
		r.listsNone.Store(true)
	}
	err := r.read(ctx, func(e *endpoint, try attempts) error {
		index, _, err := r.referrersIndex(ctx, e, try, subject)
		found = unique(index.Manifests)
		return err
	})
	return found, err
}

// list asks one endpoint for the referrers of subject. known is false where it has no
// such list.
func (r *Repository) list(ctx context.Context, e *endpoint, try attempts, subject digest.Digest) (found []store.Descriptor, known bool, err error) {
	c := r.call(e, "listing referrers of", locator(subject.String()), http.MethodGet, "/referrers/"+subject.String(), PullScope(r.name))
	c.header = http.Header{"Accept": {v1.MediaTypeImageIndex}}
	for range maxReferrerPages {
		var page v1.Index
		var next *url.URL
		err := try(ctx, func(ctx context.Context) error {
			known, next = false, nil
			// Registries that know nothing of it answer in many ways; the spec's is 404.
			response, err := e.do(ctx, c, http.StatusOK, http.StatusBadRequest, http.StatusNotFound,
				http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented)
			if err != nil {
				return err
			}
			mediaType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
			if response.StatusCode != http.StatusOK || strings.TrimSpace(mediaType) != v1.MediaTypeImageIndex {
				drain(response.Body)
				return nil
			}
			if next, err = e.nextPage(c, response); err != nil {
				drain(response.Body)
				return err
			}
			raw, err := readBounded(response, store.MaxManifestSize)
			if err != nil {
				return e.broken(c, err)
			}
			page = v1.Index{}
			if err := json.Unmarshal(raw, &page); err != nil {
				return e.corrupt(c, "its list cannot be read: %w", err)
			}
			known = true
			return nil
		})
		if err != nil || !known {
			return nil, false, err
		}
		found = append(found, page.Manifests...)
		switch {
		case len(found) > maxReferrers:
			return nil, true, e.corrupt(c, "%w: more than %d referrers", store.ErrTooLarge, maxReferrers)
		case next == nil:
			return unique(found), true, nil
		}
		c.url = *next
	}
	return nil, true, e.corrupt(c, "%w: a list of more than %d pages", store.ErrTooLarge, maxReferrerPages)
}

// nextPage is where a list goes on (RFC 8288, and the distribution-spec where it has
// Link: <URL>; rel="next"), or nil at its end. It stays on the registry.
func (e *endpoint) nextPage(c call, response *http.Response) (*url.URL, error) {
	for _, value := range response.Header.Values("Link") {
		target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(value), "<"), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		next, err := response.Request.URL.Parse(target)
		if err != nil || !sameOrigin(*next, e.base) {
			return nil, e.corrupt(c, "its list goes on at %q, which is no place on the registry", shorten(target))
		}
		return next, nil
	}
	return nil, nil
}

// unique are descriptors with a digest that can be asked for, each digest once.
func unique(descriptors []store.Descriptor) []store.Descriptor {
	var once []store.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range descriptors {
		if store.ValidDigest(d.Digest) == nil && !seen[d.Digest] {
			seen[d.Digest] = true
			once = append(once, d)
		}
	}
	return once
}

// referrersIndex is the index under the referrers tag at one endpoint, and its ETag where
// the registry gives it one. Where there is none it is empty.
func (r *Repository) referrersIndex(ctx context.Context, e *endpoint, try attempts, subject digest.Digest) (index v1.Index, etag string, err error) {
	empty := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []store.Descriptor{}}
	tag := store.ReferrersTag(subject)
	c := r.call(e, "fetching manifest", locator(tag), http.MethodGet, "/manifests/"+tag, PullScope(r.name))
	c.header = http.Header{"Accept": accept}
	err = try(ctx, func(ctx context.Context) error {
		index, etag = empty, ""
		response, err := e.do(ctx, c, http.StatusOK, http.StatusNotFound)
		if err != nil {
			return err
		}
		if response.StatusCode == http.StatusNotFound {
			drain(response.Body)
			return nil
		}
		found, err := e.readManifest(c, response, "")
		switch {
		case err != nil:
			return err
		case found.Descriptor.MediaType != v1.MediaTypeImageIndex:
			return e.corrupt(c, "it is to list what refers to %s, and is a %s", subject, found.Descriptor.MediaType)
		}
		index = v1.Index{}
		if err := json.Unmarshal(found.Raw, &index); err != nil {
			return e.corrupt(c, "its index cannot be read: %w", err)
		}
		if len(index.Manifests) > maxReferrers {
			return e.corrupt(c, "%w: more than %d referrers", store.ErrTooLarge, maxReferrers)
		}
		etag = response.Header.Get("ETag")
		return nil
	})
	return index, etag, err
}

// PushReferrer implements store.ReferrerPusher (distribution-spec, "Pushing Manifests
// with Subject"): where the registry does not say that it has taken note of the subject,
// the index under the referrers tag is kept.
func (r *Repository) PushReferrer(ctx context.Context, referrer store.Referrer) error {
	d := referrer.Descriptor
	noted, err := r.pushManifest(ctx, d, referrer.Raw, referrer.Tag)
	if err != nil {
		if failed, ok := errors.AsType[*Error](err); ok {
			switch failed.Status {
			// ECR answers 405 to some (aws/containers-roadmap#2783), and others that know
			// no artifacts 400, 415 or 501.
			case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
				failed.Err = fmt.Errorf("%w: %w", store.ErrUnsupported, failed.Err)
			}
		}
		return err
	}
	if referrer.Tag != "" || noted == referrer.Subject {
		return nil
	}
	listed, _, err := store.ReferrerDescriptor(referrer.Manifest)
	if err != nil {
		return err
	}
	// In this process one at a time. Others may write at the same time, and what was
	// written is therefore looked at again.
	select {
	case r.listing <- struct{}{}:
		defer func() { <-r.listing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for range listAttempts {
		there, err := r.addToIndex(ctx, referrer.Subject, listed)
		if err != nil || there {
			return err
		}
	}
	return fmt.Errorf("tag %s of %s, which lists what refers to %s, is being written by others: %s was not added", store.ReferrersTag(referrer.Subject), r, referrer.Subject, d.Digest)
}

// addToIndex adds an entry to the index under the referrers tag, and tells whether it
// was there already. What else is there stays.
func (r *Repository) addToIndex(ctx context.Context, subject digest.Digest, listed store.Descriptor) (there bool, err error) {
	// No mirror is asked: this is to be written again.
	index, was, err := r.referrersIndex(ctx, r.endpoint, r.endpoint.client.retry, subject)
	if err != nil {
		return false, err
	}
	for _, entry := range index.Manifests {
		if entry.Digest == listed.Digest {
			return true, nil
		}
	}
	index.Manifests = append(index.Manifests, listed)
	raw, err := json.Marshal(index)
	if err != nil {
		return false, err
	}
	d := store.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	_, err = r.pushManifestIf(ctx, d, raw, store.ReferrersTag(subject), was)
	if failed, ok := errors.AsType[*Error](err); ok && failed.Status == http.StatusPreconditionFailed {
		return false, nil // somebody was faster
	}
	return false, err
}
