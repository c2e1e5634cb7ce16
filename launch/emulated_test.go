package launch

import (
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestEmulated starts programs for arm64 on an amd64 host that emulates them, or others.
func TestEmulated(t *testing.T) {
	arm, dynamicARM := elf("linux/arm64", ""), elf("linux/arm64", "/lib/ld-linux-aarch64.so.1")
	loader := file("lib/ld-linux-aarch64.so.1", 0o755, patch(arm, atType, 3, 0))
	with := func(emulated ...string) Host {
		host := amd64
		for _, e := range emulated {
			host.Emulates = append(host.Emulates, platform.MustParse(e))
		}
		return host
	}
	for _, c := range []struct {
		name          string
		files         []imagetest.File
		process       v1.ImageConfig
		host          Host
		want, warning string
	}{
		{"not emulated", one(exe("app", arm)), run("/app"), amd64, "fails exec ENOEXEC " + CauseWrongMachine, ""},
		{"another is emulated", one(exe("app", arm)), run("/app"), with("linux/arm"), "fails exec ENOEXEC " + CauseWrongMachine, ""},
		{"emulated", one(exe("app", arm)), run("/app"), with("linux/arm", "linux/arm64"), "starts", CauseEmulated},
		{"a native program", one(exe("app", static)), run("/app"), with("linux/arm64"), "starts", ""},
		{"a script's interpreter", one(exe("app", "#!/sh\nexec /prog\n"), exe("sh", arm), exe("prog", arm)), run("/app"), with("linux/arm64"), "starts", CauseEmulated},
		{"its loader is missing", one(exe("app", dynamicARM)), run("/app"), with("linux/arm64"), "fails run - " + CauseMissingLoader, CauseEmulated},
		{"its loader is there", one(exe("app", dynamicARM), loader), run("/app"), with("linux/arm64"), "starts", CauseEmulated},
		{"its loader is for another machine", one(exe("app", dynamicARM), exe("lib/ld-linux-aarch64.so.1", sharedObject)), run("/app"), with("linux/arm64"), "fails run ELIBBAD " + CauseWrongMachineLoader, CauseEmulated},
		{"damaged", one(exe("app", arm[:100])), run("/app"), with("linux/arm64"), "unknown", CauseEmulated},
		{"no program", one(exe("app", "text")), run("/app"), with("linux/arm64"), "fails exec ENOEXEC " + CauseNoShebang, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			proof := prove(t, imageOf(t, c.files), c.process, c.host)
			got, _, _ := strings.Cut(causes(proof), " ")
			if s := summary(proof); !sameButErrno(s, c.want) || got != c.warning {
				t.Errorf("%s with %q, want %s with %q\n%+v %s", s, causes(proof), c.want, c.warning, proof.Failure, proof.Reason)
			}
		})
	}
	// What a wrapper starts is emulated as well.
	d := prove(t, imageOf(t, one(exe("tini", static), exe("app", arm))), run("/tini", "--", "/app"), with("linux/arm64")).Derived
	if d == nil || d.Verdict != Starts || len(d.Warnings) != 1 || d.Warnings[0].Cause != CauseEmulated {
		t.Errorf("%+v", d)
	}
}

// sameButErrno compares summaries; an emulator exits, and no errno of it is seen.
func sameButErrno(a, b string) bool {
	drop := func(s string) string {
		f := strings.Fields(s)
		if len(f) == 4 {
			f[2] = ""
		}
		return strings.Join(f, " ")
	}
	return drop(a) == drop(b)
}
