package launch

import (
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// A layer that brings lib64/x hides the loader behind the link lib64 of a merged /usr.
func TestReplacedLink(t *testing.T) {
	const loader = "/lib64/ld-linux-x86-64.so.2"
	base := []imagetest.File{
		{Name: "lib64", Link: "usr/lib64"},
		{Name: "usr/lib64/ld-linux-x86-64.so.2", Mode: 0o755, Body: string(imagetest.ELF(amd64.Platform, ""))},
		{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(amd64.Platform, loader))},
	}
	config := v1.ImageConfig{Entrypoint: []string{"/app"}}
	whole := prove(t, imageOf(t, base), config, amd64)
	if whole.Verdict != Starts || strings.Contains(causes(whole), CauseLinkReplaced) {
		t.Errorf("with the link: %s, %s", whole.Verdict, causes(whole))
	}
	broken := prove(t, imageOf(t, base, []imagetest.File{{Name: "lib64/x", Body: "x"}}), config, amd64)
	if broken.Failure == nil || broken.Failure.Cause != CauseMissingLoader {
		t.Fatalf("without: %+v", broken)
	}
	if !strings.Contains(causes(broken), CauseLinkReplaced) {
		t.Errorf("nothing is said of the link: %+v", broken.Warnings)
	}
	// The layer that hid the loader is to blame, not the program that needs it.
	if f := broken.Failure; f.CreatedBy != "COPY app /" || !strings.Contains(f.Detail, "it is at /usr/lib64/ld-linux-x86-64.so.2") || !strings.Contains(f.Fix, "below /usr/lib64 instead of /lib64") {
		t.Errorf("%+v", f)
	}
}

func causes(p *Proof) string {
	var all []string
	for _, w := range p.Warnings {
		all = append(all, w.Cause)
	}
	return strings.Join(all, " ")
}
