package launch

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store/registry"
)

// TestDocker has a Docker daemon pull and run images, and holds the proofs against what it
// says: all merges of layers, and where the engine itself has a say, in lookups and users.
func TestDocker(t *testing.T) {
	host := thisMachine(t)
	emulated := handlers(t)
	engine := imagetest.Docker(t)
	if driver := strings.TrimSpace(engine.Run(t, "info", "--format", "{{.Driver}}")); driver != "overlay2" {
		imagetest.Missing(t, "Docker's overlay2 (its driver is "+driver+")", "put TMPDIR on a file system that overlayfs can use")
	}
	server := imagetest.Registry(t)
	client := registry.New(registry.Options{})
	var table tally
	for i, c := range corpus() {
		if c.class != classLayers && c.class != classLookup && c.class != classUsers {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if c.foreign && len(emulated) > 0 {
				imagetest.Missing(t, "a kernel without emulation (binfmt_misc has "+strings.Join(emulated, ", ")+")", "switch them off: echo 0 into each")
			}
			proof := prove(t, c.image(t), c.process, host)
			if proof.Verdict == Unknown {
				table.count(c.class, open)
				return
			}
			img := imagetest.Image{Configured: host.Platform, Config: c.process}
			for _, files := range c.stack() {
				if len(files) > 0 || c.layers != nil {
					img.Layers = append(img.Layers, imagetest.GzipLayer(files...))
				}
			}
			m := imagetest.New()
			m.AddImage(img, "v1")
			repository := fmt.Sprintf("case/%d", i)
			if err := m.PushTo(t.Context(), client.Repository(server, repository)); err != nil {
				t.Fatal(err)
			}
			defer table.held(t, c.class)
			name := server + "/" + repository + ":v1"
			_, err := engine.Try(t, "pull", "--quiet", name)
			if refused := proof.Verdict == Fails && proof.Failure.Cause == CauseUnpack; refused || err != nil {
				if (err != nil) != refused || !strings.Contains(err.Error(), "failed to register layer") {
					t.Errorf("docker pull: %v\npredicted: %s", err, summary(proof))
				}
				return
			}
			_, err = engine.Try(t, "run", "--rm", "--network=none", name)
			if wrong := dockerAgrees(proof, c.process, err); wrong != "" {
				t.Errorf("%s\npredicted: %s: %+v\n%v", wrong, summary(proof), proof.Failure, err)
			}
		})
	}
	table.holds(t, "docker")
}

// dockerAgrees says what is wrong with a proof, by how docker run ended.
func dockerAgrees(proof *Proof, process v1.ImageConfig, err error) string {
	code, text := 0, ""
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return "docker could not be run"
		}
		code, text = exit.ExitCode(), strings.ReplaceAll(strings.ReplaceAll(err.Error(), `\"`, `"`), `\\`, `\`)
	}
	f := proof.Failure
	switch {
	case f == nil && code != 0:
		return "it does not start"
	case f == nil:
		return ""
	case f.Stage == StageRun && f.ExitCode <= 128:
		return "" // these programs are no shells
	case code == 0:
		return "it starts"
	case f.Stage == StageRun && code != f.ExitCode:
		return "it does not die of the signal"
	case f.Stage == StageRun:
		return ""
	case f.Stage == StageCreate && f.ExitCode != 0 && code != f.ExitCode && len(older(f)) == 0:
		return fmt.Sprintf("exit code %d", code)
	case f.Stage == StageCreate && code < 125, f.Stage == StageExec && strings.Contains(text, "docker: Error response"):
		return "it fails at another stage"
	}
	wants := append(older(f), f.Message)
	if f.Cause == CauseWorkingDir {
		// The engine looks at it first since Docker 1.11, in words of its own.
		wants = append(wants, "must be an absolute path", "too many links", strerror(f.Errno))
	}
	for _, want := range wants {
		if strings.Contains(strings.ToLower(text), strings.ToLower(want)) {
			return ""
		}
	}
	return "docker says something else"
}
