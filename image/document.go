package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// document is a manifest or an index, before it is known which.
type document struct {
	SchemaVersion int                `json:"schemaVersion"`
	MediaType     string             `json:"mediaType"`
	Config        *store.Descriptor  `json:"config"`
	Layers        []store.Descriptor `json:"layers"`
	Manifests     []json.RawMessage  `json:"manifests"`
	Annotations   map[string]string  `json:"annotations"`

	isIndex bool
}

// decode reads raw, which the store or an index entry says is of mediaType.
func decode(raw []byte, mediaType string) (*document, error) {
	var doc document
	var has struct{ Manifests, Layers, FsLayers json.RawMessage }
	if err := json.Unmarshal(raw, &has); err != nil {
		return nil, fmt.Errorf("%w manifest: %w", ErrMalformed, err)
	}
	if has.FsLayers != nil || strings.HasPrefix(mediaType, "application/vnd.docker.distribution.manifest.v1+") {
		return nil, fmt.Errorf("%w: it has no config and names no platform; push the image again with a current tool", ErrSchema1)
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w manifest: %w", ErrMalformed, err)
	}
	// One document that can be read as two kinds is an attack: CVE-2021-41190.
	if has.Manifests != nil && (has.Layers != nil || doc.Config != nil) {
		return nil, fmt.Errorf("%w manifest: it has both manifests and layers, and could be read as two different images", ErrMalformed)
	}
	if doc.MediaType != "" && mediaType != "" && doc.MediaType != mediaType {
		return nil, fmt.Errorf("%w manifest: it says it is %q and is served as %q", ErrMalformed, doc.MediaType, mediaType)
	}
	if mediaType == "" {
		mediaType = doc.MediaType
	}
	switch {
	case IsIndexType(mediaType):
		doc.isIndex = true
	case mediaType == v1.MediaTypeImageManifest || mediaType == mediaTypeDockerManifest:
	default:
		return nil, fmt.Errorf("%w manifest: media type %q is neither an OCI nor a Docker image", ErrMalformed, mediaType)
	}
	if doc.SchemaVersion != 2 {
		return nil, fmt.Errorf("%w manifest: schemaVersion is %d, not 2", ErrMalformed, doc.SchemaVersion)
	}
	if doc.isIndex && bytes.Equal(bytes.TrimSpace(has.Manifests), []byte("null")) || doc.isIndex && has.Manifests == nil {
		return nil, fmt.Errorf("%w index: it has no list of manifests", ErrMalformed)
	}
	if len(doc.Layers) > maxLayers {
		return nil, fmt.Errorf("manifest with %d layers: %w: at most %d are read", len(doc.Layers), store.ErrTooLarge, maxLayers)
	}
	descriptors := doc.Layers
	if doc.Config != nil {
		descriptors = append([]store.Descriptor{*doc.Config}, doc.Layers...)
	}
	for _, d := range descriptors {
		if err := store.ValidDigest(d.Digest); err != nil {
			return nil, fmt.Errorf("%w manifest: %w", ErrMalformed, err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("%w manifest: %s has a size of %d", ErrMalformed, d.Digest, d.Size)
		}
	}
	return &doc, nil
}

func isConfigType(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == mediaTypeDockerConfig
}
