package workload

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"berth/platform"
	"berth/target"
)

// ecsTaskDefinition is a task definition as ECS takes it (register-task-definition
// --cli-input-json) or gives it back (describe-task-definition, under "taskDefinition"),
// and that of a daemon.
var ecsTaskDefinition = &Format{
	Name:  "ecs-task-definition",
	Title: "ECS task definition",
	Files: []string{"*.json", "*.yaml", "*.yml"},
	Mark:  ecsMark,
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, func(n Node) bool { return ecsTask(n).Exists() })
	},
	read: (*reader).readECS,
}

// ecsMark is what every task definition has.
var ecsMark = regexp.MustCompile(`containerDefinitions["']?\s*:`)

// ecsTask is the task definition in a document, or nothing.
func ecsTask(n Node) Node {
	for _, n := range []Node{n, n.Get("taskDefinition"), n.Get("daemonTaskDefinition")} {
		if n.Get("containerDefinitions").Exists() && !n.Get("kind").Exists() {
			return n
		}
	}
	return Node{}
}

func (r *reader) readECS() {
	documents, _ := r.Documents() // is has looked
	for _, n := range documents {
		n := ecsTask(n)
		if !n.Exists() {
			continue
		}
		t := plain(n)
		task := ecs{reader: r, task: t, spelled: lowerFirst}
		w := &Workload{Kind: "ECS task definition", Name: t.get("family").Text, Pos: n.Pos()}
		if documentOf(documents, "daemonTaskDefinition", n) {
			w.Kind, task.daemon = "ECS daemon task definition", true
		} else {
			task.launch = r.ecsServicesBeside(w.Name)
		}
		task.read(w)
		if n.Get("AWSEBDockerrunVersion").Exists() { // Dockerrun.aws.json, version 2: its containers are those of ECS
			w.Kind, w.Requirement, w.SetPlatform = "Elastic Beanstalk containers", defaultOf(r.target("elasticbeanstalk"), "the environment decides", n.Pos()), nil
		}
		r.add(w)
	}
}

// documentOf tells whether n is what a document has under key.
func documentOf(documents []Node, key string, n Node) bool {
	return slices.ContainsFunc(documents, func(d Node) bool { return d.Get(key).node == n.node })
}

// ecs reads one task definition, whatever file it is in.
type ecs struct {
	*reader
	task   tree
	launch []ecsLaunch
	daemon bool
	// spelled is how the format writes the names of the API.
	spelled func(name string) string
	inside  func(name string) string // of containers, where that differs
	after   []string                 // the keys after which runtimePlatform may come, or nil for those of ECS
}

// ecsLaunch is how a service starts a task definition.
type ecsLaunch struct {
	compatibility string // as requiresCompatibilities has it: "FARGATE", "EC2"
	from          string // what says so, for people
	pos           Pos
}

// lowerFirst and upperFirst are how the API and how templates write its names.
func lowerFirst(name string) string { return name }

func upperFirst(name string) string {
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = strings.ToUpper(part[:1]) + part[1:]
	}
	return strings.Join(parts, ".")
}

func (e *ecs) read(w *Workload) {
	w.Requirement = e.requirement()
	e.expect(e.task.get("containerDefinitions"), list, e.spelled("containerDefinitions"))
	for i, c := range e.task.get("containerDefinitions").items {
		what := fmt.Sprintf("%s[%d]", e.spelled("containerDefinitions"), i)
		w.Containers = append(w.Containers, e.containers(c, what)...)
	}
	if t := e.task.get("containerDefinitions"); t.kind == unknown {
		for _, list := range t.either {
			for _, c := range list.items {
				w.Containers = append(w.Containers, e.containers(c, e.spelled("containerDefinitions"))...)
			}
		}
		if w.Containers == nil {
			w.Containers = []Container{{Image: t.Value}}
		}
	}
	if !e.daemon {
		w.SetPlatform = e.setPlatform
	}
}

// containers is one container, or where a condition that is not known decides on it, those
// that it may be.
func (e *ecs) containers(c tree, what string) []Container {
	switch {
	case c.kind == object:
		first := e.container(c, what)
		all := []Container{first}
		for i, image := range c.get("image").leaves() {
			if i > 0 {
				all = append(all, first)
			}
			all[i].Image = e.image(image, c, e.spelled("image"), what)
		}
		return all
	case c.kind != unknown:
		e.broken(c.Pos, "%s is %s: an object was expected", what, c.describe())
		return nil
	}
	var all []Container
	for _, branch := range c.either {
		if branch.has() {
			all = append(all, e.containers(branch, what)...)
		}
	}
	if all == nil {
		all = []Container{{Image: c.Value}}
	}
	return all
}

