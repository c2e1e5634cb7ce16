package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/transfer"
)

func wantCopyError(t *testing.T, err error, end transfer.End, d digest.Digest, is error) {
	t.Helper()
	var failed *transfer.CopyError
	if !errors.As(err, &failed) || failed.End != end || failed.Descriptor.Digest != d || !errors.Is(err, is) {
		t.Errorf("err = %v\nwant a CopyError of the %s about %s that is %q", err, end, d, is)
	}
	if !strings.Contains(fmt.Sprint(err), string(d)) || !strings.Contains(fmt.Sprint(err), string(end)) {
		t.Errorf("%q does not name %s and the %s", err, d, end)
	}
}

// on fails requests of a kind about a digest.
func on(kind string, d digest.Digest, err error) func(context.Context, op) error {
	return func(_ context.Context, o op) error {
		if o.kind == kind && o.digest == d {
			return err
		}
		return nil
	}
}

func TestRunSaysWhichEndFailed(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(src, dst *end, plan *transfer.Plan)
		end  transfer.End
		// about is the digest that the error names.
		about func(plan *transfer.Plan) digest.Digest
		is    error
		says  string
	}{
		{"source refuses a blob", func(src, _ *end, p *transfer.Plan) { src.before = on("open", largest(p), errBoom) }, transfer.Source, largest, errBoom, ""},
		{"source fails in mid-blob", func(src, _ *end, p *transfer.Plan) {
			var reads atomic.Int32
			src.before = func(_ context.Context, o op) error {
				if o.kind == "read" && o.digest == largest(p) && reads.Add(1) == 2 {
					return errBoom
				}
				return nil
			}
		}, transfer.Source, largest, errBoom, ""},
		{"source ends in mid-blob", func(src, _ *end, p *transfer.Plan) {
			src.bytes = func(d digest.Digest, raw []byte) []byte { return raw[:len(raw)/2] }
		}, transfer.Source, nil, io.ErrUnexpectedEOF, "after"},
		{"source does not end", func(src, _ *end, p *transfer.Plan) {
			src.bytes = func(d digest.Digest, raw []byte) []byte { return append(raw[:len(raw):len(raw)], 'x') }
		}, transfer.Source, nil, store.ErrCorrupt, "more than its"},
		{"source has other bytes", func(src, _ *end, p *transfer.Plan) {
			src.bytes = func(d digest.Digest, raw []byte) []byte {
				if d != largest(p) {
					return raw
				}
				return []byte(strings.Repeat("x", len(raw)))
			}
		}, transfer.Source, largest, store.ErrCorrupt, "other bytes"},
		{"destination refuses a blob", func(_, dst *end, p *transfer.Plan) { dst.before = on("blob", largest(p), errBoom) }, transfer.Destination, largest, errBoom, ""},
		{"destination corrupts a blob", func(_, dst *end, p *transfer.Plan) {
			dst.before = on("blob", largest(p), store.ErrCorrupt)
		}, transfer.Destination, largest, store.ErrCorrupt, ""},
		{"destination refuses a manifest", func(_, dst *end, p *transfer.Plan) {
			dst.before = on("push", p.Manifests[0].Descriptor.Digest, errBoom)
		}, transfer.Destination, func(p *transfer.Plan) digest.Digest { return p.Manifests[0].Descriptor.Digest }, errBoom, ""},
		{"destination refuses the tag", func(_, dst *end, p *transfer.Plan) { dst.before = on("push", p.Root.Digest, store.ErrDenied) }, transfer.Destination, root, store.ErrDenied, ""},
		{"destination does not say what the tag names", func(_, dst *end, p *transfer.Plan) { dst.before = on("resolve", "", store.ErrUnauthorized) }, transfer.Destination, root, store.ErrUnauthorized, "asking what v1 names"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst := newEnd(fixture()), newEnd(imagetest.New())
			plan := planAll(t, src)
			c.set(src, dst, plan)
			result, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1"})
			if c.about == nil { // any blob
				var failed *transfer.CopyError
				if !errors.As(err, &failed) {
					t.Fatal(err)
				}
				c.about = func(*transfer.Plan) digest.Digest { return failed.Descriptor.Digest }
			}
			wantCopyError(t, err, c.end, c.about(plan), c.is)
			if !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("err = %v, want it to say %q", err, c.says)
			}
			if tags := dst.Tags(); len(tags) != 0 {
				t.Errorf("a tag was written: %v", tags)
			}
			if result == nil || result.Root.Digest != plan.Root.Digest {
				t.Errorf("result = %+v", result)
			}
		})
	}
}

