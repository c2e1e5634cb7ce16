package launch

import (
	"strings"
	"testing"

	"berth/internal/imagetest"
	"berth/platform"
)

// TestGoLevels proves Go programs that were built for newer CPUs than hosts have.
func TestGoLevels(t *testing.T) {
	v3 := string(imagetest.GoProgram(t, platform.MustParse("linux/amd64/v3"), "package main\nfunc main() {}\n"))
	v7 := string(imagetest.GoProgram(t, platform.MustParse("linux/arm/v7"), "package main\nfunc main() {}\n"))
	v5 := string(imagetest.GoProgram(t, platform.MustParse("linux/arm/v5"), "package main\nfunc main() {}\n"))
	level := func(n int) Host { return Host{Platform: amd64.Platform, CPULevel: n} }
	on := func(p string) Host { return Host{Platform: platform.MustParse(p)} }
	for _, c := range []struct {
		name, program string
		host          Host
		want, warning string
	}{
		{"v3 on v2", v3, level(2), "fails run - " + CauseCPULevel, ""},
		{"v3 on a platform v2", v3, on("linux/amd64/v2"), "fails run - " + CauseCPULevel, ""},
		{"v3 on v3", v3, level(3), "starts", ""},
		{"v3 on v4", v3, level(4), "starts", ""},
		{"v3 on a CPU that is not known", v3, level(0), "starts", ""},
		{"GOARM=7 on ARMv6", v7, on("linux/arm/v6"), "starts", CauseCPULevel},
		{"GOARM=7 on ARMv7", v7, on("linux/arm/v7"), "starts", ""},
		{"GOARM=5 on ARMv6", v5, on("linux/arm/v6"), "starts", ""},
		{"GOARM=5 on ARMv5", v5, on("linux/arm/v5"), "starts", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			proof := prove(t, imageOf(t, one(exe("app", c.program))), run("/app"), c.host)
			if got := summary(proof); got != c.want || causes(proof) != c.warning {
				t.Errorf("%s with %q, want %s with %q\n%+v", got, causes(proof), c.want, c.warning, proof.Failure)
			}
			// The line is the program's own.
			if f := proof.Failure; f != nil && !strings.Contains(c.program, f.Message+"\n") {
				t.Errorf("%q is not in the program", f.Message)
			}
		})
	}
	// Where it lies too far into the file, that is said.
	far := patch64(v3, strings.Index(v3, "\x01\x00\x00\x00\x06\x00\x00\x00")+phOffset, 9<<20) + strings.Repeat("\x00", 10<<20)
	if proof := prove(t, imageOf(t, one(exe("app", far))), run("/app"), level(2)); proof.Verdict != Starts || causes(proof) != CauseCPULevel {
		t.Errorf("beyond reach: %s, %+v", summary(proof), proof.Warnings)
	}
}

// TestARMAttributes proves what Debian built for ARMv5 and for ARMv7 on hosts of both.
func TestARMAttributes(t *testing.T) {
	for _, c := range []struct{ packages, host, warning string }{
		{"linux/arm/v5", "linux/arm/v5", ""},
		{"linux/arm/v7", "linux/arm/v6", CauseCPULevel},
		{"linux/arm/v7", "linux/arm/v7", ""},
	} {
		files := imagetest.DebianFiles(t, platform.MustParse(c.packages), "busybox-static")
		proof := prove(t, imageOf(t, files), run("/bin/busybox", "true"), Host{Platform: platform.MustParse(c.host)})
		if proof.Verdict != Starts || causes(proof) != c.warning {
			t.Errorf("%s on %s: %s with %q, want %q", c.packages, c.host, summary(proof), causes(proof), c.warning)
		}
	}
}

// TestOwnLevel proves programs of a distribution whose C library is built for newer CPUs.
func TestOwnLevel(t *testing.T) {
	loader := dynamicFile{soname: "ld-linux-x86-64.so.2", provides: []string{"GLIBC_PRIVATE"}, isa: 2}.build() +
		"/lib64/\x00/usr/lib64/\x00Fatal glibc error: CPU does not support x86-64-v%d\n\x00"
	files := one(exe("app", dynamicFile{interp: amd64Loader}.build()), exe("lib64/ld-linux-x86-64.so.2", loader))
	for _, c := range []struct {
		level         int
		want, warning string
	}{
		{0, "starts", CauseCPULevel},
		{1, "fails run - " + CauseCPULevel, ""},
		{2, "starts", ""},
	} {
		proof := prove(t, imageOf(t, files), run("/app"), Host{Platform: amd64.Platform, CPULevel: c.level})
		if summary(proof) != c.want || causes(proof) != c.warning {
			t.Errorf("level %d: %s with %q, want %s with %q\n%+v", c.level, summary(proof), causes(proof), c.want, c.warning, proof)
		}
		if f := proof.Failure; f != nil && f.Message != "Fatal glibc error: CPU does not support x86-64-v2" {
			t.Errorf("%q", f.Message)
		}
	}
}
