//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package local

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockRetry is how long to wait before asking for the lock again. It is held for
// as long as it takes to rewrite index.json.
const lockRetry = 5 * time.Millisecond

// lock takes the advisory lock of the folder, which other Layouts of this process
// and of others take too. The folder itself is locked, so that no lock file stays
// behind. A file system that cannot lock a folder (NFS) leaves it unlocked, as the
// package documentation says.
func lock(ctx context.Context, root *os.Root) (unlock func(), err error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	// Closing the file gives the lock back; of a folder it has nothing else to do.
	unlock = func() { _ = dir.Close() }
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOLCK):
			return unlock, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			unlock()
			return nil, err
		}
		select {
		case <-ctx.Done():
			unlock()
			return nil, ctx.Err()
		case <-time.After(lockRetry):
		}
	}
}
