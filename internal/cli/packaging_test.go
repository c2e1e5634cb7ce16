package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"berth/internal/imagetest"
	"berth/report"
)

// parses tells what is wrong with a command line of berth, without running it.
func parses(t *testing.T, line string) {
	t.Helper()
	a := &app{}
	root := a.root()
	words := strings.Fields(line)
	for i, w := range words {
		words[i] = strings.Trim(w, `"'`)
	}
	cmd, rest, err := root.Find(words)
	if err != nil || cmd == root {
		t.Errorf("berth %s: no such command (%v)", line, err)
		return
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("berth %s: %v", line, err)
		return
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		t.Errorf("berth %s: %v", line, err)
	}
	if names := report.Names(cmd.Name()); !slices.Contains(names, a.output) {
		t.Errorf("berth %s: -o %s is none of %v", line, a.output, names)
	}
}

// command is a command line of berth in a script, up to what the shell makes of the rest.
var command = regexp.MustCompile(`(?m)(?:^|[\s&|(])berth ((?:check|fix|copy|prove|inspect|explain|targets|index)\b[^|>&#\n]*)`)

func TestCommandsOfCIDocumentParse(t *testing.T) {
	raw, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, block := range regexp.MustCompile("(?s)```(?:yaml|sh)\n(.*?)```").FindAllSubmatch(raw, -1) {
		for _, m := range command.FindAllSubmatch(block[1], -1) {
			found++
			parses(t, string(m[1]))
		}
	}
	if found < 10 {
		t.Errorf("%d commands were found in docs/ci.md", found)
	}
	// Blocks of YAML are YAML, once they are taken out of what they are a part of.
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(raw, -1) {
		if err := yaml.Unmarshal(block[1], new(any)); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
	for _, name := range report.Names("check") {
		if !strings.Contains(string(raw), "| `"+name+"` |") {
			t.Errorf("docs/ci.md does not say what -o %s is for", name)
		}
	}
}

func TestPreCommitHooks(t *testing.T) {
	var hooks []struct {
		ID, Name, Entry, Language, Files string
		PassFilenames                    *bool `yaml:"pass_filenames"`
	}
	decode(t, "../../.pre-commit-hooks.yaml", &hooks)
	if len(hooks) == 0 {
		t.Fatal("there are no hooks")
	}
	for _, h := range hooks {
		entry, ok := strings.CutPrefix(h.Entry, "berth ")
		if !ok || h.Language != "golang" || h.PassFilenames == nil || *h.PassFilenames {
			t.Errorf("%+v", h)
		}
		parses(t, entry)
		files := regexp.MustCompile(h.Files)
		for name, want := range map[string]bool{"task.json": true, "k8s/web.yml": true, "api/Dockerfile": true, "api.Dockerfile": true, "main.tf": true, "main.go": false, "README.md": false} {
			if files.MatchString(name) != want {
				t.Errorf("%s: %s is matched: %t", h.ID, name, !want)
			}
		}
	}
}

// TestAction makes sure that each input and each output of a step that the action uses is
// there, and that nothing that was put in is pasted into a script.
func TestAction(t *testing.T) {
	var action struct {
		Inputs  map[string]any
		Outputs map[string]struct{ Value string }
		Runs    struct {
			Steps []struct {
				ID, Run, If string
				Env         map[string]string
				With        map[string]string
			}
		}
	}
	decode(t, "../../action.yml", &action)
	used := map[string]bool{}
	expression := regexp.MustCompile(`inputs\.([a-z-]+)`)
	note := func(s string) {
		for _, m := range expression.FindAllStringSubmatch(s, -1) {
			used[m[1]] = true
		}
	}
	written := ""
	for _, s := range action.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("a value is pasted into a script: %s", s.Run)
		}
		for _, v := range s.Env {
			note(v)
		}
		for _, v := range s.With {
			note(v)
		}
		note(s.If)
		written += s.Run
	}
	for name := range action.Inputs {
		if !used[name] {
			t.Errorf("the input %s is not used", name)
		}
	}
	for name := range used {
		if _, ok := action.Inputs[name]; !ok {
			t.Errorf("there is no input %s", name)
		}
	}
	for name := range action.Outputs {
		if !strings.Contains(written, name+"=$") {
			t.Errorf("no step writes the output %s", name)
		}
	}
}