// container is a container of ECS or of Batch.
func (e *ecs) container(c tree, what string) Container {
	if e.inside != nil {
		inner := *e
		inner.spelled, inner.inside = e.inside, nil
		return inner.container(c, what)
	}
	name, _ := e.text(c.get("name"), what+"."+e.spelled("name"))
	out := Container{Name: name.Text, Image: e.image(c.get("image"), c, e.spelled("image"), what)}
	p := &out.Process
	for _, field := range []struct {
		key  string
		into *[]string
	}{{"entryPoint", &p.Entrypoint}, {"command", &p.Command}} {
		words, why := e.words(c.get(field.key), what+"."+e.spelled(field.key))
		p.unknown(e.spelled(field.key), why)
		if len(words) > 0 { // an empty list, as describe-task-definition writes, changes nothing
			*field.into = words
		}
	}
	for _, field := range []struct {
		key  string
		into *string
	}{{"user", &p.User}, {"workingDirectory", &p.WorkDir}} {
		v, _ := e.text(c.get(field.key), what+"."+e.spelled(field.key))
		p.unknown(e.spelled(field.key), v.Unknown)
		if v.Known() {
			*field.into = v.Text
		}
	}
	e.environment(c, what, p)
	for _, mount := range c.get("mountPoints").items {
		if at := mount.get("containerPath"); at.kind == scalar {
			p.Mounts = append(p.Mounts, at.Text)
		}
	}
	return out
}

// environment reads the variables, of which those with unknown values are left out.
func (e *ecs) environment(c tree, what string, p *Process) {
	env := c.get("environment")
	what += "." + e.spelled("environment")
	for i, item := range e.list(env, what) {
		if item.kind == unknown {
			continue
		}
		if !e.expect(item, object, fmt.Sprintf("%s[%d]", what, i)) {
			continue
		}
		value := item.get("value")
		if value.kind == list || value.kind == object {
			e.broken(value.Pos, "%s[%d].%s is %s: a string was expected", what, i, e.spelled("value"), value.describe())
			continue
		}
		p.variable(item.get("name").Text, value)
	}
	for _, item := range c.get("secrets").items {
		if name := item.get("name").Text; startEnv[name] {
			p.unknown(name, "it is a secret")
		}
	}
}

// requirement is where the task definition runs.
func (e *ecs) requirement() Requirement {
	t, fallback, why := e.target()
	q := e.runtimePlatform(t, fallback)
	if why != "" {
		q.Why += " (" + why + ")"
	}
	return q
}

// target is what it runs on; nil for machines outside of AWS and where it is unknown.
// missing names what the file does not say, where that decides; why is what else says it.
func (e *ecs) target() (t *target.Target, missing, why string) {
	if e.daemon {
		return e.reader.target("ecs-managed-instances"), "", ""
	}
	field := e.spelled("requiresCompatibilities")
	asked := e.task.get("requiresCompatibilities")
	if asked.kind == scalar { // the API takes a list only
		e.broken(asked.Pos, "%s is %s: a list was expected", field, asked.describe())
		asked = tree{}
	}
	compatibilities, unknownWhy := e.words(asked, field)
	if len(e.launch) > 0 {
		compatibilities, unknownWhy = nil, ""
		for _, l := range e.launch {
			compatibilities = append(compatibilities, l.compatibility)
			why = l.from + " has launch type " + l.compatibility
		}
		if asked.has() && slices.Contains(asked.texts(), e.launch[len(e.launch)-1].compatibility) {
			why = "" // both say the same
		}
	}
	for _, c := range compatibilities {
		switch c {
		case "FARGATE", "EC2", "MANAGED_INSTANCES", "EXTERNAL":
		default:
			if len(e.launch) == 0 {
				e.broken(asked.Pos, "%s has %q: EC2, FARGATE, MANAGED_INSTANCES and EXTERNAL are known", field, c)
			}
		}
	}
	switch {
	case slices.Contains(compatibilities, "FARGATE"):
		if slices.Contains(compatibilities, "EC2") && len(e.launch) == 0 {
			why = field + " has EC2 as well"
		}
		return e.reader.target("fargate"), "", why
	case slices.Contains(compatibilities, "MANAGED_INSTANCES"):
		return e.reader.target("ecs-managed-instances"), "", why
	case slices.Contains(compatibilities, "EC2"):
		return e.reader.target("ecs-ec2"), "", why
	case slices.Contains(compatibilities, "EXTERNAL"):
		return nil, "machines outside of AWS", why
	case unknownWhy != "":
		return nil, field + " is not known: " + unknownWhy, ""
	}
	return e.reader.target("ecs-ec2"), "no " + field + " and ", ""
}

// texts are the known scalars of a list.
func (t tree) texts() []string {
	var texts []string
	for _, item := range t.items {
		if item.kind == scalar {
			texts = append(texts, item.Text)
		}
	}
	return texts
}

