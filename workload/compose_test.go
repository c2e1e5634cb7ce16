package workload

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	composetemplate "github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"pgregory.net/rapid"

	"berth/platform"
)

// quiet keeps what compose-go logs from the output.
func quiet(t *testing.T) {
	t.Helper()
	logrus.SetOutput(io.Discard)
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
}

// TestComposeGo holds what is read of each fixture against what docker compose config
// would say: its loader.
func TestComposeGo(t *testing.T) {
	quiet(t)
	compared := 0
	for _, f := range fixtures(t) {
		r := Read(NewFile(f.path, f.data), f.opts)
		if r.Format != compose {
			continue
		}
		project, err := composeGo(t, f)
		if err != nil {
			if !hasUnknown(r) {
				t.Errorf("%s: compose-go does not load it, %v, and nothing says why in\n%s", f.path, err, printed(r))
			}
			continue
		}
		if slices.Contains(composeOverride, filepath.Base(f.path)) {
			continue // read with the main one
		}
		names := slices.Sorted(maps.Keys(project.Services))
		for _, w := range r.Workloads {
			service, ok := project.Services[w.Name]
			if !ok {
				t.Errorf("%s: compose-go has no service %s, only %q", f.path, w.Name, names)
				continue
			}
			compared++
			compareService(t, f, w, service)
		}
		for _, name := range names {
			if project.Services[name].Provider == nil && !slices.ContainsFunc(r.Workloads, func(w *Workload) bool { return w.Name == name }) {
				t.Errorf("%s: the service %s was not read", f.path, name)
			}
		}
	}
	t.Logf("%d services were compared", compared)
	if compared < 30 {
		t.Errorf("only %d services were compared", compared)
	}
}

func hasUnknown(r *Reading) bool {
	return len(r.Problems) > 0 || slices.ContainsFunc(r.Workloads, func(w *Workload) bool { return !w.Containers[0].Image.Known() })
}

// composeGo loads a fixture as docker compose would.
func composeGo(t *testing.T, f fixture) (*types.Project, error) {
	t.Helper()
	file := filepath.Join("testdata", filepath.FromSlash(f.path))
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	details := types.ConfigDetails{WorkingDir: dir, Environment: maps.Clone(f.opts.Env)}
	if details.Environment == nil {
		details.Environment = map[string]string{}
	}
	names := []string{filepath.Base(file)}
	if slices.Contains(composeMain, names[0]) {
		for _, name := range composeOverride {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				names = append(names, name)
				break
			}
		}
	}
	for _, name := range names {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: filepath.Join(dir, name)})
	}
	if env := filepath.Join(dir, ".env"); len(names) > 0 {
		if _, err := os.Stat(env); err == nil {
			vars, err := dotenv.GetEnvFromFile(details.Environment, []string{env})
			if err != nil {
				t.Fatal(err)
			}
			details.Environment = details.Environment.Merge(vars)
		}
	}
	return loader.LoadWithContext(t.Context(), details, func(o *loader.Options) {
		o.SetProjectName("fixture", true)
		o.Profiles = []string{"*"}
		o.SkipConsistencyCheck = true
	})
}

func compareService(t *testing.T, f fixture, w *Workload, service types.ServiceConfig) {
	t.Helper()
	c := w.Containers[0]
	p := c.Process
	if c.Image.Known() && c.Image.Text != service.Image {
		t.Errorf("%s: the image of %s is %q, to compose-go %q", f.path, w.Name, c.Image.Text, service.Image)
	}
	if parsed, err := platform.Parse(service.Platform); err == nil && !slices.ContainsFunc(w.Requirement.Platforms, func(p platform.Platform) bool { return platform.Equal(p, parsed) }) {
		t.Errorf("%s: the platform of %s is %v, to compose-go %s", f.path, w.Name, w.Requirement.Platforms, service.Platform)
	}
	if service.Platform == "" && w.Requirement.Certainty == Stated && service.Deploy == nil {
		t.Errorf("%s: the platform of %s is %s; compose-go knows none", f.path, w.Name, w.Requirement.Why)
	}
	if (c.Build != nil) != (service.Build != nil) {
		t.Errorf("%s: what %s is built from is %v, to compose-go %v", f.path, w.Name, c.Build, service.Build)
	}
	if p.Unknown != "" {
		return
	}
	var env []string
	for name, value := range service.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	slices.Sort(env)
	ours := slices.Clone(p.Env)
	slices.Sort(ours)
	for _, diff := range []string{
		cmp.Diff([]string(service.Entrypoint), p.Entrypoint),
		cmp.Diff([]string(service.Command), p.Command),
		cmp.Diff([]string{service.User, service.WorkingDir}, []string{p.User, p.WorkDir}),
		cmp.Diff(env, ours),
	} {
		if diff != "" {
			t.Errorf("%s: %s: -compose-go +ours\n%s", f.path, w.Name, diff)
		}
	}
	var mounts []string
	for _, v := range service.Volumes {
		if v.Type != types.VolumeTypeVolume {
			mounts = append(mounts, v.Target)
		}
	}
	for _, mount := range mounts {
		if !slices.Contains(p.Mounts, mount) {
			t.Errorf("%s: %s has no mount at %s: %q", f.path, w.Name, mount, p.Mounts)
		}
	}
}

// TestInterpolate holds interpolation against compose-go: what it makes of any string, or
// that it refuses it.
func TestInterpolate(t *testing.T) {
	quiet(t)
	given := map[string]string{"A": "a", "EMPTY": "", "LONG_NAME": "x y"}
	env := composeEnv{given}
	part := rapid.SampledFrom([]string{
		"$", "$$", "{", "}", "${", "${A", "${A}", "$A", "${EMPTY", "${NOT", "$NOT", "${NOT}", ":-", "-", ":?", "?", ":+", "+", "x", " ", "/", "LONG_NAME", "${LONG_NAME}", "1",
	})
	agreed, known := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(part, 0, 7).Draw(t, "parts"), "")
		want, err := composetemplate.Substitute(s, func(name string) (string, bool) {
			value, ok := given[name]
			return value, ok
		})
		got, unknown := env.interpolate(s)
		if agreed++; unknown != "" {
			return // what is not set is the empty string to compose-go
		}
		if known++; err != nil || got != want {
			t.Fatalf("%q is %q, to compose-go %q, %v", s, got, want, err)
		}
	})
	if known*3 < agreed {
		t.Errorf("only %d of %d were known", known, agreed)
	}
}
