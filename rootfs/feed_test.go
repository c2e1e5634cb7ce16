package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/imagetest"
)

// pass writes a layer's bytes to a feed.
func pass(tb testing.TB, feed *Feed, raw []byte) {
	tb.Helper()
	for chunk := range slices.Chunk(raw, 10_000) {
		if n, err := feed.Write(chunk); n != len(chunk) || err != nil {
			tb.Errorf("%d, %v", n, err)
		}
		clear(chunk) // it is the caller's again
	}
	if err := feed.Close(); err != nil {
		tb.Error(err)
	}
}

// rawOf is a copy of a layer's bytes.
func rawOf(tb testing.TB, l Layer) []byte {
	tb.Helper()
	body, err := l.Open(tb.Context(), 0)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Clone(raw)
}

// What passed by need not be fetched.
func TestFeed(t *testing.T) {
	base, top := layerOf(imagetest.GzipLayer(program("bin/sh", 100<<10))), layerOf(imagetest.GzipLayer(program("app", 10)))
	cache := &memoryCache{}
	p := NewPool(PoolOptions{Cache: cache})
	for _, l := range []Layer{base, top} {
		pass(t, p.Feed(l.Descriptor), rawOf(t, l))
		pass(t, p.Feed(l.Descriptor), rawOf(t, l)) // once more: nothing
	}
	for range 2 {
		f := poolFS(t, p, Options{}, base, top)
		if head, err := f.Head(t.Context(), "/bin/sh", 64<<10); err != nil || len(head) != 64<<10 || f.Fetched() != 0 {
			t.Errorf("%d bytes of head, %v; %d fetched", len(head), err, f.Fetched())
		}
		if _, err := f.Lstat(t.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) || f.Fetched() != 0 {
			t.Errorf("%v; %d fetched", err, f.Fetched())
		}
	}
	if len(p.feeds) != 0 || len(cache.files) != 2 {
		t.Errorf("%d feeds are left, %d layers are in the cache", len(p.feeds), len(cache.files))
	}
}

// What did not pass by whole, or is something else, is fetched.
func TestFeedGivesUp(t *testing.T) {
	l := layerOf(imagetest.GzipLayer(program("bin/sh", 100<<10), file("twice", ""), file("pad", noise(100<<10))))
	large := packed(imagetest.Tar(file("large", noise(maxBacklog+1<<20))))
	for name, test := range map[string]struct {
		layer Layer
		feed  func(*Feed)
	}{
		"cut":         {l, func(f *Feed) { pass(t, f, rawOf(t, l)[:50_000]) }},
		"nothing":     {l, func(f *Feed) { pass(t, f, nil) }},
		"longer":      {l, func(f *Feed) { pass(t, f, append(rawOf(t, l), 0)) }},
		"other bytes": {l, func(f *Feed) { pass(t, f, rawOf(t, large)[:l.Descriptor.Size]) }},
		"too fast": {large, func(f *Feed) {
			_, _ = f.Write(rawOf(t, large)) // never fails
			_ = f.Close()                   // nor does this
		}},
		"other DiffID": {with(l, func(l *Layer) { l.DiffID = below(t).DiffID }), func(f *Feed) { pass(t, f, rawOf(t, l)) }},
	} {
		p := NewPool(PoolOptions{})
		test.feed(p.Feed(test.layer.Descriptor))
		f := poolFS(t, p, Options{}, test.layer)
		_, err := f.Lstat(t.Context(), "/nothing")
		want := errors.Is(err, fs.ErrNotExist)
		if name == "other DiffID" {
			want = errors.As(err, new(*UnpackError))
		}
		if !want || f.Fetched() != test.layer.Descriptor.Size {
			t.Errorf("%s: %v, %d bytes fetched", name, err, f.Fetched())
		}
	}
}

// Who asks while a layer passes by waits for it, until his context ends.
func TestFeedIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := layerOf(imagetest.GzipLayer(program("bin/sh", 100<<10)))
		p := NewPool(PoolOptions{})
		feed := p.Feed(l.Descriptor)
		raw := rawOf(t, l)
		_, _ = feed.Write(raw[:1000]) // never fails
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() {
			f := poolFS(t, p, Options{}, l)
			if _, err := f.Lstat(t.Context(), "/bin/sh"); err != nil || f.Fetched() != 0 || time.Since(start) != time.Hour {
				t.Errorf("%v, %d bytes fetched after %s", err, f.Fetched(), time.Since(start))
			}
		})
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f := poolFS(t, p, Options{}, l)
			if _, err := f.Lstat(ctx, "/bin/sh"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		})
		time.Sleep(time.Hour)
		pass(t, feed, raw[1000:])
		group.Wait()
	})
}
