package launch

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestDebian proves the start of what Debian installs: a shell that is dynamic, behind
// links, with a loader that is a link or lies behind one. What is for this machine is
// run too.
func TestDebian(t *testing.T) {
	for _, name := range []string{"linux/amd64", "linux/386", "linux/arm64"} {
		t.Run(name, func(t *testing.T) {
			p := platform.MustParse(name)
			files := imagetest.DebianFiles(t, p, "dash", "libc6")
			script := append(files, exe("start", "#!/bin/sh -e\nexit 42\n"))
			process := v1.ImageConfig{Entrypoint: []string{"/start"}}
			proof := prove(t, imageOf(t, script), process, Host{Platform: p})
			if proof.Verdict != Starts || len(proof.Steps) < 3 || len(proof.Warnings) != 1 {
				t.Errorf("%s, %+v\n%+v\n%+v", proof.Verdict, proof.Failure, proof.Steps, proof.Warnings)
			}
			other := Host{Platform: platform.MustParse("linux/riscv64")}
			if got := summary(prove(t, imageOf(t, script), process, other)); got != "fails exec ENOEXEC "+CauseWrongMachine {
				t.Errorf("on another machine: %s", got)
			}
			host := thisMachine(t)
			if !host.Compat.Runs(host.Platform, p) {
				return
			}
			root := t.TempDir()
			layOut(t, root, script)
			if got := execute(t, root, process); got != (outcome{exit: 42}) {
				t.Errorf("the kernel: %s", got)
			}
		})
	}
}
