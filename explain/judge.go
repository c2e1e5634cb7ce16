package explain

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"berth/check"
	"berth/image"
	"berth/launch"
	"berth/platform"
)

// Explain says what the texts of a reading came from. Without subjects it can only say
// what is likely. With subjects, which were gathered and proven, causes are
// established and ruled out by them.
func Explain(r Reading, subjects []Subject) *Explanation {
	e := &Explanation{Reading: r, Subjects: subjects, Causes: []Ruling{}, Conflicts: []string{}, Next: []check.Fix{}}
	switch {
	case len(r.Said) == 0:
		e.unrecognised()
	case len(subjects) == 0:
		e.withoutImage()
	default:
		e.withImage()
	}
	rank := []Status{Established, Possible, RuledOut}
	slices.SortStableFunc(e.Causes, func(a, b Ruling) int {
		return slices.Index(rank, a.Status) - slices.Index(rank, b.Status)
	})
	return e
}

// OtherProgram is the program that the text names, where start is the proof of
// another: a wrapper starts it, or the deployment gives another command.
func (r Reading) OtherProgram(start *check.Start) (string, bool) {
	if len(r.Said) == 0 || start == nil || start.Proof == nil {
		return "", false
	}
	named := r.Said[0].Path
	if named == "" || strings.Contains(path.Base(named), ".so") { // a library's loader failed
		return "", false
	}
	args := start.Process.Args
	if len(args) > 0 && (args[0] == named || args[0] == path.Base(named)) {
		return "", false
	}
	inChain := func(s launch.Step) bool { return s.Path == named || path.Base(s.Path) == named }
	if slices.ContainsFunc(start.Proof.Steps, inChain) {
		return "", false
	}
	return named, true
}

// start is the proof that the text is held against.
func (s Subject) start() *check.Start {
	if s.Named != nil {
		return s.Named
	}
	return s.Start
}

// judged is one subject, held against the text.
type judged struct {
	subject    Subject
	conclusion Conclusion
	causes     []Ruling
	// failure is set where the proof predicts one.
	failure *launch.Failure
	// unknown says why nothing could be told.
	unknown string
}

func (e *Explanation) withImage() {
	said := e.Reading.Said[0]
	var best *judged
	order := []Conclusion{Confirmed, Differs, Unknown, Likely, Contradicted}
	for _, s := range e.Subjects {
		j := judge(said, s)
		if best == nil || slices.Index(order, j.conclusion) < slices.Index(order, best.conclusion) {
			best = j
		}
	}
	e.Conclusion, e.Causes = best.conclusion, best.causes
	if e.Conclusion == Confirmed { // what is proven needs no other cause
		e.Causes = slices.DeleteFunc(e.Causes, func(r Ruling) bool { return r.Status == Possible })
	}
	e.elsewhere(best)
	e.conflicts(said, best)
	e.Summary = e.summarise(said, best)
	e.nextWith(said, best)
}

// judge holds a subject against a text.
func judge(said Said, s Subject) *judged {
	j := &judged{subject: s}
	if s.Err != nil {
		return j.cannotTell(said, "the image could not be read: "+s.Err.Error())
	}
	for _, word := range said.Text.Causes {
		if r, ok := byManifest(word, s); ok {
			j.causes = append(j.causes, r)
		}
	}
	established := slices.ContainsFunc(j.causes, func(r Ruling) bool { return r.Status == Established })
	if said.Text.Stage == StagePull && said.Text.Weight == Exact {
		j.byBytes(said)
		j.conclusion = Contradicted
		if established || slices.ContainsFunc(j.causes, func(r Ruling) bool { return r.Status == Established }) {
			j.conclusion = Confirmed
		}
		return j
	}
	j.byBytes(said)
	return j
}

func (j *judged) cannotTell(said Said, why string) *judged {
	j.conclusion, j.unknown = Unknown, why
	for _, word := range said.Text.Causes {
		if !slices.ContainsFunc(j.causes, func(r Ruling) bool { return r.Cause == word }) {
			j.causes = append(j.causes, possible(word))
		}
	}
	return j
}

