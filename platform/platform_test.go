package platform

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64":        "linux/amd64",
		"linux/x86_64":       "linux/amd64",
		"linux/x86-64":       "linux/amd64",
		"Linux/AMD64":        "linux/amd64",
		"linux/amd64/v1":     "linux/amd64",
		"linux/amd64/v3":     "linux/amd64/v3",
		"linux/arm64":        "linux/arm64",
		"linux/aarch64":      "linux/arm64",
		"linux/arm64/v8":     "linux/arm64",
		"linux/arm64/v8.0":   "linux/arm64",
		"linux/arm64/8":      "linux/arm64",
		"linux/arm64/v9":     "linux/arm64/v9",
		"linux/arm":          "linux/arm/v7",
		"linux/armhf":        "linux/arm/v7",
		"linux/armel":        "linux/arm/v6",
		"linux/arm/7":        "linux/arm/v7",
		"linux/arm/v6":       "linux/arm/v6",
		"linux/i386":         "linux/386",
		"macos/arm64":        "darwin/arm64",
		"windows/amd64":      "windows/amd64",
		"linux/riscv64":      "linux/riscv64",
		"linux/s390x":        "linux/s390x",
		"linux/mips64le":     "linux/mips64le",
		"unknown/unknown":    "unknown/unknown",
		"linux/ppc64le":      "linux/ppc64le",
		"linux/arm64/v8.2":   "linux/arm64/v8.2",
		"wasip1/wasm":        "wasip1/wasm",
		"linux/loong64":      "linux/loong64",
		"freebsd/amd64":      "freebsd/amd64",
		"linux/x86_64/v1":    "linux/amd64",
		"linux/Aarch64/V8":   "linux/arm64",
		"linux/something_el": "linux/something_el",
	} {
		p, err := Parse(in)
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			continue
		}
		if got := Format(p); got != want {
			t.Errorf("Parse(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, hint := range map[string]string{
		"":                       "os/architecture",
		"arm64":                  "linux/arm64",
		"linux":                  "linux/amd64",
		"linux/":                 "os/architecture",
		"/amd64":                 "os/architecture",
		"linux/arm/v7/extra":     "os/architecture",
		"linux/am d64":           "os/architecture",
		"linux/amd64,linux/arm":  "os/architecture",
		"linux/*":                "os/architecture",
		"linux//v7":              "os/architecture",
		strings.Repeat("a", 200): "at most 128",
		"linux/amd64\x1b[31m":    "os/architecture",
	} {
		p, err := Parse(in)
		if err == nil {
			t.Errorf("Parse(%q) = %s, want an error", in, Format(p))
		} else if !strings.Contains(err.Error(), hint) {
			t.Errorf("Parse(%q): %q does not say %q", in, err, hint)
		}
	}
}

func TestNormalizeFillsNothingIn(t *testing.T) {
	if p := Normalize(Platform{}); p.OS != "" || p.Architecture != "" || p.Variant != "" {
		t.Errorf("Normalize of nothing = %+v", p)
	}
	if p := Normalize(Platform{Architecture: "aarch64", Variant: "v8"}); p.OS != "" || p.Architecture != "arm64" || p.Variant != "" {
		t.Errorf("Normalize without OS = %+v", p)
	}
}

func TestBest(t *testing.T) {
	for _, c := range []struct{ name, want, have, best string }{
		{"the exact one", "linux/arm64", "linux/amd64 linux/arm64", "linux/arm64"},
		{"arm64 is arm64/v8", "linux/arm64", "linux/amd64 linux/arm64/v8", "linux/arm64"},
		{"arm64/v8 is arm64", "linux/arm64/v8", "linux/arm64", "linux/arm64"},
		{"nothing that fits", "linux/amd64", "linux/arm64 linux/s390x", ""},
		{"386 on amd64 as a last resort", "linux/amd64", "linux/arm64 linux/386", "linux/386"},
		{"amd64 before 386", "linux/amd64", "linux/386 linux/amd64", "linux/amd64"},
		{"v2 does not fit a v1 host", "linux/amd64", "linux/amd64/v2", ""},
		{"the highest level the host has", "linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", "linux/amd64/v2"},
		{"arm/v7 on arm64", "linux/arm64", "linux/amd64 linux/arm/v6 linux/arm/v7", "linux/arm/v7"},
		{"arm/v7 takes v6", "linux/arm/v7", "linux/arm/v5 linux/arm/v6", "linux/arm/v6"},
		{"arm/v6 does not take v7", "linux/arm/v6", "linux/arm/v7", ""},
		{"never another OS", "linux/amd64", "windows/amd64", ""},
		{"an attestation is no platform", "linux/amd64", "unknown/unknown", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var have []Platform
			for _, s := range strings.Fields(c.have) {
				have = append(have, MustParse(s))
			}
			got := ""
			if i := Best(MustParse(c.want), have); i >= 0 {
				got = Format(have[i])
			}
			if got != c.best {
				t.Errorf("Best(%s, %s) = %q, want %q", c.want, c.have, got, c.best)
			}
		})
	}
}

func TestBestKeepsTheFirstOfEquals(t *testing.T) {
	have := []Platform{MustParse("linux/arm64"), {OS: "linux", Architecture: "arm64", Variant: "v8"}}
	if i := Best(MustParse("linux/arm64"), have); i != 0 {
		t.Errorf("Best = %d, want 0", i)
	}
}

func TestBestWithoutPlatform(t *testing.T) {
	if i := Best(Platform{}, []Platform{MustParse("linux/amd64")}); i != -1 {
		t.Errorf("Best of nothing asked = %d, want -1", i)
	}
	if i := Best(MustParse("linux/amd64"), []Platform{{}}); i != -1 {
		t.Errorf("an entry without a platform was taken for linux/amd64")
	}
}

func TestCompatRuns(t *testing.T) {
	all := Compat{IA32: true, AArch32: true}
	for _, c := range []struct {
		host, p string
		compat  Compat
		want    bool
	}{
		{"linux/amd64", "linux/amd64", Compat{}, true},
		{"linux/amd64", "linux/arm64", all, false},
		{"linux/amd64", "linux/386", Compat{}, false},
		{"linux/amd64", "linux/386", all, true},
		{"linux/arm64", "linux/arm/v7", Compat{}, false},
		{"linux/arm64", "linux/arm/v7", all, true},
		{"linux/arm/v7", "linux/arm/v6", Compat{}, true},
		{"linux/arm/v6", "linux/arm/v7", all, false},
		{"linux/amd64", "linux/amd64/v3", all, false},
		{"linux/amd64/v3", "linux/amd64/v2", Compat{}, true},
		{"linux/amd64", "windows/amd64", all, false},
	} {
		if got := c.compat.Runs(MustParse(c.host), MustParse(c.p)); got != c.want {
			t.Errorf("%+v.Runs(%s, %s) = %t, want %t", c.compat, c.host, c.p, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"linux/amd64", "linux/arm/v7", "linux", "a/b/c/d", "linux/arm64/v8", "", "macos/aarch64", "\xff/\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(Format(p))
		if err != nil {
			t.Fatalf("Parse(%q) = %s, which does not parse: %v", s, Format(p), err)
		}
		if !Equal(p, again) || Format(again) != Format(p) {
			t.Fatalf("Parse(%q) = %s, read back as %s", s, Format(p), Format(again))
		}
	})
}
