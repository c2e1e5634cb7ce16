package binary

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// GoBuild is what the Go toolchain recorded of how it built a program: go version -m shows
// it.
type GoBuild struct {
	// AMD64 is GOAMD64, "v1" to "v4", and ARM is GOARM, "5" to "7" with what may follow it;
	// empty where they do not apply.
	AMD64, ARM string
}

// The layout of the build information since Go 1.18, from the comment on buildInfoMagic in
// Go's debug/buildinfo: it begins the data segment, aligned to 16 bytes, and the strings
// follow the header of 32 bytes, each behind its length.
const (
	goMagic     = "\xff Go buildinf:"
	goHeader    = 32
	goInline    = 2 // the flag that the strings follow
	goSearch    = 4096
	goFlagsAt   = 15
	goAlignment = 16
	// maxGoBuild bounds the strings. Kubernetes, with hundreds of modules, has 40 KiB.
	maxGoBuild = 256 << 10
)

// IsGo tells whether the Go linker made the program: it leaves a note with the build ID in
// the first page (ELFNOTE_GO of Go's cmd/link/internal/ld/elf.go).
func (p *Program) IsGo(head []byte) bool {
	for _, s := range p.segments {
		if s.typ != ptNote || s.offset+16 > uint64(len(head)) || s.offset+16 < s.offset {
			continue
		}
		note := head[s.offset:]
		if order := formats[p.Arch].order; order.Uint32(note) == 4 && order.Uint32(note[8:]) == 4 && string(note[12:16]) == "Go\x00\x00" {
			return true
		}
	}
	return false
}

// GoBuild reads what Go recorded; nil where it has recorded nothing that is known. The error
// is a [*NeedError] or an [*UnmodelledError], where it lies too far into the file.
func (p *Program) GoBuild(head []byte, size int64) (*GoBuild, error) {
	for _, s := range p.segments {
		if s.typ != ptLoad || s.flags&pfWrite == 0 || s.flags&pfExec != 0 {
			continue
		}
		data, err := slice(head, size, s.offset, min(s.filesz, goSearch), "Go build information")
		if err != nil {
			return nil, notRefused(err)
		}
		for at := 0; at+goHeader <= len(data); at += goAlignment {
			if !bytes.HasPrefix(data[at:], []byte(goMagic)) {
				continue
			}
			if data[at+goFlagsAt]&goInline == 0 {
				return nil, nil // before Go 1.18, which recorded no settings
			}
			from := s.offset + uint64(at) + goHeader
			all, err := slice(head, size, from, min(s.filesz-uint64(at)-goHeader, maxGoBuild), "Go build information")
			if err != nil {
				return nil, notRefused(err)
			}
			return goSettings(all), nil
		}
		return nil, nil
	}
	return nil, nil
}

// goSettings reads the version of Go, which is skipped, and the module's information, of
// which the settings are lines "build\tNAME=VALUE".
func goSettings(raw []byte) *GoBuild {
	var text string
	for range 2 {
		n, used := binary.Uvarint(raw)
		if used <= 0 || n > uint64(len(raw)-used) {
			return nil
		}
		text, raw = string(raw[used:used+int(n)]), raw[used+int(n):]
	}
	build := &GoBuild{}
	for line := range strings.Lines(text) {
		setting, _ := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "build\t")
		switch name, value, _ := strings.Cut(setting, "="); name {
		case "GOAMD64":
			build.AMD64 = value
		case "GOARM":
			build.ARM = value
		}
	}
	return build
}
