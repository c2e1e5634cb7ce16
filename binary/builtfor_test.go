package binary

import (
	"encoding/binary"
	"testing"

	"berth/internal/imagetest"
	"berth/platform"
)

// goStrings are the strings behind the header of Go's build information.
func goStrings(version, module string) []byte {
	raw := binary.AppendUvarint(nil, uint64(len(version)))
	raw = append(raw, version...)
	raw = binary.AppendUvarint(raw, uint64(len(module)))
	return append(raw, module...)
}

// attributes are build attributes with one file's worth of tags.
func attributes(tags ...byte) []byte {
	file := binary.LittleEndian.AppendUint32([]byte{tagFile}, uint32(5+len(tags)))
	section := append([]byte("aeabi\x00"), append(file, tags...)...)
	return append(binary.LittleEndian.AppendUint32([]byte{'A'}, uint32(4+len(section))), section...)
}

func TestARMVersion(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want int
	}{
		{"ARMv7 behind a CPU's name", attributes(5, '7', '-', 'A', 0, 6, 10, 8, 1), 7},
		{"ARMv5TE", attributes(6, 4), 5},
		{"ARMv6K, behind a compatibility tag", attributes(32, 1, 'x', 0, 6, 9), 6},
		{"no version", attributes(8, 1), 0},
		{"a version that nobody knows", attributes(6, 120), 0},
		{"cut", attributes(6, 10)[:14], 0},
		{"text without an end", attributes(5, 'x', 'y'), 0},
		{"another vendor", []byte("A\x10\x00\x00\x00other\x00\x01\x06\x00\x00\x00\x06"), 0},
		{"nothing", nil, 0},
	} {
		if got := armVersion(c.raw); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestGoSettings(t *testing.T) {
	got := goSettings(goStrings("go1.26.0", "0w\xaf\x0c\x92tpath\tx\nmod\tx\t(devel)\t\nbuild\t-trimpath=true\nbuild\tGOAMD64=v3\nbuild\tGOARM=7,softfloat\n\xf92C1"))
	if got == nil || *got != (GoBuild{AMD64: "v3", ARM: "7,softfloat"}) {
		t.Errorf("%+v", got)
	}
	if got := goSettings([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'x'}); got != nil {
		t.Errorf("a length beyond the end: %+v", got)
	}
}

// FuzzBuiltFor reads what programs were built for: it ends, and asks for no more than it may.
func FuzzBuiltFor(f *testing.F) {
	info := append([]byte(goMagic+"\x08\x02"), make([]byte, goHeader-16)...)
	f.Add(append(info, goStrings("go1.26", "build\tGOAMD64=v2\n")...))
	f.Add(goStrings("go1.26", "build\tGOARM=6\n"))
	f.Add(attributes(5, '7', 0, 6, 10))
	for _, name := range []string{"linux/amd64", "linux/arm/v7", "linux/s390x"} {
		f.Add(imagetest.ELF(platform.MustParse(name), ""))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		goSettings(raw)
		if v := armVersion(raw); v < 0 || v > 8 {
			t.Errorf("ARMv%d", v)
		}
		for arch := range formats {
			p := &Program{Arch: arch}
			k, _ := KernelFor(platform.Platform{OS: "linux", Architecture: arch}, platform.Compat{}, 0)
			if loaded, err := k.Load(raw, int64(len(raw))); err == nil {
				p = loaded
			} else {
				// What no kernel takes has the data that the fuzzer likes.
				p.segments = []segment{{typ: ptLoad, flags: pfWrite, filesz: uint64(len(raw))}, {typ: ptNote}}
			}
			p.IsGo(raw)
			if _, err := p.GoBuild(raw, int64(len(raw))); needs(err) {
				t.Errorf("%s: it has all of the file, and asks for more", arch)
			}
			if _, err := p.ARMVersion(raw, int64(len(raw))); needs(err) {
				t.Errorf("%s: it has all of the file, and asks for more", arch)
			}
		}
	})
}

func needs(err error) bool {
	_, is := err.(*NeedError)
	return is
}
