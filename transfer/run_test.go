package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/transfer"
)

func run(t tb, plan *transfer.Plan, src, dst *end, opts transfer.Options) *transfer.Result {
	t.Helper()
	result, err := plan.Run(context.Background(), src, dst, opts)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestRunBitForBit(t *testing.T) {
	plain := imagetest.New()
	plain.AddIndex("v1", "", addImage(plain, "linux/amd64", "a"), addImage(plain, "linux/arm64", "b"))
	lone := imagetest.New()
	lone.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Layers: []imagetest.Layer{layer("alone")}}, "v1")
	noLayers := imagetest.New()
	noLayers.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64")}, "v1")
	list := imagetest.New()
	list.AddIndex("v1", imagetest.DockerList, list.AddImage(imagetest.Image{Configured: platform.MustParse("linux/s390x"), Layers: []imagetest.Layer{layer("z")}, Docker: true}, ""))
	artifact := imagetest.New()
	artifact.AddManifest("application/vnd.oci.image.manifest.v1+json", mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": artifact.AddBlob("application/vnd.cncf.helm.config.v1+json", []byte("{}")),
		"layers": []store.Descriptor{artifact.AddBlob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart"))},
	}), "v1")

	for name, m := range map[string]*imagetest.Memory{
		"index": plain, "nested, attested, shared": fixture(), "lone manifest": lone,
		"no layers": noLayers, "Docker list": list, "artifact": artifact,
	} {
		t.Run(name, func(t *testing.T) {
			for _, jobs := range []int{0, 1, 2, 100} {
				src, dst := newEnd(m), newEnd(imagetest.New())
				plan := planAll(t, src)
				result := run(t, plan, src, dst, transfer.Options{Tag: "v2", Jobs: jobs})
				wantWhole(t, dst.Memory, "v2", m.Tags()["v1"])
				want := transfer.Result{
					Root: plan.Root, Manifests: len(plan.Manifests),
					Copied: transfer.Tally{Blobs: len(plan.Blobs), Bytes: plan.Bytes()},
				}
				if diff := cmp.Diff(&want, result); diff != "" {
					t.Errorf("%d jobs: %s", jobs, diff)
				}
			}
		})
	}
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestRunSubset(t *testing.T) {
	src := newEnd(fixture())
	img := open(t, src)
	arm64 := []platform.Platform{platform.MustParse("linux/arm64")}
	for _, c := range []struct {
		name               string
		opts               image.OnlyOptions
		manifests, dropped int
		rewritten          bool
	}{
		{"with its attestation", image.OnlyOptions{}, 3, 3, true},
		{"without", image.OnlyOptions{NoAttestations: true}, 2, 4, true},
		{"plain", image.OnlyOptions{Plain: true}, 1, 4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sel, err := img.Only(arm64, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			dst := newEnd(imagetest.New())
			result := run(t, planOf(t, sel), src, dst, transfer.Options{Tag: "v1"})
			wantWhole(t, dst.Memory, "v1", sel.Root.Descriptor.Digest)
			if result.Manifests != c.manifests || result.Dropped != c.dropped || result.Rewritten != c.rewritten {
				t.Errorf("%d manifests, %d dropped, rewritten %t", result.Manifests, result.Dropped, result.Rewritten)
			}
			if pushed := dst.did("push"); len(pushed) != c.manifests {
				t.Errorf("pushed: %v", pushed)
			}
			// Nothing of another platform came along.
			if _, err := dst.Manifest(context.Background(), img.Manifests[0].Descriptor.Digest.String()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("amd64 in the destination: %v", err)
			}
		})
	}
}

func TestRunSendsEachBlobOnceAndConfigsFromMemory(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	img := open(t, src)
	opened := len(src.did("open"))
	plan := planOf(t, img.All())
	run(t, plan, src, dst, transfer.Options{Tag: "v1"})

	sent := map[digest.Digest]int{}
	for _, o := range dst.did("blob") {
		sent[o.digest]++
	}
	for _, d := range plan.Blobs {
		if sent[d.Digest] != 1 {
			t.Errorf("%s was sent %d times", d.Digest, sent[d.Digest])
		}
	}
	configs := map[digest.Digest]bool{}
	for _, m := range img.Images() {
		configs[m.ConfigDescriptor.Digest] = true
	}
	fetched := src.did("open")[opened:]
	for _, o := range fetched {
		if configs[o.digest] {
			t.Errorf("config %s was fetched again", o.digest)
		}
	}
	if want := len(plan.Blobs) - len(configs); len(fetched) != want {
		t.Errorf("%d blobs were fetched, want %d", len(fetched), want)
	}
}

