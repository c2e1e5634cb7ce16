package target

import (
	"fmt"
	"slices"
	"strings"

	"berth/platform"
)

// maxNeed bounds what is read after --for: a name and the longest platform.
const maxNeed = 256

// asked is why a platform is needed that the user wrote.
const asked = "asked for"

// systems are the operating systems that a bare platform, or the part after a
// target's name, may start with. Without this list a misspelt target such as
// "fargat/arm64" would be read as a platform.
var systems = []string{"linux", "windows", "darwin", "macos", "freebsd", "wasip1"}

// architectures are words that are taken for an architecture rather than for
// the name of a target, only to word an error.
var architectures = []string{"amd64", "x86_64", "x86-64", "x64", "arm64", "aarch64", "arm", "armhf", "armel", "386", "i386", "s390x", "ppc64le", "riscv64"}

// Need reads what a user writes after --for.
//
//	need     = target [ "/" [ os "/" ] architecture [ "/" variant ] ] | platform
//	platform = os "/" architecture [ "/" variant ]
//
// Without an OS it is linux; "fargate/windows" is the one platform of that OS
// that the target runs. Architectures may have any of the spellings of
// [platform.Normalize]. A name without an architecture stands for the target's
// default, and is an error where nothing determines one.
func (s *Set) Need(need string) (Need, error) {
	name, rest, hasRest := strings.Cut(need, "/")
	switch {
	case need == "":
		return Need{}, fmt.Errorf("no target: write one such as fargate, lambda/arm64 or linux/arm64; `berth targets` lists them all")
	case len(need) > maxNeed:
		return Need{}, fmt.Errorf("target of %d characters: at most %d are allowed", len(need), maxNeed)
	case strings.ContainsAny(need, "*?[], \t"):
		return Need{}, fmt.Errorf("target %q: one target is written at a time, without patterns and spaces; `berth targets` lists them all", need)
	}
	if t := s.find(name); t != nil {
		if !hasRest {
			return t.byDefault()
		}
		return t.chosen(need, rest)
	}
	lower := strings.ToLower(name)
	switch {
	case slices.Contains(systems, lower):
		p, err := platform.Parse(need)
		if err != nil {
			return Need{}, err
		}
		return Need{Platform: p, Why: asked}, nil
	case slices.Contains(architectures, lower):
		return Need{}, fmt.Errorf("%q is an architecture, not a target: write a target with it, such as fargate/arm64, or a platform, such as linux/%s", need, need)
	}
	_, err := s.Find(name)
	return Need{}, err
}

// byDefault is the need of a target without an architecture.
func (t *Target) byDefault() (Need, error) {
	switch {
	case len(t.Runs) == 0:
		return Need{}, fmt.Errorf("what %s runs depends on machines that its name does not determine: write %s/amd64, %s/arm64 or whatever they are", t.Title, t.Name, t.Name)
	case t.Default == nil:
		forms := make([]string, len(t.Runs))
		for i, p := range t.Runs {
			forms[i] = t.form(p)
		}
		return Need{}, fmt.Errorf("%s runs %s, and its name does not determine which: write %s", t.Title, formats(t.Runs, "or"), list(forms, "or"))
	case len(t.Runs) == 1:
		return Need{t, *t.Default, fmt.Sprintf("%s runs %s only", t.Title, platform.Format(*t.Default))}, nil
	case t.DeclaredIn == "":
		return Need{t, *t.Default, "the default of " + t.Title}, nil
	}
	return Need{t, *t.Default, fmt.Sprintf("the default of %s where no %s is given", t.Title, t.DeclaredIn)}, nil
}

// chosen is the need of a target with the part after its name.
func (t *Target) chosen(need, rest string) (Need, error) {
	if rest == "" {
		return Need{}, fmt.Errorf("target %q ends in a slash: write %s or %s/ARCHITECTURE", need, t.Name, t.Name)
	}
	system, _, isPlatform := strings.Cut(rest, "/")
	text := rest
	if known := slices.Contains(systems, strings.ToLower(system)); known && !isPlatform {
		return t.only(need, strings.ToLower(system))
	} else if !known {
		text = "linux/" + rest
	}
	p, err := platform.Parse(text)
	if err != nil {
		return Need{}, fmt.Errorf("target %q: %w", need, err)
	}
	runs := func(r platform.Platform) bool { return platform.Equal(r, p) }
	if len(t.Runs) > 0 && !slices.ContainsFunc(t.Runs, runs) {
		return Need{}, fmt.Errorf("target %q: %s runs %s, not %s%s", need, t.Title, formats(t.Runs, "and"), platform.Format(p), t.source("runs"))
	}
	return Need{t, p, asked}, nil
}

// only is the need of a target with an operating system and no architecture.
func (t *Target) only(need, system string) (Need, error) {
	var of []platform.Platform
	for _, p := range t.Runs {
		if p.OS == system {
			of = append(of, p)
		}
	}
	switch {
	case len(of) == 1:
		return Need{t, of[0], asked}, nil
	case len(t.Runs) > 0 && len(of) == 0:
		return Need{}, fmt.Errorf("target %q: %s runs %s%s", need, t.Title, formats(t.Runs, "and"), t.source("runs"))
	}
	return Need{}, fmt.Errorf("target %q has no architecture: write for example %s/%s/amd64", need, t.Name, system)
}

// form is how a user asks for p on t.
func (t *Target) form(p platform.Platform) string {
	return t.Name + "/" + strings.TrimPrefix(platform.Format(p), "linux/")
}

// source is where the fact on a topic comes from, for the end of a sentence.
func (t *Target) source(topic string) string {
	if f := t.Fact(topic); f != nil {
		return fmt.Sprintf(" (%s, checked on %s)", f.Source, f.Checked)
	}
	return ""
}
