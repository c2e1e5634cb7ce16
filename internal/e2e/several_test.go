package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/imagetest"
)

// TestCopyToSeveral copies to two registries and a layout at once, of a source that
// counts, and lets crane read back what arrived.
func TestCopyToSeveral(t *testing.T) {
	image := everywhere()
	var traffic imagetest.Traffic
	source := push(t, image, imagetest.Distribution(t, traffic.Record), "team/hello")
	east, west := imagetest.Distribution(t), imagetest.Distribution(t)
	before := len(traffic.Requests())
	layout := "oci:" + filepath.Join(t.TempDir(), "layout") + ":v1"
	berth(t.Context(), "copy", source+":v1", east+"/app:v1", west+"/app:v1", layout).wants(t, 0, "3 destinations written")

	original := manifest(t, image, "v1")
	arrived(t, east+"/app:v1", original)
	arrived(t, west+"/app:v1", original)
	berth(t.Context(), "copy", layout, east+"/back:v1").wants(t, 0)
	arrived(t, east+"/back:v1", original)

	fetched := map[string]int{}
	for _, request := range traffic.Requests()[before:] {
		if strings.HasPrefix(request, "GET ") {
			fetched[request]++
		}
	}
	for request, times := range fetched {
		if times > 1 {
			t.Errorf("%d × %s", times, request)
		}
	}
	if len(fetched) == 0 {
		t.Error("nothing was fetched")
	}
}