func TestRunOrder(t *testing.T) {
	for _, jobs := range []int{1, 3, 16} {
		src, dst := newEnd(fixture()), newEnd(imagetest.New())
		plan := planAll(t, src)
		run(t, plan, src, dst, transfer.Options{Tag: "v1", Jobs: jobs})
		// That children and blobs are there first, imagetest.Memory demands. What it
		// cannot see is the tag.
		pushed := dst.did("push")
		for i, o := range pushed {
			isLast := i == len(pushed)-1
			if (o.tag != "") != isLast || (o.digest == plan.Root.Digest) != isLast {
				t.Errorf("%d jobs: push %d of %d: %s", jobs, i+1, len(pushed), o)
			}
		}
		if resolved := dst.did("resolve"); len(resolved) != 1 {
			t.Errorf("%d jobs: %d Resolves, want one before", jobs, len(resolved))
		}
		if jobs == 1 {
			var sent []digest.Digest
			for _, o := range dst.did("blob") {
				sent = append(sent, o.digest)
			}
			var want []digest.Digest
			for _, d := range plan.Blobs {
				want = append(want, d.Digest)
			}
			if diff := cmp.Diff(want, sent); diff != "" {
				t.Errorf("not largest first: %s", diff)
			}
			// A manifest that can be pushed goes before blobs that could have been sent earlier.
			writes := dst.did("blob", "push")
			if first := slices.IndexFunc(writes, func(o op) bool { return o.kind == "push" }); first > len(want)-1 {
				t.Errorf("the first manifest comes after all blobs: %v", writes)
			}
		}
	}
}

func TestRunUnchanged(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	run(t, plan, src, dst, transfer.Options{Tag: "v1"})
	gate := func(context.Context) error { t.Error("the gate was asked"); return nil }
	current := func(context.Context) (store.Descriptor, error) { return plan.Root, nil }
	for _, c := range []struct {
		name     string
		opts     transfer.Options
		requests int
	}{
		{"tag", transfer.Options{Tag: "v1", Gate: gate}, 1},
		{"digest", transfer.Options{Digest: plan.Root.Digest, Gate: gate}, 1},
		{"known before", transfer.Options{Tag: "v1", Gate: gate, Current: current}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			src.ops, dst.ops = nil, nil
			result := run(t, plan, src, dst, c.opts)
			if !result.Unchanged || result.Manifests+result.Copied.Blobs+result.Present.Blobs != 0 {
				t.Errorf("%+v", result)
			}
			if len(src.ops) != 0 || len(dst.ops) != c.requests {
				t.Errorf("source: %v, destination: %v", src.ops, dst.ops)
			}
		})
	}
}

