package explain

import (
	"fmt"
	"slices"
	"strings"

	"berth/launch"
	"berth/platform"
)

func (e *Explanation) unrecognised() {
	e.Conclusion = Unrecognised
	e.Summary = fmt.Sprintf("This is none of the %d error texts that berth knows: of runtimes (runc, crun, gVisor), engines, loaders, emulators and deploy targets, and exit codes.", len(Texts()))
	for _, s := range e.Subjects {
		if start := s.start(); s.Err == nil && start != nil && start.Proof != nil && start.Proof.Verdict == launch.Fails {
			e.Causes = append(e.Causes, established(start, s.Need.Platform))
			e.Summary += " But the image fails to start on " + platform.Format(s.Need.Platform) + ": " + start.Proof.Failure.Message + "."
			e.fixes(&judged{subject: s, failure: start.Proof.Failure})
			return
		}
	}
	e.nextUnrecognised()
}

func (e *Explanation) withoutImage() {
	said := e.Reading.Said[0]
	e.Conclusion = Likely
	wanted, found := e.platforms()
	for _, word := range said.Text.Causes {
		r := possible(word)
		if platform.Known(wanted) && platform.Known(found) && (word == launch.CauseWrongMachine || word == platformMissing) {
			r.Why = "the log itself says so: the image is for " + platform.Format(found) + ", and the host is " + platform.Format(wanted)
		}
		e.Causes = append(e.Causes, r)
	}
	switch {
	case said.Text.Weight != Vague:
		e.Summary = "Most likely, " + e.Causes[0].Title + "."
	case said.Text.ExitCode != 0:
		e.Summary = "This alone does not say why. Most likely, " + e.Causes[0].Title + "."
	default:
		e.Summary = "This alone does not say why: the log of the container does."
	}
	e.nextWithout(said)
}

// platforms are what the log says of the host and of the image, in whichever text.
func (e *Explanation) platforms() (wanted, found platform.Platform) {
	for _, s := range e.Reading.Said {
		if !platform.Known(wanted) {
			wanted = s.Wanted
		}
		if !platform.Known(found) {
			found = s.Found
		}
	}
	return wanted, found
}

// elsewhere adds what does not lie in the image, where the image does not explain
// the text.
func (e *Explanation) elsewhere(j *judged) {
	if j.conclusion == Contradicted || j.conclusion == Differs {
		for _, word := range []string{otherImage, otherHost, overridden, mounted} {
			if !slices.ContainsFunc(e.Causes, func(r Ruling) bool { return r.Cause == word }) {
				e.Causes = append(e.Causes, possible(word))
			}
		}
	}
	e.byDigest(j)
}

// byDigest rules on another image by the digest that the log names.
func (e *Explanation) byDigest(j *judged) {
	d := e.Reading.Digest
	if d == "" || j.subject.Image == nil {
		return
	}
	r := possible(otherImage)
	r.Evidence = launch.Declared
	now := j.subject.Image.Root.Descriptor.Digest
	same := d == now || d == j.subject.Reference.Digest
	for _, m := range j.subject.Image.Manifests {
		same = same || d == m.Descriptor.Digest
	}
	if same {
		r.Status, r.Why = RuledOut, "the log names "+d.String()+", which this image has"
	} else {
		r.Status, r.Why = Established, "the log names "+d.String()+", and "+j.subject.Name+" is "+now.String()+" now"
		e.Conflicts = append(e.Conflicts, "What ran is not what berth looked at: "+r.Why+".")
	}
	e.Causes = slices.DeleteFunc(e.Causes, func(o Ruling) bool { return o.Cause == otherImage })
	e.Causes = append(e.Causes, r)
}

