package target

import (
	"cmp"
	"slices"
	"strings"
)

// maxSuggestions bounds a "did you mean": more would have to be read, not seen.
const maxSuggestions = 4

// nearest returns the names and aliases that a user may have meant by name,
// nearest first; of one target only the nearest of its names.
func (s *Set) nearest(name string) []string {
	// An edit distance is quadratic, and no target has a name this long.
	if len(name) > 64 {
		return nil
	}
	name = strings.ToLower(name)
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, t := range s.byName {
		best := candidate{distance: -1}
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			d, ok := closeness(name, n)
			if !ok {
				continue
			}
			if best.distance < 0 || d < best.distance || d == best.distance && n < best.name {
				best = candidate{n, d}
			}
		}
		if best.distance >= 0 {
			near = append(near, best)
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range near[:min(len(near), maxSuggestions)] {
		names = append(names, c.name)
	}
	return names
}

// closeness says how near a user's text is to a name, the less the nearer, and
// whether it is near at all. A typing error is as near as it has edits, the
// beginning of a name ("ecs") as one edit, and any other part of it, or a name
// within the text ("aws-lambda-function"), is farther than all of these.
func closeness(text, name string) (int, bool) {
	d := distance(text, name)
	switch {
	case len(text) >= 3 && strings.HasPrefix(name, text):
		return min(d, 1), true
	case d <= max(1, len(text)/3):
		return d, true
	case len(text) >= 3 && (strings.Contains(name, text) || strings.Contains(text, name)):
		return len(text) + d, true
	}
	return 0, false
}

// distance is the edit distance of a and b in bytes, where two neighbours
// swapped count as one edit (optimal string alignment).
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
