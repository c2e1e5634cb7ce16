package rootfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
)

// poolFS is an FS of a pool, for the test.
func poolFS(tb testing.TB, p *Pool, opts Options, layers ...Layer) *FS {
	tb.Helper()
	f := p.New(layers, opts)
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

func TestPoolReadsOnce(t *testing.T) {
	base := layerOf(imagetest.GzipLayer(folder("bin"), program("bin/sh", 200<<10), file("pad", noise(1<<20))))
	p := NewPool(PoolOptions{})
	var all []*FS
	var sum, own int64
	for i := range 5 {
		top := layerOf(imagetest.GzipLayer(file("own", "#!"+fmt.Sprint(i))))
		own += top.Descriptor.Size
		all = append(all, poolFS(t, p, Options{}, base, top))
	}
	var group sync.WaitGroup
	for i, f := range all {
		group.Go(func() {
			for _, q := range []struct{ path, want string }{{"/bin", "folder"}, {"/nothing", "-"}, {"/own", "file #!" + fmt.Sprint(i)}} {
				if got := at(t, f, q.path); got != q.want {
					t.Errorf("%s: %q", q.path, got)
				}
			}
			if head, err := f.Head(t.Context(), "/bin/sh", 64<<10); err != nil || len(head) != 64<<10 {
				t.Errorf("%d bytes, %v", len(head), err)
			}
		})
	}
	group.Wait()
	for _, f := range all {
		sum += f.Fetched()
	}
	if sum != base.Descriptor.Size+own {
		t.Errorf("%d bytes fetched, want %d and %d", sum, base.Descriptor.Size, own)
	}
	// What nobody has any more is kept a while.
	for _, f := range all {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	later := poolFS(t, p, Options{}, base)
	if got := at(t, later, "/nothing"); got != "-" || later.Fetched() != 0 {
		t.Errorf("%s, %d bytes", got, later.Fetched())
	}
}

// Layers of one digest that are said to be different are different.
func TestPoolKeepsApart(t *testing.T) {
	l := layerOf(imagetest.GzipLayer(file("a", "1")))
	wrong := with(l, func(l *Layer) { l.DiffID = digest.FromString("x") })
	p := NewPool(PoolOptions{})
	good, bad := poolFS(t, p, Options{}, l), poolFS(t, p, Options{}, wrong)
	for range 2 {
		if _, err := bad.Lstat(t.Context(), "/nothing"); !errors.As(err, new(*UnpackError)) {
			t.Error(err)
		}
		if got := at(t, good, "/nothing"); got != "-" {
			t.Error(got)
		}
	}
	// For the same layer, what one has found out holds for all, with the names of their own.
	p = NewPool(PoolOptions{})
	first := poolFS(t, p, Options{}, with(wrong, func(l *Layer) { l.CreatedBy = "COPY 1" }))
	second := poolFS(t, p, Options{}, with(wrong, func(l *Layer) { l.CreatedBy = "COPY 2" }))
	if got := at(t, second, "/a"); got != "file 1" {
		t.Error(got)
	}
	if _, err := first.Lstat(t.Context(), "/nothing"); err == nil {
		t.Error("it unpacks")
	}
	for range 2 {
		var refused *UnpackError
		if _, err := second.Lstat(t.Context(), "/a"); !errors.As(err, &refused) || refused.Layer.CreatedBy != "COPY 2" {
			t.Error(err)
		}
		if err := errors.Join(first.Close(), second.Close()); err != nil {
			t.Error(err)
		}
		second = poolFS(t, p, Options{}, with(wrong, func(l *Layer) { l.CreatedBy = "COPY 2" }))
	}
}

// What ends for one, ends not for the others.
func TestPoolGoesOnWithoutWhoEnded(t *testing.T) {
	raw := gzipped(t, imagetest.Tar(file("a", "#!1"), file("b", noise(1<<20)), file("c", "#!3")))
	for _, end := range []struct {
		name string
		opts Options
		ctx  func() context.Context
		want error
	}{
		{"budget", Options{MaxFetch: 100 << 10}, func() context.Context { return t.Context() }, ErrBudget},
		{"context", Options{}, func() context.Context {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(0, cancel)
			return ctx
		}, context.Canceled},
	} {
		t.Run(end.name, func(t *testing.T) {
			l, p := packed(raw), NewPool(PoolOptions{})
			stuck := with(l, func(l *Layer) {
				if end.opts.MaxFetch == 0 {
					l.Open = func(ctx context.Context, _ int64) (io.ReadCloser, error) {
						return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:200<<10]), reader(func([]byte) (int, error) {
							<-ctx.Done()
							return 0, ctx.Err()
						}))), nil
					}
				}
			})
			one, other := poolFS(t, p, end.opts, stuck), poolFS(t, p, Options{}, l)
			for range 2 {
				if _, err := one.Lstat(end.ctx(), "/c"); !errors.Is(err, end.want) {
					t.Errorf("%v, want %v", err, end.want)
				}
			}
			if got := at(t, one, "/a"); end.opts.MaxFetch > 0 && got != "file #!1" {
				t.Errorf("/a: %q", got)
			}
			if got := at(t, other, "/c"); got != "file #!3" || other.Fetched() != l.Descriptor.Size {
				t.Errorf("%q, %d bytes", got, other.Fetched())
			}
			if _, err := one.Lstat(t.Context(), "/c"); !errors.Is(err, end.want) {
				t.Errorf("it went on: %v", err)
			}
		})
	}
}

