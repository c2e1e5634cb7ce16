package check

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/workload"
)

// TestMounts starts one image with things mounted over it: what is not the image's says
// nothing, be it that it is missing or that it is there.
func TestMounts(t *testing.T) {
	amd64 := platform.MustParse("linux/amd64")
	m := imagetest.New()
	m.AddImage(imagetest.Image{
		Configured: amd64, Config: v1.ImageConfig{Entrypoint: []string{"/app/run"}},
		Layers: []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "app/run", Mode: 0o755, Body: string(imagetest.ELF(amd64, ""))})},
	}, "v1")
	r := deploys("example.com/app:v1", workload.Requirement{Target: indexTarget, Platforms: []platform.Platform{amd64}, Certainty: workload.Stated, Why: "it says so"})
	one := r.Workloads[0].Containers[0]
	r.Workloads[0].Containers = nil
	for _, p := range []workload.Process{
		{},
		{Mounts: []string{"/etc/app", "/app/running"}},
		{Mounts: []string{"/app/"}},
		{Entrypoint: []string{"/scripts/start"}},
		{Entrypoint: []string{"/scripts/start"}, Mounts: []string{"/scripts"}},
		{Entrypoint: []string{"/scripts/start"}, Mounts: []string{"/scripts/start"}},
	} {
		c := one
		c.Process = p
		r.Workloads[0].Containers = append(r.Workloads[0].Containers, c)
	}
	subjects := Deployed([]*workload.Reading{r}, nil)
	if err := Gather(t.Context(), func(store.Reference) (store.Source, error) { return m, nil }, subjects, GatherOptions{Prove: true}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []launch.Verdict{launch.Starts, launch.Starts, launch.Unknown, launch.Fails, launch.Unknown, launch.Unknown} {
		proof := subjects[i].Start.Proof
		if proof.Verdict != want || (proof.Failure != nil) != (want == launch.Fails) || (proof.Reason != "") != (want == launch.Unknown) {
			t.Errorf("%+v: %s, %+v, %q; want %s", subjects[i].Origin.Container.Process, proof.Verdict, proof.Failure, proof.Reason, want)
		}
	}
}
