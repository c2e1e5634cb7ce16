package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/store"
	"berth/transfer"
)

// large is an image with a layer of several windows, one of less than one, and none.
func large() *imagetest.Memory {
	m := imagetest.New()
	m.AddIndex("v1", "", addImage(m, "linux/amd64", incompressible(900<<10), incompressible(5000), ""))
	return m
}

// runAll runs the plan of all of src at several destinations at once.
func runAll(ctx context.Context, t *testing.T, src *end, dsts ...*end) []error {
	t.Helper()
	plan := planAll(t, newEnd(src.Memory))
	plans := slices.Repeat([]*transfer.Plan{plan}, len(dsts))
	shared := transfer.Share(ctx, src, plans...)
	defer shared.Close()
	errs := make([]error, len(dsts))
	var running sync.WaitGroup
	for i, dst := range dsts {
		running.Go(func() {
			_, errs[i] = plan.Run(ctx, shared.Reader(i), dst, transfer.Options{Tag: "v1"})
		})
	}
	running.Wait()
	return errs
}

// opened counts how often each blob was opened.
func opened(e *end) map[digest.Digest]int {
	times := map[digest.Digest]int{}
	for _, o := range e.did("open") {
		times[o.digest]++
	}
	return times
}

func TestShareReadsTheSourceOnce(t *testing.T) {
	for name, m := range map[string]*imagetest.Memory{"large": large(), "fixture": fixture()} {
		t.Run(name, func(t *testing.T) {
			src := newEnd(m)
			dsts := []*end{newEnd(imagetest.New()), newEnd(imagetest.New()), newEnd(imagetest.New())}
			// One has a blob already, and never asks for it.
			plan := planAll(t, newEnd(m))
			held, err := store.ReadBlob(t.Context(), m, plan.Blobs[0], 1<<21)
			if err != nil {
				t.Fatal(err)
			}
			dsts[2].AddBlob("", held)
			for i, err := range runAll(t.Context(), t, src, dsts...) {
				if err != nil {
					t.Fatal(err)
				}
				wantWhole(t, dsts[i].Memory, "v1", m.Tags()["v1"])
			}
			for d, n := range opened(src) {
				if n != 1 {
					t.Errorf("%s was opened %d times", d, n)
				}
			}
		})
	}
}

func TestShareFailuresStayWhereTheyAre(t *testing.T) {
	m := large()
	src, bad, good := newEnd(m), newEnd(imagetest.New()), newEnd(imagetest.New())
	blob := planAll(t, newEnd(src.Memory)).Blobs[0]
	bad.outcome = func(c store.Content) (store.Outcome, error) {
		if c.Descriptor.Digest != blob.Digest {
			return bad.take(c)
		}
		r, err := c.Open(t.Context(), 0)
		if err != nil {
			return "", err
		}
		defer r.Close()
		if _, err := io.CopyN(io.Discard, r, 300<<10); err != nil {
			return "", err
		}
		return "", errBoom
	}
	errs := runAll(t.Context(), t, src, bad, good)
	if !errors.Is(errs[0], errBoom) || errs[1] != nil {
		t.Fatalf("%v", errs)
	}
	wantWhole(t, good.Memory, "v1", m.Tags()["v1"])
	if len(bad.Tags()) > 0 {
		t.Error("the tag was written where a blob is missing")
	}
	if n := opened(src)[blob.Digest]; n != 1 {
		t.Errorf("the blob was opened %d times", n)
	}
}

// take takes the content as the memory does.
func (e *end) take(c store.Content) (store.Outcome, error) {
	return e.Memory.PushBlob(context.Background(), c)
}

func TestShareSourceFails(t *testing.T) {
	src := newEnd(large())
	blob := planAll(t, newEnd(src.Memory)).Blobs[0]
	src.before = func(_ context.Context, o op) error {
		if o.digest != blob.Digest {
			return nil
		}
		if o.kind == "open" || o.kind == "read" && len(src.did("read")) > 1000 {
			return fmt.Errorf("the source: %w", errBoom)
		}
		return nil
	}
	for _, err := range runAll(t.Context(), t, src, newEnd(imagetest.New()), newEnd(imagetest.New())) {
		wantCopyError(t, err, transfer.Source, blob.Digest, errBoom)
	}
}

// A destination that stops taking bytes holds the others up for a while, and is left
// behind then. It arrives as well when it goes on.
func TestShareLeavesTheStalledBehind(t *testing.T) {
	for _, stall := range []string{"before it opens the blob", "in the middle of the blob"} {
		t.Run(stall, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := large()
				src, slow, fast := newEnd(m), newEnd(imagetest.New()), newEnd(imagetest.New())
				blob := planAll(t, newEnd(src.Memory)).Blobs[0]
				release := make(chan struct{})
				slow.outcome = func(c store.Content) (store.Outcome, error) {
					if c.Descriptor.Digest != blob.Digest {
						return slow.take(c)
					}
					if stall == "before it opens the blob" {
						<-release
						return slow.take(c)
					}
					open := c.Open
					c.Open = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
						r, err := open(ctx, offset)
						return &stalling{ReadCloser: r, release: release}, err
					}
					return slow.take(c)
				}
				fast.before = func(_ context.Context, o op) error {
					if o.kind == "push" && o.tag == "v1" {
						close(release)
					}
					return nil
				}
				started := time.Now()
				for _, err := range runAll(t.Context(), t, src, slow, fast) {
					if err != nil {
						t.Fatal(err)
					}
				}
				if held := time.Since(started); held > 6*time.Second {
					t.Errorf("the fast one was held up for %s", held)
				}
				wantWhole(t, slow.Memory, "v1", m.Tags()["v1"])
				wantWhole(t, fast.Memory, "v1", m.Tags()["v1"])
				if n := opened(src)[blob.Digest]; n != 2 {
					t.Errorf("the blob was opened %d times, want one for each", n)
				}
			})
		})
	}
}

// stalling is content of which the second read waits.
type stalling struct {
	io.ReadCloser
	reads   int
	release chan struct{}
}

func (s *stalling) Read(p []byte) (int, error) {
	if s.reads++; s.reads == 2 {
		<-s.release
	}
	return s.ReadCloser.Read(p)
}

func TestShareEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src := newEnd(large())
	src.before = func(ctx context.Context, o op) error {
		if o.kind == "read" {
			cancel()
			<-ctx.Done()
		}
		return nil
	}
	for _, err := range runAll(ctx, t, src, newEnd(imagetest.New()), newEnd(imagetest.New())) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	}
}
