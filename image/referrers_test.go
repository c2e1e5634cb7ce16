package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/internal/imagetest"
	"berth/store"
)

// listing is a store in memory that lists referrers.
type listing struct {
	*imagetest.Memory
	lists map[digest.Digest][]store.Descriptor
	err   error
}

func (l *listing) Referrers(_ context.Context, d digest.Digest) ([]store.Descriptor, error) {
	return l.lists[d], l.err
}

func TestFindAttached(t *testing.T) {
	m := imagetest.New()
	one := m.AddImage(imagetest.Image{}, "v1")
	sbom := m.AddReferrer(one, "application/spdx+json", "an SBOM", "")
	signature := m.AddReferrer(sbom, "application/example", "a signature of it", "")
	other := m.AddReferrer(store.Descriptor{Digest: digest.FromString("elsewhere")}, "application/example", "about something else", "")
	gone := m.AddReferrer(one, "application/example", "which is gone", "")
	m.Remove(gone.Digest)
	tag := store.ReferrersTag(one.Digest) + ".att"
	m.AddReferrer(one, "", "cosign's", tag)
	src := &listing{Memory: m, lists: map[digest.Digest][]store.Descriptor{
		one.Digest:  {sbom, other, gone},
		sbom.Digest: {signature},
		// In circles, which only a lie can be.
		signature.Digest: {sbom},
	}}
	found, err := image.FindAttached(t.Context(), src, []digest.Digest{one.Digest})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range found.Found {
		got = append(got, strings.Join([]string{a.Type, a.Subject.Encoded()[:4], a.Tag}, " "))
	}
	want := fmt.Sprint([]string{
		"application/spdx+json " + one.Digest.Encoded()[:4] + " ",
		"application/vnd.oci.empty.v1+json " + one.Digest.Encoded()[:4] + " " + tag,
		"application/example " + sbom.Digest.Encoded()[:4] + " ",
	})
	if fmt.Sprint(got) != want {
		t.Errorf("found %q, want %s", got, want)
	}
	says := fmt.Sprint(found.Unread)
	if len(found.Unread) != 3 || !strings.Contains(says, "its subject is") || !errors.Is(errors.Join(found.Unread...), store.ErrNotFound) {
		t.Errorf("unread: %v", found.Unread)
	}

	src.err = store.ErrDenied
	if _, err := image.FindAttached(t.Context(), src, []digest.Digest{one.Digest}); !errors.Is(err, store.ErrDenied) {
		t.Errorf("a list that cannot be had: %v", err)
	}
}

func TestFindAttachedIsBounded(t *testing.T) {
	m := imagetest.New()
	src := &listing{Memory: m, lists: map[digest.Digest][]store.Descriptor{}}
	about := m.AddImage(imagetest.Image{}, "v1")
	first := about.Digest
	for i := range 6 {
		next := m.AddReferrer(about, "application/example", fmt.Sprint(i), "")
		src.lists[about.Digest] = []store.Descriptor{next}
		about = next
	}
	if _, err := image.FindAttached(t.Context(), src, []digest.Digest{first}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("referrers of referrers without end: %v", err)
	}
}

func FuzzReferrerDescriptor(f *testing.F) {
	for _, s := range []string{`{}`, `{"subject":null}`, `{"subject":{"digest":"x"},"config":{"mediaType":"y"},"annotations":{"a":"b"}}`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, _, err := store.ReferrerDescriptor(store.Manifest{Raw: raw})
		if err == nil && !json.Valid(raw) {
			t.Errorf("%q was read as %+v", raw, d)
		}
	})
}
