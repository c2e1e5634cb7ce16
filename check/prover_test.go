package check

import (
	"slices"
	"strings"
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

// TestDerivedAndMerged checks images of which the bytes say more than that they start or
// not.
func TestDerivedAndMerged(t *testing.T) {
	amd64 := platform.MustParse("linux/amd64")
	const loader = "ld-linux-x86-64.so.2"
	exe := func(name, body string) imagetest.File { return imagetest.File{Name: name, Mode: 0o755, Body: body} }
	static, arm64 := string(imagetest.ELF(amd64, "")), string(imagetest.ELF(platform.MustParse("linux/arm64"), ""))
	base := imagetest.GzipLayer(
		exe("usr/bin/tini", static), exe("usr/bin/dash", static), imagetest.File{Name: "bin", Link: "usr/bin"}, imagetest.File{Name: "usr/bin/sh", Link: "dash"},
		imagetest.File{Name: "lib64", Link: "usr/lib64"}, exe("usr/lib64/"+loader, static), exe("arm", arm64), exe("app", static), exe("dynamic", string(imagetest.ELF(amd64, "/lib64/"+loader))),
		exe("careful", "#!/bin/sh\nexec \"$@\"\n"), exe("busy", "#!/bin/sh\nmkdir /x\nexec \"$@\"\n"),
	)
	destroyed := imagetest.GzipLayer(imagetest.File{Name: "lib64/other.so", Body: "x"})
	for _, c := range []struct {
		name       string
		layers     []imagetest.Layer
		entrypoint []string
		want       string // rule and severity of each finding
		verdict    Verdict
		says       string
	}{
		{"a wrapper and what runs", []imagetest.Layer{base}, []string{"/usr/bin/tini", "--", "/app"}, "", Runs, ""},
		{"a wrapper and a foreign program", []imagetest.Layer{base}, []string{"/usr/bin/tini", "--", "/arm"}, "BER012 error", RunsNot, "ends at once: /arm: exec format error"},
		{"a script that only starts its arguments", []imagetest.Layer{base}, []string{"/careful", "/nope"}, "BER012 error", RunsNot, "/nope: not found"},
		{"a script that does more before", []imagetest.Layer{base}, []string{"/busy", "/nope"}, "BER012 warning", Runs, "/nope: not found"},
		{"a script without a command", []imagetest.Layer{base}, []string{"/careful"}, "BER012 warning", Runs, "ends at once"},
		{"the loader is hidden", []imagetest.Layer{base, destroyed}, []string{"/dynamic"}, "BER006 error, BER013 error", RunsNot, "no such file or directory"},
		{"it is found elsewhere", []imagetest.Layer{base, imagetest.GzipLayer(imagetest.File{Name: "bin/other", Body: "x"})}, []string{"tini", "--", "/app"}, "BER013 warning", Runs, "makes /bin a folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := imagetest.New()
			m.AddImage(imagetest.Image{Configured: amd64, Config: v1.ImageConfig{Entrypoint: c.entrypoint, Env: []string{"PATH=/bin:/usr/bin"}}, Layers: c.layers}, "v1")
			im, err := image.Open(t.Context(), m, "v1")
			if err != nil {
				t.Fatal(err)
			}
			s := &Subject{Name: "app", Need: target.Need{Platform: amd64}, Image: im}
			s.Select()
			ProveSubjects(t.Context(), m, []*Subject{s})
			r := Run([]*Subject{s})[0]
			var got, said []string
			for _, f := range r.Findings {
				got, said = append(got, f.Rule+" "+string(f.Severity)), append(said, f.Message)
				if len(f.Fixes) == 0 {
					t.Errorf("%s has no fix", f.Rule)
				}
			}
			if strings.Join(got, ", ") != c.want || r.Verdict != c.verdict || !strings.Contains(strings.Join(said, "\n"), c.says) {
				t.Errorf("%s with %v, want %s with %s: %q", r.Verdict, got, c.verdict, c.want, said)
			}
		})
	}
}
