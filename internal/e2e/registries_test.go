package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

// TestCopy copies between two real registries and lets skopeo and crane read back
// what arrived.
func TestCopy(t *testing.T) {
	image := everywhere()
	var toSource, toDestination imagetest.Traffic
	source := push(t, image, imagetest.Distribution(t, toSource.Record), "team/hello")
	host := imagetest.Distribution(t, toDestination.Record)
	original := manifest(t, image, "v1")
	entries := index(t, original).Manifests

	t.Run("everything", func(t *testing.T) {
		destination := host + "/all"
		berth(t.Context(), "copy", source+":v1", destination+":v1").wants(t, 0)
		arrived(t, destination+":v1", original)
		for _, entry := range entries {
			reference := destination + "@" + entry.Digest.String()
			arrived(t, reference, manifest(t, image, entry.Digest.String()))
			if entry.Platform.OS != "unknown" { // crane takes every layer for a tar
				imagetest.Crane(t, "validate", "--remote", reference)
			}
		}
	})

	t.Run("everything once more", func(t *testing.T) {
		writes := len(toDestination.Writes())
		berth(t.Context(), "copy", source+":v1", host+"/all:v1").wants(t, 0)
		if again := toDestination.Writes()[writes:]; len(again) > 0 {
			t.Errorf("written again: %q", again)
		}
	})

	t.Run("from one repository to another", func(t *testing.T) {
		reads, writes := len(toSource.Requests()), len(toDestination.Writes())
		berth(t.Context(), "copy", host+"/all:v1", host+"/mounted:v2").wants(t, 0)
		arrived(t, host+"/mounted:v2", original)
		for _, request := range toDestination.Writes()[writes:] {
			if strings.HasPrefix(request, "PUT ") && strings.Contains(request, "/blobs/") {
				t.Errorf("a blob was sent that could be mounted: %s", request)
			}
		}
		if strangers := toSource.Requests()[reads:]; len(strangers) > 0 {
			t.Errorf("another registry was asked: %q", strangers)
		}
	})

	t.Run("platforms", func(t *testing.T) {
		destination := host + "/some"
		berth(t.Context(), "copy", source+":v1", destination+":v1", "--platform", "linux/arm64", "--platform", "linux/s390x").wants(t, 0)
		var want []v1.Descriptor
		for _, entry := range entries {
			subject := entry
			if s := entry.Annotations["vnd.docker.reference.digest"]; s != "" {
				subject = entries[slices.IndexFunc(entries, func(d v1.Descriptor) bool { return d.Digest.String() == s })]
			}
			if p := platform.Format(*subject.Platform); p == "linux/arm64" || p == "linux/s390x" {
				want = append(want, entry)
			}
		}
		if diff := cmp.Diff(want, index(t, imagetest.Crane(t, "manifest", destination+":v1")).Manifests); len(want) != 4 || diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
		for _, p := range []string{"linux/arm64", "linux/s390x"} {
			imagetest.Crane(t, "validate", "--platform", p, "--remote", destination+":v1")
		}
	})

	for _, c := range []struct{ target, platform string }{
		{"lambda", "linux/amd64"},
		{"lambda/arm64", "linux/arm64"},
		{"apprunner", "linux/amd64"},
		{"linux/riscv64", "linux/riscv64"},
	} {
		t.Run("for "+c.target, func(t *testing.T) {
			destination := host + "/for/" + strings.ReplaceAll(c.target, "/", "-")
			berth(t.Context(), "copy", source+":v1", destination+":v1", "--for", c.target).wants(t, 0)
			berth(t.Context(), "check", destination+":v1", "--for", c.target).wants(t, 0)
			imagetest.Crane(t, "validate", "--platform", c.platform, "--remote", destination+":v1")
			if c.platform == c.target {
				return // a bare platform takes an index as well as a manifest
			}
			entry := entries[slices.IndexFunc(entries, func(d v1.Descriptor) bool { return platform.Format(*d.Platform) == c.platform })]
			arrived(t, destination+":v1", manifest(t, image, entry.Digest.String()))
			if got := strings.TrimSpace(imagetest.Crane(t, "digest", destination+":v1")); got != entry.Digest.String() {
				t.Errorf("crane digest = %s, want %s", got, entry.Digest)
			}
		})
	}

	t.Run("through an OCI layout", func(t *testing.T) {
		layout := "oci:" + filepath.Join(t.TempDir(), "layout")
		berth(t.Context(), "copy", source+":v1", layout+":v1").wants(t, 0)
		berth(t.Context(), "copy", layout+":v1", host+"/back:v1").wants(t, 0)
		arrived(t, host+"/back:v1", original)
	})

	t.Run("what skopeo reads", func(t *testing.T) {
		layout := "oci:" + filepath.Join(t.TempDir(), "layout") + ":v1"
		berth(t.Context(), "copy", source+":v1", layout).wants(t, 0)
		for _, reference := range []string{"docker://" + host + "/all:v1", layout} {
			if got := imagetest.Skopeo(t, "inspect", "--raw", "--tls-verify=false", reference); got != original {
				t.Errorf("skopeo reads from %s\n%s\nwant\n%s", reference, got, original)
			}
		}
		// A copy reads every blob and verifies it.
		imagetest.Skopeo(t, "copy", "--all", "--src-tls-verify=false", "docker://"+host+"/all:v1", "oci:"+filepath.Join(t.TempDir(), "layout")+":v1")
		imagetest.Skopeo(t, "copy", "--all", layout, "oci:"+filepath.Join(t.TempDir(), "layout")+":v1")
	})

	t.Run("what skopeo and crane pushed", func(t *testing.T) {
		imagetest.Skopeo(t, "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+source+":v1", "docker://"+host+"/by-skopeo:v1")
		imagetest.Crane(t, "copy", source+":v1", host+"/by-crane:v1")
		for _, repository := range []string{"/by-skopeo", "/by-crane"} {
			berth(t.Context(), "check", host+repository+":v1", "--for", "cloudrun", "--for", "fargate/arm64").wants(t, 0)
			berth(t.Context(), "prove", host+repository+":v1").wants(t, 0)
			berth(t.Context(), "copy", host+repository+":v1", host+"/again"+repository+":v1").wants(t, 0)
			arrived(t, host+"/again"+repository+":v1", original)
		}
	})
}

// TestDockerMediaTypes copies what Docker has pushed for years: a manifest list of
// schema 2 manifests.
func TestDockerMediaTypes(t *testing.T) {
	m := imagetest.New()
	var entries []store.Descriptor
	for _, p := range []string{"linux/amd64", "linux/arm64"} {
		img := single(p, p)
		img.Docker = true
		entries = append(entries, m.AddImage(img, ""))
	}
	m.AddIndex("v1", imagetest.DockerList, entries...)
	source := push(t, m, imagetest.Distribution(t), "old")
	host := imagetest.Distribution(t)
	berth(t.Context(), "copy", source+":v1", host+"/all:v1").wants(t, 0)
	arrived(t, host+"/all:v1", manifest(t, m, "v1"))
	imagetest.Crane(t, "validate", "--remote", host+"/all:v1")
	berth(t.Context(), "copy", source+":v1", host+"/one:v1", "--platform", "linux/arm64").wants(t, 0)
	if got := index(t, imagetest.Crane(t, "manifest", host+"/one:v1")); len(got.Manifests) != 1 || got.MediaType != imagetest.DockerList {
		t.Errorf("one platform of a manifest list came as %+v", got)
	}
	imagetest.Crane(t, "validate", "--remote", host+"/one:v1")
}

// arrived lets crane read a manifest back, bit for bit.
func arrived(t *testing.T, reference, want string) {
	t.Helper()
	if got := imagetest.Crane(t, "manifest", reference); got != want {
		t.Errorf("crane reads from %s\n%s\nwant\n%s", reference, got, want)
	}
}
