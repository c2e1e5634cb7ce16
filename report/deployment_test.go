package report

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/check"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/target"
	"berth/workload"
)

var update = flag.Bool("update", false, "write golden files anew")

// deploymentFiles are a repository that has something of everything.
var deploymentFiles = []struct{ name, text string }{
	{"deploy/api/task.json", `{
  "family": "api",
  "requiresCompatibilities": ["FARGATE"],
  "runtimePlatform": {
    "cpuArchitecture": "ARM64",
    "operatingSystemFamily": "LINUX"
  },
  "containerDefinitions": [
    {
      "name": "api",
      "image": "registry.example.com/shop/api:1.4.2",
      "essential": true
    },
    {
      "name": "proxy",
      "image": "registry.example.com/mirror/envoy:1.31"
    }
  ]
}
`},
	{"deploy/worker/task.json", `{
  "family": "worker",
  "requiresCompatibilities": ["FARGATE"],
  "containerDefinitions": [
    {"name": "worker", "image": "registry.example.com/shop/worker:1.4.2"},
    {"name": "proxy", "image": "registry.example.com/mirror/envoy:1.31"}
  ]
}
`},
	{"k8s/shop.yaml", `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      nodeSelector:
        kubernetes.io/arch: arm64
      containers:
        - name: web
          image: registry.example.com/shop/web:latest
        - name: api
          # berth:ignore platform-missing the arm64 build of api comes on Thursday
          image: registry.example.com/shop/api:1.4.2
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: report
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          containers:
            - {name: report, image: "registry.example.com/shop/report:2"}
            - {name: gone, image: "registry.example.com/shop/gone:1"}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: seed
spec:
  template:
    spec:
      nodeSelector: {kubernetes.io/arch: arm64}
      containers:
        - name: seed
          image: registry.example.com/shop/api:1.4.2
`},
	{"k8s/broken.yaml", "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template: [\n"},
	{"k8s/chart/web.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n  {{- with .Values.labels }}\n  labels: {{ toYaml . }}\n  {{- end }}\n"},
}

// deployment is what a check of deploymentFiles finds, with an image beside that was
// asked for.
func deployment(tb testing.TB, more ...check.Ignore) *check.Report {
	tb.Helper()
	ctx := context.Background()
	images := map[string]*imagetest.Memory{}
	for repository, tags := range map[string]map[string][]imagetest.Image{
		"shop/api":     {"1.4.2": {labelled("linux/amd64", "linux/amd64")}},
		"shop/worker":  {"1.4.2": {labelled("linux/amd64", "linux/amd64")}},
		"shop/web":     {"latest": {labelled("linux/amd64", "linux/amd64"), labelled("linux/arm64", "linux/amd64")}},
		"shop/report":  {"2": {labelled("linux/amd64", "linux/amd64"), labelled("linux/arm64", "linux/arm64")}},
		"mirror/envoy": {"1.31": {labelled("linux/amd64", "linux/amd64"), labelled("linux/arm64", "linux/arm64")}},
	} {
		m := imagetest.New()
		for tag, imgs := range tags {
			var entries []store.Descriptor
			for _, img := range imgs {
				entries = append(entries, m.AddImage(img, ""))
			}
			m.AddIndex(tag, "", entries...)
		}
		images[repository] = m
	}
	open := func(ref store.Reference) (store.Source, error) {
		if m, ok := images[ref.Repository]; ok {
			return m, nil
		}
		return nil, fmt.Errorf("%s: %w", ref, store.ErrNotFound)
	}
	set, err := target.Builtin()
	if err != nil {
		tb.Fatal(err)
	}
	lambda, err := set.Need("lambda")
	if err != nil {
		tb.Fatal(err)
	}
	ref, err := store.ParseReference("registry.example.com/mirror/envoy:1.31")
	if err != nil {
		tb.Fatal(err)
	}
	subjects := check.Asked(ref, "registry.example.com/mirror/envoy:1.31", []target.Need{lambda})
	var readings []*workload.Reading
	for _, f := range deploymentFiles {
		readings = append(readings, workload.Read(workload.NewFile(f.name, []byte(f.text)), workload.Options{}))
	}
	readings = append(readings, dockerfile())
	subjects = append(subjects, check.Deployed(readings, nil)...)
	if err := check.Gather(ctx, open, subjects, check.GatherOptions{Prove: true}); err != nil {
		tb.Fatal(err)
	}
	for _, s := range subjects {
		for _, start := range append([]*check.Start{s.Start}, s.Anywhere...) {
			if start != nil { // which of those that share a layer read it varies
				start.Fetched = start.Total
			}
		}
	}
	return check.Examine(check.Facts{Subjects: subjects, Readings: readings, Ignores: more})
}

