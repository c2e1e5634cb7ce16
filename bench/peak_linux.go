package main

import (
	"os"
	"syscall"
)

// peak is the most memory that a process held, in bytes.
func peak(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10 // getrusage(2): in kilobytes
	}
	return 0
}
