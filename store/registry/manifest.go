package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

var (
	_ store.Source      = (*Repository)(nil)
	_ store.Destination = (*Repository)(nil)
)

// accept is all that is asked for. A registry that holds something else converts it
// or says that it has none. Schema 1 is asked for so that it can be refused by name.
var accept = []string{strings.Join([]string{
	v1.MediaTypeImageIndex,
	v1.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
	"application/vnd.docker.distribution.manifest.v1+json",
}, ", ")}

// locator is a reference as errors show it.
func locator(reference string) string {
	if strings.Contains(reference, ":") {
		return "@" + reference
	}
	return ":" + reference
}

// expected is the digest that reference asks for, or empty for a tag.
func expected(reference string) (digest.Digest, error) {
	if !strings.Contains(reference, ":") {
		return "", nil
	}
	return digest.Digest(reference), store.ValidDigest(digest.Digest(reference))
}

// Manifest implements store.ManifestReader.
func (r *Repository) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	want, err := expected(reference)
	if err != nil {
		return nil, err
	}
	var manifest *store.Manifest
	err = r.read(ctx, func(e *endpoint, try attempts) error {
		manifest, err = r.manifest(ctx, e, try, reference, want)
		return err
	})
	return manifest, err
}

// manifest fetches a manifest from one endpoint.
func (r *Repository) manifest(ctx context.Context, e *endpoint, try attempts, reference string, want digest.Digest) (manifest *store.Manifest, err error) {
	c := r.call(e, "fetching manifest", locator(reference), http.MethodGet, "/manifests/"+reference, PullScope(r.name))
	c.header = http.Header{"Accept": accept}
	err = try(ctx, func(ctx context.Context) error {
		response, err := e.do(ctx, c, http.StatusOK)
		if err != nil {
			return err
		}
		manifest, err = e.readManifest(c, response, want)
		return err
	})
	return manifest, err
}

// readManifest reads and checks a manifest.
func (e *endpoint) readManifest(c call, response *http.Response, want digest.Digest) (*store.Manifest, error) {
	raw, err := readBounded(response, store.MaxManifestSize)
	if err != nil {
		return nil, e.broken(c, err)
	}
	contentType := response.Header.Get("Content-Type")
	if isHTML(contentType, raw) {
		return nil, e.corrupt(c, "%s does not answer as a registry: it sent an HTML page", e.host)
	}
	mediaType, err := manifestType(contentType, raw)
	if err != nil {
		return nil, e.corrupt(c, "%w", err)
	}
	header := digest.Digest(response.Header.Get("Docker-Content-Digest"))
	if want == "" && header != "" && store.ValidDigest(header) == nil {
		want = header
	}
	desc := store.Descriptor{MediaType: mediaType, Digest: want, Size: int64(len(raw))}
	if desc.Digest == "" {
		desc.Digest = digest.FromBytes(raw)
	}
	if err := store.Verify(desc, raw); err != nil {
		return nil, e.corrupt(c, "%w", err)
	}
	if header != "" && header.Algorithm() == desc.Digest.Algorithm() && header != desc.Digest {
		return nil, e.corrupt(c, "%w: its Docker-Content-Digest header says %s", store.ErrCorrupt, shorten(header.String()))
	}
	return &store.Manifest{Descriptor: desc, Raw: raw}, nil
}

// manifestType is what the header and the body say that this is. Where they
// disagree there is no telling how others read it (CVE-2021-41190): an error. A
// header that says nothing about manifests yields to the body.
func manifestType(contentType string, raw []byte) (string, error) {
	var body struct {
		MediaType     string `json:"mediaType"`
		SchemaVersion int    `json:"schemaVersion"`
	}
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		return "", fmt.Errorf("%s is no manifest: it is not a JSON object", shorten(contentType))
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", fmt.Errorf("its manifest cannot be read: %w", err)
	}
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch mediaType {
	case "", "application/json", "application/octet-stream", "text/plain":
		mediaType = body.MediaType
		if mediaType == "" {
			return "", fmt.Errorf("neither its Content-Type (%q) nor its body says which kind of manifest it is", shorten(contentType))
		}
	}
	if body.MediaType != "" && body.MediaType != mediaType {
		return "", fmt.Errorf("its Content-Type says %s and its body says %s", shorten(mediaType), shorten(body.MediaType))
	}
	return shorten(mediaType), nil
}

// Resolve implements store.Resolver. It asks for the head alone, which Docker Hub
// does not count as a pull; a registry that does not answer that in full is asked
// for the manifest.
func (r *Repository) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	want, err := expected(reference)
	if err != nil {
		return store.Descriptor{}, err
	}
	var desc store.Descriptor
	whole := false
	err = r.read(ctx, func(e *endpoint, try attempts) error {
		c := r.call(e, "resolving", locator(reference), http.MethodHead, "/manifests/"+reference, PullScope(r.name))
		c.header = http.Header{"Accept": accept}
		return try(ctx, func(ctx context.Context) error {
			response, err := e.do(ctx, c, http.StatusOK, http.StatusMethodNotAllowed, http.StatusNotImplemented)
			if err != nil {
				return err
			}
			drain(response.Body)
			mediaType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
			desc = store.Descriptor{
				MediaType: strings.TrimSpace(mediaType),
				Digest:    digest.Digest(response.Header.Get("Docker-Content-Digest")),
				Size:      response.ContentLength,
			}
			if response.StatusCode != http.StatusOK || !strings.Contains(desc.MediaType, "manifest") && !strings.Contains(desc.MediaType, "index") ||
				desc.Size <= 0 || store.ValidDigest(desc.Digest) != nil {
				whole = true
				return nil
			}
			if want != "" && desc.Digest.Algorithm() == want.Algorithm() && desc.Digest != want {
				return e.corrupt(c, "%w: its Docker-Content-Digest header says %s", store.ErrCorrupt, desc.Digest)
			}
			return nil
		})
	})
	if err != nil {
		return store.Descriptor{}, err
	}
	if whole {
		manifest, err := r.Manifest(ctx, reference)
		if err != nil {
			return store.Descriptor{}, err
		}
		desc = manifest.Descriptor
	}
	if want != "" {
		desc.Digest = want
	}
	return desc, nil
}

