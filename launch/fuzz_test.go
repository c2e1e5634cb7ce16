package launch

import (
	"strings"
	"testing"

	"berth/binary"
	"berth/internal/imagetest"
	"berth/platform"
)

// seeds are the programs and scripts of the corpus.
func seeds(f *testing.F) {
	f.Helper()
	for _, s := range corpus() {
		for _, file := range s.files {
			if file.Name == "app" && len(file.Body) < 4096 {
				f.Add([]byte(file.Body))
			}
		}
	}
}

// FuzzProve starts arbitrary bytes on hosts of every kind: whatever they are, there is
// an answer, and one that holds together.
func FuzzProve(f *testing.F) {
	seeds(f)
	hosts := []Host{amd64}
	for _, p := range imagetest.GoPlatforms {
		hosts = append(hosts, Host{Platform: platform.MustParse(p), CompatUnknown: platform.Compat{IA32: true, AArch32: true}})
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fsys := imageOf(t, one(exe("app", string(body)), exe("sh", static), exe(strings.TrimPrefix(amd64Loader, "/"), sharedObject)))
		for _, host := range hosts {
			proof := prove(t, fsys, run("/app"), host)
			if proof.Verdict == Starts && !strings.HasPrefix(string(body), "\x7fELF") && !strings.HasPrefix(string(body), "#!") {
				t.Errorf("on %s, %s starts", platform.Format(host.Platform), binary.Identify(body, int64(len(body))).Name)
			}
		}
	})
}
