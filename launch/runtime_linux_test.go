package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/imagetest"
)

// bundle writes an OCI bundle: a root folder that is laid out already, and config.json
// with what Docker sets: default capabilities, and the process that p found out.
func bundle(tb testing.TB, folder string, p *prover) {
	tb.Helper()
	type m = map[string]any
	capabilities := []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
	sets := m{"bounding": capabilities}
	if p.cred.uid == 0 {
		sets["effective"], sets["permitted"] = capabilities, capabilities
	}
	cwd := p.process.WorkDir
	if cwd == "" {
		cwd = "/"
	}
	groups := p.cred.groups
	if groups == nil {
		groups = []int{}
	}
	config := m{
		"ociVersion": "1.0.2",
		"process": m{
			"terminal": false, "args": p.process.Args, "cwd": cwd, "capabilities": sets,
			"env":  append([]string{"PATH=" + defaultPath}, p.process.Env...),
			"user": m{"uid": p.cred.uid, "gid": p.cred.gid, "additionalGids": groups},
		},
		"root":  m{"path": "rootfs"},
		"linux": m{"namespaces": []m{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}}},
		"mounts": []m{
			{"destination": "/proc", "type": "proc", "source": "proc"},
		},
	}
	text, err := json.Marshal(config)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), text, 0o600); err != nil {
		tb.Fatal(err)
	}
}

var containers atomic.Int64

// ran is what a runtime made of a bundle.
type ran struct {
	exit   int
	stderr string
}

func runRuntime(tb testing.TB, folder string, program ...string) ran {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	id := "berth-test-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(containers.Add(1), 10)
	args := append(slices.Clone(program[1:]), "--root", filepath.Join(folder, "state"), "run", "--bundle", folder, id)
	cmd := exec.CommandContext(ctx, program[0], args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		tb.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), stderr.String()}
}

// runtimeOracle runs every scenario with an OCI runtime, and has agrees say what is
// wrong with the proof of it.
func runtimeOracle(t *testing.T, oracle string, agrees func(*Proof, ran) string, program ...string) {
	host := thisMachine(t)
	emulated := handlers(t)
	var table tally
	for _, c := range corpus() {
		if c.class == classLayers {
			continue // it is the engine that merges
		}
		t.Run(c.name, func(t *testing.T) {
			if c.foreign && len(emulated) > 0 {
				imagetest.Missing(t, "a kernel without emulation (binfmt_misc has "+strings.Join(emulated, ", ")+")", "switch them off: echo 0 into each")
			}
			fsys := c.image(t)
			proof := prove(t, fsys, c.process, host)
			if proof.Verdict == Unknown {
				table.count(c.class, open)
				return
			}
			// The engine resolves the user and the working folder, and would not come as far
			// as the runtime.
			p := &prover{ctx: t.Context(), fsys: fsys, process: FromConfig(c.process)}
			if len(p.process.Args) == 0 || p.workDir() != nil || p.user() != nil {
				return
			}
			defer table.held(t, c.class)
			if err := p.lookUpGroups(); err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			root := filepath.Join(folder, "rootfs")
			// crun wants these to be there; Docker makes them too.
			for _, name := range []string{root, filepath.Join(root, "dev"), filepath.Join(root, "proc")} {
				if err := os.MkdirAll(name, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// A user other than root must be able to come this far.
			for d := folder; d != filepath.Dir(os.TempDir()); d = filepath.Dir(d) {
				if info, err := os.Stat(d); err == nil && info.Mode().Perm()&0o005 != 0o005 {
					if err := os.Chmod(d, info.Mode().Perm()|0o055); err != nil {
						t.Fatal(err)
					}
				}
			}
			layOut(t, root, c.lower)
			layOut(t, root, c.files)
			bundle(t, folder, p)
			got := runRuntime(t, folder, program...)
			if wrong := agrees(proof, got); wrong != "" {
				t.Errorf("%s\npredicted: %s: %+v\nexit code %d\n%s", wrong, summary(proof), proof.Failure, got.exit, got.stderr)
			}
		})
	}
	table.holds(t, oracle)
}

// TestRunc holds proofs against runc: the same line, at the same stage.
func TestRunc(t *testing.T) {
	says := func(proof *Proof, got ran) string {
		f := proof.Failure
		switch {
		case proof.Verdict == Starts && got.exit != 0:
			return "it does not start"
		case proof.Verdict == Starts:
			return ""
		case f.Stage == StageRun && f.ExitCode > 128 && (got.exit != f.ExitCode || got.stderr != ""):
			return "it does not die silently"
		case f.Stage == StageRun:
			return "" // these programs are no env
		case got.exit == 0:
			return "it starts"
		}
		// runc says "container process: LINE" before the container is there, and
		// "LINE" alone, behind a prefix of its log, after.
		created := !strings.Contains(got.stderr, "runc create failed") && !strings.Contains(got.stderr, "unable to start container process")
		if created != (f.Stage == StageExec) {
			return "it fails at another stage"
		}
		line := strings.ReplaceAll(strings.ReplaceAll(got.stderr, `\"`, `"`), `\\`, `\`)
		for _, text := range append(older(f), f.Message) {
			if strings.Contains(line, text) {
				return ""
			}
		}
		return "runc says something else"
	}
	runtimeOracle(t, "runc", says, imagetest.Program(t, "runc", "runc"))
}

// older is what runc says instead where it was built with Go before 1.20, as runc 1.1
// was: LookPath knew neither EISDIR nor access(2), and runc asked that afterwards.
func older(f *Failure) []string {
	switch f.Cause {
	case CauseDirectory:
		return []string{"exec: " + strconv.Quote(f.Path) + ": permission denied"}
	case CauseNotExecutable:
		return []string{"exec " + f.Path + ": permission denied"}
	}
	return nil
}

// TestCrun holds proofs against crun, whose words are its own: the C library's texts.
func TestCrun(t *testing.T) {
	says := func(proof *Proof, got ran) string {
		f := proof.Failure
		switch {
		case proof.Verdict == Starts && got.exit != 0:
			return "it does not start"
		case proof.Verdict == Starts:
			return ""
		case f.Stage == StageRun && f.ExitCode > 128 && got.exit != f.ExitCode:
			return "it does not die of the signal"
		case f.Stage == StageRun:
			return ""
		case f.Cause == CauseRelativePath:
			// The one start that runc refuses and crun does not.
			if got.exit != 0 {
				return "it does not start"
			}
			return ""
		case got.exit == 0:
			return "it starts"
		case f.Cause == CauseDirectory && strings.Contains(got.stderr, "Operation not permitted"):
			return "" // crun asks for a regular file before the kernel does
		case f.Stage == StageExec && !strings.Contains(strings.ToLower(got.stderr), strerror(f.Errno)):
			return "crun says something else"
		}
		return ""
	}
	// Which control groups a machine has is beside the point, and crun refuses to start
	// where they are of both versions: it gets a view without the first.
	const oneVersion = `mount -t cgroup2 none /sys/fs/cgroup && exec "$0" --cgroup-manager=disabled "$@"`
	runtimeOracle(t, "crun", says, imagetest.Program(t, "unshare", "util-linux"), "--mount", "sh", "-c", oneVersion, imagetest.Program(t, "crun", "crun"))
}
