package report

import (
	"slices"

	"berth/check"
	"berth/platform"
)

// unknownPlatform is the column of what nothing says the platform of.
const unknownPlatform = "not known"

// matrix is what runs where: a row for each image, a column for each platform.
type matrix struct {
	platforms []string
	rows      []*matrixRow
}

type matrixRow struct {
	image string
	// cells are as many as platforms.
	cells []matrixCell
}

// matrixCell is the worst of what was found for an image on a platform.
type matrixCell struct {
	// verdict is empty where nothing needs the platform.
	verdict check.Verdict
	// ignored says that it does not run, and that this is ignored.
	ignored bool
}

// badness orders cells: the worse, the higher.
func (c matrixCell) badness() int {
	switch {
	case c.verdict == check.RunsNot && !c.ignored:
		return 4
	case c.verdict == check.RunsNot:
		return 3
	case c.verdict == check.Unknown:
		return 2
	case c.verdict == check.Runs:
		return 1
	}
	return 0
}

func (r *matrixRow) badness() int {
	worst := 0
	for _, c := range r.cells {
		worst = max(worst, c.badness())
	}
	return worst
}

// results are all of a report, in the order of the outline.
func (o *outline) results() []check.Result {
	all := slices.Clone(o.asked)
	for _, f := range o.files {
		for _, w := range f.workloads {
			all = append(all, w.results...)
		}
	}
	return all
}

// columnOf is the platform that a result is about.
func columnOf(r check.Result) string {
	if p := r.Subject.Need.Platform; platform.Known(p) {
		return platform.Format(p)
	}
	return unknownPlatform
}

// columns are the platforms of results, sorted, the unknown one last.
func columns(results []check.Result) []string {
	var all []string
	for _, r := range results {
		if c := columnOf(r); c != unknownPlatform {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if slices.ContainsFunc(results, func(r check.Result) bool { return columnOf(r) == unknownPlatform }) {
		all = append(all, unknownPlatform)
	}
	return all
}

// images is the matrix of images and platforms, those that do not run first.
func (o *outline) images() *matrix {
	results := o.results()
	m := &matrix{platforms: columns(results)}
	byImage := map[string]*matrixRow{}
	for _, r := range results {
		row, ok := byImage[r.Subject.Name]
		if !ok {
			row = &matrixRow{image: r.Subject.Name, cells: make([]matrixCell, len(m.platforms))}
			byImage[r.Subject.Name] = row
			m.rows = append(m.rows, row)
		}
		cell := matrixCell{r.Verdict, r.Verdict == check.RunsNot && passes(r)}
		at := &row.cells[slices.Index(m.platforms, columnOf(r))]
		if cell.badness() > at.badness() {
			*at = cell
		}
	}
	slices.SortStableFunc(m.rows, func(a, b *matrixRow) int { return b.badness() - a.badness() })
	return m
}
