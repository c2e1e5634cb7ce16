package workload

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"berth/target"
)

// batchRequest is what register-job-definition of AWS Batch takes, or what
// describe-job-definitions gives.
var batchRequest = &Format{
	Name:  "batch-job-definition",
	Title: "AWS Batch job definition",
	Files: []string{"*.json", "*.yaml", "*.yml"},
	Mark:  regexp.MustCompile(`jobDefinitionName["']?\s*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, func(n Node) bool { return len(batchJobs(n)) > 0 })
	},
	read: (*reader).readBatch,
}

// batchJobs are the job definitions in a document.
func batchJobs(n Node) []Node {
	var jobs []Node
	for _, n := range append([]Node{n}, n.Get("jobDefinitions").Items()...) {
		if n.Get("jobDefinitionName").Exists() && slices.ContainsFunc(batchProperties, func(key string) bool { return n.Get(key).Exists() }) {
			jobs = append(jobs, n)
		}
	}
	return jobs
}

// batchProperties are what a job definition has one of.
var batchProperties = []string{"containerProperties", "ecsProperties", "eksProperties", "nodeProperties"}

func (r *reader) readBatch() {
	documents, _ := r.Documents() // is has looked
	for _, d := range documents {
		for _, n := range batchJobs(d) {
			t := plain(n)
			name := t.get("jobDefinitionName").Text
			for _, w := range (&batchJob{reader: r, job: t, spelled: lowerFirst}).read("job definition " + name) {
				w.Kind, w.Name, w.Pos = "AWS Batch job definition", name+w.Name, n.Pos()
				r.add(w)
			}
		}
	}
}

// batchJob reads one job definition, whatever file it is in.
type batchJob struct {
	*reader
	job     tree
	spelled func(string) string
}

// read returns a workload, or of a job of several nodes one for each range of them; their
// names are what is to be added to the job's.
func (b *batchJob) read(what string) []*Workload {
	node := b.job.get("nodeProperties")
	if !node.has() {
		return b.properties(b.job, "containerProperties", "")
	}
	key := b.spelled("nodeProperties.nodeRangeProperties")
	if node.kind == unknown {
		return []*Workload{b.unknownWorkload(node)}
	}
	if !b.expect(node, object, b.spelled("nodeProperties")) {
		return nil
	}
	var ws []*Workload
	for i, r := range b.list(node.get("nodeRangeProperties"), key) {
		if !b.expect(r, object, fmt.Sprintf("%s[%d]", key, i)) {
			continue
		}
		ws = append(ws, b.properties(r, "container", " (nodes "+r.get("targetNodes").Text+")")...)
	}
	if len(ws) == 0 {
		b.broken(node.Pos, "%s has no nodes with containers", what)
	}
	return ws
}

// properties reads what of is made of: a container, a task of ECS, a pod of EKS.
func (b *batchJob) properties(of tree, container, name string) []*Workload {
	w := &Workload{Name: name}
	t, why := b.target()
	if c := of.get(container); c.has() {
		return b.task(w, c, []tree{c}, container, t, why)
	}
	if e := of.get("ecsProperties"); e.has() {
		key := "ecsProperties.taskProperties"
		var ws []*Workload
		if e.kind == unknown {
			return []*Workload{b.unknownWorkload(e)}
		}
		for i, task := range b.list(e.get("taskProperties"), b.spelled(key)) {
			at := fmt.Sprintf("%s[%d]", key, i)
			if b.expect(task, object, b.spelled(at)) {
				ws = append(ws, b.task(&Workload{Name: name}, task, b.list(task.get("containers"), b.spelled(at+".containers")), at+".containers", t, why)...)
			}
		}
		return ws
	}
	if e := of.get("eksProperties"); e.has() {
		return b.pod(w, e.get("podProperties"))
	}
	return nil
}

func (b *batchJob) unknownWorkload(t tree) *Workload {
	return &Workload{
		Requirement: Requirement{Certainty: Undetermined, Why: t.Unknown, Pos: t.Pos},
		Containers:  []Container{{Image: t.Value}},
	}
}

// target is what the job runs on, and why that is not known. Without platformCapabilities
// it is EC2: docs.aws.amazon.com/batch/latest/APIReference/API_RegisterJobDefinition.html
func (b *batchJob) target() (*target.Target, string) {
	field := b.spelled("platformCapabilities")
	capabilities, why := b.words(b.job.get("platformCapabilities"), field)
	switch {
	case why != "":
		return nil, field + " is not known: " + why
	case slices.Contains(capabilities, "FARGATE"):
		return b.reader.target("batch-fargate"), ""
	case slices.Contains(capabilities, "MANAGED_INSTANCES"):
		return b.reader.target("ecs-managed-instances"), ""
	}
	return b.reader.target("batch-ec2"), ""
}

// task reads the containers of a task, which is where runtimePlatform is.
func (b *batchJob) task(w *Workload, task tree, containers []tree, key string, t *target.Target, why string) []*Workload {
	if task.kind == unknown {
		return []*Workload{b.unknownWorkload(task)}
	}
	if !b.expect(task, object, b.spelled(key)) {
		return nil
	}
	e := ecs{reader: b.reader, task: task, spelled: b.spelled, after: []string{"image", "platformVersion"}}
	switch {
	case t == nil:
		w.Requirement = Requirement{Certainty: Undetermined, Why: why, Pos: b.job.get("platformCapabilities").Pos}
	case t.Name == "batch-ec2": // runtimePlatform is for Fargate
		w.Requirement = defaultOf(t, "the instances of the compute environment decide", b.job.Pos)
	default:
		w.Requirement = e.runtimePlatform(t, "")
		w.SetPlatform = e.setPlatform
	}
	for i, c := range containers {
		what := b.spelled(key)
		if len(containers) > 1 || task.node != c.node {
			what = fmt.Sprintf("%s[%d]", what, i)
		}
		if c.kind == unknown {
			w.Containers = append(w.Containers, Container{Image: c.Value})
		} else if b.expect(c, object, what) {
			out := e.container(c, what)
			if argv := slices.Concat(out.Process.Entrypoint, out.Process.Command); len(argv) > 0 && strings.HasPrefix(argv[0], "Ref::") {
				out.Process.unknown(b.spelled("command"), argv[0]+" is a parameter of the job") // those that follow it start nothing
			}
			w.Containers = append(w.Containers, out)
		}
	}
	return []*Workload{w}
}

// pod reads a pod of EKS: command and args are what Kubernetes calls so.
func (b *batchJob) pod(w *Workload, pod tree) []*Workload {
	what := b.spelled("eksProperties.podProperties")
	if pod.kind == unknown {
		return []*Workload{b.unknownWorkload(pod)}
	}
	if !b.expect(pod, object, what) {
		return nil
	}
	w.Requirement = defaultOf(b.reader.target("eks"), "the nodes of the compute environment decide", b.job.Pos)
	for _, key := range []string{"initContainers", "containers"} {
		for i, c := range b.list(pod.get(key), what+"."+b.spelled(key)) {
			at := fmt.Sprintf("%s.%s[%d]", what, b.spelled(key), i)
			if c.kind == unknown {
				w.Containers = append(w.Containers, Container{Image: c.Value})
				continue
			}
			if !b.expect(c, object, at) {
				continue
			}
			out := Container{Name: c.get("name").Text, Image: b.image(c.get("image"), c, b.spelled("image"), at)}
			p := &out.Process
			var why string
			p.Entrypoint, why = b.words(c.get("command"), at+".command")
			p.unknown("command", why)
			p.Command, why = b.words(c.get("args"), at+".args")
			p.unknown("args", why)
			for _, env := range c.get("env").items {
				p.variable(env.get("name").Text, env.get("value"))
			}
			w.Containers = append(w.Containers, out)
		}
	}
	return []*Workload{w}
}
