package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"

	"berth/internal/imagetest"
)

// memoryCache is a Cache in memory.
type memoryCache struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memoryCache) Get(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[name]
}

func (m *memoryCache) Put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	m.files[name] = data
}

// everything is what a layer can have.
func everything(tb testing.TB) Layer {
	tb.Helper()
	return layerOf(imagetest.GzipLayer(
		imagetest.File{Name: "srv", Type: '5', Mode: 0o1777, UID: 5, GID: 6},
		program("bin/big", 200<<10), program("bin/small", 10), hardLink("bin/also", "bin/small"), link("bin/sh", "small"),
		file("etc/passwd", "root:x:0:0::/:/bin/sh\n"), file("bin/text", "#!/bin/sh\n"), file("data", noise(100<<10)),
		file(".wh.gone", ""), folder("new"), file("new/"+opaqueName, ""), file("twice", "1"), file("twice", "2"),
		folder("deep/folder/of"), file("deep/folder/of/names", ""),
	))
}

// A layer from the cache answers as the one that was read.
func TestCache(t *testing.T) {
	cache := &memoryCache{}
	below := layerOf(imagetest.GzipLayer(file("gone", "#!1"), file("new/hidden", "#!2"), file("deep/folder/kept", "#!3")))
	read := New([]Layer{below, everything(t)}, Options{})
	defer read.Close()
	paths := []string{"/", "/srv", "/bin", "/bin/big", "/bin/small", "/bin/also", "/bin/sh", "/etc/passwd", "/bin/text", "/data", "/gone", "/new", "/new/hidden", "/deep/folder/kept", "/deep/folder/of/names", "/nothing", "/twice"}
	answers := func(f *FS) string {
		var b bytes.Buffer
		for _, p := range append([]string{"/nothing"}, paths...) {
			info, err := f.Lstat(t.Context(), p)
			if info != nil {
				copied := *info
				copied.Layer = nil
				fmt.Fprintf(&b, "%+v\n", copied)
			}
			if err != nil {
				fmt.Fprintln(&b, err)
			}
		}
		for _, p := range []string{"/bin/big", "/bin/small", "/bin/also", "/etc/passwd", "/bin/text"} {
			head, err := f.Head(t.Context(), p, 4<<10)
			fmt.Fprintf(&b, "%s: %x, %v\n", p, sha256.Sum256(head), err)
		}
		return b.String()
	}
	want := answers(read)
	for i := range 3 {
		layers := []Layer{below, everything(t)}
		p := NewPool(PoolOptions{Cache: cache, Fresh: i == 2})
		f := poolFS(t, p, Options{}, layers...)
		if got := answers(f); got != want {
			t.Errorf("answers\n%s\nwant\n%s", got, want)
		}
		if (f.Fetched() == 0) != (i == 1) {
			t.Errorf("pool %d: %d bytes fetched", i, f.Fetched())
		}
	}
	if len(cache.files) != 2 {
		t.Errorf("%d layers are in the cache", len(cache.files))
	}
}