// labelled is an image labelled for one platform whose program is for another.
func labelled(label, actual string) imagetest.Image {
	return imagetest.Image{
		Configured: platform.MustParse(label),
		Config:     v1.ImageConfig{Entrypoint: []string{"/usr/local/bin/serve"}},
		Layers: []imagetest.Layer{imagetest.GzipLayer(
			imagetest.File{Name: "usr/local/bin/serve", Link: "../libexec/serve"},
			imagetest.File{Name: "usr/local/libexec/serve", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse(actual), ""))},
		)},
		History: []v1.History{{CreatedBy: "COPY --from=build /out/serve /usr/local/libexec/serve # buildkit"}},
	}
}

// dockerfile is what is read from a Dockerfile with mistakes.
func dockerfile() *workload.Reading {
	text := "FROM golang:1.26 AS build\nARG TARGETARCH=amd64\nRUN GOARCH=$TARGETARCH go build -o /out/serve .\nFROM scratch\nCOPY --from=build /out/serve /serve\n"
	f := workload.NewFile("build/Dockerfile", []byte(text))
	return &workload.Reading{
		File: f, Format: &workload.Format{Name: "dockerfile", Title: "Dockerfile"},
		Mistakes: []workload.Mistake{{
			Rule: "dockerfile-target-arg-default", Pos: f.Pos(2, 1),
			Message: "TARGETARCH is given the default amd64, so that every platform gets a program for amd64",
			Fix:     "declare it without a default",
			Edits:   []workload.Edit{{File: f.Name, Start: 40, End: 46}},
		}},
	}
}

// written is what a format writes of a report.
func written(tb testing.TB, format string, r *check.Report) []byte {
	tb.Helper()
	var out bytes.Buffer
	f, err := New("check", format, &out, Options{Version: "v1.2.3"})
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Check(r); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// TestDeployment holds what each format makes of deploymentFiles against a golden file.
func TestDeployment(t *testing.T) {
	report := deployment(t)
	for _, format := range Names("check") {
		t.Run(format, func(t *testing.T) {
			got := written(t, format, report)
			switch format {
			case "sarif":
				got = withoutRules(t, got)
			case "html": // without style, script and rules, which change on their own
				got = regexp.MustCompile(`(?s)<(style|script|dl)>.*?</(?:style|script|dl)>|'sha256-[^']*'`).ReplaceAll(got, []byte("<$1>"))
			}
			name := filepath.Join("testdata", "deployment."+format)
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("go test ./report -run TestDeployment -update writes it anew:\n%s", diff)
			}
		})
	}
}

// withoutRules leaves out of SARIF what changes with every rule that is added.
func withoutRules(t *testing.T, raw []byte) []byte {
	t.Helper()
	var log sarifLog
	if err := json.Unmarshal(raw, &log); err != nil {
		t.Fatal(err)
	}
	run := &log.Runs[0]
	run.Tool.Driver.Rules = nil
	for i := range run.Results {
		run.Results[i].RuleIndex = 0
	}
	var out bytes.Buffer
	if err := (&jsonFormat{&out}).write(log); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