// byBytes adds the rulings of a proof, and concludes from them.
func (j *judged) byBytes(said Said) {
	s, start := j.subject, j.subject.start()
	on := platform.Format(s.Need.Platform)
	switch {
	case start == nil && s.Selected == nil:
		j.noPlatform(said)
		return
	case start == nil:
		j.cannotTell(said, "the manifest for "+on+" could not be read")
		return
	case start.Err != nil:
		j.cannotTell(said, "its bytes could not be read: "+start.Err.Error())
		return
	case start.Proof.Verdict == launch.Unknown:
		j.cannotTell(said, "what happens on "+on+" could not be proven: "+start.Proof.Reason)
		return
	}
	proof := start.Proof
	j.failure = proof.Failure
	fits := j.failure != nil && agrees(said, j.failure)
	for _, word := range said.Text.Causes {
		if r, ok := j.ruling(word, start); ok {
			j.causes = append(j.causes, r)
		}
	}
	if fits && !slices.ContainsFunc(j.causes, func(r Ruling) bool { return r.Status == Established }) {
		j.causes = append(j.causes, established(start, s.Need.Platform))
	}
	beforeItRuns := said.Text.Weight == Exact && (said.Text.Stage == launch.StageCreate || said.Text.Stage == launch.StageExec)
	switch {
	case fits:
		j.conclusion = Confirmed
	case j.failure != nil:
		j.conclusion = Differs
	case proof.Derived != nil && proof.Derived.Failure != nil && agrees(said, proof.Derived.Failure):
		j.conclusion = Likely // what a wrapper starts fails like this
	case beforeItRuns && !(s.Assumed && slices.Contains(said.Text.Causes, launch.CauseWrongMachine)):
		j.conclusion = Contradicted
	case !slices.ContainsFunc(j.causes, func(r Ruling) bool { return r.Status == Possible }):
		j.conclusion = Contradicted
	default:
		j.conclusion = Likely
	}
}

// noPlatform is the judgement on an index that has nothing for the platform.
func (j *judged) noPlatform(said Said) {
	for _, word := range said.Text.Causes {
		r := possible(word)
		if word == launch.CauseWrongMachine {
			r, _ = byManifest(platformMissing, j.subject)
			r.Cause, r.Title = word, causeOf(word).Title
		}
		if !slices.ContainsFunc(j.causes, func(o Ruling) bool { return o.Cause == word }) {
			j.causes = append(j.causes, r)
		}
	}
	j.conclusion = Differs
	if slices.Contains(said.Text.Causes, launch.CauseWrongMachine) || slices.Contains(said.Text.Causes, platformMissing) {
		j.conclusion = Confirmed
	}
}

// agrees tells whether a text is what a predicted failure looks like.
func agrees(said Said, f *launch.Failure) bool {
	t := said.Text
	switch {
	case t.Errno != "" && f.Errno != "" && t.Stage != launch.StageCreate:
		return t.Errno == f.Errno
	case t.Errno != "" && t.Errno == f.Errno:
		return true
	case t.Weight == Vague && t.ExitCode != 0 && f.ExitCode != 0:
		return t.ExitCode == f.ExitCode
	case t.Weight == Vague && t.ExitCode == 0:
		return true
	}
	return slices.Contains(t.Causes, f.Cause)
}

// ruling is where a cause stands by a proof. It is false for a cause that something
// else decides.
func (j *judged) ruling(word string, start *check.Start) (Ruling, bool) {
	proof := start.Proof
	c := causeOf(word)
	on := j.subject.Need.Platform
	switch {
	case c.Kind == InManifest:
		return Ruling{}, false
	case proof.Failure != nil && proof.Failure.Cause == word:
		return established(start, on), true
	case proof.Derived != nil && proof.Derived.Failure != nil && (proof.Derived.Failure.Cause == word || word == childProgram):
		// What a wrapper starts says the same text, as far as it has one.
		r := possible(word)
		r.Why, r.Evidence, r.Platform = proof.Derived.Failure.Detail, launch.Evidence(proof.Derived.Evidence), on
		return r, true
	case c.Kind == InBytes && word == launch.CauseWrongMachine && j.subject.Assumed && proof.Failure == nil:
		r := possible(word)
		r.Why = "the image is for " + platform.Format(on) + ", and a host of another architecture says just this"
		return r, true
	case c.Kind == InBytes:
		return Ruling{Cause: word, Title: c.Title, Status: RuledOut, Evidence: proof.Evidence, Why: whyNot(word, proof), Platform: on}, true
	case c.Kind == Beyond && proof.Verdict == launch.Starts && !warns(proof, launch.CauseLibraries) && word != cpuLevel && word != kernelTooOld:
		return Ruling{Cause: word, Title: c.Title, Status: RuledOut, Evidence: proof.Evidence, Why: "the program loads no libraries that were not looked at", Platform: on}, true
	}
	r := possible(word)
	for _, w := range proof.Warnings {
		if w.Cause == word || w.Cause == launch.CauseNotFollowed && word == childProgram {
			r.Why, r.Evidence, r.Platform = w.Detail, proof.Evidence, on
		}
	}
	return r, true
}

func warns(p *launch.Proof, cause string) bool {
	return slices.ContainsFunc(p.Warnings, func(w launch.Warning) bool { return w.Cause == cause })
}

