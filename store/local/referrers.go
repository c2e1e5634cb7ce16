package local

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// maxListed is how many entries of an index.json are opened to see what they are about.
const maxListed = 4096

var (
	_ store.ReferrerLister = (*Layout)(nil)
	_ store.ReferrerPusher = (*Layout)(nil)
	_ store.ReferrerLister = (*OCIArchive)(nil)
	_ store.ReferrerLister = (*OCIArchiveWriter)(nil)
	_ store.ReferrerPusher = (*OCIArchiveWriter)(nil)
)

// referrersOf are what index.json lists whose subject is a manifest, as oras writes it,
// and what an index under the referrers tag lists, as regctl writes it. The image-spec
// has no list of its own for a layout (image-layout.md, "index.json file").
func referrersOf(ctx context.Context, c content, x *index, subject digest.Digest) ([]store.Descriptor, error) {
	var found []store.Descriptor
	seen := map[digest.Digest]bool{subject: true}
	add := func(d store.Descriptor) {
		if store.ValidDigest(d.Digest) == nil && !seen[d.Digest] {
			seen[d.Digest] = true
			found = append(found, d)
		}
	}
	if len(x.entries) > maxListed {
		return nil, fmt.Errorf("%s: %w: an index.json of more than %d entries", c, store.ErrTooLarge, maxListed)
	}
	for _, e := range x.entries {
		if store.ValidDigest(e.Digest) != nil || seen[e.Digest] {
			continue
		}
		listing := e.tag() == store.ReferrersTag(subject)
		if e.tag() != "" && !listing && e.ArtifactType == "" {
			continue // an image
		}
		m, err := readManifest(ctx, c, x, e.Digest.String())
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue // whoever asks for this one is told
		}
		if !listing {
			if d, about, err := store.ReferrerDescriptor(*m); err == nil && about == subject {
				add(d)
			}
			continue
		}
		var list v1.Index
		if err := json.Unmarshal(m.Raw, &list); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c, e.tag(), err)
		}
		for _, d := range list.Manifests {
			add(d)
		}
	}
	return found, nil
}

// Referrers implements store.ReferrerLister.
func (l *Layout) Referrers(ctx context.Context, subject digest.Digest) ([]store.Descriptor, error) {
	root, err := l.folder()
	if err != nil {
		return nil, err
	}
	x, err := readIndex(ctx, files{l, root})
	if err != nil {
		return nil, err
	}
	return referrersOf(ctx, files{l, root}, x, subject)
}

// PushReferrer implements store.ReferrerPusher: index.json lists the manifest, under its
// tag or without a name.
func (l *Layout) PushReferrer(ctx context.Context, referrer store.Referrer) error {
	if referrer.Tag != "" {
		return l.PushManifest(ctx, referrer.Descriptor, referrer.Raw, referrer.Tag)
	}
	desc, _, err := store.ReferrerDescriptor(referrer.Manifest)
	if err != nil {
		return err
	}
	return l.push(ctx, desc, referrer.Raw, func(x *index, desc store.Descriptor) error { return x.add(desc) })
}

// Referrers implements store.ReferrerLister.
func (a *OCIArchive) Referrers(ctx context.Context, subject digest.Digest) ([]store.Descriptor, error) {
	return referrersOf(ctx, a.members, a.index, subject)
}

// Referrers implements store.ReferrerLister. An archive that is being written has what
// it was given.
func (w *OCIArchiveWriter) Referrers(_ context.Context, subject digest.Digest) ([]store.Descriptor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []store.Descriptor
	for _, r := range w.referrers {
		if r.Subject == subject && r.Tag == "" {
			found = append(found, plain(r.Descriptor))
		}
	}
	return found, nil
}

// PushReferrer implements store.ReferrerPusher. The archive lists it when it is
// completed.
func (w *OCIArchiveWriter) PushReferrer(ctx context.Context, referrer store.Referrer) error {
	if err := w.PushManifest(ctx, referrer.Descriptor, referrer.Raw, ""); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.referrers = append(w.referrers, referrer)
	return nil
}

// list adds the referrers to the index.json of the archive. w.mu is held.
func (w *OCIArchiveWriter) list(x *index) error {
	for _, r := range w.referrers {
		if r.Tag != "" {
			if err := x.set(r.Descriptor, r.Tag); err != nil {
				return err
			}
			continue
		}
		desc, _, err := store.ReferrerDescriptor(r.Manifest)
		if err != nil {
			return err
		}
		if err := x.add(desc); err != nil {
			return err
		}
	}
	return nil
}
