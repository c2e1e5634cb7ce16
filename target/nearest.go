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
			d := distance(name, n)
			if d > max(1, len(name)/3) {
				// Half a name is no typing error: "ecs" for ecs-ec2, "aws-lambda-function" for lambda.
				if len(name) < 3 || !strings.Contains(n, name) && !strings.Contains(name, n) {
					continue
				}
				d = len(name) + d
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
