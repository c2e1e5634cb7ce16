package imagetest

import (
	"os/exec"
	"syscall"
)

// neverOrphaned makes a server end when the process of the test does, however that
// ends: a panic or a kill runs no cleanup.
func neverOrphaned(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