// Only what is verified gets into the cache, and only what is ours gets out.
func TestCacheTakesNoForeign(t *testing.T) {
	l := everything(t)
	for name, layer := range map[string]Layer{
		"not read to its end": l,
		"no DiffID":           with(l, func(l *Layer) { l.DiffID = "" }),
		"other DiffID":        with(l, func(l *Layer) { l.DiffID = below(t).DiffID }),
		"other bytes": with(l, func(l *Layer) {
			open := l.Open
			l.Open = func(ctx context.Context, _ int64) (io.ReadCloser, error) {
				whole, err := open(ctx, 0)
				if err != nil {
					return nil, err
				}
				raw, err := io.ReadAll(whole)
				raw[len(raw)-10] ^= 1 // of the checksum, after all entries
				return io.NopCloser(bytes.NewReader(raw)), err
			}
		}),
	} {
		cache := &memoryCache{}
		f := poolFS(t, NewPool(PoolOptions{Cache: cache}), Options{}, layer)
		path := "/nothing"
		if name == "not read to its end" {
			path = "/bin/small"
		}
		_, err := f.Lstat(t.Context(), path)
		if len(cache.files) != 0 {
			t.Errorf("%s: it is in the cache (%v)", name, err)
		}
	}

	good := &memoryCache{}
	f := poolFS(t, NewPool(PoolOptions{Cache: good}), Options{}, l)
	if _, err := f.Lstat(t.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	right := good.files[l.key().cacheName()]
	other := below(t)
	g := poolFS(t, NewPool(PoolOptions{Cache: good}), Options{}, other)
	if _, err := g.Lstat(t.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"empty":         {},
		"another layer": good.files[other.key().cacheName()],
		"cut":           right[:len(right)-1],
		"longer":        append(bytes.Clone(right), 0),
		"changed":       append(append(bytes.Clone(right[:40]), right[40]^1), right[41:]...),
		"other format":  append([]byte("berth layer 0\n"), right[len(cacheMagic):]...),
	} {
		cache := &memoryCache{files: map[string][]byte{l.key().cacheName(): raw}}
		f := poolFS(t, NewPool(PoolOptions{Cache: cache}), Options{}, l)
		if _, err := f.Lstat(t.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) || f.Fetched() != l.Descriptor.Size {
			t.Errorf("%s: %v, %d bytes fetched", name, err, f.Fetched())
		}
		if !bytes.Equal(cache.files[l.key().cacheName()], right) {
			t.Errorf("%s: it is still in the cache", name)
		}
	}
}

func below(tb testing.TB) Layer {
	tb.Helper()
	return layerOf(imagetest.GzipLayer(file("gone", "#!1")))
}

// A head that nothing verified does not get into the cache.
func TestCacheTakesNoSecondPass(t *testing.T) {
	l := layerOf(imagetest.GzipLayer(file("data", noise(10)), file("pad", noise(200<<10))))
	cache := &memoryCache{}
	f := poolFS(t, NewPool(PoolOptions{Cache: cache}), Options{}, l)
	if _, err := f.Lstat(t.Context(), "/pad"); err != nil {
		t.Fatal(err)
	}
	if head, err := f.Head(t.Context(), "/data", 10); err != nil || string(head) != noise(10) {
		t.Fatal(err)
	}
	if _, err := f.Lstat(t.Context(), "/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	later := poolFS(t, NewPool(PoolOptions{Cache: cache}), Options{}, l)
	if info, err := later.Lstat(t.Context(), "/data"); err != nil || info.Size != 10 || later.Fetched() != 0 {
		t.Fatalf("%v, %v", info, err)
	}
	if _, err := later.Head(t.Context(), "/data", 10); err != nil || later.Fetched() == 0 {
		t.Errorf("%v, %d bytes fetched", err, later.Fetched())
	}
}

// Whatever is in a cache, there is no panic, and no answer that is not of the kind that the layer
// can give.
func FuzzCache(f *testing.F) {
	l := everything(f)
	var c *content
	{
		cache := &memoryCache{}
		fsys := NewPool(PoolOptions{Cache: cache}).New([]Layer{l}, Options{})
		_, _ = fsys.Lstat(f.Context(), "/nothing") // that it is not there is known
		c = fsys.layers[0].content.Load()
		raw := cache.files[l.key().cacheName()]
		frame, err := frameUnpacker.DecodeAll(raw[len(cacheMagic):len(raw)-sha256.Size], nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
		f.Add(frame[:len(frame)/2])
		c.reader = fsys.layers[0]
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		// The checksum is no secret: what is behind it may be anything.
		raw := framePacker.EncodeAll(frame, []byte(cacheMagic))
		sum := sha256.Sum256(raw)
		cache := &memoryCache{files: map[string][]byte{l.key().cacheName(): append(raw, sum[:]...)}}
		fsys := NewPool(PoolOptions{Cache: cache}).New([]Layer{l}, Options{})
		for _, p := range []string{"/bin/also", "/bin/sh", "/deep/folder/of/names", "/nothing"} {
			info, err := fsys.Lstat(t.Context(), p)
			if (info == nil) == (err == nil) {
				t.Errorf("%s: %v, %v", p, info, err)
			}
			if head, err := fsys.Head(t.Context(), p, 16); err == nil && (info == nil || !info.Mode.IsRegular() || len(head) > 16) {
				t.Errorf("%s: a head of %v", p, info)
			}
		}
		if err := fsys.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Verify finds what no answer needed.
func TestVerify(t *testing.T) {
	top := layerOf(imagetest.GzipLayer(program("app", 10)))
	good := layerOf(imagetest.GzipLayer(file("a", "1")))
	for name, test := range map[string]struct {
		layer   Layer
		refused bool
		ok      bool
	}{
		"good":         {layer: good, ok: true},
		"twice":        {layer: everything(t), refused: true},
		"wrong DiffID": {layer: with(good, func(l *Layer) { l.DiffID = top.DiffID }), refused: true},
		"no DiffID":    {layer: with(good, func(l *Layer) { l.DiffID, l.Descriptor.Size = "", 0 })}, // and so nothing to read
		"wrong digest": {layer: with(good, func(l *Layer) { l.Descriptor.Digest = top.Descriptor.Digest })},
	} {
		f := fsOf(t, Options{}, test.layer, top)
		err := f.Verify(t.Context())
		var refused *UnpackError
		if (err == nil) != test.ok || errors.As(err, &refused) != test.refused || (f.Refused() != nil) != test.refused {
			t.Errorf("%s: %v, %v", name, err, f.Refused())
		}
		if f.Fetched() < f.Total() {
			t.Errorf("%s: %d of %d bytes read", name, f.Fetched(), f.Total())
		}
	}
}

// What is nearly read is read to its end where there is a cache, and then remembered.
func TestRemember(t *testing.T) {
	l := layerOf(imagetest.TarLayer(file("pad", noise(900<<10)), program("bin/sh", 10), file("more", noise(200<<10)), file("most", noise(900<<10))))
	for _, test := range []struct {
		path string
		opts Options
		want bool
	}{
		{"/bin/sh", Options{}, false},
		{"/most", Options{}, false},
		{"/nothing", Options{}, true},
	} {
		cache := &memoryCache{}
		f := poolFS(t, NewPool(PoolOptions{Cache: cache}), test.opts, l)
		_, _ = f.Lstat(t.Context(), test.path) // that one of them is not there is known
		f.Remember(t.Context())
		if got := len(cache.files) > 0; got != test.want {
			t.Errorf("%s: remembered: %v", test.path, got)
		}
	}
	l = layerOf(imagetest.TarLayer(file("pad", noise(900<<10)), program("bin/sh", 10), file("more", noise(200<<10))))
	for _, opts := range []Options{{}, {MaxFetch: 2 << 20}} {
		cache := &memoryCache{}
		f := poolFS(t, NewPool(PoolOptions{Cache: cache}), opts, l)
		if _, err := f.Lstat(t.Context(), "/bin/sh"); err != nil {
			t.Fatal(err)
		}
		f.Remember(t.Context())
		if got := len(cache.files) > 0; got != (opts.MaxFetch == 0) {
			t.Errorf("%+v: remembered: %v", opts, got)
		}
	}
}
