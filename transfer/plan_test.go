package transfer_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/transfer"
)

func TestPlanOrder(t *testing.T) {
	src := newEnd(fixture())
	img := open(t, src)
	plan := planOf(t, img.All())

	last := plan.Manifests[len(plan.Manifests)-1]
	if last.Descriptor.Digest != plan.Root.Digest || plan.Root.Digest != img.Root.Descriptor.Digest {
		t.Errorf("the last manifest is %s, the root %s", last.Descriptor.Digest, plan.Root.Digest)
	}
	if len(plan.Manifests) != 7 { // 3 images, 2 attestations, the nested index, the root
		t.Errorf("%d manifests", len(plan.Manifests))
	}
	seen := map[digest.Digest]bool{}
	for i, m := range plan.Manifests {
		if seen[m.Descriptor.Digest] {
			t.Errorf("manifest %d is there twice", i)
		}
		seen[m.Descriptor.Digest] = true
	}

	var sum int64
	blobs := map[digest.Digest]bool{}
	for i, d := range plan.Blobs {
		if i > 0 && d.Size > plan.Blobs[i-1].Size {
			t.Errorf("blob %d of %d bytes comes after one of %d", i, d.Size, plan.Blobs[i-1].Size)
		}
		if blobs[d.Digest] {
			t.Errorf("blob %d is there twice", i)
		}
		blobs[d.Digest] = true
		sum += d.Size
	}
	// A shared layer, 4 of their own, 3 configs, 2 statements and their configs.
	if len(blobs) != 12 {
		t.Errorf("%d blobs", len(blobs))
	}
	if plan.Bytes() != sum {
		t.Errorf("Bytes = %d, want %d", plan.Bytes(), sum)
	}
	if plan.Rewritten || plan.Dropped != 0 || len(plan.Skipped) != 0 {
		t.Errorf("rewritten %t, %d dropped, %d skipped", plan.Rewritten, plan.Dropped, len(plan.Skipped))
	}
	if ops := src.did("blob", "push"); len(ops) > 0 {
		t.Errorf("planning wrote: %v", ops)
	}
}

func TestPlanOfAManifestListedTwice(t *testing.T) {
	m := imagetest.New()
	d := addImage(m, "linux/arm64", "same")
	again := d
	p := platform.MustParse("linux/arm/v7")
	again.Platform = &p
	m.AddIndex("v1", "", d, again)
	if plan := planAll(t, m); len(plan.Manifests) != 2 {
		t.Errorf("%d manifests, want the manifest once and the root", len(plan.Manifests))
	}
}

// Builders repeat the empty layer.
func TestPlanOfALayerListedTwice(t *testing.T) {
	m := imagetest.New()
	m.AddIndex("v1", "", addImage(m, "linux/arm64", "same", "other", "same"))
	src, dst := newEnd(m), newEnd(imagetest.New())
	plan := planAll(t, src)
	if len(plan.Blobs) != 3 {
		t.Errorf("%d blobs, want two layers and the config", len(plan.Blobs))
	}
	run(t, plan, src, dst, transfer.Options{Tag: "v1"})
	wantWhole(t, dst.Memory, "v1", plan.Root.Digest)
}

func TestPlanRefuses(t *testing.T) {
	whole := func() *image.Image { return open(t, fixture()) }
	hole := func() (*image.Selection, digest.Digest) {
		m := fixture()
		d := whole().Manifests[2].Descriptor.Digest
		m.Remove(d)
		return open(t, m).All(), d
	}
	for _, c := range []struct {
		name string
		make func() (*image.Selection, digest.Digest)
		is   error
		says string
	}{
		{"a manifest that could not be read", hole, store.ErrNotFound, "source"},
		{"an index whose child is not selected", func() (*image.Selection, digest.Digest) {
			sel := whole().All()
			sel.Manifests = sel.Manifests[1:]
			return sel, whole().Manifests[0].Descriptor.Digest
		}, nil, "was not selected"},
		{"a root that is not selected", func() (*image.Selection, digest.Digest) {
			img := whole()
			m := img.Manifests[0]
			return &image.Selection{Root: store.Manifest{Descriptor: m.Descriptor, Raw: m.Raw}, Manifests: img.Manifests[1:]}, m.Descriptor.Digest
		}, nil, "not one of the manifests"},
		{"two sizes for one blob", func() (*image.Selection, digest.Digest) {
			sel := whole().All()
			other := *sel.Manifests[0]
			other.Layers = append([]store.Descriptor{}, other.Layers...)
			other.Layers[0].Size++
			sel.Manifests = append([]*image.Manifest{&other}, sel.Manifests[1:]...)
			return sel, other.Layers[0].Digest
		}, store.ErrCorrupt, "another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sel, names := c.make()
			_, err := transfer.New(sel, transfer.PlanOptions{})
			var failed *transfer.CopyError
			if !errors.As(err, &failed) || failed.End != transfer.Source || failed.Descriptor.Digest != names {
				t.Fatalf("err = %v, want a CopyError of the source about %s", err, names)
			}
			if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("err = %v, want %v that says %q", err, c.is, c.says)
			}
		})
	}
}

