package launch

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/binary"
	"berth/internal/imagetest"
	"berth/platform"
)

// The machine's own kernel is the oracle of these tests: each scenario is laid out in a
// folder and executed there, and what happens is held against the proof.

// thisMachine is the host that the tests run on, as far as it decides the corpus. It
// reports as missing what makes it no oracle.
func thisMachine(t *testing.T) Host {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		imagetest.Missing(t, "a kernel for linux/amd64, for which the corpus is made", "run the tests on such a machine")
	}
	if os.Geteuid() != 0 {
		imagetest.Missing(t, "root, which chroot needs", "run the tests as root")
	}
	host := Host{Platform: platform.MustParse("linux/amd64"), Kernel: release(t)}
	root := t.TempDir()
	layOut(t, root, one(exe("app", elf("linux/386", ""))))
	host.Compat.IA32 = execute(t, root, v1.ImageConfig{Entrypoint: []string{"/app"}}).errno == ""
	layOut(t, root, one(exe("app", x32())))
	host.NoX32 = execute(t, root, v1.ImageConfig{Entrypoint: []string{"/app"}}).errno == strerror("ENOEXEC")
	return host
}

// release is what uname -r says.
func release(t *testing.T) binary.Version {
	t.Helper()
	raw, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	var v binary.Version
	if _, err := fmt.Sscanf(string(raw), "%d.%d", &v.Major, &v.Minor); err != nil {
		t.Fatal(err)
	}
	return v
}

// handlers are the machine's binfmt_misc handlers that are switched on.
func handlers(t *testing.T) []string {
	t.Helper()
	const dir = "/proc/sys/fs/binfmt_misc"
	var on []string
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "register" || e.Name() == "status" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), "enabled") {
			on = append(on, e.Name())
		}
	}
	return on
}

// layOut writes files into a folder, as an engine's unpacking would.
func layOut(tb testing.TB, root string, files []imagetest.File) {
	tb.Helper()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	// A folder's mode is set at the end, and its owner is root.
	check(os.Chmod(root, 0o755))
	for _, f := range files {
		name := filepath.Join(root, f.Name)
		if base := filepath.Base(f.Name); strings.HasPrefix(base, ".wh.") {
			check(os.RemoveAll(filepath.Join(filepath.Dir(name), strings.TrimPrefix(base, ".wh."))))
			continue
		}
		parent := filepath.Dir(name)
		if info, err := os.Lstat(parent); err == nil && info.Mode().Type() == os.ModeSymlink {
			// An upper layer's folder replaces a lower layer's link.
			check(os.Remove(parent))
		}
		check(os.MkdirAll(parent, 0o755))
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) && f.Type != tar.TypeDir {
			tb.Fatal(err)
		}
		switch {
		case f.Type == tar.TypeDir:
			check(os.MkdirAll(name, 0o755))
		case f.Type == tar.TypeFifo:
			check(syscall.Mkfifo(name, 0o644))
		case f.Type == tar.TypeLink:
			check(os.Link(filepath.Join(root, f.Link), name))
			continue
		case f.Link != "":
			check(os.Symlink(f.Link, name))
			continue
		default:
			check(os.WriteFile(name, []byte(f.Body), 0o600))
		}
		check(os.Chown(name, f.UID, f.GID))
		mode := os.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		check(os.Chmod(name, mode))
	}
}

// outcome is what became of a process.
type outcome struct {
	// errno is Go's text of what execve answered, or empty.
	errno  string
	signal syscall.Signal
	exit   int
}

func (o outcome) String() string {
	switch {
	case o.errno != "":
		return "execve: " + o.errno
	case o.signal != 0:
		return "killed by " + o.signal.String()
	}
	return fmt.Sprintf("ran, exit code %d", o.exit)
}

// execute runs a process in root, as the numeric user and group that config names.
func execute(tb testing.TB, root string, config v1.ImageConfig) outcome {
	tb.Helper()
	return executeAs(tb, root, config, &syscall.Credential{})
}