func largest(p *transfer.Plan) digest.Digest { return p.Blobs[0].Digest }
func root(p *transfer.Plan) digest.Digest    { return p.Root.Digest }

func TestRunReportsTheCauseAndStopsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, dst := newEnd(fixture()), newEnd(imagetest.New())
		plan := planAll(t, src)
		dst.before = func(ctx context.Context, o op) error {
			if o.kind != "blob" {
				return nil
			}
			if o.digest != largest(plan) {
				<-ctx.Done() // as a request in flight does
				return ctx.Err()
			}
			synctest.Wait() // all others are in flight
			return errBoom
		}
		gate := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Gate: gate})
		wantCopyError(t, err, transfer.Destination, largest(plan), errBoom)
		if errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	})
}

type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func TestRunGateRefuses(t *testing.T) {
	for _, m := range []*imagetest.Memory{fixture(), lone()} {
		src, dst := newEnd(m), newEnd(imagetest.New())
		plan := planAll(t, src)
		_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Gate: func(context.Context) error {
			return &refusal{"arm64 cannot start"}
		}})
		var refused *refusal
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "v1") {
			t.Errorf("err = %v", err)
		}
		for _, o := range dst.did("push") {
			if o.digest == plan.Root.Digest {
				t.Errorf("the root was pushed: %s", o)
			}
		}
	}
}

func lone() *imagetest.Memory {
	m := imagetest.New()
	m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{layer("alone")}}, "v1")
	return m
}

func TestRunImmutableTag(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	other := addImage(dst.Memory, "linux/amd64", "older")
	dst.AddIndex("v1", "", other)
	before := dst.Tags()["v1"]
	dst.before = on("push", plan.Root.Digest, fmt.Errorf("PUT v1: %w", store.ErrImmutable))
	_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1"})
	wantCopyError(t, err, transfer.Destination, plan.Root.Digest, store.ErrImmutable)
	if !strings.Contains(err.Error(), "tag v1 names "+before.String()) {
		t.Errorf("err = %v", err)
	}
	if dst.Tags()["v1"] != before {
		t.Error("the tag was moved")
	}
}

func TestRunInterrupted(t *testing.T) {
	signal := errors.New("interrupt signal received")
	for _, c := range []struct{ kind, says string }{{"resolve", "before v1"}, {"blob", "before v1"}, {"push", "while v1"}} {
		src, dst := newEnd(lone()), newEnd(imagetest.New())
		plan := planAll(t, src)
		ctx, cancel := context.WithCancelCause(context.Background())
		dst.before = func(ctx context.Context, o op) error {
			if o.kind == c.kind {
				cancel(signal)
				return fmt.Errorf("request: %w", ctx.Err())
			}
			return nil
		}
		_, err := plan.Run(ctx, src, dst, transfer.Options{Tag: "v1"})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, signal) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: err = %v", c.kind, err)
		}
	}
}

func TestRunStartsNothingOnceCancelled(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	ctx, cancel := context.WithCancel(context.Background())
	dst.before = func(_ context.Context, o op) error {
		if o.kind == "blob" {
			cancel() // and this request goes through
		}
		return nil
	}
	_, err := plan.Run(ctx, src, dst, transfer.Options{Tag: "v1", Jobs: 1})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if ops := dst.did("blob", "push"); len(ops) != 1 {
		t.Errorf("after the first blob: %v", ops[1:])
	}
}

