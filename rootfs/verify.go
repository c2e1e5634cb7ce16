package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// Verify reads all layers to their ends, and so finds out whether each is what its size, its
// digest and its DiffID say, those included of which no answer needed so much. What engines
// refuse to unpack is an [UnpackError], a path that any layer has twice among it. Further
// errors are those of [FS.Lstat]. The highest layer that is wrong comes first.
func (f *FS) Verify(ctx context.Context) error {
	failed := make([]error, len(f.layers))
	free := make(chan struct{}, sideBySide)
	var group sync.WaitGroup
	for i, l := range f.layers {
		group.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			failed[i] = l.verify(ctx)
		})
	}
	group.Wait()
	for _, err := range failed {
		var refused *UnpackError
		if errors.As(err, &refused) && f.refused == nil {
			f.refused = refused
		}
	}
	return errors.Join(failed...)
}

func (l *layer) verify(ctx context.Context) error {
	if err := l.DiffID.Validate(); err != nil {
		return fmt.Errorf("layer %s: the config's diff_ids say %q of it, which cannot be verified: %w", l.Descriptor.Digest, l.DiffID, err)
	}
	// Nothing is final about the mode of a layer's root: all is read.
	if _, err := l.seek(ctx, nil, true, whole); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c := l.content.Load()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.repeated != "" {
		return l.named(&refusal{c.repeated, repeated})
	}
	return nil
}