// attempts calls a function as often as it takes.
type attempts func(ctx context.Context, do func(context.Context) error) error

// read tries the mirrors in order and once each, then the registry itself. What a
// mirror's failure was is not told: the registry's answer counts.
func (r *Repository) read(ctx context.Context, from func(e *endpoint, try attempts) error) error {
	for _, mirror := range r.mirrors {
		once := func(ctx context.Context, do func(context.Context) error) error { return do(ctx) }
		if err := from(mirror, once); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return from(r.endpoint, r.endpoint.client.retry)
}

// PushManifest implements store.Pusher.
func (r *Repository) PushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) error {
	_, err := r.pushManifest(ctx, desc, raw, tag)
	return err
}

// pushManifest pushes a manifest, and returns the subject that the registry says to
// have taken note of (distribution-spec, "Pushing Manifests with Subject").
func (r *Repository) pushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) (subject digest.Digest, err error) {
	return r.pushManifestIf(ctx, desc, raw, tag, "")
}

// pushManifestIf is pushManifest over what has a given ETag alone, where that is not
// empty and the registry looks at it (RFC 9110, section 13.1.1).
func (r *Repository) pushManifestIf(ctx context.Context, desc store.Descriptor, raw []byte, tag, etag string) (subject digest.Digest, err error) {
	if err := store.Verify(desc, raw); err != nil {
		return "", err
	}
	if len(raw) > store.MaxManifestSize {
		return "", fmt.Errorf("manifest %s of %d bytes: %w: registries take at most %d", desc.Digest, len(raw), store.ErrTooLarge, store.MaxManifestSize)
	}
	reference := tag
	if reference == "" {
		reference = desc.Digest.String()
	}
	e := r.endpoint
	c := r.call(e, "pushing manifest", locator(reference), http.MethodPut, "/manifests/"+reference, PushScope(r.name))
	c.header = http.Header{"Content-Type": {desc.MediaType}}
	if etag != "" {
		c.header.Set("If-Match", etag)
	}
	c.size = int64(len(raw))
	c.body = func() io.ReadCloser { return io.NopCloser(bytes.NewReader(raw)) }
	err = e.client.retry(ctx, func(ctx context.Context) error {
		response, err := e.do(ctx, c, http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
		if err != nil {
			return lagging(err)
		}
		drain(response.Body)
		subject = digest.Digest(response.Header.Get("OCI-Subject"))
		stored := digest.Digest(response.Header.Get("Docker-Content-Digest"))
		switch {
		case stored == desc.Digest:
		case stored != "" && stored.Algorithm() == desc.Digest.Algorithm():
			return e.corrupt(c, "%w: the registry stored it as %s", store.ErrCorrupt, shorten(stored.String()))
		case tag != "":
			return r.readBack(ctx, c, desc, tag)
		}
		return nil
	})
	if failed, ok := errors.AsType[*Error](err); ok && tag != "" && etag == "" && immutable(failed) {
		// ECR refuses an immutable tag even for what it stands for already
		// (aws/containers-roadmap#2380).
		if held, resolveErr := r.Resolve(ctx, tag); resolveErr == nil {
			if held.Digest == desc.Digest {
				return subject, nil
			}
			failed.note = joinNotes(failed.note, "it stands for "+held.Digest.String())
		}
		failed.Err = store.ErrImmutable
	}
	return subject, err
}

// readBack checks what a tag names, where the answer to its push has not said. It
// asks no mirror.
func (r *Repository) readBack(ctx context.Context, c call, desc store.Descriptor, tag string) error {
	held, err := r.manifest(ctx, r.endpoint, r.endpoint.client.retry, tag, "")
	if err != nil {
		return fmt.Errorf("verifying what was pushed: %w", err)
	}
	if desc.Digest.Algorithm().FromBytes(held.Raw) != desc.Digest {
		return r.endpoint.corrupt(c, "it stands for %s after %s was pushed to it: someone else may be writing it", held.Descriptor.Digest, desc.Digest)
	}
	return nil
}

// lagging lets a manifest be sent again whose blobs the registry does not see yet:
// ECR validates some hundred milliseconds behind its own 201.
func lagging(err error) error {
	if failed, ok := errors.AsType[*Error](err); ok && failed.Status < http.StatusInternalServerError {
		switch failed.Code {
		case "MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN":
			failed.passes = true
		}
	}
	return err
}

// immutable tells whether a tag was refused because it may not be moved. The
// distribution-spec has no code for that: ECR sends TAG_INVALID or its API's
// ImageTagAlreadyExistsException, Harbor 412, Artifact Registry and Docker Hub words.
func immutable(failed *Error) bool {
	switch {
	case failed.Status == http.StatusConflict, failed.Status == http.StatusPreconditionFailed:
		return true
	case failed.Status < 400 || failed.Status >= 500:
		return false
	}
	said := strings.ToLower(failed.Code + " " + failed.Message)
	return strings.Contains(said, "immutable") || strings.Contains(said, "imagetagalreadyexists")
}