// established is the ruling on what a proof found.
func established(start *check.Start, on platform.Platform) Ruling {
	f := start.Proof.Failure
	return Ruling{Cause: f.Cause, Title: causeOf(f.Cause).Title, Status: Established, Evidence: start.Proof.Evidence, Why: f.Detail, Platform: on, Failure: f}
}

// possible is the ruling on a cause that nothing speaks for or against.
func possible(word string) Ruling {
	c := causeOf(word)
	return Ruling{Cause: word, Title: c.Title, Status: Possible, Why: c.FindOut}
}

// whyNot says what in a proof excludes a cause.
func whyNot(word string, p *launch.Proof) string {
	var programs []string
	steps := map[string]launch.Step{} // the last of each role, and the executable
	for _, s := range p.Steps {
		if s.Kind == "elf" && s.Platform != "" {
			programs = append(programs, s.Path+" is for "+s.Platform)
		}
		if s.Kind != "symlink" {
			steps[s.Role] = s
		}
	}
	entry, interpreter, loader := steps["entrypoint"], steps["interpreter"], steps["loader"]
	there := func(s launch.Step) bool { return s.Path != "" && s.Kind != "missing" }
	switch word {
	case launch.CauseWrongMachine:
		if len(programs) > 0 {
			return strings.Join(programs, ", ")
		}
	case launch.CauseMissingInterpreter, launch.CauseBadInterpreter, launch.CauseCRLFShebang, launch.CauseShebangLoop:
		if there(interpreter) {
			return "its interpreter is there: " + interpreter.Path
		}
		if entry.Kind == "elf" {
			return entry.Path + " is an executable, not a script"
		}
	case launch.CauseMissingLoader, launch.CauseBadLoader, launch.CauseWrongMachineLoader:
		if there(loader) && p.Failure == nil {
			return "its loader is there: " + loader.Path
		}
		if loader.Path == "" && len(programs) > 0 && p.Failure == nil {
			return "the program is statically linked"
		}
	case launch.CauseNotFound:
		if there(entry) {
			return entry.Path + " is in the image"
		}
	case launch.CauseNotExecutable, launch.CauseNoAccess:
		if there(entry) && p.Failure == nil {
			return "the user may execute " + entry.Path
		}
	case launch.CauseUnknownUser, launch.CauseUnknownGroup, launch.CauseWorkingDir, launch.CauseNoCommand:
		if p.Failure == nil {
			return "the proof passed it"
		}
	}
	switch {
	case p.Failure != nil:
		return p.Failure.Detail
	case entry.Kind == "elf":
		return entry.Path + " is an ELF executable"
	case entry.Kind == "script":
		return entry.Path + " is a script with a first line that works"
	}
	return "the proof found nothing of the kind"
}

// byManifest is where a cause stands by what the image claims. It is false for a
// cause that something else decides.
func byManifest(word string, s Subject) (Ruling, bool) {
	c := causeOf(word)
	if c.Kind != InManifest {
		return Ruling{}, false
	}
	r := Ruling{Cause: word, Title: c.Title, Status: RuledOut, Evidence: launch.Configured, Platform: s.Need.Platform}
	if s.Image.IsIndex {
		r.Evidence = launch.Declared
	}
	is := func(yes bool, why, whyNot string) {
		r.Why = whyNot
		if yes {
			r.Status, r.Why = Established, why
		}
	}
	images := len(s.Image.Images())
	what := "it is a single manifest"
	if s.Image.IsIndex {
		what = fmt.Sprintf("it is an index of %d manifests, %d of them images", len(s.Image.Manifests), images)
	}
	switch word {
	case platformMissing:
		m, err := s.Image.Select(s.Need.Platform)
		var none *image.NoPlatformError
		switch {
		case err == nil:
			r.Why = "it has " + platform.Format(m.Platform()) + ": " + m.Descriptor.Digest.String()
		case errors.As(err, &none) && none.Unread == 0:
			r.Status, r.Why = Established, err.Error()
		default:
			r.Status, r.Why = Possible, err.Error()
		}
	case attestationRefused:
		is(s.Image.IsIndex && images == 1 && len(s.Image.Manifests) > 1, what, what)
	case indexRefused:
		is(s.Image.IsIndex && (images != 1 || len(s.Image.Manifests) == 1), what, what)
	case mediaTypeRefused:
		byMediaType(&r, s, is)
	case compressionRefused:
		byCompression(s, is)
	case labelsDisagree:
		m := s.Selected
		if m == nil || m.Declared == nil || m.Configured == nil {
			r.Why = "there are no two labels that could disagree"
			break
		}
		both := "it is declared as " + platform.Format(*m.Declared) + " and configured as " + platform.Format(*m.Configured)
		is(!platform.Equal(*m.Declared, *m.Configured), both, both)
	}
	return r, true
}
