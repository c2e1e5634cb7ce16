package transfer_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"berth/internal/imagetest"
	"berth/transfer"
)

// held is an end whose requests of a kind wait until they are let go.
func held(e *end, which func(op) bool) (release chan struct{}) {
	release = make(chan struct{})
	e.before = func(_ context.Context, o op) error {
		if which(o) {
			<-release
		}
		return nil
	}
	return release
}

func TestRunKeepsToJobs(t *testing.T) {
	for _, jobs := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			m := imagetest.New()
			var bodies []string
			for i := range 2 * transfer.DefaultJobs {
				bodies = append(bodies, string(rune('a'+i)))
			}
			m.AddIndex("v1", "", addImage(m, "linux/amd64", bodies...))
			src, dst := newEnd(m), newEnd(imagetest.New())
			plan := planAll(t, src)
			release := held(dst, func(o op) bool { return o.kind == "blob" })
			done := make(chan error)
			go func() {
				_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Jobs: jobs})
				done <- err
			}()
			want := jobs
			if jobs == 0 {
				want = transfer.DefaultJobs
			}
			for n := range plan.Blobs {
				synctest.Wait()
				if got := len(dst.did("blob")) - n; got != min(want, len(plan.Blobs)-n) {
					t.Errorf("%d jobs: %d in flight after %d", jobs, got, n)
				}
				release <- struct{}{}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRunCountsLargeBlobsAsTwo(t *testing.T) {
	for jobs, want := range map[int]int{1: 1, 2: 1, 4: 2, 5: 3} { // the third of 5 is small
		synctest.Test(t, func(t *testing.T) {
			m := imagetest.New()
			m.AddIndex("v1", "", addImage(m, "linux/amd64", incompressible(1<<20), incompressible(1<<20+1), "small"))
			src, dst := newEnd(m), newEnd(imagetest.New())
			plan := planAll(t, src)
			release := held(dst, func(o op) bool { return o.kind == "blob" })
			done := make(chan error)
			go func() {
				_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Jobs: jobs})
				done <- err
			}()
			synctest.Wait()
			if got := len(dst.did("blob")); got != want {
				t.Errorf("%d jobs: %d blobs in flight, want %d", jobs, got, want)
			}
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRunPushesAManifestAsSoonAsItsBlobsAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, dst := newEnd(fixture()), newEnd(imagetest.New())
		img := open(t, src)
		plan := planOf(t, img.All())
		arm64 := img.Images()[1]
		late := arm64.Layers[1].Digest
		release := held(dst, func(o op) bool { return o.kind == "blob" && o.digest == late })
		done := make(chan error)
		go func() {
			_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Jobs: 2})
			done <- err
		}()
		synctest.Wait()
		pushed := map[digest.Digest]bool{}
		for _, o := range dst.did("push") {
			pushed[o.digest] = true
		}
		for _, m := range plan.Manifests {
			d := m.Descriptor.Digest
			if waits := d == arm64.Descriptor.Digest || d == plan.Root.Digest; pushed[d] == waits {
				t.Errorf("%s pushed: %t", d, pushed[d])
			}
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The gate takes none of the jobs, and everything but the root is sent while it
// thinks.
func TestRunAsksTheGateBesideTheBlobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, dst := newEnd(fixture()), newEnd(imagetest.New())
		plan := planAll(t, src)
		release := held(dst, func(o op) bool { return o.kind == "blob" })
		asked, agree, done := false, make(chan struct{}), make(chan error)
		go func() {
			_, err := plan.Run(context.Background(), src, dst, transfer.Options{Tag: "v1", Jobs: 1, Gate: func(context.Context) error {
				asked = true
				<-agree
				return nil
			}})
			done <- err
		}()
		synctest.Wait()
		if n := len(dst.did("blob")); !asked || n != 1 {
			t.Errorf("%d blobs are on their way, the gate was asked: %t", n, asked)
		}
		close(release)
		synctest.Wait()
		if n := len(dst.did("push")); n != len(plan.Manifests)-1 {
			t.Errorf("%d of %d manifests are pushed, want all but the root", n, len(plan.Manifests))
		}
		close(agree)
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantWhole(t, dst.Memory, "v1", plan.Root.Digest)
	})
}
