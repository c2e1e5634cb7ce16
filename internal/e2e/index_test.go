package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/imagetest"
)

// TestIndexCreate assembles what runners of one architecture each pushed, and lets
// crane, skopeo and Docker read the index.
func TestIndexCreate(t *testing.T) {
	var traffic imagetest.Traffic
	host := imagetest.Distribution(t, traffic.Record)
	elsewhere := imagetest.Distribution(t)
	layout := "oci:" + filepath.Join(t.TempDir(), "layout")
	apart := func(p string, docker bool) *imagetest.Memory {
		m := imagetest.New()
		img := single(p, p)
		img.Docker = docker
		entry := m.AddImage(img, "plain")
		m.AddIndex("v1", "", entry, m.AddAttestation(entry)) // as buildx pushes one platform
		return m
	}
	push(t, apart("linux/amd64", false), host, "team/app")
	push(t, apart("linux/arm64", false), elsewhere, "arm/app")
	push(t, apart("linux/arm/v7", false), host, "other/app")
	push(t, apart("linux/s390x", false), host, "z/app")
	berth(t.Context(), "copy", host+"/z/app:plain", layout+":v1").wants(t, 0)

	app := host + "/team/app"
	before := len(traffic.Writes())
	berth(t.Context(), "index", "create", app+":all", ":v1", elsewhere+"/arm/app:v1", host+"/other/app:plain", layout+":v1").wants(t, 0, "linux/s390x")
	writes := traffic.Writes()[before:]
	if last := writes[len(writes)-1]; !strings.HasPrefix(last, "PUT /v2/team/app/manifests/all") {
		t.Errorf("the last write is %s", last)
	}
	for _, write := range writes {
		if strings.Contains(write, index(t, imagetest.Crane(t, "manifest", app+":v1")).Manifests[0].Digest.String()) {
			t.Errorf("what is in the repository was written again: %s", write)
		}
	}
	platforms := []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"}
	for _, p := range platforms {
		imagetest.Crane(t, "validate", "--platform", p, "--remote", app+":all")
	}
	raw := imagetest.Crane(t, "manifest", app+":all")
	if got := imagetest.Skopeo(t, "inspect", "--raw", "--tls-verify=false", "docker://"+app+":all"); got != raw {
		t.Errorf("skopeo reads\n%s\nand crane\n%s", got, raw)
	}
	imagetest.Skopeo(t, "copy", "--all", "--src-tls-verify=false", "docker://"+app+":all", "oci:"+filepath.Join(t.TempDir(), "layout")+":v1")
	var attested int
	for _, d := range index(t, raw).Manifests {
		if d.Annotations["vnd.docker.reference.digest"] != "" {
			attested++
		}
	}
	if attested != 2 {
		t.Errorf("%d attestations came along, want 2", attested)
	}

	t.Run("Docker's", func(t *testing.T) {
		push(t, apart("linux/amd64", true), host, "docker/amd64")
		push(t, apart("linux/arm64", true), host, "docker/arm64")
		berth(t.Context(), "index", "create", host+"/docker/app:v1", host+"/docker/amd64:plain", host+"/docker/arm64:plain").wants(t, 0)
		if got := index(t, imagetest.Crane(t, "manifest", host+"/docker/app:v1")); got.MediaType != imagetest.DockerList {
			t.Errorf("Docker's manifests came to be in %s", got.MediaType)
		}
		imagetest.Crane(t, "validate", "--platform", "linux/arm64", "--remote", host+"/docker/app:v1")
	})

	t.Run("docker pull", func(t *testing.T) {
		engine := imagetest.Docker(t)
		for _, p := range platforms {
			engine.Run(t, "pull", "--quiet", "--platform", p, app+":all")
			if got := strings.TrimSpace(engine.Run(t, "image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", app+":all")); !strings.HasPrefix(p, got) {
				t.Errorf("docker pull --platform %s left %s", p, got)
			}
		}
	})
}
