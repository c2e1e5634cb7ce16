// Package cached remembers manifests and configs, which their digests name for good, and
// what tags named.
//
// Start with [New], in front of a source or, offline, of none. Layers are not kept: what
// there is to know of them, package rootfs keeps.
package cached

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// Cache keeps bytes by name. Names have letters, digits and dashes. What comes back is
// verified.
type Cache interface {
	// Get returns what was put under a name, or nil.
	Get(name string) []byte
	// Put keeps data under a name, where it can.
	Put(name string, data []byte)
}

// Source reads an image's manifests and configs from a cache where it has them. A tag is
// asked for each time: of one that was seen before, only its digest.
type Source struct {
	cache Cache
	// repository is what tags are in: "docker.io/library/nginx".
	repository string
	src        store.Source // nil offline
}

// New returns src behind a cache. repository is the full name of what it reads. Where src
// is nil, it is what the cache has, and the errors for all else are [store.ErrOffline].
func New(src store.Source, repository string, cache Cache) *Source {
	return &Source{cache, repository, src}
}

// Manifest is as [store.ManifestReader] has it.
func (s *Source) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if d := digest.Digest(reference); d.Validate() == nil {
		return s.byDigest(ctx, d)
	}
	last := digest.Digest(s.cache.Get(s.tagName(reference))) // what the tag named
	known := last.Validate() == nil
	if s.src == nil {
		if !known {
			return nil, fmt.Errorf("%s:%s: %w", s.repository, reference, store.ErrOffline)
		}
		return s.byDigest(ctx, last)
	}
	if resolver, ok := s.src.(store.Resolver); ok && known {
		desc, err := resolver.Resolve(ctx, reference)
		if err != nil {
			return nil, err
		}
		if desc.Digest != last {
			s.see(reference, desc.Digest)
		}
		return s.byDigest(ctx, desc.Digest)
	}
	m, err := s.src.Manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	s.keep(m)
	s.see(reference, m.Descriptor.Digest)
	return m, nil
}

// Resolve is as [store.Resolver] has it.
func (s *Source) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	if resolver, ok := s.src.(store.Resolver); ok {
		return resolver.Resolve(ctx, reference)
	}
	m, err := s.Manifest(ctx, reference)
	if err != nil {
		return store.Descriptor{}, err
	}
	return m.Descriptor, nil
}

// Blob is as [store.BlobReader] has it.
func (s *Source) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	if !isConfig(desc) {
		if s.src == nil {
			return nil, fmt.Errorf("layer %s: %w", desc.Digest, store.ErrOffline)
		}
		return s.src.Blob(ctx, desc, offset)
	}
	raw := s.cache.Get(fileName("config", desc.Digest))
	if raw == nil || store.Verify(desc, raw) != nil {
		if s.src == nil {
			return nil, fmt.Errorf("config %s: %w", desc.Digest, store.ErrOffline)
		}
		var err error
		if raw, err = store.ReadBlob(ctx, s.src, desc, store.MaxManifestSize); err != nil {
			return nil, err
		}
		s.cache.Put(fileName("config", desc.Digest), raw)
	}
	return io.NopCloser(bytes.NewReader(raw[min(max(offset, 0), int64(len(raw))):])), nil
}

// isConfig tells the configs of images, by their media types, from layers.
func isConfig(desc store.Descriptor) bool {
	return desc.Size <= store.MaxManifestSize &&
		(strings.HasPrefix(desc.MediaType, "application/vnd.oci.image.config.v1") || strings.HasPrefix(desc.MediaType, "application/vnd.docker.container.image.v1"))
}

// byDigest needs no question where the cache has it.
func (s *Source) byDigest(ctx context.Context, d digest.Digest) (*store.Manifest, error) {
	if m := s.kept(d); m != nil {
		return m, nil
	}
	if s.src == nil {
		return nil, fmt.Errorf("manifest %s of %s: %w", d, s.repository, store.ErrOffline)
	}
	m, err := s.src.Manifest(ctx, d.String())
	if err == nil {
		s.keep(m)
	}
	return m, err
}

// kept is a manifest of the cache: its media type, a line feed, and its bytes.
func (s *Source) kept(d digest.Digest) *store.Manifest {
	mediaType, raw, ok := bytes.Cut(s.cache.Get(fileName("manifest", d)), []byte("\n"))
	desc := store.Descriptor{MediaType: string(mediaType), Digest: d, Size: int64(len(raw))}
	if !ok || store.Verify(desc, raw) != nil {
		return nil
	}
	return &store.Manifest{Descriptor: desc, Raw: raw}
}

func (s *Source) keep(m *store.Manifest) {
	data := append([]byte(m.Descriptor.MediaType+"\n"), m.Raw...)
	s.cache.Put(fileName("manifest", m.Descriptor.Digest), data)
}

func (s *Source) see(tag string, d digest.Digest) {
	s.cache.Put(s.tagName(tag), []byte(d))
}

func fileName(kind string, d digest.Digest) string {
	return kind + "-" + d.Algorithm().String() + "-" + d.Encoded()
}

// tagName keeps the names of repositories, which may be private, out of those of files.
func (s *Source) tagName(tag string) string {
	sum := sha256.Sum256([]byte(s.repository + ":" + tag))
	return "tag-" + hex.EncodeToString(sum[:])
}
