// Command demo tells berth's story in a minute, with a registry of its own and
// nothing left behind: an image is pushed the way that docker pull and docker push
// on an ARM Mac do it, berth says what will happen, mends it, and on Linux both
// programs are really executed.
//
// Run it with make demo. It ends with an error when anything turns out otherwise
// than it says.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
	"berth/transfer"
)

// program is what the demo's image runs.
const program = `package main

import (
	"fmt"
	"runtime"
)

func main() { fmt.Printf("hello from %s/%s\n", runtime.GOOS, runtime.GOARCH) }
`

var (
	amd64 = platform.MustParse("linux/amd64")
	arm64 = platform.MustParse("linux/arm64")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run.
type demo struct {
	ctx context.Context
	// host is the registry's address; upstream and private are two repositories on it.
	host, upstream, private string
	programs                map[string][]byte
	failures                []error
}

func run(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: imagetest.NewRegistry()}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer server.Close()

	// What was read in an earlier run would not be read again.
	cache, err := os.MkdirTemp("", "berth-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	if err := os.Setenv("BERTH_CACHE", cache); err != nil {
		return err
	}

	d := &demo{ctx: ctx, host: listener.Addr().String(), programs: map[string][]byte{}}
	d.upstream, d.private = d.host+"/vendor/hello:v1", d.host+"/private/hello:v1"
	for _, step := range []func() error{d.publish, d.mistake, d.explain, d.execute, d.mend, d.lie, d.deploy} {
		if err := step(); err != nil {
			return err
		}
	}
	return errors.Join(d.failures...)
}

// publish builds the image that everybody pulls.
func (d *demo) publish() error {
	d.say("A vendor publishes an image for two platforms. (Compiling both programs now.)")
	m := imagetest.New()
	var entries []store.Descriptor
	for _, p := range []platform.Platform{amd64, arm64} {
		executable, err := imagetest.CompileGo(d.ctx, p, program)
		if err != nil {
			return err
		}
		d.programs[p.Architecture] = executable
		entries = append(entries, m.AddImage(helloImage(p, executable), ""))
	}
	entries = append(entries, m.AddAttestation(entries[0]), m.AddAttestation(entries[1]))
	m.AddIndex("v1", "", entries...)
	if err := m.PushTo(d.ctx, d.repository("vendor/hello")); err != nil {
		return err
	}
	d.berth(0, "inspect", d.upstream)
	return nil
}

func helloImage(p platform.Platform, executable []byte) imagetest.Image {
	return imagetest.Image{
		Configured: p,
		Config:     v1.ImageConfig{Entrypoint: []string{"/hello"}},
		Layers:     []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "hello", Mode: 0o755, Body: string(executable)})},
		History:    []v1.History{{CreatedBy: "COPY hello /hello"}},
	}
}

// mistake does what docker pull, tag and push do on an ARM Mac: pull takes the arm64
// manifest out of the index, push sends just that.
func (d *demo) mistake() error {
	d.say("Somebody runs this on an ARM Mac. docker pull takes the arm64 image, docker push sends only that:")
	fmt.Printf("  $ docker pull %s\n  $ docker tag  %s %s\n  $ docker push %s\n\n", d.upstream, d.upstream, d.private, d.private)
	return d.pullAndPush("private/hello")
}

func (d *demo) pullAndPush(to string) error {
	im, err := image.Open(d.ctx, d.repository("vendor/hello"), "v1")
	if err != nil {
		return err
	}
	selection, err := im.Only([]platform.Platform{arm64}, image.OnlyOptions{Plain: true})
	if err != nil {
		return err
	}
	plan, err := transfer.New(selection, transfer.PlanOptions{})
	if err != nil {
		return err
	}
	_, err = plan.Run(d.ctx, d.repository("vendor/hello"), d.repository(to), transfer.Options{Tag: "v1"})
	return err
}

func (d *demo) explain() error {
	d.say("Before it is deployed to App Runner, which runs amd64, CI asks berth:")
	d.berth(1, "check", d.private, "--for", "apprunner")
	return nil
}

