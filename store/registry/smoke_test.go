package registry

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

func TestSmoke(t *testing.T) {
	srv := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	c := New(Options{})
	defer c.CloseIdleConnections()
	r := c.Repository(strings.TrimPrefix(srv.URL, "http://"), "team/app")
	m := imagetest.New()
	l := imagetest.GzipLayer(imagetest.File{Name: "bin/x", Body: strings.Repeat("hello", 50000)})
	p, _ := platform.Parse("linux/amd64")
	d := m.AddImage(imagetest.Image{Configured: p, Layers: []imagetest.Layer{l}}, "")
	m.AddIndex("v1", "", d)
	for range 2 {
		if err := m.PushTo(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		t.Log(c.Requests())
	}
	man, err := r.Manifest(context.Background(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.Resolve(context.Background(), "v1")
	t.Log(res, err, man.Descriptor)
	raw, err := store.ReadBlob(context.Background(), r, store.Descriptor{Digest: d.Digest, Size: d.Size}, 1<<20)
	t.Log(len(raw), err)
	_, err = r.Manifest(context.Background(), "v2")
	t.Log(err)
}
