package launch

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"berth/binary"
)

// The rules of this file are those of glibc 2.26 to 2.41: elf/rtld.c, elf/dl-load.c,
// elf/dl-deps.c, elf/dl-version.c and elf/dl-cache.c. /etc/ld.so.conf is not among them:
// ldconfig makes the cache of it, and the loader never reads it.

// glibc loads what is needed, breadth first, and then checks symbol versions and the CPU.
func (l *loading) glibc() error {
	if err := l.ownLevel(); err != nil {
		return err
	}
	folders, err := l.systemFolders()
	if err != nil {
		return err
	}
	cache, err := l.readCache()
	if err != nil {
		return err
	}
	for i := 0; i < len(l.objects); i++ {
		by := l.objects[i]
		if by.dynamic.Audits {
			return unknown("%s has a filter or an auditor, which was not followed", printable(by.info.Path))
		}
		for _, name := range by.dynamic.Needed {
			if name, err = l.expand(name, by); err != nil {
				return err
			}
			if l.loaded(name) != nil {
				continue
			}
			if err := l.findGlibc(name, by, cache, folders); err != nil {
				return err
			}
		}
	}
	if l.loaded("libc.so.6") == nil && slices.ContainsFunc(l.objects, func(o *object) bool { return slices.Contains(o.dynamic.Needed, l.loader.dynamic.Soname) }) {
		return unknown("it needs the loader's own symbols, which that takes from a libc that is not loaded")
	}
	if err := l.versions(); err != nil {
		return err
	}
	return l.cpuLevel()
}

// loaded is _dl_map_object's look at what is there already.
func (l *loading) loaded(name string) *object {
	for _, o := range l.all() {
		if name == o.name || name == o.dynamic.Soname || slices.Contains(o.asked, name) {
			return o
		}
	}
	return nil
}

// findGlibc is _dl_map_object for a library that is not there yet.
func (l *loading) findGlibc(name string, by *object, cache map[string][]string, folders []string) error {
	var candidates, searched []string
	search := func(paths string, o *object) error {
		if paths == "" {
			return nil
		}
		for _, folder := range strings.Split(paths, ":") {
			folder, err := l.expand(folder, o)
			if err != nil {
				return err
			}
			if folder = strings.TrimRight(folder, "/"); folder == "" {
				return unknown("a search path has an empty folder, or the root")
			}
			searched = append(searched, folder)
			candidates = append(candidates, folder+"/"+name)
		}
		return nil
	}
	if strings.Contains(name, "/") {
		candidates = []string{name}
	} else {
		if by.dynamic.RunPath == "" {
			for o := by; o != nil; o = o.by {
				if o.dynamic.RunPath == "" {
					if err := search(o.dynamic.RPath, o); err != nil {
						return err
					}
				}
			}
		}
		if paths := l.env("LD_LIBRARY_PATH"); paths != "" {
			if l.secure() {
				return unknown("%s has setuid or setgid bits, and whether its loader heeds LD_LIBRARY_PATH then is not modelled", printable(l.main.info.Path))
			}
			if err := search(strings.ReplaceAll(paths, ";", ":"), l.main); err != nil {
				return err
			}
		}
		if err := search(by.dynamic.RunPath, by); err != nil {
			return err
		}
		if by.dynamic.NoDefault {
			return unknown("%s asks not to search the loader's own folders", printable(by.info.Path))
		}
		candidates = append(candidates, cache[name]...)
		for _, folder := range folders {
			searched = append(searched, strings.TrimSuffix(folder, "/"))
			candidates = append(candidates, folder+name)
		}
	}
	otherClass := false
	for _, candidate := range candidates {
		f, ok, err := l.openLibrary(candidate)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		head, err := l.head(f.info, binary.HeadSize)
		if err != nil {
			return err
		}
		switch l.program.MatchLibrary(head, f.info.Size) {
		case binary.Matches:
			return l.add(f, candidate, name, by)
		case binary.OtherClass:
			otherClass = true
		case binary.OtherMachine:
		case binary.TooShort:
			return l.badLibrary(f, candidate, "file too short", by)
		case binary.NoLibrary:
			return l.badLibrary(f, candidate, "invalid ELF header", by)
		default:
			return unknown("%s is an unusual library", printable(candidate))
		}
	}
	if err := l.elsewhere(name, searched); err != nil {
		return err
	}
	text := "cannot open shared object file: No such file or directory"
	if otherClass {
		text = "wrong ELF class: ELFCLASS" + map[bool]string{true: "64", false: "32"}[l.program.Is32()]
	}
	return l.missing(name, l.argv0+": error while loading shared libraries: "+name+": "+text, by)
}

// subfolders are folders that the loader looks into first where the CPU has what they are
// for: glibc-hwcaps since 2.33, the others before 2.37 (elf/dl-hwcaps.c).
var subfolders = []string{"glibc-hwcaps", "tls", "haswell", "avx512_1", "x86_64", "i686", "i586", "sse2", "cmov", "vfp", "neon", "power8", "power9", "z13", "z14"}

// elsewhere ends the proof with an unknown where a library that was not found could be in a
// place that is not modelled.
func (l *loading) elsewhere(name string, searched []string) error {
	for _, folder := range searched {
		for _, sub := range subfolders {
			f, bad, err := l.resolve(path.Join(folder, sub))
			if err != nil {
				return err
			}
			if bad == nil && f.info.Mode.IsDir() {
				return unknown("%s could be in %s, which the loader looks into where the CPU is right", printable(name), printable(f.info.Path))
			}
		}
	}
	// What is preloaded could have the name that is needed.
	f, bad, err := l.resolve("/etc/ld.so.preload")
	if err == nil && bad == nil && f.info.Size > 0 {
		err = unknown("/etc/ld.so.preload was not followed")
	}
	return err
}

