package check

import (
	"slices"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
)

// TestOverrides proves what deployments start: one subject's override is not another's.
func TestOverrides(t *testing.T) {
	amd64 := platform.MustParse("linux/amd64")
	m := imagetest.New()
	m.AddImage(imagetest.Image{
		Configured: amd64, Config: v1.ImageConfig{Entrypoint: []string{"/app"}, Cmd: []string{"serve"}},
		Layers: []imagetest.Layer{imagetest.GzipLayer(
			imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(amd64, ""))},
			imagetest.File{Name: "old", Mode: 0o755, Body: "no program"},
		)},
	}, "v1")
	ref, err := store.ParseReference("example.com/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	var subjects []*Subject
	for _, o := range []launch.Override{{}, {Entrypoint: []string{"/old"}}, {Command: []string{"-v"}}, {User: "nobody"}} {
		subjects = append(subjects, &Subject{Reference: ref, Name: "app", Need: target.Need{Platform: amd64}, Override: o})
	}
	open := func(store.Reference) (store.Source, error) { return m, nil }
	if err := Gather(t.Context(), open, subjects, GatherOptions{Prove: true}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		args  []string
		cause string
	}{
		{[]string{"/app", "serve"}, ""},
		{[]string{"/old"}, launch.CauseNoShebang},
		{[]string{"/app", "-v"}, ""},
		{[]string{"/app", "serve"}, launch.CauseUnknownUser},
	} {
		start := subjects[i].Start
		cause := ""
		if start.Proof.Failure != nil {
			cause = start.Proof.Failure.Cause
		}
		if !slices.Equal(start.Process.Args, want.args) || cause != want.cause {
			t.Errorf("%+v: started %q with %q, want %q with %q", subjects[i].Override, start.Process.Args, cause, want.args, want.cause)
		}
	}

	// What is proven without subjects is said to the prover.
	im, err := image.Open(t.Context(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	starts, err := Prover{Override: launch.Override{Entrypoint: []string{"/old"}}}.All(t.Context(), m, im.Images(), []launch.Host{{Platform: amd64}})
	if err != nil || starts[0].Proof.Failure == nil || starts[0].Proof.Failure.Cause != launch.CauseNoShebang {
		t.Errorf("%+v, %v", starts[0].Proof, err)
	}
}
