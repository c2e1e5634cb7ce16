package launch

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestDebianLibraries proves and runs what Debian installs, whole and with each of its
// libraries taken away.
func TestDebianLibraries(t *testing.T) {
	host := thisMachine(t)
	for _, c := range []struct {
		packages []string
		args     []string
	}{
		{[]string{"bash", "libc6", "libtinfo6"}, []string{"/bin/bash", "-c", ":"}},
		{[]string{"python3.11-minimal", "libpython3.11-minimal", "libc6", "libexpat1", "zlib1g"}, []string{"/usr/bin/python3.11", "-S", "-c", ""}},
		{[]string{"nginx", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"}, []string{"/usr/sbin/nginx", "-v"}},
	} {
		t.Run(c.packages[0], func(t *testing.T) {
			files := slices.DeleteFunc(imagetest.DebianFiles(t, host.Platform, c.packages...), func(f imagetest.File) bool {
				return strings.HasPrefix(f.Name, "usr/share/") || strings.Contains(f.Name, "/gconv/")
			})
			process := v1.ImageConfig{Entrypoint: c.args, Env: []string{"PYTHONHOME=/usr"}}
			whole := prove(t, imageOf(t, files), process, host)
			if whole.Verdict != Starts || slices.ContainsFunc(whole.Warnings, func(w Warning) bool { return w.Cause == CauseLibraries }) {
				t.Fatalf("%+v", whole)
			}
			root := t.TempDir()
			layOut(t, root, files)
			if line, exit := spoken(t, root, process); exit != 0 {
				t.Errorf("exit code %d: %s", exit, line)
			}
			for _, s := range whole.Steps {
				if s.Role != roleLibrary || s.Kind == "symlink" {
					continue
				}
				name := strings.TrimPrefix(s.Path, "/")
				without := slices.DeleteFunc(slices.Clone(files), func(f imagetest.File) bool {
					return "/"+f.Name == s.Path || strings.HasSuffix(s.Path, "/"+f.Name) && strings.HasPrefix(f.Name, "lib/")
				})
				broken := prove(t, imageOf(t, without), process, host)
				root := t.TempDir()
				layOut(t, root, without)
				line, exit := spoken(t, root, process)
				if f := broken.Failure; f == nil || f.Message != line || f.ExitCode != exit || f.Stage != StageLoad {
					t.Errorf("without %s: exit code %d: %s\npredicted %+v", name, exit, line, broken.Failure)
				} else {
					t.Log(line)
				}
			}
		})
	}
	// Another architecture cannot be run, and must not fail either.
	p := platform.MustParse("linux/arm64")
	files := imagetest.DebianFiles(t, p, "bash", "libc6", "libtinfo6")
	proof := prove(t, imageOf(t, files), v1.ImageConfig{Entrypoint: []string{"/bin/bash"}}, Host{Platform: p})
	if proof.Verdict != Starts || len(proof.Warnings) != 0 {
		t.Errorf("%s, %+v\n%+v", proof.Verdict, proof.Failure, proof.Warnings)
	}
}