func executeAs(tb testing.TB, root string, config v1.ImageConfig, as *syscall.Credential) outcome {
	tb.Helper()
	args := append(slices.Clone(config.Entrypoint), config.Cmd...)
	dir := config.WorkingDir
	if dir == "" {
		dir = "/"
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer null.Close()
	process, err := os.StartProcess(args[0], args, &os.ProcAttr{
		Dir: dir, Env: []string{}, Files: []*os.File{null, null, null},
		Sys: &syscall.SysProcAttr{Chroot: root, Credential: as, Pdeathsig: syscall.SIGKILL},
	})
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return outcome{errno: errno.Error()}
	} else if err != nil {
		tb.Fatal(err)
	}
	// What was not made to run may run for ever.
	watchdog := time.AfterFunc(10*time.Second, func() { _ = process.Kill() })
	defer watchdog.Stop()
	state, err := process.Wait()
	if err != nil {
		tb.Fatal(err)
	}
	status := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return outcome{signal: status.Signal()}
	}
	return outcome{exit: status.ExitStatus()}
}

// predicted is a proof as an outcome of execve alone. It is false where the proof ends
// before execve, with something that execve knows nothing of.
func predicted(p *Proof) (outcome, bool) {
	if p.Verdict == Starts {
		return outcome{}, true
	}
	f := p.Failure
	switch {
	case f.Errno == "EISDIR": // of LookPath; execve's own answer is another
		return outcome{errno: strerror("EACCES")}, true
	case f.Errno != "":
		return outcome{errno: strerror(f.Errno)}, f.Cause != CauseWorkingDir
	case f.Stage == StageRun && f.ExitCode > 128:
		return outcome{signal: syscall.Signal(f.ExitCode - 128)}, true
	case f.Stage == StageRun:
		return outcome{}, true // the interpreter runs, and fails by itself
	}
	return outcome{}, false
}

// TestKernel holds every proof of the corpus against execve.
func TestKernel(t *testing.T) {
	host := thisMachine(t)
	emulated := handlers(t)
	var table tally
	for _, c := range corpus() {
		if c.class == classLayers {
			continue // no merge is laid out here
		}
		t.Run(c.name, func(t *testing.T) {
			if c.foreign && len(emulated) > 0 {
				imagetest.Missing(t, "a kernel without emulation (binfmt_misc has "+strings.Join(emulated, ", ")+")", "switch them off: echo 0 into each")
			}
			fsys := c.image(t)
			p := &prover{ctx: t.Context(), fsys: fsys, process: FromConfig(c.process)}
			proof := prove(t, fsys, c.process, host)
			if proof.Verdict == Unknown {
				table.count(c.class, open)
				return
			}
			want, ok := predicted(proof)
			name := ""
			if ok {
				// What the runtime does before execve is done here by the model: see TestRunc.
				if err := errors.Join(p.workDir(), p.user()); err == nil && !strings.Contains(FromConfig(c.process).Args[0], "/") {
					name, err = p.lookPath(FromConfig(c.process).Args[0])
					ok = err == nil
				}
			}
			if !ok {
				return
			}
			defer table.held(t, c.class)
			if p.made != "" {
				c.files = append(c.files, dir(p.made, 0o755))
			}
			root := t.TempDir()
			layOut(t, root, c.lower)
			layOut(t, root, c.files)
			if err := p.lookUpGroups(); err != nil {
				t.Fatal(err)
			}
			as := &syscall.Credential{Uid: uint32(p.cred.uid), Gid: uint32(p.cred.gid)}
			for _, g := range p.cred.groups {
				as.Groups = append(as.Groups, uint32(g))
			}
			config := c.process
			if name != "" {
				config.Entrypoint = append([]string{name}, FromConfig(c.process).Args[1:]...)
				config.Cmd = nil
			}
			if got := executeAs(t, root, config, as); got != want {
				t.Errorf("the kernel: %s\npredicted: %s (%s)", got, want, summary(proof))
			}
		})
	}
	table.holds(t, "execve")
}