// Who only looks at what is there does not wait for who reads on.
func TestPoolWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := gzipped(t, imagetest.Tar(file("a", "#!1"), file("b", noise(1<<20)), file("c", "#!3")))
		l := packed(raw)
		l.Open = func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:200<<10]), reader(func([]byte) (int, error) {
				time.Sleep(time.Hour)
				return 0, io.ErrUnexpectedEOF
			}))), nil
		}
		p := NewPool(PoolOptions{})
		one, other := poolFS(t, p, Options{}, l), poolFS(t, p, Options{}, l)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := one.Lstat(t.Context(), "/c"); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if got := at(t, other, "/a"); got != "file #!1" || time.Since(start) != 0 {
			t.Errorf("%q after %s", got, time.Since(start))
		}
		// And waiting ends with the question's context.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := other.Lstat(ctx, "/c"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		group.Wait()
	})
}

// Layers are read side by side, as far as that is not in vain. Opening one takes a second.
func TestSideBySide(t *testing.T) {
	const mib = 1 << 20
	// stack is a base with a program, and layers of these sizes on it.
	stack := func(opened *atomic.Int32, sizes ...int) []Layer {
		layers := []Layer{layerOf(imagetest.TarLayer(program("bin/sh", 10), file("base", noise(4*mib))))}
		for i, size := range sizes {
			layers = append(layers, layerOf(imagetest.TarLayer(program(fmt.Sprintf("app%d", i), 5), file(fmt.Sprintf("data%d", i), noise(size)))))
		}
		for i, l := range layers {
			layers[i].Open = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
				opened.Add(1)
				time.Sleep(time.Second)
				return l.Open(ctx, offset)
			}
		}
		return layers
	}
	for _, test := range []struct {
		name  string
		sizes []int
		path  string
		// trips is how long it takes, opened how many layers it opens, most how much it fetches.
		trips  int
		opened int32
		most   int64
	}{
		{"top of large layers", []int{mib, mib, mib}, "/app2", 1, 1, 64 << 10},
		{"top, above tiny ones", []int{mib, 1 << 10, 1 << 10, mib}, "/app3", 1, 3, 100 << 10},
		{"second layer", []int{mib, mib, mib}, "/app1", 2, 4, 3 * mib},
		{"base below large layers", []int{mib, mib, mib, mib}, "/bin/sh", 2, 5, 4*mib + 500<<10},
		{"base below tiny layers", []int{10, 10, 10}, "/bin/sh", 2, 4, 200 << 10},
		{"base below nine layers", []int{mib, mib, mib, mib, mib, mib, mib, mib, mib}, "/bin/sh", 5, 10, 10 * mib},
		{"nothing", []int{mib, mib, mib, mib}, "/nothing", 2, 5, 9 * mib},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened atomic.Int32
				f := fsOf(t, Options{}, stack(&opened, test.sizes...)...)
				start := time.Now()
				if _, err := f.Lstat(t.Context(), test.path); (err == nil) == (test.path == "/nothing") {
					t.Error(err)
				}
				if trips := int(time.Since(start) / time.Second); trips != test.trips || opened.Load() != test.opened || f.Fetched() > test.most {
					t.Errorf("%d round trips, %d layers opened, %d KiB fetched; want %d, %d, at most %d", trips, opened.Load(), f.Fetched()>>10, test.trips, test.opened, test.most>>10)
				}
			})
		})
	}
	t.Run("base known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var opened atomic.Int32
			layers := stack(&opened, mib, mib, mib)
			p := NewPool(PoolOptions{})
			base := poolFS(t, p, Options{}, layers[0])
			if _, err := base.Lstat(t.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			f := poolFS(t, p, Options{}, layers...)
			start := time.Now()
			if _, err := f.Lstat(t.Context(), "/bin/sh"); err != nil {
				t.Error(err)
			}
			if trips := int(time.Since(start) / time.Second); trips != 1 || f.Fetched() != f.Total()-base.Total() {
				t.Errorf("%d round trips, %d bytes", trips, f.Fetched())
			}
		})
	})
	t.Run("budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var opened atomic.Int32
			f := fsOf(t, Options{MaxFetch: 10 * mib}, stack(&opened, mib, mib, 10)...)
			if _, err := f.Lstat(t.Context(), "/app1"); err != nil || opened.Load() != 2 {
				t.Errorf("%v, %d opened", err, opened.Load())
			}
		})
	})
}

// Any number of questions at once, over layers that several file systems have.
func TestPoolAtOnce(t *testing.T) {
	var all []Layer
	for i := range 6 {
		all = append(all, layerOf(imagetest.GzipLayer(folder("d"), program(fmt.Sprintf("d/p%d", i), 100<<10), file(fmt.Sprintf("f%d", i), strings.Repeat("x", i)))))
	}
	p := NewPool(PoolOptions{})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			layers := append(all[i%6:len(all):len(all)], all[:i%6]...)
			f := p.New(layers, Options{})
			for j := range 6 {
				path := fmt.Sprintf("/d/p%d", (i+j)%6)
				if head, err := f.Head(t.Context(), path, 70<<10); err != nil || len(head) != 70<<10 || !bytes.HasPrefix(head, []byte("\x7fELF")) {
					t.Errorf("%s: %d bytes, %v", path, len(head), err)
				}
				if _, err := f.Lstat(t.Context(), "/d/none"); !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
