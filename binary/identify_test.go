package binary

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/imagetest"
	"berth/platform"
)

func TestIdentify(t *testing.T) {
	for _, c := range []struct {
		head   string
		kind   Kind
		flavor Flavor
		name   string
	}{
		{"", Data, Empty, "an empty file"},
		{"#!/bin/sh\n", Script, "", "a script"},
		{"echo hello\n", Data, Text, "a text file without #!"},
		{"gr\xc3\xbc\xc3", Data, Text, "a text file without #!"}, // cut within a character
		{"\x01\x02\xff", Data, "", "a file of no executable format"},
		{"\x00\x00\x00", Data, "", "a file that begins with nothing but zeros"},
		{"\xef\xbb\xbf#!/bin/sh", Data, ByteOrderMark, "a script with a UTF-8 byte order mark before its #!"},
		{"\xff\xfe#\x00!\x00", Data, ByteOrderMark, "a script in UTF-16 (little endian)"},
		{"version https://git-lfs.github.com/spec/v1\n", Data, LFSPointer, "a Git LFS pointer, the text that stands for a file which was not fetched"},
		{"MZ", PE, "", "a Windows executable"},
		{"MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00PE\x00\x00\x64\xaa", PE, "", "a Windows executable for windows/arm64"},
		{"MZ" + strings.Repeat("\x00", 58) + "\xff\xff\xff\xffPE", PE, "", "a Windows executable"},
		{"\xcf\xfa\xed\xfe\x07\x00\x00\x01", MachO, "", "a macOS executable for darwin/amd64"},
		{"\xfe\xed\xfa\xce\x00\x00\x00\x12", MachO, "", "a macOS executable"},
		{"\xca\xfe\xba\xbe\x00\x00\x00\x02", MachO, "", "a macOS executable for several machines"},
		{"\xca\xfe\xba\xbe\x00\x00\x00\x3d", Data, "", "a Java class"},
		{"\x7fELF\x02\x01", ELF, CutHeader, "an ELF file that is cut off in its header"},
		{elf("linux/arm64")[:20], ELF, "", "an ELF executable for linux/arm64"},
		{"\x7fELF\x02\x02" + elf("linux/arm64")[6:16] + "\x00\x02\x00\xb7", ELF, "", "an ELF executable for linux/arm64be"},
		{"\x7fELF\x01" + elf("linux/amd64")[5:], ELF, "", "an ELF executable for x32 (32-bit pointers on x86-64), which has no platform name"},
		{elf("linux/amd64")[:18] + "\xff\xff", ELF, "", "an ELF executable for machine 65535 (class 2, data 1), which has no platform name"},
		{elf("linux/amd64")[:16] + "\x01\x00" + elf("linux/amd64")[18:], ELF, ObjectFile, "an ELF object file for linux/amd64"},
		{elf("linux/amd64")[:7] + "\x09" + elf("linux/amd64")[8:], ELF, "", "an ELF executable for freebsd/amd64"},
	} {
		got := Identify([]byte(c.head), int64(len(c.head)))
		if got.Kind != c.kind || got.Flavor != c.flavor || got.Name != c.name {
			t.Errorf("%.40q is %+v, want %s, %q, %q", c.head, got, c.kind, c.flavor, c.name)
		}
	}
}

func elf(p string) string { return string(imagetest.ELF(platform.MustParse(p), "")) }

