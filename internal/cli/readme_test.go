package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store/registry"
	"berth/target"
)

const readmeFile = "../../README.md"

// readmeHost stands in the README for the registry of the test.
const readmeHost = "localhost:5000"

var (
	session = regexp.MustCompile("(?s)```console\n(.*?)```")
	// written is a file that the commands after it find.
	written = regexp.MustCompile("(?s)```[a-z]+ ([a-z./]+)\n(.*?)```")
	// took varies from run to run.
	took = regexp.MustCompile(`\d+ requests, [\d.]+ s`)
)

// TestREADME runs the commands of the README's console blocks, in order, and holds
// their output against what stands there. UPDATE_README=1 writes it anew.
func TestREADME(t *testing.T) {
	readme, err := filepath.Abs(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	host := imagetest.Registry(t)
	story(t, host)
	t.Chdir(t.TempDir())
	for _, file := range written.FindAllStringSubmatch(string(raw), -1) {
		if err := os.MkdirAll(filepath.Dir(file[1]), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file[1], []byte(strings.ReplaceAll(file[2], readmeHost, host)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commands := 0
	got := session.ReplaceAllStringFunc(string(raw), func(block string) string {
		var out strings.Builder
		out.WriteString("```console\n")
		for line := range strings.Lines(session.FindStringSubmatch(block)[1]) {
			command, ok := strings.CutPrefix(line, "$ berth ")
			if !ok {
				continue
			}
			if commands++; out.Len() > len("```console\n") {
				out.WriteString("\n")
			}
			out.WriteString(line)
			var output bytes.Buffer
			args := strings.Fields(strings.ReplaceAll(command, readmeHost, host))
			t.Setenv(cacheVariable, t.TempDir()) // what is shown is seen for the first time
			Main(context.Background(), append(args, "--color=never"), strings.NewReader(""), &output, &output)
			out.WriteString(took.ReplaceAllString(strings.ReplaceAll(output.String(), host, readmeHost), "14 requests, 0.1 s"))
		}
		return out.String() + "```"
	})
	if commands == 0 {
		t.Fatal("the README has no console block with a berth command")
	}
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(readme, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(raw), got); diff != "" {
		t.Errorf("the README shows something else than berth does; UPDATE_README=1 writes it anew:\n%s", diff)
	}
}

// story publishes the images of the README.
func story(t *testing.T, host string) {
	t.Helper()
	amd64, arm64 := platform.MustParse("linux/amd64"), platform.MustParse("linux/arm64")
	hello, private, worker, mislabelled := imagetest.New(), imagetest.New(), imagetest.New(), imagetest.New()
	one, two := hello.AddImage(program(amd64, amd64), ""), hello.AddImage(program(arm64, arm64), "")
	hello.AddIndex("v1", "", one, two, hello.AddAttestation(one), hello.AddAttestation(two))
	private.AddImage(program(arm64, arm64), "v1")
	worker.AddImage(program(arm64, arm64), "v1")
	mislabelled.AddIndex("v1", "", mislabelled.AddImage(program(arm64, amd64), ""))
	client := registry.New(registry.Options{})
	for repository, m := range map[string]*imagetest.Memory{"vendor/hello": hello, "private/hello": private, "private/worker": worker, "vendor/mislabelled": mislabelled} {
		if err := m.PushTo(context.Background(), client.Repository(host, repository)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestREADMETargets holds the README's table of targets against the data.
func TestREADMETargets(t *testing.T) {
	raw, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	set, err := target.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| (.*?) \\| (.*?) \\| (.*?) \\|$").FindAllStringSubmatch(string(raw), -1)
	if len(rows) < 10 {
		t.Fatalf("the README's table has %d targets", len(rows))
	}
	for _, row := range rows {
		found, err := set.Find(row[1])
		if err != nil {
			t.Error(err)
			continue
		}
		runs := "its machines' platform"
		if len(found.Runs) > 0 {
			runs = formats(found.Runs)
		}
		want := []string{found.Title, runs, string(found.Accepts.Index)}
		if diff := cmp.Diff(want, row[2:]); diff != "" {
			t.Errorf("%s: %s", row[1], diff)
		}
	}
}
