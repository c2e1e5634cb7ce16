package workload

import (
	"cmp"
	"fmt"
	"slices"
)

// Edit replaces the bytes from Start up to End of a file. All other bytes stay as they
// are: files are never written anew from what was parsed.
type Edit struct {
	File  string `json:"file"`
	Start int    `json:"start"`
	End   int    `json:"end"`
	New   string `json:"new"`
}

// Apply returns data with the edits of one file. Those that are there twice count once;
// the error is for others that overlap.
func Apply(data []byte, edits []Edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	edits = slices.Compact(edits)
	var out []byte
	at := 0
	for _, e := range edits {
		if e.Start < at || e.End < e.Start || e.End > len(data) {
			return nil, fmt.Errorf("edits of %s overlap at byte %d", e.File, e.Start)
		}
		out = append(append(out, data[at:e.Start]...), e.New...)
		at = e.End
	}
	return append(out, data[at:]...), nil
}

// errorAt is an error with its place.
func errorAt(pos Pos, format string, args ...any) error {
	return fmt.Errorf("%s: %w", pos, fmt.Errorf(format, args...))
}
