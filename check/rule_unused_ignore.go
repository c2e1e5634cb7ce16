package check

import "berth/workload"

// unusedIgnore has nothing to look at by itself: [Examine] knows which ignores were used.
var unusedIgnore = Rule{
	ID:   "BER024",
	Name: "unused-ignore",
	Doc:  "Something is to be ignored that is not there, so that it would hide the next one.",
	File: func(*workload.Reading) []Finding { return nil },
}

// unused adds a finding for each ignore that met none.
func (r *Report) unused(all []*suppression) {
	for _, i := range all {
		if i.used || i.beside && knownRule(i.Rule) {
			continue
		}
		f := Finding{
			Rule: unusedIgnore.ID, Name: unusedIgnore.Name, Severity: Warning, Pos: &i.Pos,
			Message: "nothing here is found by " + i.Rule + ", which is to be ignored because: " + i.Reason,
			Fixes:   []Fix{{Title: "remove it"}},
		}
		if !knownRule(i.Rule) {
			f.Message = "there is no rule " + i.Rule + " to ignore"
			all := Rules()
			f.Fixes = []Fix{{Title: "name one of " + all[0].ID + " to " + all[len(all)-1].ID + ", or its name"}}
		}
		r.addTo(i.Pos.File, f)
	}
}

func knownRule(name string) bool {
	for _, rule := range Rules() {
		if rule.ID == name || rule.Name == name {
			return true
		}
	}
	return false
}

// addTo adds a finding to those of a file, which need not be a deployment file.
func (r *Report) addTo(name string, f Finding) {
	for k := range r.Files {
		if r.Files[k].Reading.File.Name == name {
			f.Snippet = r.Files[k].Reading.File.LineAt(*f.Pos)
			r.Files[k].Findings = append(r.Files[k].Findings, f)
			return
		}
	}
	r.Files = append(r.Files, FileResult{
		Reading:  &workload.Reading{File: workload.NewFile(name, nil)},
		Findings: []Finding{f},
	})
}