// anyImage is of rapid's choosing: layers are shared, indexes nested.
func anyImage(t *rapid.T) *imagetest.Memory {
	m := imagetest.New()
	bodies := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", incompressible(1000)}), 0, 4)
	var entries []store.Descriptor
	for i, p := range []string{"linux/amd64", "linux/arm64", "linux/s390x"}[:rapid.IntRange(1, 3).Draw(t, "platforms")] {
		d := addImage(m, p, bodies.Draw(t, "layers")...)
		attested := rapid.Bool().Draw(t, "attested")
		if attested {
			entries = append(entries, m.AddAttestation(d))
		}
		if i > 0 && rapid.Bool().Draw(t, "nested") {
			d = m.AddIndex("", "", d)
		}
		entries = append(entries, d)
	}
	m.AddIndex("v1", "", entries...)
	return m
}

// hows are the ways in which a step goes wrong: it fails, or the run is cancelled
// and the request fails with that, or it goes through all the same.
var hows = []string{"fail", "cancel and fail", "cancel"}

// runBroken copies m with its nth step going wrong, and then once more. Whatever
// happened: the tag never names an incomplete image, and the second run sends what
// is missing and nothing else. It returns how many steps the first run took.
func runBroken(t tb, m *imagetest.Memory, n int64, how string, jobs int) int64 {
	t.Helper()
	plan, whole := planAll(t, m), m.Tags()["v1"]
	src, dst := newEnd(m), newEnd(imagetest.New())
	older := dst.AddIndex("v1", "").Digest
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var steps atomic.Int64
	fault := func(ctx context.Context, _ op) error {
		switch {
		case steps.Add(1) != n:
			return nil
		case how == "fail":
			return errBoom
		}
		cancel()
		if how == "cancel" {
			return nil
		}
		return ctx.Err()
	}
	src.before, dst.before = fault, fault
	first, err := plan.Run(ctx, src, dst, transfer.Options{Tag: "v1", Jobs: jobs})

	if missing := holes(dst.Memory, "v1"); len(missing) > 0 {
		t.Errorf("step %d, err %v: v1 is incomplete: %v", n, err, missing)
	}
	if got := dst.Tags()["v1"]; got != whole && (got != older || err == nil) {
		t.Errorf("step %d, err %v: v1 names %s", n, err, got)
	}
	if broke := steps.Load() >= n; !broke && err != nil || err != nil && !errors.Is(err, errBoom) && !errors.Is(err, context.Canceled) {
		t.Errorf("step %d of %d: err = %v", n, steps.Load(), err)
	}

	src.before, dst.before = nil, nil
	again, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Jobs: jobs})
	if err != nil {
		t.Errorf("again after step %d: %v", n, err)
	}
	wantWhole(t, dst.Memory, "v1", whole)
	if !again.Unchanged && (again.Present != first.Copied || again.Copied.Bytes != plan.Bytes()-first.Copied.Bytes) {
		t.Errorf("step %d: first %+v, then %+v", n, first, again)
	}
	return steps.Load()
}

func TestRunIsSafeAtEveryStep(t *testing.T) {
	m := fixture()
	for _, how := range hows {
		for _, jobs := range []int{1, 4} {
			for n := int64(1); runBroken(t, m, n, how, jobs) >= n; n++ {
			}
		}
	}
}

func TestRunIsSafeWithAnyImage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, jobs := anyImage(t), rapid.IntRange(1, 4).Draw(t, "jobs")
		steps := runBroken(t, m, 0, "", jobs)
		n := rapid.Int64Range(1, steps).Draw(t, "step")
		runBroken(t, m, n, rapid.SampledFrom(hows).Draw(t, "how"), jobs)
	})
}