// TestGoPrograms loads what the Go toolchain links for each platform with the kernel of
// each: every program goes with its own kernel, and with no other.
func TestGoPrograms(t *testing.T) {
	if testing.Short() {
		imagetest.Missing(t, "time to compile a program for each platform", "leave -short out")
	}
	all := append(imagetest.GoPlatforms[:len(imagetest.GoPlatforms):len(imagetest.GoPlatforms)], "linux/loong64", "linux/mips64le")
	for _, name := range all {
		p := platform.MustParse(name)
		t.Run(name, func(t *testing.T) {
			raw := imagetest.GoProgram(t, p, "package main\n\nfunc main() {}\n")
			head, size := raw[:HeadSize], int64(len(raw))
			if got := Identify(head, size); got.Kind != ELF || got.Platform.Architecture != p.Architecture || got.Platform.OS != "linux" {
				t.Errorf("identified as %+v", got)
			}
			for _, host := range all {
				kernel, ok := KernelFor(platform.MustParse(host), platform.Compat{}, 0)
				if !ok {
					t.Fatalf("no kernel for %s", host)
				}
				program, err := kernel.Load(head, size)
				var refusal *Refusal
				switch {
				case platform.MustParse(host).Architecture != p.Architecture:
					if !errors.As(err, &refusal) || refusal.Errno != "ENOEXEC" {
						t.Errorf("a kernel for %s answers %+v, %v", host, program, err)
					}
				case err != nil || program.HasInterp || program.MaxPage() == 0:
					t.Errorf("its own kernel answers %+v, %v", program, err)
				default:
					if death, err := program.Map(size); death != nil || err != nil {
						t.Errorf("its own kernel maps it with %+v, %v", death, err)
					}
				}
			}
		})
	}
}

// TestLoadAsksForMore moves program headers and the interpreter's name away from the
// head.
func TestLoadAsksForMore(t *testing.T) {
	kernel, _ := KernelFor(platform.MustParse("linux/amd64"), platform.Compat{}, 0)
	raw := imagetest.ELF(platform.MustParse("linux/amd64"), "")
	phdrs := raw[64 : 64+56]
	for _, c := range []struct {
		name string
		at   int
		need int
	}{
		{"within bounds", 1 << 20, 1<<20 + 56},
		{"beyond them", 9 << 20, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := append(append(append([]byte{}, raw...), make([]byte, c.at-len(raw))...), phdrs...)
			file[32], file[33], file[34], file[35] = 0, byte(c.at>>8), byte(c.at>>16), byte(c.at>>24)
			_, err := kernel.Load(file[:HeadSize], int64(len(file)))
			var need *NeedError
			var unmodelled *UnmodelledError
			if c.need == 0 {
				if !errors.As(err, &unmodelled) {
					t.Errorf("got %v", err)
				}
				return
			}
			if !errors.As(err, &need) || need.Bytes != c.need {
				t.Fatalf("got %v, want a need of %d", err, c.need)
			}
			if _, err := kernel.Load(file[:need.Bytes], int64(len(file))); err != nil {
				t.Errorf("with what it asked for: %v", err)
			}
		})
	}
}

// FuzzLoad gives arbitrary heads of files of arbitrary sizes to every kernel.
func FuzzLoad(f *testing.F) {
	for _, name := range imagetest.GoPlatforms {
		for _, interp := range []string{"", "/lib/ld.so"} {
			raw := imagetest.ELF(platform.MustParse(name), interp)
			f.Add(raw, int64(len(raw)))
			f.Add(raw[:100], int64(len(raw)))
		}
	}
	var kernels []Kernel
	for arch := range formats {
		k, _ := KernelFor(platform.Platform{OS: "linux", Architecture: arch}, platform.Compat{IA32: true, AArch32: true}, 0)
		kernels = append(kernels, k)
	}
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		if size < int64(len(head)) {
			size = int64(len(head))
		}
		Identify(head, size)
		for _, k := range kernels {
			p, err := k.Load(head, size)
			var need *NeedError
			if errors.As(err, &need) && (need.Bytes <= len(head) || need.Bytes > MaxHead) {
				t.Errorf("asks for %d bytes, has %d", need.Bytes, len(head))
			}
			if err != nil {
				continue
			}
			if death, err := p.Map(size); death == nil && err == nil && p.MaxPage() == 0 {
				t.Error("maps what no page size fits")
			}
			if _, err := k.LoadInterpreter(p, head, size); errors.As(err, &need) && need.Bytes <= len(head) {
				t.Errorf("the interpreter needs %d bytes, has %d", need.Bytes, len(head))
			}
		}
	})
}
