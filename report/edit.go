package report

import (
	"slices"
	"strings"

	"berth/check"
	"berth/workload"
)

// maxChange bounds the bytes of a line for which a change is shown: those of files that are
// written without line ends tell nobody anything.
const maxChange = 400

// change is what edits do to a file, in whole lines.
type change struct {
	file string
	// line is the number of the first of them, from 1.
	line     int
	old, new []string
}

// changes are what the edits of a fix do. There are none where a file is not known or its
// lines are too long to be shown.
func (o *outline) changes(fix check.Fix) []change {
	edits := map[string][]workload.Edit{}
	for _, e := range fix.Edits {
		edits[e.File] = append(edits[e.File], e)
	}
	var all []change
	for _, e := range fix.Edits {
		own := edits[e.File]
		delete(edits, e.File)
		if f := o.file(e.File); f != nil && len(own) > 0 {
			if c, ok := changeOf(f, own); ok {
				all = append(all, c)
			}
		}
	}
	return all
}

func changeOf(f *workload.File, edits []workload.Edit) (change, bool) {
	start, end := edits[0].Start, edits[0].End
	for _, e := range edits {
		start, end = min(start, e.Start), max(end, e.End)
	}
	if start < 0 || end < start || end > len(f.Data) {
		return change{}, false
	}
	from := strings.LastIndexByte(string(f.Data[max(0, start-maxChange):start]), '\n')
	if from < 0 && start > maxChange {
		return change{}, false
	}
	from += max(0, start-maxChange) + 1
	to := end
	for to < len(f.Data) && f.Data[to] != '\n' {
		to++
	}
	if to-end > maxChange || end-start > maxChange*10 {
		return change{}, false
	}
	moved := slices.Clone(edits)
	for i := range moved {
		moved[i].Start -= from
		moved[i].End -= from
	}
	after, err := workload.Apply(f.Data[from:to], moved)
	if err != nil {
		return change{}, false
	}
	c := change{file: f.Name, line: f.PosAt(from).Line, old: lines(string(f.Data[from:to])), new: lines(string(after))}
	// Lines that both begin or end with are as they were.
	for len(c.old) > 0 && len(c.new) > 0 && c.old[0] == c.new[0] {
		c.line, c.old, c.new = c.line+1, c.old[1:], c.new[1:]
	}
	for len(c.old) > 0 && len(c.new) > 0 && c.old[len(c.old)-1] == c.new[len(c.new)-1] {
		c.old, c.new = c.old[:len(c.old)-1], c.new[:len(c.new)-1]
	}
	return c, len(c.old)+len(c.new) > 0
}

func lines(s string) []string {
	all := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\r")
	}
	return all
}
