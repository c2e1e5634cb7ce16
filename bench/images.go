package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

// large are the layer sizes of each platform of the large image: with its config four
// blobs, and 274 MB over eight platforms. One is large, as a language's runtime is, one
// a package's worth and one an application.
var large = []int{24 << 20, 7 << 20, 1664 << 10}

// pushLarge pushes the image of 8 platforms × 4 blobs, 274 MB, one layer in memory at
// a time.
func pushLarge(ctx context.Context, to store.Pusher, tag string) error {
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for _, name := range eight {
		p := platform.MustParse(name)
		config := v1.Image{Platform: p, RootFS: v1.RootFS{Type: "layers"}}
		manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
		for i, size := range large {
			layer, err := storedLayer(fmt.Sprint(name, i), size)
			if err != nil {
				return err
			}
			d, err := pushBlob(ctx, to, v1.MediaTypeImageLayerGzip, layer.Raw)
			if err != nil {
				return err
			}
			manifest.Layers = append(manifest.Layers, d)
			config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.DiffID)
		}
		raw, err := json.Marshal(config)
		if err != nil {
			return err
		}
		if manifest.Config, err = pushBlob(ctx, to, v1.MediaTypeImageConfig, raw); err != nil {
			return err
		}
		d, err := pushManifest(ctx, to, manifest.MediaType, manifest, "")
		if err != nil {
			return err
		}
		d.Platform = &p
		index.Manifests = append(index.Manifests, d)
	}
	_, err := pushManifest(ctx, to, index.MediaType, index, tag)
	return err
}

// storedLayer is a layer of one file that does not compress, and is not compressed.
func storedLayer(seed string, size int) (imagetest.Layer, error) {
	var raw, packed bytes.Buffer
	body := noise(seed, size)
	w := tar.NewWriter(&raw)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(body))}); err != nil {
		return imagetest.Layer{}, err
	}
	if _, err := io.WriteString(w, body); err != nil {
		return imagetest.Layer{}, err
	}
	if err := w.Close(); err != nil {
		return imagetest.Layer{}, err
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		return imagetest.Layer{}, err
	}
	if _, err := z.Write(raw.Bytes()); err != nil {
		return imagetest.Layer{}, err
	}
	if err := z.Close(); err != nil {
		return imagetest.Layer{}, err
	}
	return imagetest.Layer{MediaType: v1.MediaTypeImageLayerGzip, DiffID: digest.FromBytes(raw.Bytes()), Raw: packed.Bytes()}, nil
}

func pushBlob(ctx context.Context, to store.Pusher, mediaType string, raw []byte) (store.Descriptor, error) {
	d := store.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	_, err := to.PushBlob(ctx, store.Content{Descriptor: d, Open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw[offset:])), nil
	}})
	return d, err
}

func pushManifest(ctx context.Context, to store.Pusher, mediaType string, document any, tag string) (store.Descriptor, error) {
	raw, err := json.Marshal(document)
	if err != nil {
		return store.Descriptor{}, err
	}
	d := store.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	return d, to.PushManifest(ctx, d, raw, tag)
}

var eight = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64"}

// attested is an index of 8 platforms, 5 layers of 64 KiB each, with an attestation
// each, under the tag.
func attested(tag string) *imagetest.Memory {
	m := imagetest.New()
	var entries, attestations []store.Descriptor
	for _, p := range eight {
		d := m.AddImage(small(p, 5), "")
		entries, attestations = append(entries, d), append(attestations, m.AddAttestation(d))
	}
	m.AddIndex(tag, "", append(entries, attestations...)...)
	return m
}

// small is an image of so many layers of 64 KiB.
func small(p string, n int) imagetest.Image {
	img := imagetest.Image{Configured: platform.MustParse(p)}
	for i := range n {
		img.Layers = append(img.Layers, imagetest.GzipLayer(imagetest.File{Name: fmt.Sprint("file", i), Body: noise(p+fmt.Sprint(i), 64<<10)}))
	}
	return img
}
