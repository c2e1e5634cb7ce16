package e2e

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"berth/internal/imagetest"
	"berth/store"
)

// signed is an index of two images: it and an SBOM of one of them are signed, and the
// other has a signature under cosign's tag.
func signed() (m *imagetest.Memory, root, sbom, last store.Descriptor) {
	m = imagetest.New()
	amd64, arm64 := m.AddImage(single("linux/amd64", "linux/amd64"), ""), m.AddImage(single("linux/arm64", "linux/arm64"), "")
	root = m.AddIndex("v1", "", amd64, arm64)
	m.AddReferrer(root, "application/vnd.example.signature", "of the index", "")
	sbom = m.AddReferrer(amd64, "application/spdx+json", "of amd64", "")
	last = m.AddReferrer(sbom, "application/vnd.example.signature", "of the SBOM", "")
	m.AddReferrer(arm64, "", "of arm64", store.ReferrersTag(arm64.Digest)+".sig")
	return m, root, sbom, last
}

// TestReferrers copies what is about an image to the distribution registry, which lists
// no referrers: what lists them there is the index under the referrers tag.
func TestReferrers(t *testing.T) {
	m, root, sbom, last := signed()
	source := push(t, m, imagetest.Registry(t), "app")
	var traffic imagetest.Traffic
	host := imagetest.Distribution(t, traffic.Record)
	berth(t.Context(), "copy", source+":v1", host+"/app:v1", "--referrers").wants(t, 0, "referrers: copied 4, already there 0")
	arrived(t, host+"/app:v1", manifest(t, m, "v1"))

	for _, subject := range []store.Descriptor{root, sbom} {
		list := index(t, imagetest.Crane(t, "manifest", host+"/app:"+store.ReferrersTag(subject.Digest)))
		if len(list.Manifests) != 1 || list.Manifests[0].ArtifactType != "application/vnd.example.signature" {
			t.Errorf("what refers to %s is listed as %+v", subject.Digest, list.Manifests)
		}
	}
	imagetest.Crane(t, "manifest", host+"/app@"+last.Digest.String())

	// The tag comes after all of it.
	writes := traffic.Writes()
	if got := writes[len(writes)-1]; got != "PUT /v2/app/manifests/v1" {
		t.Errorf("the last request that writes is %s", got)
	}
	berth(t.Context(), "copy", host+"/app:v1", host+"/app:v1", "--referrers").wants(t, 0, "copied 0, already there 4")
	if again := traffic.Writes()[len(writes):]; len(again) > 0 {
		t.Errorf("written again: %q", again)
	}
}

// TestReferrersRefused copies to a registry that takes no manifest with a subject, as
// ECR does not take some: the image is written, the rest is told, and the answer is no.
func TestReferrersRefused(t *testing.T) {
	m, _, _, _ := signed()
	source := push(t, m, imagetest.Registry(t), "app")
	for status, code := range map[int]int{http.StatusMethodNotAllowed: 1, http.StatusForbidden: 3} {
		refuse := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && regexp.MustCompile("/manifests/sha256:").MatchString(r.URL.Path) && r.ContentLength > 0 {
					if body := body(t, r); strings.Contains(body, `"subject"`) {
						imagetest.Status(status, "UNSUPPORTED")(w, r)
						return
					}
				}
				next.ServeHTTP(w, r)
			})
		}
		host := imagetest.Registry(t, refuse)
		ran := berth(t.Context(), "copy", source+":v1", host+"/app:v1", "--referrers")
		if code == 3 { // not a refusal of its kind: nothing is known, and no tag is written
			ran.wants(t, 3, "denied")
			berth(t.Context(), "inspect", host+"/app:v1").wants(t, 3)
			continue
		}
		ran.wants(t, 1, "referrers: copied 1, already there 0", "✗ application/spdx+json", "not supported by the store", "3 of 4 referrers are not")
		arrived(t, host+"/app:v1", manifest(t, m, "v1"))
	}
}

// TestReferrersOfTheDestinationStay copies over a signature of cosign's that has one
// more than the source's.
func TestReferrersOfTheDestinationStay(t *testing.T) {
	m := imagetest.New()
	one := m.AddImage(single("linux/amd64", "linux/amd64"), "v1")
	tag := store.ReferrersTag(one.Digest) + ".sig"
	m.AddReferrer(one, "", "the source's", tag)
	source := push(t, m, imagetest.Registry(t), "app")
	host := imagetest.Registry(t)
	other := imagetest.New()
	other.AddReferrer(one, "", "the destination's", tag)
	push(t, other, host, "app")
	berth(t.Context(), "copy", source+":v1", host+"/app:v1", "--referrers").wants(t, 1, "another one under the tag "+tag)
	arrived(t, host+"/app:"+tag, manifest(t, other, tag))
	arrived(t, host+"/app:v1", manifest(t, m, "v1"))
}

// body reads the body of a request and puts it back.
func body(t *testing.T, r *http.Request) string {
	t.Helper()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return string(raw)
}
