package check

import (
	"slices"
	"strings"
	"testing"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/target"
	"berth/workload"
)

var (
	amd64 = platform.MustParse("linux/amd64")
	arm64 = platform.MustParse("linux/arm64")
)

// deploys is a file with one workload of one container that wants image.
func deploys(image string, q workload.Requirement) *workload.Reading {
	f := workload.NewFile("deploy/web.yaml", []byte("kind: Web\nplatform: x\nimage: "+image+"\n"))
	return &workload.Reading{File: f, Workloads: []*workload.Workload{{
		Format: "test", Kind: "Web", Name: "web", Pos: f.Pos(1, 1), Requirement: q,
		Containers: []workload.Container{{Name: "app", Image: workload.Value{Text: image, Pos: f.Pos(3, 8)}}},
		SetPlatform: func(p platform.Platform) ([]workload.Edit, error) {
			return []workload.Edit{{File: f.Name, Start: 21, End: 22, New: platform.Format(p)}}, nil
		},
	}}}
}

func examine(t *testing.T, r *workload.Reading, fallback []target.Need, ignores ...Ignore) *Report {
	t.Helper()
	m := imagetest.New()
	m.AddIndex("both", "", m.AddImage(layered("linux/amd64"), ""), m.AddImage(layered("linux/arm64"), ""))
	m.AddImage(layered("linux/amd64"), "one")
	m.AddImage(layered("linux/amd64"), "latest")
	subjects := Deployed([]*workload.Reading{r}, fallback)
	opened := 0
	open := func(store.Reference) (store.Source, error) { opened++; return m, nil }
	if err := Gather(t.Context(), open, subjects, GatherOptions{}); err != nil {
		t.Fatal(err)
	}
	if opened > 1 {
		t.Errorf("one image was opened %d times", opened)
	}
	return Examine(Facts{Subjects: subjects, Readings: []*workload.Reading{r}, Ignores: ignores})
}