// badLibrary is the failure where a search ends at a file that is no library.
func (l *loading) badLibrary(f found, name, text string, by *object) error {
	format, err := l.identify(f.info)
	if err != nil {
		return err
	}
	l.step(f, roleLibrary, format)
	failure := Failure{
		Stage: StageLoad, ExitCode: 127, Cause: CauseBadLibrary,
		Message: l.argv0 + ": error while loading shared libraries: " + name + ": " + text,
		Detail:  printable(by.info.Path) + " needs the library " + printable(name) + ", and that is " + format.Name,
		Fix:     "install the package of the library again, or find out what the build copies over it",
	}
	l.blame(&failure, f.info)
	return fails(failure)
}

// systemList is how a loader has its folders: rtld_search_dirs of elf/dl-load.c, from the
// build's trusted-dirs.st, strings one after the other.
var systemList = regexp.MustCompile(`(?:/[!-~]+/\x00){2,}`)

// systemFolders are the folders that were built into the loader, in order. Distributions
// differ, and it is the loader's bytes that say.
func (l *loading) systemFolders() ([]string, error) {
	var folders []string
	for _, list := range systemList.FindAll(l.text, -1) {
		these := strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00")
		if slices.ContainsFunc(these, func(s string) bool { return !strings.Contains(s, "lib") }) {
			continue
		}
		if folders != nil && !slices.Equal(these, folders) {
			return nil, unknown("which folders its loader searches is not certain")
		}
		folders = these
	}
	if folders == nil {
		return nil, unknown("which folders its loader searches was not found in it")
	}
	return folders, nil
}

// versions is _dl_check_all_versions.
func (l *loading) versions() error {
	for _, o := range l.all() {
		for _, need := range o.dynamic.Requires {
			provider := l.loaded(need.File)
			switch {
			case provider == nil:
				return unknown("%s needs a version of %s, which it does not load", printable(o.info.Path), printable(need.File))
			case need.Weak || provider.dynamic.Provides == nil || provider.dynamic.Provides[need.Version]:
				continue
			}
			failure := Failure{
				Stage: StageLoad, ExitCode: 1, Cause: CauseSymbolVersion, Path: provider.info.Path,
				Message: l.argv0 + ": " + l.called(provider) + ": version `" + need.Version + "' not found (required by " + l.called(o) + ")",
				Detail:  printable(o.info.Path) + " was built against a newer " + printable(need.File) + " than the image has: it needs the version " + printable(need.Version),
				Fix:     "build it on the release that the image is based on, base the image on a newer one, or build statically (Go: CGO_ENABLED=0)",
			}
			l.proof.Steps = append(l.proof.Steps, Step{Path: provider.info.Path, Kind: string(binary.ELF), Role: roleLibrary, Layer: layerOf(provider.info)})
			l.blame(&failure, o.info)
			return fails(failure)
		}
	}
	return nil
}

// called is what the loader calls an object in its messages: DSO_FILENAME.
func (l *loading) called(o *object) string {
	if o.name == "" {
		return l.argv0
	}
	return o.name
}

// ownLevel is what a loader asks of the CPU for itself, before it loads anything: that of RHEL
// 9 and its kin is built for x86-64-v2, that of RHEL 10 for v3 (init_cpu_features of glibc's
// sysdeps/x86/cpu-features.c, with MINIMUM_X86_ISA_LEVEL).
func (l *loading) ownLevel() error {
	need, have := l.loader.dynamic.ISA, l.host.level()
	if need < 2 || have >= need || !strings.Contains(string(l.text), "Fatal glibc error: CPU does not support x86-64-v") {
		return nil
	}
	level := "x86-64-v" + strconv.Itoa(need)
	if have == 0 {
		l.warn(CauseCPULevel, "the C library of the image needs a CPU of level "+level+", and which level the host has is not known")
		return nil
	}
	failure := Failure{
		Stage: StageRun, ExitCode: 127, Cause: CauseCPULevel,
		Message: "Fatal glibc error: CPU does not support " + level,
		Detail:  "the C library of the image (" + printable(l.loader.info.Path) + ") needs a CPU of level " + level + ", and the host has x86-64-v" + strconv.Itoa(have),
		Fix:     "use a base image for the host's level (RHEL 9 and its kin need x86-64-v2, RHEL 10 v3), or run it on a newer machine type",
	}
	l.blame(&failure, l.loader.info)
	return fails(failure)
}

// cpuLevel is dl_isa_level_check of sysdeps/x86/dl-prop.h, of glibc 2.33 and later: of all
// but the loader, the last first.
func (l *loading) cpuLevel() error {
	if !strings.Contains(string(l.text), ": CPU ISA level is lower than required") {
		return nil
	}
	have := l.host.level()
	for _, o := range slices.Backward(l.objects) {
		need := o.dynamic.ISA
		if need < 2 || have >= need {
			continue
		}
		level := "x86-64-v" + strconv.Itoa(need)
		if have == 0 {
			l.warn(CauseCPULevel, printable(o.info.Path)+" needs a CPU of level "+level+", and which level the host has is not known")
			return nil
		}
		failure := Failure{
			Stage: StageRun, ExitCode: 127, Cause: CauseCPULevel,
			Message: l.called(o) + ": CPU ISA level is lower than required",
			Detail:  printable(o.info.Path) + " needs a CPU of level " + level + ", and the host has x86-64-v" + strconv.Itoa(have),
			Fix:     "build for the host's level, use a base image that is, or run it on a newer machine type",
		}
		l.blame(&failure, o.info)
		return fails(failure)
	}
	return nil
}