// ecsArchitectures and ecsFamilies are what runtimePlatform says. Families of Windows
// begin with one prefix:
// docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
var ecsArchitectures = map[string]string{"X86_64": "amd64", "ARM64": "arm64"}

const ecsWindows = "WINDOWS_SERVER_"

func (e *ecs) runtimePlatform(t *target.Target, missing string) Requirement {
	field := e.spelled("runtimePlatform")
	rp := e.task.get("runtimePlatform")
	q := Requirement{Target: t, Pos: e.task.Pos, Certainty: Undetermined}
	if e.daemon {
		if rp.has() {
			e.broken(rp.Pos, "a daemon task definition has no %s", field)
		}
		q.Why = t.Title + ": a daemon has no " + field + " and runs on every instance of its capacity providers"
		return q
	}
	if rp.kind != absent && rp.kind != unknown && !e.expect(rp, object, field) {
		q.Pos, q.Why = rp.Pos, field+" is not an object"
		return q
	}
	arch, family := rp.get("cpuArchitecture"), rp.get("operatingSystemFamily")
	archName, familyName := e.spelled("runtimePlatform.cpuArchitecture"), e.spelled("runtimePlatform.operatingSystemFamily")
	for _, f := range []struct {
		tree
		name string
	}{{arch, archName}, {family, familyName}} {
		switch {
		case f.kind == unknown:
			q.Pos, q.Why = f.Pos, f.name+" is not known: "+f.Unknown
			return q
		case f.kind != absent && f.kind != scalar:
			e.expect(f.tree, scalar, f.name)
			q.Pos, q.Why = f.Pos, f.name+" is not a string"
			return q
		}
	}
	p := platform.Platform{OS: "linux"}
	switch {
	case family.kind == absent || family.Text == "LINUX":
	case strings.HasPrefix(family.Text, ecsWindows):
		p.OS = "windows"
	default:
		e.broken(family.Pos, "%s is %q: LINUX or %s… was expected", familyName, family.Text, ecsWindows)
		q.Pos, q.Why = family.Pos, fmt.Sprintf("%s is %q, which is not known", familyName, family.Text)
		return q
	}
	if arch.kind == scalar {
		q.Pos = arch.Pos
		if p.Architecture = ecsArchitectures[arch.Text]; p.Architecture == "" {
			e.broken(arch.Pos, "%s is %q: X86_64 or ARM64 was expected", archName, arch.Text)
			q.Why = fmt.Sprintf("%s is %q, which is not known", archName, arch.Text)
			return q
		}
		q.Certainty, q.Platforms, q.Why = Stated, []platform.Platform{platform.Normalize(p)}, archName+" is "+arch.Text+arch.by()
		return q
	}
	without := missing + "no " + field
	if rp.kind == object {
		q.Pos, without = rp.Pos, missing+field+" has no "+e.spelled("cpuArchitecture")
	}
	if t == nil {
		q.Why = missing + ", and " + strings.TrimPrefix(without, missing)
		return q
	}
	byDefault := defaultOf(t, without, q.Pos)
	if family.kind == scalar && p.OS == "windows" { // Windows has one architecture there
		q.Certainty, q.Platforms = Stated, []platform.Platform{{OS: "windows", Architecture: "amd64"}}
		q.Pos, q.Why = family.Pos, familyName+" is "+family.Text
		return q
	}
	return byDefault
}

// setPlatform writes runtimePlatform.
func (e *ecs) setPlatform(p platform.Platform) ([]Edit, error) {
	arch := ""
	for name, a := range ecsArchitectures {
		if a == p.Architecture && p.Variant == "" || a == p.Architecture && p.Architecture == "arm64" && p.Variant == "v8" {
			arch = name
		}
	}
	if arch == "" || p.OS != "linux" && p.OS != "windows" {
		return nil, fmt.Errorf("%s: ECS has no name for %s", e.task.Pos, platform.Format(p))
	}
	rp := e.task.get("runtimePlatform")
	family := rp.get("operatingSystemFamily")
	windows := strings.HasPrefix(family.Text, ecsWindows)
	if p.OS == "windows" && !windows {
		return nil, fmt.Errorf("%s: which Windows Server it is has to be said in %s", rp.Pos, e.spelled("runtimePlatform.operatingSystemFamily"))
	}
	values := []pair{{e.spelled("cpuArchitecture"), arch}}
	if p.OS == "linux" && (windows || rp.kind == absent) {
		values = append(values, pair{e.spelled("operatingSystemFamily"), "LINUX"})
	}
	after := e.after
	if after == nil {
		after = []string{"requiresCompatibilities", "networkMode", "family"}
	}
	spelled := make([]string, len(after))
	for i, key := range after {
		spelled[i] = e.spelled(key)
	}
	return e.task.assign(e.spelled("runtimePlatform"), values, spelled...)
}

