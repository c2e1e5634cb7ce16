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
	x, err := l.readIndex(root)
	if err != nil {
		return nil, err
	}
	var e entry
	d := digest.Digest(reference)
	exact := store.ValidDigest(d) == nil
	if !exact {
		e, err = x.find(reference)
		if err != nil {
			return nil, fmt.Errorf("OCI layout %s: %w", l.path, err)
		}
		d = e.Digest
		if err := store.ValidDigest(d); err != nil {
			return nil, fmt.Errorf("OCI layout %s: %s: %w", l.path, v1.ImageIndexFile, err)
		}
	} else {
		e, _ = x.byDigest(d)
	}
	raw, err := l.readFile(root, blobPath(d), store.MaxManifestSize)
	if err != nil {
		return nil, err
	}
	desc := store.Descriptor{MediaType: e.MediaType, Digest: d, Size: int64(len(raw))}
	if !exact {
		desc.Size = e.Size
	}
	if err := store.Verify(desc, raw); err != nil {
		return nil, fmt.Errorf("OCI layout %s: manifest %w", l.path, err)
	}
	desc.MediaType, err = mediaType(e.MediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %s: %w", l.path, d, err)
	}
	return &store.Manifest{Descriptor: desc, Raw: raw}, nil
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
	if err := store.ValidDigest(desc.Digest); err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", l.path, err)
	}
	if offset < 0 || offset > desc.Size {
		return nil, fmt.Errorf("OCI layout %s: blob %s has %d bytes: nothing can be read at %d", l.path, desc.Digest, desc.Size, offset)
	}
	root, err := l.folder()
	if err != nil {
		return nil, err
	}
	f, info, err := l.openFile(root, blobPath(desc.Digest))
	if err != nil {
		return nil, err
	}
	if info.Size() != desc.Size {
		err := fmt.Errorf("OCI layout %s: blob %s: %w: %d bytes, and the descriptor says %d", l.path, desc.Digest, store.ErrCorrupt, info.Size(), desc.Size)
		return nil, errors.Join(err, f.Close())
	}
	return &blob{reader{ctx, io.NewSectionReader(f, offset, desc.Size-offset)}, f}, nil
}

// blob is part of a file.
type blob struct {
	reader
	io.Closer
}

// reader reads until its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
