package workload

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"berth/platform"
	"berth/target"
)

// Options is what files leave to who deploys them. Its zero value knows nothing more
// than the files, and can look at no other file.
type Options struct {
	// Targets are the deploy targets that workloads run on; nil for the builtin ones.
	Targets *target.Set
	// Parameters are values of CloudFormation parameters, over their defaults.
	Parameters map[string]string
	// Cluster is the target of Kubernetes workloads; nil for "kubernetes".
	Cluster *target.Target
	// ClusterPlatforms are those of a cluster's nodes; nil where they are not known.
	ClusterPlatforms []platform.Platform
	// Env is what Compose files interpolate, over what an .env file beside them says.
	Env map[string]string
	// ReadFile reads a file beside the one that is read; its name is relative to the same
	// folder as the names of the files. nil reads none. Errors are those of package io/fs.
	ReadFile func(name string) ([]byte, error)
	// ReadDir returns the names in a folder, sorted.
	ReadDir func(name string) ([]string, error)
}

// Format is a kind of deployment file.
type Format struct {
	// Name is stable, "ecs-task-definition". Title is for people.
	Name, Title string
	// Files are patterns of package path that the base name of such a file matches: what
	// is worth opening in a folder.
	Files []string
	// Mark matches the text of every file of this format: what a file that cannot be
	// parsed is told by.
	Mark *regexp.Regexp
	// is tells by its content whether a file that can be parsed is one.
	is func(f *File) bool
	// read reads one.
	read func(r *reader)
}

// Formats are all formats. The first whose content it is takes a file.
func Formats() []*Format {
	return []*Format{
		ecsTaskDefinition,
		cloudFormation,
		lambdaRequest,
		batchRequest,
		appRunnerRequest,
		copilot,
		terraformPlan,
		terraformConfiguration,
		kustomization,
		kubernetes,
		compose,
		dockerfile,
		githubActions,
	}
}

// Candidate tells whether the name of a file is one that a format has.
func Candidate(name string) bool {
	for _, format := range Formats() {
		if format.named(name) {
			return true
		}
	}
	return false
}

func (f *Format) named(name string) bool {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	for _, pattern := range f.Files {
		if ok, _ := path.Match(pattern, base); ok { // patterns are constants, and a test has them all
			return true
		}
	}
	return false
}

// Read reads what a file says. What it could not read is in the result.
func Read(f *File, opts Options) *Reading {
	r := &reader{File: f, Options: opts, out: &Reading{File: f}}
	if r.Targets == nil {
		var err error
		if r.Targets, err = target.Builtin(); err != nil {
			r.broken(Pos{File: f.Name}, "%v", err)
			return r.out
		}
	}
	for _, format := range Formats() {
		if !format.Mark.Match(f.Data) {
			continue
		}
		if format.is(f) {
			r.out.Format = format
			format.read(r)
			r.commentIgnores()
			return r.out
		}
	}
	r.unreadable()
	return r.out
}

// unreadable says what is wrong with a file that has the mark of a format and cannot be
// parsed. Without a mark it is no deployment file.
func (r *reader) unreadable() {
	_, err := r.Documents()
	if err == nil {
		return
	}
	for _, format := range Formats() {
		if !format.named(r.Name) || !format.Mark.Match(r.Data) {
			continue
		}
		var syntax *syntaxError
		pos, message := Pos{File: r.Name}, err.Error()
		if errors.As(err, &syntax) {
			pos, message = syntax.pos, syntax.message
		}
		if templated.Match(r.Data) {
			r.open(pos, "it looks like %s, as a template that is to be rendered first (helm template … | berth check -)", article(format.Title))
			return
		}
		r.broken(pos, "it looks like %s, and cannot be read: %s", article(format.Title), message)
		return
	}
}

// templated is the syntax of Go templates and of Jinja, which are to be rendered before
// they are YAML. GitHub's expressions have a dollar before.
var templated = regexp.MustCompile(`(^|[^$])\{\{|\{%`)

// article puts "a" or "an" before a title.
func article(title string) string {
	if strings.ContainsRune("AEIOUaeiou", rune(title[0])) {
		return "an " + title
	}
	return "a " + title
}

// reader is one reading under way.
type reader struct {
	*File
	Options
	out  *Reading
	said map[Problem]bool
}

// add adds a workload.
func (r *reader) add(w *Workload) {
	w.Format = r.out.Format.Name
	r.out.Workloads = append(r.out.Workloads, w)
}

// broken adds a problem: the file is not as it should be.
func (r *reader) broken(pos Pos, format string, args ...any) {
	r.problem(Problem{Pos: pos, Message: fmt.Sprintf(format, args...)})
}

// problem adds p, once where it is met more than once: what several environments or
// globals say in one place.
func (r *reader) problem(p Problem) {
	if r.said == nil {
		r.said = map[Problem]bool{}
	}
	if !r.said[p] {
		r.said[p] = true
		r.out.Problems = append(r.out.Problems, p)
	}
}

// open adds a problem: the file leaves something open by its nature.
func (r *reader) open(pos Pos, format string, args ...any) {
	r.problem(Problem{Pos: pos, Message: fmt.Sprintf(format, args...), Open: true})
}

// target is a deploy target of the builtin ones, which a file of the user may have
// changed and not removed.
func (r *reader) target(name string) *target.Target {
	t, err := r.Targets.Find(name)
	if err != nil {
		panic(fmt.Sprintf("workload: a format names the target %q, which is not known", name)) // a test reads each format
	}
	return t
}

// beside is the name of a file that this one names relative to its folder.
func (r *reader) beside(name string) string {
	if path.IsAbs(name) || r.Name == Stdin {
		return name
	}
	return path.Join(path.Dir(strings.ReplaceAll(r.Name, `\`, "/")), name)
}

// Stdin is the name of a file that came on standard input.
const Stdin = "<stdin>"

// defaultOf is the requirement of a target where nothing says another platform. missing
// names what the file does not have, "no runtimePlatform".
func defaultOf(t *target.Target, missing string, pos Pos) Requirement {
	q := Requirement{Target: t, Pos: pos}
	if t.Default == nil {
		q.Certainty, q.Why = Undetermined, t.Title+": "+missing+", and it has no default"
		return q
	}
	q.Certainty, q.Platforms = Default, []platform.Platform{*t.Default}
	q.Why = t.Title + " default: " + missing
	if len(t.Runs) == 1 && t.DeclaredIn == "" {
		q.Certainty, q.Why = Stated, t.Title+" runs "+platform.Format(*t.Default)+" only"
	}
	return q
}
