package target

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"berth/platform"
)

//go:embed data/*.yaml
var data embed.FS

// MaxFileSize bounds a file of targets. The largest builtin one has 4 KiB; this
// leaves room for hundreds in one file.
const MaxFileSize = 1 << 20

// Set is a number of targets whose names and aliases are all different. It is
// safe for concurrent use once nothing is added any more.
type Set struct {
	byName map[string]*Target // by name only, not by alias
	origin map[string]string  // by name: the file that a target was added from; absent for a builtin one
}

// Builtin returns the targets that come with berth. It fails only where the
// data in this package is broken, which its tests rule out.
func Builtin() (*Set, error) {
	s := &Set{byName: map[string]*Target{}, origin: map[string]string{}}
	files, err := fs.Glob(data, "data/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		raw, err := data.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := s.Add(bytes.NewReader(raw), path.Base(file)); err != nil {
			return nil, err
		}
	}
	clear(s.origin)
	return s, nil
}

// Add reads targets from a file: one YAML document or several, in the schema of
// the package documentation; name is what errors call the file. A target with
// the name of a builtin one replaces it as a whole, aliases included, so that
// what has become wrong can be corrected without a new berth. Any other name or
// alias that is there twice is an error. On an error nothing is added.
func (s *Set) Add(r io.Reader, name string) error {
	raw, err := io.ReadAll(io.LimitReader(r, MaxFileSize+1))
	if err != nil {
		return fmt.Errorf("reading targets from %s: %w", name, err)
	}
	if len(raw) > MaxFileSize {
		return fmt.Errorf("%s: more than %d bytes: a file of targets may have at most that", name, MaxFileSize)
	}
	added, err := parse(raw, name)
	if err != nil {
		return err
	}
	next := make(map[string]*Target, len(s.byName)+len(added))
	for n, t := range s.byName {
		next[n] = t
	}
	from := make(map[string]string, len(added))
	for _, a := range added {
		t := a.target
		at := fmt.Sprintf("%s:%d", name, a.line)
		first, again := from[t.Name]
		if !again {
			first, again = s.origin[t.Name]
		}
		if again {
			return fmt.Errorf("%s: target %q is defined already, in %s", at, t.Name, first)
		}
		from[t.Name] = at
		next[t.Name] = t
	}
	for _, a := range added {
		if err := unique(next, a.target); err != nil {
			return fmt.Errorf("%s:%d: %w", name, a.line, err)
		}
	}
	s.byName = next
	for n, at := range from {
		s.origin[n] = at
	}
	return nil
}

// unique tells whether another target of all answers to a name of t.
func unique(all map[string]*Target, t *Target) error {
	for _, name := range append([]string{t.Name}, t.Aliases...) {
		for _, other := range all {
			if other != t && (other.Name == name || slices.Contains(other.Aliases, name)) {
				return fmt.Errorf("target %q: %q is already a name of target %q (%s)", t.Name, name, other.Name, other.Title)
			}
		}
	}
	return nil
}

// All returns the targets, sorted by name.
func (s *Set) All() []*Target {
	all := make([]*Target, 0, len(s.byName))
	for _, t := range s.byName {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Target) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Find returns the target with that name or alias, in upper or lower case. The
// error for an unknown one lists the nearest names.
func (s *Set) Find(name string) (*Target, error) {
	if t := s.find(name); t != nil {
		return t, nil
	}
	if name == "" {
		return nil, fmt.Errorf("a target's name is empty; `berth targets` lists them all")
	}
	names := s.nearest(name)
	if len(names) == 0 {
		return nil, fmt.Errorf("unknown target %q; `berth targets` lists them all, and a bare platform is written os/architecture, such as linux/arm64", name)
	}
	return nil, fmt.Errorf("unknown target %q; did you mean %s? `berth targets` lists them all", name, list(names, "or"))
}

func (s *Set) find(name string) *Target {
	name = strings.ToLower(name)
	if t := s.byName[name]; t != nil {
		return t
	}
	for _, t := range s.byName {
		if slices.Contains(t.Aliases, name) {
			return t
		}
	}
	return nil
}

// list joins words for a sentence: "a", "a or b", "a, b or c".
func list(words []string, conjunction string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " " + conjunction + " " + words[last]
}

// formats writes platforms for a sentence.
func formats(ps []platform.Platform, conjunction string) string {
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = platform.Format(p)
	}
	return list(words, conjunction)
}
