package e2e

import (
	"net/http"
	"strings"
	"testing"

	"berth/internal/imagetest"
)

// TestProofRidesAlong copies with a proof, and counts what the source is asked for: no
// layer is fetched for the proof that is copied anyway.
func TestProofRidesAlong(t *testing.T) {
	m := imagetest.New()
	right, wrong := m.AddImage(single("linux/amd64", "linux/amd64"), ""), m.AddImage(single("linux/arm64", "linux/amd64"), "")
	m.AddIndex("v1", "", right, wrong)
	for _, c := range []struct {
		name, platform string
		code           int
		says           string
		several        bool
	}{
		{"it starts", "linux/amd64", 0, "starts on linux/amd64 (proven)", false},
		{"it starts, at two destinations", "linux/amd64", 0, "starts on linux/amd64 (proven)", true},
		{"it does not", "linux/arm64", 1, "is not written: ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("BERTH_CACHE", t.TempDir())
			var traffic imagetest.Traffic
			source := push(t, m, imagetest.Registry(t, traffic.Record), "app")
			before := len(traffic.Requests())
			host := imagetest.Registry(t)
			args := []string{"copy", source + ":v1", host + "/app:v1", "--platform", c.platform}
			if c.several {
				args = append(args, host+"/other:v1")
			}
			berth(t.Context(), args...).wants(t, c.code, c.says)
			fetched := map[string]int{}
			for _, request := range traffic.Requests()[before:] {
				if strings.HasPrefix(request, http.MethodGet+" ") && strings.Contains(request, "/blobs/") {
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
			if c.code == 0 {
				return
			}
			// What is there already is read for the proof alone.
			berth(t.Context(), "copy", source+":v1", host+"/app:all").wants(t, 0)
			berth(t.Context(), "copy", source+":v1", host+"/app:v1", "--platform", c.platform, "--no-cache").wants(t, c.code, c.says)
			berth(t.Context(), "inspect", host+"/app:v1").wants(t, 3)
		})
	}
}
