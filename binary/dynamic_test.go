package binary

import (
	"errors"
	"testing"

	"berth/internal/imagetest"
	"berth/platform"
)

// FuzzDynamic reads files as loaders do: it ends, and asks for no more than it may.
func FuzzDynamic(f *testing.F) {
	for _, name := range []string{"linux/amd64", "linux/386", "linux/s390x"} {
		f.Add(imagetest.ELF(platform.MustParse(name), "/lib/ld.so"))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for arch := range formats {
			p := &Program{Arch: arch}
			p.MatchLibrary(raw, int64(len(raw)))
			d, err := p.Dynamic(raw, int64(len(raw)))
			var need *NeedError
			var unmodelled *UnmodelledError
			if err != nil && !errors.As(err, &need) && !errors.As(err, &unmodelled) {
				t.Errorf("%s: %v", arch, err)
			}
			if need != nil {
				t.Errorf("%s: it has all of the file, and asks for %d bytes", arch, need.Bytes)
			}
			if d != nil && (len(d.Needed) > maxDynamic || len(d.Requires) > maxDynamic || len(d.Provides) > maxDynamic) {
				t.Errorf("%s: tables without bounds", arch)
			}
		}
	})
}
