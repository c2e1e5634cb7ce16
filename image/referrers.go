package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"berth/store"
)

const (
	// maxReferrerDepth is how far referrers of referrers are followed: a signature of an
	// SBOM is the second, and nothing is known that goes further.
	maxReferrerDepth = 4
	// maxReferrers of an image in all, with those of all its platforms.
	maxReferrers = 4096
)

// cosignSuffixes are what cosign adds to the name of a digest, for tags of signatures,
// attestations and SBOMs (sigstore/cosign, specs/SIGNATURE_SPEC.md and
// pkg/oci/remote.suffix).
var cosignSuffixes = []string{".sig", ".att", ".sbom"}

// Attached is something about a manifest of an image: a signature, an SBOM, a scan.
type Attached struct {
	// Image is the manifest, or an index, opened.
	Image *Image
	// Subject is what it is about.
	Subject digest.Digest
	// Tag is the name by which it is found, where that is one of cosign's; otherwise it
	// says itself what it is about.
	Tag string
	// Type is its artifact type, or its config's media type.
	Type string
}

// Attachments are what was found about manifests.
type Attachments struct {
	// Found come after what they are about; those of one subject are in the store's order.
	Found []*Attached
	// Unread are what the store lists and does not have, or has otherwise than it lists.
	Unread []error
}

// FindAttached finds what refers to subjects in src, and what refers to that: by the
// lists of a store that has such, and under cosign's tags. It fails where a list cannot
// be had.
func FindAttached(ctx context.Context, src store.Source, subjects []digest.Digest) (*Attachments, error) {
	a := &Attachments{}
	seen := map[digest.Digest]bool{}
	for _, d := range subjects {
		seen[d] = true
	}
	for depth := 0; len(subjects) > 0; depth++ {
		if depth == maxReferrerDepth {
			return nil, fmt.Errorf("referrers of referrers of %s: %w: at most %d deep are followed", subjects[0], store.ErrTooLarge, maxReferrerDepth)
		}
		level := make([]Attachments, len(subjects))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(inFlight)
		for i, subject := range subjects {
			group.Go(func() error { return level[i].find(ctx, src, subject) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		subjects = nil
		for _, l := range level {
			a.Unread = append(a.Unread, l.Unread...)
			a.Found = append(a.Found, l.Found...)
			for _, one := range l.Found {
				if d := one.Image.Root.Descriptor.Digest; !seen[d] {
					seen[d] = true
					subjects = append(subjects, d)
				}
			}
		}
		if len(a.Found) > maxReferrers {
			return nil, fmt.Errorf("%w: more than %d referrers", store.ErrTooLarge, maxReferrers)
		}
	}
	return a, nil
}

// find finds what is about one subject.
func (a *Attachments) find(ctx context.Context, src store.Source, subject digest.Digest) error {
	var listed []store.Descriptor
	tags := make([]*store.Descriptor, len(cosignSuffixes))
	group, groupCtx := errgroup.WithContext(ctx)
	if lister, ok := src.(store.ReferrerLister); ok {
		group.Go(func() (err error) {
			listed, err = lister.Referrers(groupCtx, subject)
			return err
		})
	}
	for i, suffix := range cosignSuffixes {
		group.Go(func() error {
			d, err := resolve(groupCtx, src, store.ReferrersTag(subject)+suffix)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			tags[i] = &d
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("finding what refers to %s: %w", subject, err)
	}
	for _, d := range listed {
		if err := a.add(ctx, src, d, subject, ""); err != nil {
			return err
		}
	}
	for i, d := range tags {
		if d == nil {
			continue
		}
		if err := a.add(ctx, src, *d, subject, store.ReferrersTag(subject)+cosignSuffixes[i]); err != nil {
			return err
		}
	}
	return nil
}

// resolve asks what a tag names, with as little as the store can do with.
func resolve(ctx context.Context, src store.ManifestReader, tag string) (store.Descriptor, error) {
	if resolver, ok := src.(store.Resolver); ok {
		return resolver.Resolve(ctx, tag)
	}
	m, err := src.Manifest(ctx, tag)
	if err != nil {
		return store.Descriptor{}, err
	}
	return m.Descriptor, nil
}

// add opens one, or notes that it is not there or not what it should be.
func (a *Attachments) add(ctx context.Context, src store.Source, d store.Descriptor, subject digest.Digest, tag string) error {
	one, err := openAttached(ctx, src, d, subject, tag)
	if err == nil {
		a.Found = append(a.Found, one)
		return nil
	}
	err = fmt.Errorf("%s is listed as about %s: %w", d.Digest, subject, err)
	for _, known := range []error{store.ErrNotFound, store.ErrCorrupt, store.ErrTooLarge, ErrMalformed, ErrSchema1} {
		if errors.Is(err, known) {
			a.Unread = append(a.Unread, err)
			return nil
		}
	}
	return err
}

func openAttached(ctx context.Context, src store.Source, d store.Descriptor, subject digest.Digest, tag string) (*Attached, error) {
	opening, err := Begin(ctx, src, d.Digest.String())
	if err != nil {
		return nil, err
	}
	listed, about, err := store.ReferrerDescriptor(opening.Root)
	if err != nil {
		return nil, err
	}
	if tag == "" && about != subject {
		return nil, fmt.Errorf("%w manifest: its subject is %q", ErrMalformed, store.Printable(about.String()))
	}
	im, err := opening.Manifests(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(im.Manifests, func(m *Manifest) bool { return m.Err != nil }); i >= 0 {
		return nil, im.Manifests[i].Err
	}
	return &Attached{Image: im, Subject: subject, Tag: tag, Type: listed.ArtifactType}, nil
}

// Digests are those of all manifests and indexes of a selection.
func (s *Selection) Digests() []digest.Digest {
	all := []digest.Digest{s.Root.Descriptor.Digest}
	for _, m := range s.Manifests {
		all = append(all, m.Descriptor.Digest)
	}
	for _, index := range s.Nested {
		all = append(all, index.Descriptor.Digest)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