func rules(r *Report) string {
	var ids []string
	for _, f := range r.Findings() {
		id := f.Rule
		if f.Ignored != "" {
			id = "(" + id + ")"
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func TestDeployed(t *testing.T) {
	stated := func(ps ...platform.Platform) workload.Requirement {
		return workload.Requirement{Target: indexTarget, Platforms: ps, Certainty: workload.Stated, Why: "it says so", Pos: workload.Pos{File: "deploy/web.yaml", Line: 2, Column: 11}}
	}
	byDefault := stated(amd64)
	byDefault.Certainty = workload.Default
	open := workload.Requirement{Certainty: workload.Undetermined, Why: "nothing says so"}
	built := deploys("", stated(arm64))
	built.Workloads[0].Containers[0].Build = &workload.Build{Platforms: []platform.Platform{amd64}, Pos: built.File.Pos(3, 1)}
	builtSomewhere := deploys("", stated(arm64))
	builtSomewhere.Workloads[0].Containers[0].Build = &workload.Build{Pos: built.File.Pos(3, 1)}
	mistaken := deploys("example.com/app:both", stated(amd64))
	mistaken.Mistakes = []workload.Mistake{{Rule: "dockerfile-goarch-constant", Pos: mistaken.File.Pos(2, 1), Message: "so it is"}}
	parameter := deploys("example.com/app:${Tag}", stated(amd64))
	parameter.Workloads[0].Containers[0].Image.Unknown = "the parameter Tag has no default"

	for _, c := range []struct {
		name     string
		reading  *workload.Reading
		fallback []target.Need
		rules    string
		verdicts []Verdict
		says     string // in the first finding or unknown
		edits    bool   // the first finding has a fix with edits
	}{
		{"it runs", deploys("example.com/app:both", stated(arm64)), nil, "", []Verdict{Runs}, "", false},
		{"the platform is missing, and the target has another that is there", deploys("example.com/app:one", stated(arm64)), nil, "BER001", []Verdict{RunsNot}, "has only linux/amd64", true},
		{"it may land where it lacks one", deploys("example.com/app:one", stated(amd64, arm64)), nil, "BER014", []Verdict{Runs, Runs}, "may land on linux/arm64", true},
		{"the default decides", deploys("example.com/app:both", byDefault), nil, "BER015", []Verdict{Runs}, "does not say its platform", true},
		{"the tag latest", deploys("example.com/app:latest", stated(amd64)), nil, "BER016", []Verdict{Runs}, "latest", false},
		{"built for another", built, nil, "BER017", []Verdict{RunsNot}, "is built for linux/amd64", false},
		{"built for whatever builds it", builtSomewhere, nil, "BER017", []Verdict{Unknown}, "the machine that builds it", false},
		{"a mistake of the file", mistaken, nil, "BER023", []Verdict{Runs}, "so it is", false},
		{"nothing says the platform", deploys("example.com/app:both", open), nil, "", []Verdict{Unknown}, "nothing says so (the image has linux/amd64, linux/arm64)", false},
		{"the user says it", deploys("example.com/app:one", open), []target.Need{{Platform: arm64, Why: "asked for"}}, "BER001", []Verdict{RunsNot}, "has only linux/amd64", false},
		{"a parameter", parameter, nil, "", []Verdict{Unknown}, "which image it is: the parameter Tag has no default", false},
		{"no reference", deploys("example.com/App:UP", stated(amd64)), nil, "", []Verdict{Unknown}, `image "example.com/App:UP"`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := examine(t, c.reading, c.fallback)
			if got := rules(report); got != c.rules {
				t.Errorf("rules %q, want %q", got, c.rules)
			}
			var verdicts []Verdict
			var said []string
			for _, f := range report.Findings() {
				said = append(said, f.Message)
				if f.Pos == nil || f.Pos.File != "deploy/web.yaml" || f.Snippet == "" {
					t.Errorf("%s has no place: %+v %q", f.Rule, f.Pos, f.Snippet)
				}
			}
			for _, r := range report.Results {
				verdicts = append(verdicts, r.Verdict)
				said = append(said, r.Unknowns...)
			}
			if !slices.Equal(verdicts, c.verdicts) {
				t.Errorf("verdicts %v, want %v", verdicts, c.verdicts)
			}
			if c.says != "" && (len(said) == 0 || !strings.Contains(said[0], c.says)) {
				t.Errorf("%q does not say %q", said, c.says)
			}
			if c.edits != (len(report.Findings()) > 0 && slices.ContainsFunc(report.Findings()[0].Fixes, func(f Fix) bool { return len(f.Edits) > 0 })) {
				t.Errorf("edits of %+v: want %t", report.Findings(), c.edits)
			}
		})
	}
}

// TestIncluded: what two files bring of one place is looked at once.
func TestIncluded(t *testing.T) {
	q := workload.Requirement{Target: indexTarget, Platforms: []platform.Platform{arm64}, Certainty: workload.Stated}
	included, other := deploys("example.com/app:one", q), deploys("example.com/app:two", q)
	includer := &workload.Reading{File: workload.NewFile("all.yaml", nil), Workloads: included.Workloads}
	if n := len(Deployed([]*workload.Reading{includer, included, other}, nil)); n != 2 {
		t.Errorf("%d subjects, want one of the file that is included, and the other", n)
	}
	twice := &workload.Reading{File: included.File, Workloads: append(included.Workloads, included.Workloads...)}
	if n := len(Deployed([]*workload.Reading{twice}, nil)); n != 2 {
		t.Errorf("%d subjects of a file that has a workload twice", n)
	}
}

func TestIgnores(t *testing.T) {
	missing := func() *workload.Reading {
		return deploys("example.com/app:one", workload.Requirement{Target: indexTarget, Platforms: []platform.Platform{arm64}, Certainty: workload.Stated})
	}
	inFile := func(i workload.Ignore) *workload.Reading {
		r := missing()
		i.Pos.File = r.File.Name
		if i.Workload != nil {
			i.Workload = r.Workloads[0]
		}
		r.Ignores = []workload.Ignore{i}
		return r
	}
	for _, c := range []struct {
		name    string
		reading *workload.Reading
		ignore  []Ignore
		rules   string
		verdict Verdict
	}{
		{"its line", inFile(workload.Ignore{Rule: "BER001", Reason: "r", Line: 3}), nil, "(BER001)", RunsNot},
		{"the line of its workload", inFile(workload.Ignore{Rule: "platform-missing", Reason: "r", Line: 1}), nil, "(BER001)", RunsNot},
		{"another line", inFile(workload.Ignore{Rule: "BER001", Reason: "r", Line: 2}), nil, "BER001 BER024", RunsNot},
		{"its workload", inFile(workload.Ignore{Rule: "BER001", Reason: "r", Workload: new(workload.Workload)}), nil, "(BER001)", RunsNot},
		{"another rule", inFile(workload.Ignore{Rule: "BER002", Reason: "r", Line: 3}), nil, "BER001 BER024", RunsNot},
		{"a configuration", missing(), []Ignore{{Rule: "BER001", Reason: "r", Files: "deploy/**", Images: "example.com/*"}}, "(BER001)", RunsNot},
		{"a configuration for others", missing(), []Ignore{{Rule: "BER001", Reason: "r", Files: "test/**"}}, "BER001", RunsNot},
		{"a configuration for another image", missing(), []Ignore{{Rule: "BER001", Reason: "r", Images: "example.com/other:*"}}, "BER001", RunsNot},
		{"a configuration that meets nothing", missing(), []Ignore{{Rule: "BER002", Reason: "r", Files: "deploy/*", Pos: workload.Pos{File: ".berth.yaml", Line: 2}}}, "BER001 BER024", RunsNot},
		{"no rule", missing(), []Ignore{{Rule: "BER999", Reason: "r", Files: "test/**", Pos: workload.Pos{File: ".berth.yaml", Line: 2}}}, "BER001 BER024", RunsNot},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := examine(t, c.reading, nil, c.ignore...)
			if got := rules(report); got != c.rules || report.Results[0].Verdict != c.verdict {
				t.Errorf("%q and %s, want %q and %s", got, report.Results[0].Verdict, c.rules, c.verdict)
			}
		})
	}
}