func TestPlanRefusesSizesThatOverflow(t *testing.T) {
	sel := open(t, fixture()).All()
	for _, m := range sel.Manifests[:3] {
		m.Layers = []store.Descriptor{{Digest: digest.FromString(string(m.Descriptor.Digest)), Size: math.MaxInt64 / 2}}
	}
	if _, err := transfer.New(sel, transfer.PlanOptions{}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("err = %v", err)
	}
}

func TestPlanOfNonDistributableLayers(t *testing.T) {
	for _, c := range []struct {
		name          string
		urls          []string
		opts          transfer.PlanOptions
		sent, skipped int
	}{
		{"with urls", []string{"https://example.com/base"}, transfer.PlanOptions{}, 2, 1},
		{"with urls, asked for", []string{"https://example.com/base"}, transfer.PlanOptions{NonDistributable: true}, 3, 0},
		{"without urls", nil, transfer.PlanOptions{}, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := foreign(c.urls...)
			plan, err := transfer.New(open(t, m).All(), c.opts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int{c.sent, c.skipped}, []int{len(plan.Blobs), len(plan.Skipped)}); diff != "" {
				t.Errorf("sent and skipped: %s", diff)
			}
		})
	}
}

func TestPlanSendsWhatOneManifestCallsDistributable(t *testing.T) {
	m, base := foreign("https://example.com/base")
	sel := open(t, m).All()
	other := *sel.Manifests[0]
	other.Descriptor.Digest = digest.FromString("another manifest")
	ordinary := base
	ordinary.MediaType = imagetest.DockerLayer
	other.Layers = []store.Descriptor{ordinary}
	for _, manifests := range [][]*image.Manifest{{sel.Manifests[0], &other}, {&other, sel.Manifests[0]}} {
		sel.Manifests = manifests
		if plan := planOf(t, sel); len(plan.Blobs) != 3 || len(plan.Skipped) != 0 {
			t.Errorf("%d are sent, %d skipped", len(plan.Blobs), len(plan.Skipped))
		}
	}
}

// What the destination's repository has under another tag is not sent again, and
// blobs of several sources are mounted each from its own.
func TestHeldAndMountedFromSeveral(t *testing.T) {
	src, dst := newEnd(fixture()), newEnd(imagetest.New())
	img := open(t, src)
	held := img.Images()[0]
	whole := run(t, planAll(t, src), src, dst, transfer.Options{Tag: "v1"})

	plan, err := transfer.New(img.All(), transfer.PlanOptions{Held: func(d digest.Digest) bool { return d == held.Descriptor.Digest }})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(plan.Manifests, func(m store.Manifest) bool { return m.Descriptor.Digest == held.Descriptor.Digest }) {
		t.Error("the held manifest is to be pushed")
	}
	if slices.ContainsFunc(plan.Blobs, func(d store.Descriptor) bool { return d.Digest == held.ConfigDescriptor.Digest }) {
		t.Error("its config is to be pushed")
	}
	dst.outcome = func(c store.Content) (store.Outcome, error) {
		if want := "of " + c.Descriptor.Digest.String(); c.MountFrom != want {
			t.Errorf("mount from %q, want %q", c.MountFrom, want)
		}
		return store.Mounted, nil
	}
	result := run(t, plan, src, dst, transfer.Options{Tag: "v2", MountFor: func(d digest.Digest) string { return "of " + d.String() }})
	if result.Manifests != whole.Manifests-1 {
		t.Errorf("%d manifests were pushed, and %d the first time", result.Manifests, whole.Manifests)
	}
	wantWhole(t, dst.Memory, "v2", plan.Root.Digest)
}
