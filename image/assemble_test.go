package image_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

// assembled opens tags of m and assembles them.
func assembled(t *testing.T, m *imagetest.Memory, opts image.AssembleOptions, tags ...string) (*image.Selection, error) {
	t.Helper()
	var parts []image.Part
	for _, tag := range tags {
		im, err := image.Open(context.Background(), m, tag)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, image.Part{Name: tag, Image: im})
	}
	return image.Assemble(parts, opts)
}

func TestAssemble(t *testing.T) {
	m := imagetest.New()
	add := func(tag, p string, docker bool) store.Descriptor {
		return m.AddImage(imagetest.Image{Configured: platform.MustParse(p), Config: v1.ImageConfig{Cmd: []string{tag}}, Docker: docker}, tag)
	}
	add("amd64", "linux/amd64", false)
	add("docker-amd64", "linux/amd64", true)
	add("docker-arm64", "linux/arm64", true)
	loose := imagetest.Image{Configured: platform.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}
	m.AddImage(loose, "arm64")
	for tag, version := range map[string]string{"ltsc2019": "10.0.17763.1", "ltsc2022": "10.0.20348.1"} {
		m.AddImage(imagetest.Image{Configured: platform.Platform{OS: "windows", Architecture: "amd64", OSVersion: version}}, tag)
	}
	s390x, ppc := add("", "linux/s390x", false), add("", "linux/ppc64le", false)
	s390x.Annotations = map[string]string{"kept": "<&>"}
	attestation := m.AddAttestation(s390x)
	m.AddIndex("index", "", s390x, attestation, m.AddIndex("", imagetest.DockerList, ppc))

	for _, c := range []struct {
		name      string
		opts      image.AssembleOptions
		tags      []string
		mediaType string
		platforms string
	}{
		{"lone manifests", image.AssembleOptions{}, []string{"arm64", "amd64"}, v1.MediaTypeImageIndex, "linux/arm64 linux/amd64"},
		{"Docker's", image.AssembleOptions{}, []string{"docker-amd64", "docker-arm64"}, imagetest.DockerList, "linux/amd64 linux/arm64"},
		{"both", image.AssembleOptions{}, []string{"docker-amd64", "arm64"}, v1.MediaTypeImageIndex, "linux/amd64 linux/arm64"},
		{"Docker's with annotations", image.AssembleOptions{Annotations: map[string]string{"a": "b"}}, []string{"docker-amd64"}, v1.MediaTypeImageIndex, "linux/amd64"},
		{"two of Windows", image.AssembleOptions{}, []string{"ltsc2019", "ltsc2022"}, v1.MediaTypeImageIndex, "windows/amd64 windows/amd64"},
		{"an index", image.AssembleOptions{}, []string{"index", "amd64"}, v1.MediaTypeImageIndex, "linux/s390x unknown/unknown linux/ppc64le linux/amd64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := assembled(t, m, c.opts, c.tags...)
			if err != nil {
				t.Fatal(err)
			}
			var index v1.Index
			if err := json.Unmarshal(s.Root.Raw, &index); err != nil {
				t.Fatal(err)
			}
			if err := store.Verify(s.Root.Descriptor, s.Root.Raw); err != nil {
				t.Error(err)
			}
			var ps []string
			for i, d := range index.Manifests {
				ps = append(ps, platform.Format(*d.Platform))
				if d.Digest != s.Manifests[i].Descriptor.Digest {
					t.Errorf("entry %d is %s, and the selection has %s", i, d.Digest, s.Manifests[i].Descriptor.Digest)
				}
			}
			if got := strings.Join(ps, " "); got != c.platforms || index.MediaType != c.mediaType || s.Root.Descriptor.MediaType != c.mediaType {
				t.Errorf("%s of %s, want %s of %s", index.MediaType, got, c.mediaType, c.platforms)
			}
			if len(index.Annotations) != len(c.opts.Annotations) {
				t.Errorf("annotations: %v", index.Annotations)
			}
			// It opens as what it says.
			m.AddManifest(index.MediaType, s.Root.Raw, "assembled")
			im, err := image.Open(context.Background(), m, "assembled")
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range im.Manifests {
				if one.Err != nil {
					t.Error(one.Err)
				}
			}
		})
	}

	t.Run("entries of an index are unchanged", func(t *testing.T) {
		s, err := assembled(t, m, image.AssembleOptions{}, "index", "amd64")
		if err != nil {
			t.Fatal(err)
		}
		found, err := m.Manifest(context.Background(), "index")
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Manifests []json.RawMessage }
		if err := json.Unmarshal(found.Raw, &doc); err != nil {
			t.Fatal(err)
		}
		for _, entry := range doc.Manifests[:2] {
			if !strings.Contains(string(s.Root.Raw), string(entry)) {
				t.Errorf("%s is not in\n%s", entry, s.Root.Raw)
			}
		}
	})
}

func TestAssembleRefuses(t *testing.T) {
	m := imagetest.New()
	one := imagetest.Image{Configured: platform.MustParse("linux/amd64")}
	d := m.AddImage(one, "one")
	m.AddIndex("index", "", d)
	one.Config.Cmd = []string{"another"}
	m.AddImage(one, "two")
	m.AddImage(imagetest.Image{Configured: platform.Platform{Architecture: "unknown", OS: "unknown"}}, "nowhere")
	m.AddManifest(v1.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), "empty")
	m.AddManifest(v1.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"`+d.Digest.String()+`","size":2},"layers":[]}`), "chart")
	gone := m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/arm64")}, "")
	m.AddIndex("hole", "", gone)
	m.Remove(gone.Digest)
	for _, c := range []struct {
		tags []string
		says string
	}{
		{[]string{"one", "two"}, "one and two are both linux/amd64"},
		{[]string{"one", "index"}, "one and index are the same image of linux/amd64"},
		{[]string{"one", "one"}, "one is given twice"},
		{[]string{"one", "nowhere"}, "nowhere: its config names no platform"},
		{[]string{"one", "chart"}, "chart: it is an artifact (application/vnd.cncf.helm.config.v1+json)"},
		{[]string{"hole"}, "hole: "},
		{[]string{"empty"}, "an index of nothing"},
		{nil, "an index of nothing"},
	} {
		s, err := assembled(t, m, image.AssembleOptions{}, c.tags...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, %v: want %q", c.tags, s, err, c.says)
		}
	}
}
