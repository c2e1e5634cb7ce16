package check

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/workload"
)

// TestMend is over all fixtures of package workload, in a world in which every image has
// one platform. What Mend edits is not found again, and the edits touch only lines that
// they must: all others are there as they were, in their order.
func TestMend(t *testing.T) {
	fixtures := os.DirFS("../workload/testdata")
	edited := map[string]int{} // by format
	err := fs.WalkDir(fixtures, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !workload.Candidate(name) {
			return err
		}
		for _, only := range []platform.Platform{amd64, arm64} {
			mendOne(t, fixtures, name, only, edited)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"cloudformation", "compose", "dockerfile", "ecs-task-definition", "kubernetes"} {
		if edited[format] == 0 {
			t.Errorf("no fixture of %s was edited", format)
		}
	}
	t.Logf("edited: %v", edited)
}

func mendOne(t *testing.T, fixtures fs.FS, name string, only platform.Platform, edited map[string]int) {
	t.Helper()
	before, report := examineIn(t, fixtures, name, only)
	mended := report.Mend(Warning)
	if len(mended.Edits) == 0 {
		return
	}
	after := over{fixtures, map[string][]byte{}}
	for file, edits := range mended.Edits {
		old, err := fs.ReadFile(fixtures, file)
		if err != nil {
			t.Fatal(err)
		}
		if after.files[file], err = workload.Apply(old, edits); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !inOrder(string(old), string(after.files[file])) {
			t.Errorf("%s: lines were lost:\n%s", name, after.files[file])
		}
	}
	_, again := examineIn(t, after, name, only)
	was, is := countable(report), countable(again)
	if is >= was || is > len(mended.Left) || len(again.Problems()) > len(report.Problems()) {
		t.Errorf("%s on %s: %d findings and %d problems before, %d to be left; %d and %d after:\n%s", name, platform.Format(only),
			was, len(report.Problems()), len(mended.Left), is, len(again.Problems()), after.files)
	}
	edited[before.Format.Name]++
}

// over is a file system in which some files have another content.
type over struct {
	fs.FS
	files map[string][]byte
}

func (o over) ReadFile(name string) ([]byte, error) {
	if data, ok := o.files[name]; ok {
		return data, nil
	}
	return fs.ReadFile(o.FS, name)
}

// examineIn reads a fixture where every image has one platform.
func examineIn(t *testing.T, fixtures fs.FS, name string, only platform.Platform) (*workload.Reading, *Report) {
	t.Helper()
	data, err := fs.ReadFile(fixtures, name)
	if err != nil {
		t.Fatal(err)
	}
	m := imagetest.New()
	tags := map[string]bool{}
	r := workload.Read(workload.NewFile(name, data), workload.Options{
		ClusterPlatforms: []platform.Platform{amd64, arm64},
		ReadFile:         func(name string) ([]byte, error) { return fs.ReadFile(fixtures, name) },
		ReadDir: func(name string) ([]string, error) {
			entries, err := fs.ReadDir(fixtures, name)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names, err
		},
	})
	subjects := Deployed([]*workload.Reading{r}, nil)
	for _, s := range subjects {
		if s.Open == "" && s.Err == nil {
			s.Reference.Digest = "" // what it names is up to this world
			if tag := s.Reference.Identifier(); !tags[tag] {
				m.AddImage(layered(platform.Format(only)), tag)
				tags[tag] = true
			}
		}
	}
	if err := Gather(t.Context(), func(store.Reference) (store.Source, error) { return m, nil }, subjects, GatherOptions{}); err != nil {
		t.Fatal(err)
	}
	return r, Examine(Facts{Subjects: subjects, Readings: []*workload.Reading{r}})
}

// countable is how many findings Mend would look at.
func countable(r *Report) int {
	n := 0
	for _, f := range r.Findings() {
		if f.Ignored == "" && f.Severity.AtLeast(Warning) {
			n++
		}
	}
	return n
}

// inOrder tells whether all lines of before are lines of after, in that order, but for
// those in whose place is a changed one: no more than there are edits.
func inOrder(before, after string) bool {
	lines := slices.Collect(strings.Lines(after))
	kept, all := 0, 0
	for line := range strings.Lines(before) {
		all++
		if i := slices.Index(lines, line); i >= 0 {
			lines, kept = lines[i+1:], kept+1
		}
	}
	// A changed line is one in four at most of the shortest fixtures.
	return all-kept <= 1+all/4
}
