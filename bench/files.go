package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/platform"
)

const (
	deploymentFiles = 1000
	deployedImages  = 300
)

// deployments measures a check of a folder of deployment files: task definitions,
// Kubernetes manifests, Compose files and Dockerfiles in equal parts, with images of two
// platforms, first with an empty cache and then with what that left.
func (b *bench) deployments() (err error) {
	s, err := serve()
	if err != nil {
		return err
	}
	defer s.close()
	for i := range deployedImages {
		m := imagetest.New()
		amd64, arm64 := platform.MustParse("linux/amd64"), platform.MustParse("linux/arm64")
		m.AddIndex("v1", "", m.AddImage(deployed(amd64, i), ""), m.AddImage(deployed(arm64, i), ""))
		if err := push(b.ctx, s, fmt.Sprintf("app%d", i), m); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "berth-files-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Mkdir(filepath.Join(dir, "repository"), 0o755); err != nil {
		return err
	}
	for i := range deploymentFiles {
		name, text := deploymentFile(i, fmt.Sprintf("%s/app%d:v1", s.host, i%deployedImages))
		if err := os.WriteFile(filepath.Join(dir, "repository", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	before := os.Getenv("BERTH_CACHE")
	if err := os.Setenv("BERTH_CACHE", filepath.Join(dir, "cache")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Setenv("BERTH_CACHE", before)) }()
	for _, state := range []string{"cold", "warm"} {
		requests, started := s.requests.Load(), time.Now()
		var out bytes.Buffer
		code := cli.Main(b.ctx, []string{"check", filepath.Join(dir, "repository"), "--cluster-platforms", "linux/amd64,linux/arm64", "-o", "json"}, strings.NewReader(""), &out, &out)
		if code != 0 {
			return fmt.Errorf("check of %d files: exit code %d: %s", deploymentFiles, code, out.String()[:min(out.Len(), 2000)])
		}
		if _, err := fmt.Fprintf(b.out, "%d files, %d images, %s cache\t%d\t%.2f s\n", deploymentFiles, deployedImages, state,
			s.requests.Load()-requests, time.Since(started).Seconds()); err != nil {
			return err
		}
	}
	return nil
}

// deployed is an image that starts, and is another than that of any other number.
func deployed(p platform.Platform, i int) imagetest.Image {
	im := imagetest.Image{Configured: p, Layers: []imagetest.Layer{imagetest.GzipLayer(
		imagetest.File{Name: "number", Body: fmt.Sprint(i)},
		imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(p, ""))},
	)}}
	im.Config.Entrypoint = []string{"/app"}
	return im
}

func deploymentFile(i int, image string) (name, text string) {
	switch i % 4 {
	case 0:
		return fmt.Sprintf("task%d.json", i), fmt.Sprintf(`{"family": "app%d", "requiresCompatibilities": ["FARGATE"],
  "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
  "containerDefinitions": [{"name": "app", "image": %q}]}
`, i, image)
	case 1:
		return fmt.Sprintf("deployment%d.yaml", i), fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: app%d}
spec:
  template:
    spec:
      containers:
        - {name: app, image: %q}
`, i, image)
	case 2:
		return fmt.Sprintf("docker-compose%d.yaml", i), fmt.Sprintf("services:\n  app%d:\n    image: %s\n    platform: linux/amd64\n", i, image)
	}
	return fmt.Sprintf("Dockerfile.%d", i), fmt.Sprintf("FROM %s\nCOPY app /app\n", image)
}
