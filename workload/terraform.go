package workload

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// terraformPlan is what terraform show -json says of a plan, or of a state. It has what
// configuration comes to; where that lies beside it, places are those of the configuration.
var terraformPlan = &Format{
	Name:  "terraform-plan",
	Title: "Terraform plan",
	Files: []string{"*.json"},
	Mark:  regexp.MustCompile(`root_module"\s*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, func(n Node) bool { return planRoot(n).Exists() })
	},
	read: (*reader).readTerraform,
}

// planRoot is the root module of what is planned, or in a state of what is there.
func planRoot(n Node) Node {
	if !n.Get("terraform_version").Exists() && !n.Get("format_version").Exists() {
		return Node{}
	}
	if planned := n.Get("planned_values", "root_module"); planned.Exists() {
		return planned
	}
	return n.Get("values", "root_module")
}

// maxModules bounds how deep modules are nested, which configuration does some levels.
const maxModules = 50

// plan is one plan that is read.
type plan struct {
	*reader
	unknown  map[string]Node // what is known after apply, by address
	services map[string][]ecsLaunch
	folders  map[string]*hclFolder
}

// planned is one resource of a plan.
type planned struct {
	kind, address, name string
	pos                 Pos
	values              tree
	node                Node // of values
	config              Node // of the configuration
	module              string
	block               *hclBlock // nil where the configuration does not lie beside
}

// planReaders read the resources of each type.
var planReaders = map[string]func(*plan, *planned) []*Workload{
	"aws_ecs_task_definition":            (*plan).taskDefinition,
	"aws_ecs_daemon_task_definition":     (*plan).taskDefinition,
	"aws_ecs_express_gateway_service":    (*plan).expressService,
	"aws_lambda_function":                (*plan).lambda,
	"aws_apprunner_service":              (*plan).appRunner,
	"aws_batch_job_definition":           (*plan).batch,
	"aws_bedrockagentcore_agent_runtime": (*plan).agentRuntime,
}

func (r *reader) readTerraform() {
	documents, _ := r.Documents() // is has looked
	for _, n := range documents {
		root := planRoot(n)
		if !root.Exists() {
			continue
		}
		p := &plan{reader: r, unknown: map[string]Node{}, services: map[string][]ecsLaunch{}, folders: map[string]*hclFolder{}}
		for _, change := range n.Get("resource_changes").Items() {
			p.unknown[change.Get("address").Text()] = change.Get("change", "after_unknown")
		}
		config := n.Get("configuration", "root_module")
		folder := path.Dir(strings.ReplaceAll(r.Name, `\`, "/"))
		p.walk(root, config, "", folder, 0, p.service)
		p.walk(root, config, "", folder, 0, p.resource)
	}
}

// walk gives each resource of a module and of those that it calls to visit.
func (p *plan) walk(module, config Node, name, folder string, depth int, visit func(*planned)) {
	if depth > maxModules {
		p.broken(module.Pos(), "modules are nested more than %d deep", maxModules)
		return
	}
	configured := map[string]Node{}
	for _, c := range config.Get("resources").Items() {
		configured[c.Get("type").Text()+"."+c.Get("name").Text()] = c
	}
	resources := module.Get("resources")
	if resources.Exists() && !resources.IsList() && !resources.IsNull() {
		p.broken(resources.Pos(), "resources is %s: a list was expected", plain(resources).describe())
	}
	for _, n := range resources.Items() {
		kind := n.Get("type").Text()
		if n.Get("mode").Text() == "data" {
			continue
		}
		visit(&planned{
			kind: kind, address: n.Get("address").Text(), name: n.Get("name").Text(), pos: n.Pos(), module: name,
			node: n.Get("values"), config: configured[kind+"."+n.Get("name").Text()], block: p.block(folder, kind, n.Get("name").Text()),
		})
	}
	for _, child := range module.Get("child_modules").Items() {
		address := child.Get("address").Text()
		call := config.Get("module_calls", moduleName(address))
		inside := ""
		if source := call.Get("source").Text(); folder != "" && (strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")) {
			inside = path.Join(folder, source)
		}
		p.walk(child, call.Get("module"), address, inside, depth+1, visit)
	}
}

// moduleName is b of "module.a.module.b[0]".
func moduleName(address string) string {
	if at := strings.LastIndex(address, "module."); at >= 0 {
		address = address[at+len("module."):]
	}
	name, _, _ := strings.Cut(address, "[")
	return name
}

func (p *plan) resource(res *planned) {
	kubernetes := kubernetesKinds[strings.TrimSuffix(res.kind, "_v1")]
	read := planReaders[res.kind]
	fixed, hasFixed := planFixed[res.kind]
	if read == nil && kubernetes == nil && !hasFixed && res.kind != "kubernetes_manifest" {
		return
	}
	if !res.node.IsMap() {
		p.broken(res.pos, "%s has no values", res.address)
		return
	}
	if res.block != nil {
		res.pos = res.block.pos()
	}
	switch {
	case res.kind == "kubernetes_manifest":
		if manifest := res.node.Get("manifest"); isObject(manifest) {
			p.kubernetesObject(res, manifest)
		}
		return
	case kubernetes != nil:
		p.kubernetes(res, kubernetes)
		return
	}
	res.values = p.overlay(plain(res.node), p.unknown[res.address], res)
	res.values.Pos = res.pos
	var ws []*Workload
	if hasFixed {
		ws = p.fixed(res, fixed)
	} else {
		ws = read(p, res)
	}
	for _, w := range ws {
		w.Kind, w.Name, w.Pos = res.kind, strings.Replace(res.address, res.kind+".", "", 1)+w.Name, res.pos
		p.add(w)
	}
}

// blockNames are the blocks of which a resource has one at most, which plans write as
// lists.
var blockNames = map[string]bool{
	"runtime_platform": true, "image_config": true, "environment": true, "source_configuration": true, "image_repository": true,
	"image_configuration": true, "code_repository": true, "eks_properties": true, "pod_properties": true, "primary_container": true,
	"agent_runtime_artifact": true, "container_configuration": true, "template": true, "spec": true,
}

// overlay is t with blocks as objects, and what is known after apply as unknown. An
// attribute that the configuration does not set, and the provider does, is not there.
func (p *plan) overlay(t tree, unknowns Node, res *planned) tree {
	t = p.merge(t, unknowns, "it is known after apply")
	for i, f := range t.fields {
		if f.value.kind != unknown {
			continue
		}
		expression := res.config.Get("expressions", f.key)
		if !expression.Exists() && res.config.Exists() {
			t.fields[i].value = tree{Value: Value{Pos: res.pos}}
			continue
		}
		if from := references(expression); from != "" {
			t.fields[i].value.Text, t.fields[i].value.Unknown = "${"+from+"}", "it is known after apply, from "+from
		}
	}
	if res.block != nil { // places are those of the attributes
		for i, f := range t.fields {
			if pos, ok := res.block.at(f.key); ok {
				t.fields[i].value = f.value.placed(pos)
			} else {
				t.fields[i].value = f.value.placed(res.pos)
			}
		}
	}
	return t
}

// placed is t with all of it at one place, where nothing can be edited.
func (t tree) placed(pos Pos) tree {
	t.Pos, t.node = pos, Node{}
	t.items, t.fields = slices.Clone(t.items), slices.Clone(t.fields)
	for i := range t.items {
		t.items[i] = t.items[i].placed(pos)
	}
	for i := range t.fields {
		t.fields[i].value = t.fields[i].value.placed(pos)
	}
	return t
}

func (p *plan) merge(t tree, unknowns Node, why string) tree {
	if unknowns.Bool() {
		return unknownAt(t.Pos, "${known after apply}", why)
	}
	switch t.kind {
	case list:
		items := unknowns.Items()
		for i := range t.items {
			var u Node
			if i < len(items) {
				u = items[i]
			}
			t.items[i] = p.merge(t.items[i], u, why)
		}
	case object:
		seen := map[string]bool{}
		for i, f := range t.fields {
			seen[f.key] = true
			v := p.merge(f.value, unknowns.Get(f.key), why)
			if blockNames[f.key] && v.kind == list && len(v.items) <= 1 {
				if len(v.items) == 0 {
					v = tree{Value: v.Value}
				} else if v.items[0].kind == object || v.items[0].kind == unknown {
					v = v.items[0]
				}
			}
			t.fields[i].value = v
		}
		for _, e := range unknowns.Entries() {
			if !seen[e.Key.Text()] && e.Value.Bool() {
				t.fields = append(t.fields, field{e.Key.Text(), unknownAt(t.Pos, "${known after apply}", why)})
			}
		}
	}
	return t
}

// references are what an expression is made of, without the resources whose attributes
// are named too.
func references(expression Node) string {
	var names []string
	for _, name := range expression.Get("references").Texts() {
		if len(names) > 0 && strings.HasPrefix(names[len(names)-1], name+".") {
			continue
		}
		names = append(names, name)
	}
	if len(names) > 3 {
		names = append(names[:3], "…")
	}
	return strings.Join(names, ", ")
}

// embedded is the JSON that an attribute is a string of.
func (p *plan) embedded(t tree, what string) tree {
	if t.kind != scalar {
		if t.kind != absent && t.kind != unknown {
			p.broken(t.Pos, "%s is %s: a string of JSON was expected", what, t.describe())
		}
		return t
	}
	f := NewFile(what, []byte(t.Text))
	documents, err := f.Documents()
	if err != nil || len(documents) != 1 {
		p.broken(t.Pos, "%s is not JSON", what)
		return tree{Value: Value{Pos: t.Pos}}
	}
	return plain(documents[0]).placed(t.Pos)
}

// with is t with another value under key.
func (t tree) with(key string, v tree) tree {
	t.fields = append(slices.Clone(t.fields), field{key, v}) // the last counts
	return t
}

// snakeCase is how the provider writes the names of the API.
func snakeCase(name string) string {
	var b strings.Builder
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			if i > 0 && name[i-1] != '.' {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// service remembers how a service or a scheduled task launches a task definition of its
// module.
func (p *plan) service(res *planned) {
	if res.kind != "aws_ecs_service" {
		return
	}
	values := plain(res.node)
	compatibility := values.get("launchType").Text
	for _, c := range values.get("capacityProviderStrategy").items {
		compatibility = ecsCapacity(c.get("capacityProvider").Text)
	}
	if compatibility == "" {
		return
	}
	pos := res.pos
	if res.block != nil {
		pos = res.block.pos()
	}
	for _, reference := range res.config.Get("expressions", "task_definition", "references").Texts() {
		if parts := strings.Split(reference, "."); len(parts) == 2 {
			p.services[res.module+" "+reference] = append(p.services[res.module+" "+reference], ecsLaunch{compatibility, res.address, pos})
		}
	}
}

func (p *plan) taskDefinition(res *planned) []*Workload {
	definitions := p.embedded(res.values.get("containerDefinitions"), "container_definitions")
	if definitions.kind == absent && res.values.get("containerDefinitions").kind == absent {
		p.broken(res.pos, "%s has no container_definitions", res.address)
	}
	e := ecs{
		reader: p.reader, task: res.values.with("containerDefinitions", definitions), spelled: snakeCase, inside: lowerFirst,
		launch: p.services[res.module+" "+res.kind+"."+res.name], daemon: res.kind == "aws_ecs_daemon_task_definition",
	}
	w := &Workload{}
	e.read(w)
	if w.SetPlatform != nil {
		w.SetPlatform = p.replan(res, hclRuntimePlatform)
	}
	return []*Workload{w}
}

func (p *plan) lambda(res *planned) []*Workload {
	l := lambdaFunction{reader: p.reader, props: res.values, image: res.values.get("imageUri"), missing: "image_uri", spelled: snakeCase}
	w := l.read()
	if w == nil {
		return nil
	}
	w.SetPlatform = p.replan(res, hclArchitectures)
	return []*Workload{w}
}

func (p *plan) appRunner(res *planned) []*Workload {
	return p.appRunnerService(res.values, snakeCase)
}

func (p *plan) batch(res *planned) []*Workload {
	job := res.values
	for _, key := range []string{"containerProperties", "ecsProperties", "nodeProperties"} {
		job = job.with(key, p.embedded(job.get(key), snakeCase(key)))
	}
	ws := (&batchJob{reader: p.reader, job: job, spelled: lowerFirst}).read(res.address)
	for _, w := range ws {
		w.SetPlatform = nil // the platform is inside of a string
	}
	return ws
}

func (p *plan) expressService(res *planned) []*Workload {
	c := res.values.get("primaryContainer")
	if c.kind == absent {
		p.broken(res.pos, "%s has no primary_container", res.address)
		return nil
	}
	w := &Workload{Requirement: defaultOf(p.target("ecs-express"), "no attribute says the platform", res.pos)}
	w.Containers = (&ecs{reader: p.reader, spelled: snakeCase}).containers(c, "primary_container")
	return []*Workload{w}
}

func (p *plan) agentRuntime(res *planned) []*Workload {
	c := res.values.get("agentRuntimeArtifact", "containerConfiguration")
	if c.kind == absent {
		return nil
	}
	w := &Workload{Requirement: defaultOf(p.target("agentcore"), "no attribute says the platform", res.pos)}
	w.Containers = []Container{{Image: p.image(c.get("containerUri"), c, "container_uri", "container_configuration")}}
	return []*Workload{w}
}

// planFixed are services whose containers are a list, and that say no platform.
var planFixed = map[string]struct{ target, list string }{
	"google_cloud_run_service":                           {"cloudrun", "template.spec.containers"},
	"google_cloud_run_v2_service":                        {"cloudrun", "template.containers"},
	"google_cloud_run_v2_job":                            {"cloudrun", "template.template.containers"},
	"azurerm_container_app":                              {"container-apps", "template.container"},
	"azurerm_container_app_job":                          {"container-apps", "template.container"},
	"azurerm_container_group":                            {"container-instances", "container"},
	"aws_lightsail_container_service_deployment_version": {"lightsail", "container"},
}

func (p *plan) fixed(res *planned, f struct{ target, list string }) []*Workload {
	w := &Workload{Requirement: defaultOf(p.target(f.target), "no attribute says the platform", res.pos)}
	containers := res.values.get(strings.Split(f.list, ".")...)
	if containers.kind == unknown {
		w.Containers = []Container{{Image: containers.Value}}
		return []*Workload{w}
	}
	for i, c := range p.list(containers, f.list) {
		what := fmt.Sprintf("%s[%d]", f.list, i)
		if c.kind == unknown {
			w.Containers = append(w.Containers, Container{Image: c.Value})
			continue
		}
		if !p.expect(c, object, what) {
			continue
		}
		out := Container{Name: c.get("name").Text, Image: p.image(c.get("image"), c, "image", what)}
		for _, key := range []string{"command", "commands", "args"} {
			if v := c.get(key); v.kind == unknown || v.kind == list && len(v.items) > 0 {
				out.Process.unknown(key, "how it is joined with what the image says is not read")
			}
		}
		w.Containers = append(w.Containers, out)
	}
	return []*Workload{w}
}