// conflicts are where the text, what was asked and what was found disagree.
func (e *Explanation) conflicts(said Said, j *judged) {
	s, r := j.subject, e.Reading
	add := func(format string, args ...any) { e.Conflicts = append(e.Conflicts, fmt.Sprintf(format, args...)) }
	on := platform.Format(s.Need.Platform)
	if r.Reference != "" && !sameImage(r.Reference, s) {
		add("The log is about the image %s, and berth looked at %s.", r.Reference, s.Name)
	}
	if t := s.Need.Target; t != nil && r.Target != "" && !sameTarget(r.Target, t.Name) {
		add("The log is from %s, and berth was asked about %s.", r.Target, t.Name)
	}
	if platform.Known(said.Wanted) && !s.Assumed && !platform.Selects(s.Need.Platform, said.Wanted) && !platform.Selects(said.Wanted, s.Need.Platform) {
		add("The text is about a host of %s, and berth looked at what happens on %s.", platform.Format(said.Wanted), on)
	}
	if _, found := e.platforms(); platform.Known(found) && s.Selected != nil {
		if is := s.Selected.Platform(); platform.Known(is) && is.Architecture != found.Architecture {
			add("The log says that the image was for %s, and berth looked at one for %s.", platform.Format(found), platform.Format(is))
		}
	}
	if s.Named != nil && !(j.failure != nil && j.failure.Cause == launch.CauseNotFound) {
		add("The text names %s, which is not what the image starts (%s): something starts it, or the deployment gives another command. berth looked at %s.", said.Path, command(s), said.Path)
	}
	switch {
	case j.conclusion == Differs && s.Named != nil && j.failure != nil && j.failure.Cause == launch.CauseNotFound:
		add("The text names %s, and the image has no such program: what failed was another image, or a volume brings it.", said.Path)
	case j.conclusion == Differs && j.failure != nil:
		add("The text says %q, and the image as it is now would say %q on %s.", said.Match, j.failure.Message, on)
	case j.conclusion == Contradicted && said.Text.Stage == StagePull:
		add("The text says that the image cannot be taken, and nothing in the image as it is now speaks for that on %s.", on)
		if j.failure != nil {
			add("Once it is taken, it fails to start: %s (%s).", j.failure.Message, j.failure.Detail)
		}
	case j.conclusion == Contradicted:
		add("The text says that it does not start, and the image as it is now starts on %s (%s).", on, s.start().Proof.Evidence)
	}
}

// command is what an image starts, for a sentence.
func command(s Subject) string {
	args := s.Named.Process.Args
	if s.Start != nil {
		args = s.Start.Process.Args
	}
	if len(args) == 0 {
		return "nothing"
	}
	return strings.Join(args, " ")
}

// sameImage tells whether a reference of a log can be the image of a subject.
func sameImage(reference string, s Subject) bool {
	strip := func(name string) string {
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "docker://"), "@")
		name = strings.TrimSuffix(name, ":latest")
		return strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/"), "library/")
	}
	return strip(reference) == strip(s.Name) || strip(reference) == strip(s.Reference.String())
}

// sameTarget tells whether a log of one target can be that of another: Kubernetes is in
// many of them, and Fargate in some.
func sameTarget(log, asked string) bool {
	return log == asked || log == "kubernetes" || log == "fargate" && strings.Contains(asked, "fargate") || strings.HasPrefix(asked, "ecs") && log == "fargate"
}

// summarise is the answer in a sentence or two.
func (e *Explanation) summarise(said Said, j *judged) string {
	on, name := platform.Format(j.subject.Need.Platform), j.subject.Name
	if j.subject.Named != nil {
		name = said.Path + " of " + name
	}
	switch {
	case j.conclusion == Confirmed && j.failure != nil && said.Text.Stage != StagePull:
		return fmt.Sprintf("%s fails in just this way on %s: %s.", name, on, j.failure.Detail)
	case j.conclusion == Confirmed:
		for _, r := range e.Causes {
			if r.Status == Established && r.Cause == platformMissing {
				return fmt.Sprintf("%s: %s.", name, r.Why)
			}
			if r.Status == Established && r.Cause != otherImage {
				return fmt.Sprintf("%s: %s (%s).", name, r.Title, r.Why)
			}
		}
	case j.conclusion == Differs && j.failure != nil:
		return fmt.Sprintf("%s does fail on %s, and in another way than the text says: %s (%s).", name, on, j.failure.Message, j.failure.Detail)
	case j.conclusion == Differs:
		return fmt.Sprintf("%s has nothing for %s, which is not what the text says.", name, on)
	case j.conclusion == Contradicted && said.Text.Stage == StagePull:
		return fmt.Sprintf("%s as it is now has what %s needs. What was refused was something else.", name, on)
	case j.conclusion == Contradicted:
		return fmt.Sprintf("%s as it is now starts on %s. What failed was something else: another digest, another host, another command, or a volume over the file.", name, on)
	case j.conclusion == Unknown:
		return said.Text.Meaning + " But " + j.unknown + "."
	case e.assumed() && slices.Contains(said.Text.Causes, launch.CauseWrongMachine):
		return fmt.Sprintf("%s starts on %s. So the host was most likely of another architecture.", name, strings.Join(e.hosts(), " and on "))
	}
	for _, r := range e.Causes {
		if r.Status == Possible {
			return fmt.Sprintf("%s starts on %s as far as berth proves it. Most likely, %s.", name, on, r.Title)
		}
	}
	return said.Text.Meaning
}

// assumed tells whether nobody said which host the image ran on.
func (e *Explanation) assumed() bool {
	return slices.ContainsFunc(e.Subjects, func(s Subject) bool { return s.Assumed })
}

func (e *Explanation) hosts() []string {
	var hosts []string
	for _, s := range e.Subjects {
		hosts = append(hosts, platform.Format(s.Need.Platform))
	}
	return hosts
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
