package check

import (
	"slices"

	"berth/workload"
)

// Mended are the edits that mend what a report found, and what no edit mends.
type Mended struct {
	// Edits by the name of the file.
	Edits map[string][]workload.Edit
	// Left are the findings that count and for which there is no edit.
	Left []Located
}

// Mend chooses, for each finding at least as bad as least, the first of its fixes that
// edits can make. Of one workload only one platform is changed: findings about its other
// containers are mended by the same edits, or left.
func (r *Report) Mend(least Severity) Mended {
	m := Mended{Edits: map[string][]workload.Edit{}}
	chosen := map[*workload.Workload][]workload.Edit{}
	for _, f := range r.Findings() {
		if f.Ignored != "" || !f.Severity.AtLeast(least) {
			continue
		}
		var w *workload.Workload
		if f.Subject != nil && f.Subject.Origin != nil {
			w = f.Subject.Origin.Workload
		}
		edits := f.edits(chosen[w])
		if len(edits) == 0 || m.clash(edits) {
			m.Left = append(m.Left, f)
			continue
		}
		if w != nil {
			chosen[w] = edits
		}
		for _, e := range edits {
			if !slices.Contains(m.Edits[e.File], e) {
				m.Edits[e.File] = append(m.Edits[e.File], e)
			}
		}
	}
	return m
}

// clash tells whether edits would change bytes that others change: two findings are then
// about one value, and the first is mended.
func (m *Mended) clash(edits []workload.Edit) bool {
	return slices.ContainsFunc(edits, func(e workload.Edit) bool {
		return slices.ContainsFunc(m.Edits[e.File], func(other workload.Edit) bool {
			return e != other && e.Start < other.End && other.Start < e.End
		})
	})
}

// edits are those of the first fix that has some, or where others were chosen for the
// workload, those if a fix has the same.
func (f *Finding) edits(chosen []workload.Edit) []workload.Edit {
	for _, fix := range f.Fixes {
		if len(fix.Edits) > 0 && (chosen == nil || slices.Equal(fix.Edits, chosen)) {
			return fix.Edits
		}
	}
	return nil
}
