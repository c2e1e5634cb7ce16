package e2e

import (
	"strings"
	"testing"

	"berth/internal/imagetest"
	"berth/store/registry"
)

// TestFaults runs the fault matrix against real registries behind a proxy in which one
// thing goes wrong: berth gets over it, or says which end and what of it. `make faults`
// runs the same beside crane, regctl and oras.
func TestFaults(t *testing.T) {
	image := imagetest.FaultImage()
	source, destination := imagetest.Distribution(t), imagetest.Distribution(t)
	push(t, image, source, "app")
	want := manifest(t, image, "v1")
	for i, fault := range imagetest.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			if fault.Slow && testing.Short() {
				imagetest.Missing(t, "half a minute", "leave out -short")
			}
			t.Parallel()
			from, to := source, destination
			repository := "copy" + string(rune('a'+i/26)) + string(rune('a'+i%26))
			if fault.Same {
				to = source
			}
			real := to
			switch fault.Tag {
			case "same":
				push(t, image, to, repository)
			case "other":
				push(t, image, to, repository)
				berth(t.Context(), "copy", to+"/"+repository+":other", to+"/"+repository+":v1").wants(t, 0)
			}
			if fault.Source != nil {
				from = imagetest.Proxy(t, from, fault.Source())
			}
			if fault.Destination != nil {
				to = imagetest.Proxy(t, to, fault.Destination())
			}
			if fault.Same {
				from = to
			}
			r := berth(t.Context(), "copy", from+"/app:v1", to+"/"+repository+":v1")
			if fault.Fails {
				end := "source: "
				if fault.Destination != nil {
					end = "destination: "
				}
				r.wants(t, 3, end)
				if !strings.Contains(r.stderr, "sha256:") && !strings.Contains(r.stderr, ":v1") {
					t.Errorf("it does not say what of it:\n%s", r)
				}
				if fault.Tag == "" {
					untagged(t, real, repository, "v1")
				}
				return
			}
			r.wants(t, 0)
			if !complete(t, real, repository, "v1") {
				t.Fatal("no tag")
			}
			client := registry.New(registry.Options{})
			defer client.CloseIdleConnections()
			found, err := client.Repository(real, repository).Manifest(t.Context(), "v1")
			if err != nil || string(found.Raw) != want {
				t.Errorf("%v\n%s\nwant\n%s", err, found.Raw, want)
			}
		})
	}
}