// TestActionScript runs the step that checks, with something in place of berth that says
// what it was given.
func TestActionScript(t *testing.T) {
	if runtime.GOOS == "windows" {
		imagetest.Missing(t, "the bash that runners have on Windows", "run the tests on Linux or macOS")
	}
	bash := imagetest.Program(t, "bash", "bash")
	var action struct {
		Runs struct {
			Steps []struct{ ID, Run string }
		}
	}
	decode(t, "../../action.yml", &action)
	script := ""
	for _, s := range action.Runs.Steps {
		if s.ID == "check" {
			script = s.Run
		}
	}
	for _, c := range []struct {
		name  string
		env   []string
		given string
		sarif bool
	}{
		{"annotations", []string{"PATHS=deploy\nmy files\n", "FOR=fargate", "ARGS=--strict\n--fail-on=warning", "SARIF=false"}, "check|--for=fargate|--strict|--fail-on=warning|-o|github|--|deploy|my files|", false},
		{"code scanning", []string{"PATHS=.", "FOR=", "ARGS=", "SARIF=true"}, "check|-o|sarif|--|.|", true},
		{"something that looks like a command", []string{"PATHS=$(touch owned); .", "FOR=", "ARGS=", "SARIF=false"}, "check|-o|github|--|$(touch owned); .|", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			temp := t.TempDir()
			output := filepath.Join(temp, "output")
			fake := "#!/bin/sh\nprintf '%s|' \"$@\" >\"$RUNNER_TEMP/given\"\necho said\nexit 3\n"
			if err := os.WriteFile(filepath.Join(temp, "berth"), []byte(fake), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", script) // as GitHub runs it
			cmd.Dir = temp
			cmd.Env = append(c.env, "PATH="+os.Getenv("PATH"), "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+output)
			if said, err := cmd.CombinedOutput(); err != nil || c.sarif == bytes.Contains(said, []byte("said")) {
				t.Errorf("%v: %s", err, said)
			}
			given, err := os.ReadFile(filepath.Join(temp, "given"))
			if err != nil || string(given) != c.given {
				t.Errorf("berth was given %q, want %q (%v)", given, c.given, err)
			}
			wrote, err := os.ReadFile(output)
			if err != nil || !strings.Contains(string(wrote), "exit-code=3\n") || c.sarif != strings.Contains(string(wrote), "sarif-file="+filepath.Join(temp, "berth.sarif")+"\n") {
				t.Errorf("the outputs are %q (%v)", wrote, err)
			}
			if _, err := os.Stat(filepath.Join(temp, "owned")); err == nil {
				t.Error("what was put in was run")
			}
		})
	}
}

// TestOurDockerfile holds the Dockerfile of berth's own image against berth's rules.
func TestOurDockerfile(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	var out, complaints bytes.Buffer
	code := Main(context.Background(), []string{"check", "--offline", "--fail-on=notice", "-o=github", filepath.Join("..", "..", "Dockerfile")}, strings.NewReader(""), &out, &complaints)
	// Offline, what its base images have is not known; what the file says is.
	if code != exitYes && code != exitUnknown || regexp.MustCompile(`title=BER`).Match(out.Bytes()) {
		t.Errorf("exit code %d\n%s%s", code, out.String(), complaints.String())
	}
	if !strings.Contains(out.String(), "line=3,") || !strings.Contains(out.String(), "line=14,") {
		t.Errorf("its two stages were not read:\n%s", out.String())
	}
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
