package workload

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mattn/go-shellwords"

	"berth/platform"
)

// githubActions reads workflows of GitHub Actions, and action.yml: the containers of jobs,
// their services, and steps and actions that are containers.
var githubActions = &Format{
	Name:  "github-actions",
	Title: "GitHub Actions workflow",
	Files: []string{"*.yml", "*.yaml"},
	Mark:  regexp.MustCompile(`(?m)^["']?(jobs|runs)["']?[ \t]*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && len(documents) == 1 && (isWorkflow(documents[0]) || isAction(documents[0], f.Name))
	},
	read: func(r *reader) {
		documents, _ := r.Documents() // parsed above
		if n := documents[0]; isWorkflow(n) {
			for _, e := range n.Get("jobs").Entries() {
				r.job(e)
			}
		} else {
			r.action(n)
		}
	},
}

// isWorkflow tells by the jobs: other systems have jobs too, and do not say "runs-on".
func isWorkflow(n Node) bool {
	for _, e := range n.Get("jobs").Entries() {
		if e.Value.Get("runs-on").Exists() || e.Value.Get("uses").IsScalar() && n.Get("on").Exists() {
			return true
		}
	}
	return false
}

func isAction(n Node, name string) bool {
	switch path.Base(strings.ReplaceAll(name, `\`, "/")) {
	case "action.yml", "action.yaml":
		return n.Get("runs", "using").IsScalar()
	}
	return false
}

// job reads a job: once for each set of images that its matrix makes of it, with all
// platforms that these run on.
func (r *reader) job(e Entry) {
	job := e.Value
	combinations := matrixOf(job.Get("strategy", "matrix"))
	var workloads []*Workload
	var sets []string
	for _, c := range combinations {
		containers := r.jobContainers(job, c)
		if len(containers) == 0 {
			continue
		}
		q := r.runsOn(job, c)
		set := string(q.Certainty)
		for _, container := range containers {
			set += "\n" + container.Name + " " + container.Image.Text
		}
		if i := slices.Index(sets, set); i >= 0 {
			workloads[i].Requirement = bothRequirements(workloads[i].Requirement, q)
			continue
		}
		sets = append(sets, set)
		workloads = append(workloads, &Workload{
			Kind: "job", Name: strings.TrimSpace(e.Key.Text() + " " + c.name()), Pos: e.Key.Pos(), Requirement: q, Containers: containers,
		})
	}
	for _, w := range workloads {
		if len(workloads) == 1 {
			w.Name = e.Key.Text()
		}
		r.add(w)
	}
}

// bothRequirements is that of two jobs of a matrix which start the same images.
func bothRequirements(a, b Requirement) Requirement {
	for _, p := range b.Platforms {
		if !slices.ContainsFunc(a.Platforms, func(q platform.Platform) bool { return platform.Equal(p, q) }) {
			a.Platforms = append(slices.Clone(a.Platforms), p)
			a.Why += "; " + b.Why
		}
	}
	platform.Sort(a.Platforms)
	return a
}

// jobContainers are the images that a job starts.
func (r *reader) jobContainers(job Node, c combination) []Container {
	var containers []Container
	if n := job.Get("container"); !n.IsNull() {
		image := n
		if n.IsMap() {
			image = n.Get("image")
		}
		if v := c.value(image); v.Text != "" || !v.Known() { // empty: no container
			process := actionsProcess(n, c)
			// What keeps the container up for the steps: ContainerOperationProvider.cs of
			// actions/runner.
			process.Entrypoint, process.Command = []string{"tail"}, []string{"-f", "/dev/null"}
			containers = append(containers, Container{Name: "container", Image: dockerScheme(v), Process: process})
		}
	}
	for _, e := range job.Get("services").Entries() {
		if v := c.value(e.Value.Get("image")); e.Value.Get("image").Exists() && (v.Text != "" || !v.Known()) {
			containers = append(containers, Container{Name: e.Key.Text(), Image: dockerScheme(v), Process: actionsProcess(e.Value, c)})
		}
	}
	return append(containers, stepContainers(job.Get("steps"), c)...)
}

// stepContainers are those of steps that use an image as an action.
func stepContainers(steps Node, c combination) []Container {
	var containers []Container
	for _, step := range steps.Items() {
		if v := step.Get("uses"); strings.HasPrefix(v.Text(), "docker://") {
			name := step.Get("name").Text()
			if name == "" {
				name = step.Get("id").Text()
			}
			containers = append(containers, Container{
				Name: name, Image: dockerScheme(c.value(v)),
				Process: containerAction(step.Get("with", "entrypoint"), step.Get("with", "args"), c),
			})
		}
	}
	return containers
}

// dockerScheme takes off what tells an image from an action.
func dockerScheme(v Value) Value {
	v.Text = strings.TrimPrefix(v.Text, "docker://")
	return v
}

// actionsProcess is what the keys of a container or a service change.
func actionsProcess(n Node, c combination) Process {
	var p Process
	for _, e := range n.Get("env").Entries() {
		if v := c.value(e.Value); v.Known() {
			p.Env = append(p.Env, e.Key.Text()+"="+v.Text)
		}
	}
	for _, item := range n.Get("volumes").Items() {
		if _, target, both := strings.Cut(item.Text(), ":"); both {
			target, _, _ = strings.Cut(target, ":")
			p.Mounts = append(p.Mounts, target)
		}
	}
	if options := n.Get("options").Text(); strings.Contains(options, "--entrypoint") || strings.Contains(options, "--user") || strings.Contains(options, "-u ") {
		p.Unknown = "options of docker create say how it is started"
	}
	return p
}

// containerAction is the process of an action that is a container: its arguments are the
// words of a shell, or a list.
func containerAction(entrypoint, args Node, c combination) Process {
	var p Process
	note := func(v Value) string {
		if !v.Known() {
			p.Unknown = v.Unknown
		}
		return v.Text
	}
	if !entrypoint.IsNull() {
		p.Entrypoint = []string{note(c.value(entrypoint))}
	}
	switch {
	case args.IsList():
		p.Command = []string{}
		for _, item := range args.Items() {
			p.Command = append(p.Command, note(c.value(item)))
		}
	case !args.IsNull():
		words, err := shellwords.Parse(note(c.value(args)))
		if err != nil {
			p.Unknown = "the words of args cannot be told apart: " + err.Error()
		}
		p.Command = words
	}
	return p
}

// action reads action.yml.
func (r *reader) action(n Node) {
	runs := n.Get("runs")
	q := Requirement{Target: r.target("github-actions"), Certainty: Undetermined, Why: "it runs on the runner of the job that uses it", Pos: runs.Pos()}
	w := &Workload{Kind: "action", Name: n.Get("name").Text(), Pos: n.Pos(), Requirement: q}
	if image := runs.Get("image"); strings.EqualFold(runs.Get("using").Text(), "docker") && image.Exists() {
		c := Container{Image: dockerScheme(combination{}.value(image)), Process: containerAction(runs.Get("entrypoint"), runs.Get("args"), combination{})}
		if !strings.HasPrefix(image.Text(), "docker://") {
			c.Build = &Build{Dockerfile: image.Text(), Pos: image.Pos()}
			c.Image = Value{Pos: image.Pos()}
		}
		w.Containers = append(w.Containers, c)
	}
	w.Containers = append(w.Containers, stepContainers(runs.Get("steps"), combination{})...)
	if len(w.Containers) > 0 {
		r.add(w)
	}
}

// Runners of GitHub (docs.github.com/en/actions/reference/runners/github-hosted-runners).
// The names of larger ones are chosen by who makes them.
var (
	ubuntuRunner  = regexp.MustCompile(`^ubuntu-(latest|slim|[0-9]{2}\.[0-9]{2})(-arm)?$`)
	windowsRunner = regexp.MustCompile(`^windows-(latest|20[0-9]{2}|11-arm)(-vs[0-9]+)?$`)
	macRunner     = regexp.MustCompile(`^macos-(latest|[0-9]+(\.[0-9]+)?)(-(intel|large|xlarge))?$`)
)

// runsOn says where a job will run.
func (r *reader) runsOn(job Node, c combination) Requirement {
	n := job.Get("runs-on")
	q := Requirement{Target: r.target("github-actions"), Certainty: Undetermined, Pos: n.Pos()}
	if !n.Exists() {
		q.Pos, q.Why = job.Pos(), "there is no runs-on"
		return q
	}
	labels := n
	if n.IsMap() {
		labels = n.Get("labels")
	}
	if at := c.whole(labels.Text()); at.IsList() {
		labels = at
	}
	var words []string
	for _, item := range append(labels.Items(), labels) {
		if !item.IsScalar() {
			continue
		}
		v := c.value(item)
		if !v.Known() {
			q.Why = "runs-on is " + v.Text + ": " + v.Unknown
			return q
		}
		words = append(words, v.Text)
	}
	says := strings.Join(words, ", ")
	if says == "" {
		q.Why = "runs-on names a group of runners, whose platform is not said"
		return q
	}
	q.Why = "runs-on is " + says
	os, arch := "", ""
	for _, word := range words {
		lower := strings.ToLower(word)
		switch {
		case ubuntuRunner.MatchString(lower):
			os, arch = "linux", "amd64"
			if strings.HasSuffix(lower, "-arm") {
				arch = "arm64"
			}
		case windowsRunner.MatchString(lower), macRunner.MatchString(lower):
			q.Why += ", and containers need a runner with Linux" // docs.github.com/en/actions/how-tos/write-workflows/choose-where-workflows-run/run-jobs-in-a-container
			return q
		// Labels that self-hosted runners have by themselves
		// (docs.github.com/en/actions/reference/runners/self-hosted-runners).
		case lower == "linux":
			os = "linux"
		case lower == "x64":
			arch = "amd64"
		case lower == "arm64":
			arch = "arm64"
		case lower == "arm":
			arch = "arm"
		}
	}
	if arch == "" || os == "" && !slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "self-hosted") }) {
		q.Why += ", which does not say the platform of the runner"
		return q
	}
	q.Platforms, q.Certainty = []platform.Platform{platform.Normalize(platform.Platform{OS: "linux", Architecture: arch})}, Stated
	return q
}
