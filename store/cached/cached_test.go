package cached

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

// memory is a cache.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

func (m *memory) Get(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[name]
}

func (m *memory) Put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = data
}

// counting counts what it is asked.
type counting struct {
	*imagetest.Memory
	mu                         sync.Mutex
	manifests, blobs, resolves int
}

func (c *counting) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	c.mu.Lock()
	c.manifests++
	c.mu.Unlock()
	return c.Memory.Manifest(ctx, reference)
}

func (c *counting) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	c.mu.Lock()
	c.blobs++
	c.mu.Unlock()
	return c.Memory.Blob(ctx, desc, offset)
}

func (c *counting) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	c.mu.Lock()
	c.resolves++
	c.mu.Unlock()
	return c.Memory.Resolve(ctx, reference)
}

func two(m *imagetest.Memory, body string) {
	layer := imagetest.GzipLayer(imagetest.File{Name: "app", Body: body})
	m.AddIndex("v1", "",
		m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{layer}}, ""),
		m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/arm64"), Layers: []imagetest.Layer{layer}}, ""))
}

func TestSource(t *testing.T) {
	src, cache := &counting{Memory: imagetest.New()}, &memory{files: map[string][]byte{}}
	two(src.Memory, "one")
	open := func(s store.Source) *image.Image {
		t.Helper()
		im, err := image.Open(t.Context(), s, "v1")
		if err != nil {
			t.Fatal(err)
		}
		if len(im.Images()) != 2 || im.Images()[1].Configured == nil {
			t.Fatalf("%+v", im.Manifests)
		}
		return im
	}
	asked := func(manifests, blobs, resolves int) {
		t.Helper()
		if src.manifests != manifests || src.blobs != blobs || src.resolves != resolves {
			t.Errorf("asked for %d manifests, %d blobs and %d digests, want %d, %d, %d", src.manifests, src.blobs, src.resolves, manifests, blobs, resolves)
		}
		src.manifests, src.blobs, src.resolves = 0, 0, 0
	}

	if _, err := image.Open(t.Context(), New(nil, "example.com/app", cache), "v1"); !errors.Is(err, store.ErrOffline) {
		t.Errorf("offline, of what was never seen: %v", err)
	}
	first := open(New(src, "example.com/app", cache))
	asked(3, 2, 0)
	open(New(src, "example.com/app", cache))
	asked(0, 0, 1)
	open(New(nil, "example.com/app", cache))
	asked(0, 0, 0)
	if _, err := New(nil, "example.com/app", cache).Blob(t.Context(), first.Images()[0].Layers[0], 0); !errors.Is(err, store.ErrOffline) {
		t.Errorf("offline, a layer: %v", err)
	}
	if _, err := image.Open(t.Context(), New(nil, "example.com/other", cache), "v1"); !errors.Is(err, store.ErrOffline) {
		t.Errorf("offline, another repository: %v", err)
	}

	// A tag that moved is read anew.
	two(src.Memory, "two")
	if moved := open(New(src, "example.com/app", cache)); moved.Root.Descriptor.Digest == first.Root.Descriptor.Digest {
		t.Error("the tag's old digest came back")
	}
	asked(3, 2, 1)

	// What is not what its name says is not there.
	for name := range cache.files {
		cache.files[name] = []byte("application/json\n{}")
	}
	open(New(src, "example.com/app", cache))
	asked(3, 2, 0)
}
