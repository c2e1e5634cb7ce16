package check

import (
	"fmt"
	"strings"

	"berth/platform"
	"berth/store"
)

// targetName is what people call the target.
func (s *Subject) targetName() string {
	if s.Need.Target != nil {
		return s.Need.Target.Title
	}
	return "a " + platform.Format(s.Need.Platform) + " host"
}

// forFlag is the value of --for that means this need.
func (s *Subject) forFlag() string {
	t := s.Need.Target
	if t == nil {
		return platform.Format(s.Need.Platform)
	}
	if t.Default != nil && platform.Equal(*t.Default, s.Need.Platform) {
		return t.Name
	}
	if s.Need.Platform.OS == "linux" {
		return t.Name + strings.TrimPrefix(platform.Format(s.Need.Platform), "linux")
	}
	return t.Name + "/" + platform.Format(s.Need.Platform)
}

// destination is where a mended image could go: the same repository or layout, and
// the same tag with suffix. What is not written to in place gets a registry.
func (s *Subject) destination(suffix string) string {
	r := s.Reference
	r.Digest = ""
	switch {
	case r.Transport != store.Docker && r.Transport != store.OCILayout:
		return "HOST/REPOSITORY:TAG"
	case r.Tag != "":
		r.Tag += suffix
	case r.Transport == store.OCILayout && suffix == "":
	default:
		r.Tag = "TAG"
	}
	return r.String()
}

// sourceOf is where the first known fact on one of topics comes from.
func (s *Subject) sourceOf(topics ...string) string {
	for _, topic := range topics {
		if f := s.Need.Target.Fact(topic); f != nil {
			return fmt.Sprintf("%s (%s, checked on %s)", f.Says, f.Source, f.Checked)
		}
	}
	return ""
}

func formats(ps []platform.Platform) string {
	var s []string
	for _, p := range ps {
		s = append(s, platform.Format(p))
	}
	return strings.Join(s, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// quoted is a word of a command line for a POSIX shell.
func quoted(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
