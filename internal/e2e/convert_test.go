package e2e

import (
	"testing"

	"berth/internal/imagetest"
)

// TestConvert copies an image with layers of zstd and OCI media types for a target that
// takes neither, and lets crane, skopeo and docker read what it has become.
func TestConvert(t *testing.T) {
	m := imagetest.New()
	image := single("linux/amd64", "linux/amd64")
	image.Layers[0] = imagetest.ZstdLayer(imagetest.File{Name: "hello", Mode: 0o755, Body: string(programs()["linux/amd64"])})
	m.AddIndex("v1", "", m.AddImage(image, ""), m.AddImage(single("linux/arm64", "linux/arm64"), ""))
	source := push(t, m, imagetest.Distribution(t), "app")
	var traffic imagetest.Traffic
	host := imagetest.Distribution(t, traffic.Record)

	t.Setenv("BERTH_CACHE", t.TempDir())
	berth(t.Context(), "copy", source+":v1", host+"/app:v1", "--for", "heroku", "--convert").wants(t, 0, "1 layer packed with gzip, Docker's media types", "copied 3 blobs")
	berth(t.Context(), "check", host+"/app:v1", "--for", "heroku").wants(t, 0)
	imagetest.Crane(t, "validate", "--remote", host+"/app:v1")
	raw := imagetest.Skopeo(t, "inspect", "--raw", "--tls-verify=false", "docker://"+host+"/app:v1")
	imagetest.Skopeo(t, "copy", "--src-tls-verify=false", "docker://"+host+"/app:v1", "dir:"+t.TempDir())

	// Without what was remembered it becomes the same, and nothing has to be written.
	writes := len(traffic.Writes())
	berth(t.Context(), "copy", source+":v1", host+"/app:v1", "--for", "heroku", "--convert").wants(t, 0, "is there already")
	if again := traffic.Writes()[writes:]; len(again) > 0 {
		t.Errorf("written again: %q", again)
	}
	berth(t.Context(), "copy", source+":v1", host+"/other:v1", "--for", "heroku", "--convert", "--no-cache").wants(t, 0)
	if other := imagetest.Skopeo(t, "inspect", "--raw", "--tls-verify=false", "docker://"+host+"/other:v1"); other != raw {
		t.Errorf("the same image became\n%s\nand\n%s", raw, other)
	}
	docker := imagetest.Docker(t)
	docker.Run(t, "pull", host+"/app:v1")
	if got := docker.Run(t, "run", "--rm", host+"/app:v1"); got != "hello from linux/amd64\n" {
		t.Errorf("docker run says %q", got)
	}
}