func TestRunSendsOnlyWhatIsMissing(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	img := open(t, src)
	sel, err := img.Only([]platform.Platform{platform.MustParse("linux/amd64")}, image.OnlyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := run(t, planOf(t, sel), src, dst, transfer.Options{Tag: "v1"})
	all := planOf(t, img.All())
	second := run(t, all, src, dst, transfer.Options{Tag: "v1"})
	if second.Present != first.Copied {
		t.Errorf("present %+v, want what the first run copied, %+v", second.Present, first.Copied)
	}
	if second.Copied.Bytes != all.Bytes()-first.Copied.Bytes {
		t.Errorf("copied %+v", second.Copied)
	}
	wantWhole(t, dst.Memory, "v1", all.Root.Digest)
}

func TestRunMounts(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	dst.outcome = func(c store.Content) (store.Outcome, error) {
		if c.MountFrom != "library/app" {
			t.Errorf("mount from %q", c.MountFrom)
		}
		raw, err := store.ReadBlob(context.Background(), src.Memory, c.Descriptor, 1<<20)
		dst.AddBlob("", raw)
		return store.Mounted, err
	}
	result := run(t, plan, src, dst, transfer.Options{Tag: "v1", MountFrom: "library/app"})
	if want := (transfer.Tally{Blobs: len(plan.Blobs), Bytes: plan.Bytes()}); result.Mounted != want || result.Copied.Blobs != 0 {
		t.Errorf("%+v", result)
	}
}

func TestRunToADigest(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	_, err := plan.Run(context.Background(), src, dst, transfer.Options{Digest: digest.FromString("another"), Tag: "v1"})
	if err == nil || !strings.Contains(err.Error(), plan.Root.Digest.String()) || !strings.Contains(err.Error(), digest.FromString("another").String()) {
		t.Errorf("another digest: %v", err)
	}
	if len(dst.ops) != 0 {
		t.Errorf("the destination was asked: %v", dst.ops)
	}
	run(t, plan, src, dst, transfer.Options{Digest: plan.Root.Digest})
	wantWhole(t, dst.Memory, plan.Root.Digest.String(), plan.Root.Digest)
	if tags := dst.Tags(); len(tags) != 0 {
		t.Errorf("tags: %v", tags)
	}
}

func TestRunSkipsNonDistributableLayers(t *testing.T) {
	m, base := foreign("https://example.com/base")
	src, dst := newEnd(m), newEnd(imagetest.New())
	plan := planAll(t, src)
	// Registries take the manifest, imagetest.Memory does not know that they do.
	dst.before = func(_ context.Context, o op) error {
		if o.kind == "push" {
			if raw, err := dst.Memory.Blob(context.Background(), base, 0); err == nil {
				t.Errorf("the layer was sent: %v", raw)
			}
			dst.AddBlob("", []byte("windows base"))
		}
		return nil
	}
	result := run(t, plan, src, dst, transfer.Options{Tag: "v1"})
	if result.Skipped != (transfer.Tally{Blobs: 1, Bytes: 12}) || result.Copied.Blobs != 2 {
		t.Errorf("%+v", result)
	}

	all, err := transfer.New(open(t, src).All(), transfer.PlanOptions{NonDistributable: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = all.Run(context.Background(), src, newEnd(imagetest.New()), transfer.Options{Tag: "v1"})
	wantCopyError(t, err, transfer.Source, base.Digest, store.ErrNotFound)
}

func TestRunTellsProgress(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	var mu sync.Mutex
	kinds := map[transfer.EventKind]int{}
	read := map[digest.Digest]int64{}
	run(t, plan, src, dst, transfer.Options{Tag: "v1", Progress: func(e transfer.Event) {
		mu.Lock()
		defer mu.Unlock()
		kinds[e.Kind]++
		switch e.Kind {
		case transfer.BlobRead:
			read[e.Descriptor.Digest] = e.Offset
		case transfer.BlobDone:
			if e.Outcome != store.Copied || read[e.Descriptor.Digest] != e.Descriptor.Size {
				t.Errorf("%s: %s after %d of %d bytes", e.Descriptor.Digest, e.Outcome, read[e.Descriptor.Digest], e.Descriptor.Size)
			}
		}
	}})
	n := len(plan.Blobs)
	if kinds[transfer.BlobStarted] != n || kinds[transfer.BlobDone] != n || kinds[transfer.ManifestDone] != len(plan.Manifests) {
		t.Errorf("events: %v", kinds)
	}
}

func TestRunOpensAtAnOffset(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	plan := planAll(t, src)
	dst.outcome = func(c store.Content) (store.Outcome, error) {
		want, err := store.ReadBlob(context.Background(), src.Memory, c.Descriptor, 1<<20)
		if err != nil {
			return "", err
		}
		r, err := c.Open(context.Background(), c.Descriptor.Size/2)
		if err != nil {
			return "", err
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil || string(got) != string(want[len(want)/2:]) {
			t.Errorf("%s from the middle: %d bytes, %v", c.Descriptor.Digest, len(got), err)
		}
		dst.AddBlob("", want)
		return store.Copied, nil
	}
	run(t, plan, src, dst, transfer.Options{Tag: "v1"})
}

func TestResultJSON(t *testing.T) {
	got, err := json.Marshal(transfer.Result{Root: store.Descriptor{MediaType: "m", Digest: "sha256:0", Size: 1}, Copied: transfer.Tally{Blobs: 1, Bytes: 2}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"root":{"mediaType":"m","digest":"sha256:0","size":1},"unchanged":false,"rewritten":false,"dropped":0,"manifests":0,` +
		`"copied":{"blobs":1,"bytes":2},"mounted":{"blobs":0,"bytes":0},"present":{"blobs":0,"bytes":0},"skipped":{"blobs":0,"bytes":0}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}
