package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tb is what *testing.T and *rapid.T have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// op is one request to an end.
type op struct {
	kind   string // resolve, manifest, open, read, blob, push
	digest digest.Digest
	tag    string
}

func (o op) String() string { return strings.TrimSpace(o.kind + " " + string(o.digest) + " " + o.tag) }

// end is a store in memory that records what it is asked, and lets a test step in.
type end struct {
	*imagetest.Memory
	// before is called ahead of every request, and may fail it.
	before func(ctx context.Context, o op) error
	// bytes changes what a blob is read as.
	bytes func(d digest.Digest, raw []byte) []byte
	// outcome answers for PushBlob in the place of the memory, which takes the content then.
	outcome func(c store.Content) (store.Outcome, error)

	mu  sync.Mutex
	ops []op
}

func newEnd(m *imagetest.Memory) *end { return &end{Memory: m} }

func (e *end) step(ctx context.Context, o op) error {
	e.mu.Lock()
	e.ops = append(e.ops, o)
	e.mu.Unlock()
	if e.before != nil {
		return e.before(ctx, o)
	}
	return nil
}

// did are the recorded requests of the given kinds.
func (e *end) did(kinds ...string) []op {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.ops), func(o op) bool { return !slices.Contains(kinds, o.kind) })
}

func (e *end) Resolve(ctx context.Context, reference string) (store.Descriptor, error) {
	if err := e.step(ctx, op{kind: "resolve", tag: reference}); err != nil {
		return store.Descriptor{}, err
	}
	return e.Memory.Resolve(ctx, reference)
}

func (e *end) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if err := e.step(ctx, op{kind: "manifest", tag: reference}); err != nil {
		return nil, err
	}
	return e.Memory.Manifest(ctx, reference)
}

func (e *end) Blob(ctx context.Context, d store.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := e.step(ctx, op{kind: "open", digest: d.Digest}); err != nil {
		return nil, err
	}
	r, err := e.Memory.Blob(ctx, d, offset)
	if err != nil {
		return nil, err
	}
	if e.bytes != nil {
		raw, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		r = io.NopCloser(bytes.NewReader(e.bytes(d.Digest, raw)))
	}
	return &reader{ReadCloser: r, ctx: ctx, end: e, digest: d.Digest}, nil
}

type reader struct {
	io.ReadCloser
	ctx    context.Context
	end    *end
	digest digest.Digest
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.end.step(r.ctx, op{kind: "read", digest: r.digest}); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p[:min(len(p), 512)]) // so that there is a middle
}

func (e *end) PushBlob(ctx context.Context, c store.Content) (store.Outcome, error) {
	if err := e.step(ctx, op{kind: "blob", digest: c.Descriptor.Digest}); err != nil {
		return "", err
	}
	if e.outcome != nil {
		return e.outcome(c)
	}
	return e.Memory.PushBlob(ctx, c)
}

func (e *end) PushManifest(ctx context.Context, d store.Descriptor, raw []byte, tag string) error {
	if err := e.step(ctx, op{kind: "push", digest: d.Digest, tag: tag}); err != nil {
		return err
	}
	return e.Memory.PushManifest(ctx, d, raw, tag)
}

func layer(body string) imagetest.Layer {
	return imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: body})
}

func addImage(m *imagetest.Memory, p string, bodies ...string) store.Descriptor {
	img := imagetest.Image{Configured: platform.MustParse(p)}
	for _, b := range bodies {
		img.Layers = append(img.Layers, layer(b))
	}
	return m.AddImage(img, "")
}

func incompressible(n int) string {
	raw := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(raw) // never fails
	return string(raw)
}

// fixture is amd64, arm64 and arm/v7 (this one in a nested index) under the tag
// v1, the first two with attestations, all over one shared layer.
func fixture() *imagetest.Memory {
	m := imagetest.New()
	base := incompressible(4096) // so that it is the largest blob
	amd64 := addImage(m, "linux/amd64", base, "amd64")
	arm64 := addImage(m, "linux/arm64", base, "arm64", "and more of arm64")
	armv7 := addImage(m, "linux/arm/v7", base, "arm/v7")
	m.AddIndex("v1", "", amd64, m.AddAttestation(amd64), arm64, m.AddAttestation(arm64), m.AddIndex("", imagetest.DockerList, armv7))
	return m
}

func open(t tb, src store.Source) *image.Image {
	t.Helper()
	img, err := image.Open(context.Background(), src, "v1")
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func planOf(t tb, sel *image.Selection) *transfer.Plan {
	t.Helper()
	plan, err := transfer.New(sel, transfer.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// planAll is the plan of the whole image v1.
func planAll(t tb, src store.Source) *transfer.Plan {
	t.Helper()
	return planOf(t, open(t, src).All())
}

// holes are what the tag refers to and the store does not have, bit for bit.
func holes(m *imagetest.Memory, reference string) []string {
	ctx := context.Background()
	found, err := m.Manifest(ctx, reference)
	if err != nil {
		return []string{err.Error()}
	}
	if err := store.Verify(found.Descriptor, found.Raw); err != nil {
		return []string{err.Error()}
	}
	var doc struct {
		Config            *store.Descriptor
		Layers, Manifests []store.Descriptor
	}
	if err := json.Unmarshal(found.Raw, &doc); err != nil {
		return []string{err.Error()}
	}
	var missing []string
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	for _, d := range doc.Layers {
		if _, err := store.ReadBlob(ctx, m, d, 1<<20); err != nil {
			missing = append(missing, err.Error())
		}
	}
	for _, d := range doc.Manifests {
		missing = append(missing, holes(m, d.Digest.String())...)
	}
	return missing
}

// wantWhole fails unless reference names want in dst and all of it is there.
func wantWhole(t tb, dst *imagetest.Memory, reference string, want digest.Digest) {
	t.Helper()
	found, err := dst.Manifest(context.Background(), reference)
	if err != nil {
		t.Fatal(err)
	}
	if found.Descriptor.Digest != want {
		t.Errorf("%s names %s, want %s", reference, found.Descriptor.Digest, want)
	}
	if missing := holes(dst, reference); len(missing) > 0 {
		t.Errorf("%s is incomplete: %s", reference, strings.Join(missing, "; "))
	}
}

// foreign is an image with a non-distributable layer that no store here has.
func foreign(urls ...string) (*imagetest.Memory, store.Descriptor) {
	m := imagetest.New()
	kept := addImage(m, "windows/amd64", "distributable")
	found, _ := m.Manifest(context.Background(), kept.Digest.String())
	var manifest v1.Manifest
	if err := json.Unmarshal(found.Raw, &manifest); err != nil {
		panic(err)
	}
	d := store.Descriptor{
		MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		Digest:    digest.FromString("windows base"), Size: 12, URLs: urls,
	}
	manifest.Layers = append([]store.Descriptor{d}, manifest.Layers...)
	raw, err := json.Marshal(manifest)
	if err != nil {
		panic(err)
	}
	m.AddManifest(v1.MediaTypeImageManifest, raw, "v1")
	return m, d
}

var errBoom = fmt.Errorf("boom")
