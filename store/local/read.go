package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// blobPath is where the layout has the blob of a valid digest.
func blobPath(d digest.Digest) string {
	return path.Join(v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// Manifest returns what a tag, or a digest in the form "sha256:…", stands for. The
// empty reference is the only image of the layout, and an error that lists them
// where there are several.
func (l *Layout) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := l.folder()
	if err != nil {
		return nil, err
	}
	x, err := readIndex(ctx, files{l, root})
	if err != nil {
		return nil, err
	}
	return readManifest(ctx, files{l, root}, x, reference)
}

// Resolve returns the descriptor of what [Layout.Manifest] would return. It reads
// and verifies the manifest, because a folder vouches for nothing.
func (l *Layout) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	m, err := l.Manifest(ctx, reference)
	if err != nil {
		return store.Descriptor{}, err
	}
	return m.Descriptor, nil
}

// schema1 is what the signed and unsigned manifests of Docker's first schema say
// they are; they have no mediaType of their own.
const schema1 = "application/vnd.docker.distribution.manifest.v1+json"

// mediaType is the media type of a manifest: what its index entry says, else
// what the body says, else, as the image-spec lets both leave it out, what the
// body's fields tell. Entry and body must not disagree: a manifest that is read
// as an index by some and not by others is how CVE-2021-41190 came about.
func mediaType(declared string, raw []byte) (string, error) {
	var body struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
		Config        json.RawMessage `json:"config"`
	}
	err := json.Unmarshal(raw, &body)
	switch {
	case err == nil && body.MediaType != "" && declared != "" && body.MediaType != declared:
		return "", fmt.Errorf("%w: the index entry says %q, and the manifest itself %q", store.ErrCorrupt, declared, body.MediaType)
	case declared != "":
		return declared, nil
	case err != nil:
		return "", fmt.Errorf("it is neither a manifest nor an index: %w", err)
	case body.MediaType != "":
		return body.MediaType, nil
	case body.SchemaVersion == 1:
		return schema1, nil
	case body.Manifests != nil && body.Config == nil:
		return v1.MediaTypeImageIndex, nil
	case body.Config != nil && body.Manifests == nil:
		return v1.MediaTypeImageManifest, nil
	}
	return "", errors.New("it is neither a manifest nor an index")
}

// Blob opens a blob at an offset. Its size has to be what desc says.
func (l *Layout) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := l.folder()
	if err != nil {
		return nil, err
	}
	return openBlob(ctx, files{l, root}, desc, offset)
}