// TestAnywhere: where nothing says the platform, what fails on all of an image's own is a
// failure all the same.
func TestAnywhere(t *testing.T) {
	program := func(p string) imagetest.Image {
		im := layered(p, imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(amd64, ""))}))
		im.Config.Entrypoint = []string{"/app"}
		return im
	}
	for _, c := range []struct {
		name      string
		platforms []string
		rules     string
		verdict   Verdict
	}{
		{"starts", []string{"linux/amd64"}, "", Unknown},
		{"starts on one", []string{"linux/amd64", "linux/arm64"}, "BER026", Unknown},
		{"starts nowhere", []string{"linux/arm64"}, "BER026", RunsNot},
	} {
		m := imagetest.New()
		var entries []store.Descriptor
		for _, p := range c.platforms {
			entries = append(entries, m.AddImage(program(p), ""))
		}
		m.AddIndex("v1", "", entries...)
		subjects := Deployed([]*workload.Reading{deploys("example.com/app:v1", workload.Requirement{Certainty: workload.Undetermined, Why: "nothing says so"})}, nil)
		if err := Gather(t.Context(), func(store.Reference) (store.Source, error) { return m, nil }, subjects, GatherOptions{Prove: true}); err != nil {
			t.Fatal(err)
		}
		report := Examine(Facts{Subjects: subjects})
		if got := rules(report); got != c.rules || report.Results[0].Verdict != c.verdict {
			t.Errorf("%s: %q and %s, want %q and %s", c.name, got, report.Results[0].Verdict, c.rules, c.verdict)
		}
	}
}

func TestLocked(t *testing.T) {
	m := imagetest.New()
	old := m.AddImage(layered("linux/amd64"), "v1")
	m.AddImage(layered("linux/arm64"), "v1")
	ref, err := store.ParseReference("example.com/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	subjects := Asked(ref, "app", []target.Need{{Platform: amd64}})
	subjects[0].Locked = old.Digest
	if err := Gather(t.Context(), func(store.Reference) (store.Source, error) { return m, nil }, subjects, GatherOptions{}); err != nil {
		t.Fatal(err)
	}
	r := Run(subjects)[0]
	if r.Verdict != Runs || len(r.Findings) != 1 || r.Findings[0].Rule != "BER025" {
		t.Errorf("%s %+v", r.Verdict, r.Findings)
	}
	if _, err := image.Open(t.Context(), m, old.Digest.String()); err != nil {
		t.Error(err)
	}
}