// execute runs both programs for real, where this machine can run a Linux program.
func (d *demo) execute() error {
	if runtime.GOOS != "linux" {
		d.say("On Linux the demo would execute both programs here, to show that the prediction is right; this is " + runtime.GOOS + ".")
		return nil
	}
	d.say("Is that so? This machine is linux/" + runtime.GOARCH + ". Both programs, really executed:")
	folder, err := os.MkdirTemp("", "berth-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	for _, arch := range []string{"amd64", "arm64"} {
		path := filepath.Join(folder, "hello-"+arch)
		if err := os.WriteFile(path, d.programs[arch], 0o700); err != nil {
			return err
		}
		out, err := exec.CommandContext(d.ctx, path).CombinedOutput()
		said := strings.TrimSpace(string(out))
		if err != nil {
			said = err.Error()
			var failed *os.PathError
			if errors.As(err, &failed) {
				said = failed.Err.Error()
			}
		}
		fmt.Printf("  hello-%s: %s\n", arch, said)
		switch {
		case arch == runtime.GOARCH && err != nil:
			d.failures = append(d.failures, fmt.Errorf("the program for this machine did not run: %w", err))
		case arch != runtime.GOARCH && err == nil:
			fmt.Println("  (this kernel has an emulator for it, registered with binfmt_misc; App Runner has none)")
		case arch != runtime.GOARCH && !errors.Is(err, syscall.ENOEXEC):
			d.failures = append(d.failures, fmt.Errorf("the program for %s failed in an unforeseen way: %w", arch, err))
		}
	}
	fmt.Println()
	return nil
}

func (d *demo) mend() error {
	d.say("One command puts right what App Runner needs, from registry to registry, with no Docker:")
	d.berth(0, "copy", d.upstream, d.private, "--for", "apprunner")
	d.berth(0, "check", d.private, "--for", "apprunner")
	d.berth(0, "prove", d.private)
	return nil
}

// lie publishes an image whose labels are right and whose bytes are not.
func (d *demo) lie() error {
	d.say("And when the label itself is wrong? This image says arm64 everywhere; its program is amd64.")
	m := imagetest.New()
	m.AddIndex("v1", "", m.AddImage(helloImage(arm64, d.programs["amd64"]), ""))
	if err := m.PushTo(d.ctx, d.repository("vendor/mislabelled")); err != nil {
		return err
	}
	d.berth(1, "check", d.host+"/vendor/mislabelled:v1", "--for", "fargate/arm64")
	return nil
}

// deploy has a task definition say where the image runs.
func (d *demo) deploy() error {
	d.say("Where an image runs is mostly written down. This task definition names no platform, and the image has arm64 alone:")
	if err := d.pullAndPush("private/worker"); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "berth-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	task := fmt.Sprintf(`{
  "family": "worker",
  "requiresCompatibilities": ["FARGATE"],
  "containerDefinitions": [
    {"name": "worker", "image": "%s/private/worker:v1"}
  ]
}
`, d.host)
	name := filepath.Join(folder, "task.json")
	if err := os.WriteFile(name, []byte(task), 0o600); err != nil {
		return err
	}
	d.berth(1, "check", name)
	d.berth(0, "fix", "--write", name)
	d.berth(0, "check", name)
	return nil
}

func (d *demo) repository(name string) *registry.Repository {
	return registry.New(registry.Options{}).Repository(d.host, name)
}

func (d *demo) say(text string) { fmt.Printf("▸ %s\n\n", text) }

// berth prints and runs a command, and notes when its exit code is not the one
// that belongs to the story.
func (d *demo) berth(code int, args ...string) {
	fmt.Printf("  $ berth %s\n\n", strings.Join(args, " "))
	var out bytes.Buffer
	got := cli.Main(d.ctx, args, strings.NewReader(""), &out, &out)
	for line := range strings.Lines(out.String()) {
		fmt.Print("  ", line)
	}
	fmt.Printf("\n  exit code %d\n\n", got)
	if got != code {
		d.failures = append(d.failures, fmt.Errorf("berth %s ended with %d, not %d", strings.Join(args, " "), got, code))
	}
}