// assign sets keys of the object that t has under key. Where a value stands elsewhere (a
// parameter's default, the branch of a condition) it is changed there.
func (t tree) assign(key string, pairs []pair, after ...string) ([]Edit, error) {
	at := t.get(key)
	if at.kind == absent && t.node.IsMap() {
		return t.node.set(key, pairs, after...)
	}
	if at.kind != object || !at.node.IsMap() {
		return nil, fmt.Errorf("%s: %s is not written out here, so that it cannot be changed here", at.Pos, key)
	}
	var edits []Edit
	for _, p := range pairs {
		var more []Edit
		var err error
		switch v := at.get(p.key); {
		case v.kind == absent:
			more, err = at.node.set(p.key, p.value)
		case v.kind == scalar && v.node.IsScalar():
			more, err = v.rewrite(p.key, p.value.(string)) // all pairs of objects here are strings
		default:
			err = fmt.Errorf("%s: %s.%s is not written out here, so that it cannot be changed here", v.Pos, key, p.key)
		}
		if err != nil {
			return nil, err
		}
		edits = append(edits, more...)
	}
	return edits, nil
}

// maxBeside bounds how many files beside a task definition are looked at for services.
// Repositories have some dozens in a folder.
const maxBeside = 200

// maxServiceSize bounds each: service definitions have some kilobytes.
const maxServiceSize = 1 << 20

// isServiceName tells what files of service definitions are called: "ecs-service-def.json"
// is what ecspresso init writes. Others are not opened, so that a folder of many task
// definitions is not read once for each.
func isServiceName(name string) bool {
	return strings.HasSuffix(name, ".json") &&
		(strings.Contains(name, "service") || strings.Contains(name, "Service") || strings.Contains(name, "svc"))
}

// ecsServicesBeside are how the service definitions in the same folder launch a family.
// One that names no task definition (ecspresso) is for the only one there is.
func (r *reader) ecsServicesBeside(family string) []ecsLaunch {
	if r.ReadDir == nil || r.ReadFile == nil || r.Name == Stdin {
		return nil
	}
	names, err := r.ReadDir(path.Dir(strings.ReplaceAll(r.Name, `\`, "/")))
	if err != nil {
		return nil // a folder that cannot be read is said where it is walked
	}
	var named, unnamed []ecsLaunch
	looked := 0
	for _, name := range names {
		if !isServiceName(name) || looked == maxBeside {
			continue
		}
		looked++
		s, ok := r.serviceBeside(name)
		switch launch := (ecsLaunch{s.compatibility(), name, Pos{File: r.beside(name)}}); {
		case !ok || launch.compatibility == "":
		case s.TaskDefinition == nil:
			unnamed = append(unnamed, launch)
		case ecsFamily(*s.TaskDefinition) == family:
			named = append(named, launch)
		}
	}
	if len(named) == 0 && len(unnamed) > 0 && r.tasksBeside(names) == 1 {
		return unnamed
	}
	return named
}

// ecsServiceDefinition is what create-service takes, as far as it matters here.
type ecsServiceDefinition struct {
	LaunchType               string
	TaskDefinition           *string
	CapacityProviderStrategy []struct{ CapacityProvider string }
}

func (s *ecsServiceDefinition) compatibility() string {
	c := s.LaunchType
	for _, p := range s.CapacityProviderStrategy {
		c = ecsCapacity(p.CapacityProvider)
	}
	return c
}

func (r *reader) serviceBeside(name string) (s ecsServiceDefinition, ok bool) {
	data, err := r.ReadFile(r.beside(name))
	if err != nil || len(data) > maxServiceSize {
		return s, false
	}
	return s, json.Unmarshal(data, &s) == nil // what is broken is said where it is read for itself
}

// tasksBeside is how many task definitions there are.
func (r *reader) tasksBeside(names []string) int {
	tasks := 0
	for _, name := range names[:min(len(names), maxBeside)] {
		if path.Ext(name) != ".json" {
			continue
		}
		if data, err := r.ReadFile(r.beside(name)); err == nil && ecsMark.Match(data) {
			tasks++
		}
	}
	return tasks
}

// ecsCapacity is the launch type of a capacity provider: others than those of Fargate are
// made by the user, for instances.
func ecsCapacity(provider string) string {
	if provider == "FARGATE" || provider == "FARGATE_SPOT" {
		return "FARGATE"
	}
	return "EC2"
}

// ecsFamily is the family in "family", "family:revision" or the ARN of a task definition.
func ecsFamily(name string) string {
	if _, after, ok := strings.Cut(name, ":task-definition/"); ok {
		name = after
	}
	family, _, _ := strings.Cut(name, ":")
	return family
}
