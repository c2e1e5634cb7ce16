package workload

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"berth/platform"
)

// cloudFormation is a template of CloudFormation or SAM, written by hand or by cdk synth.
var cloudFormation = &Format{
	Name:  "cloudformation",
	Title: "CloudFormation template",
	Files: []string{"*.yaml", "*.yml", "*.json", "*.template"},
	Mark: regexp.MustCompile(`AWS::(ECS::(TaskDefinition|DaemonTaskDefinition|ExpressGatewayService)|Lambda::Function|` +
		`Serverless::Function|AppRunner::Service|Batch::JobDefinition|BedrockAgentCore::Runtime|Lightsail::Container)\b`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, isTemplate)
	},
	read: (*reader).readCloudFormation,
}

// isTemplate tells a template from other files that name its resources, such as schemas
// and the rules of linters.
func isTemplate(n Node) bool {
	if n.Get("AWSTemplateFormatVersion").Exists() {
		return true
	}
	return slices.ContainsFunc(n.Get("Resources").Entries(), func(e Entry) bool {
		return strings.HasPrefix(e.Value.Get("Type").Text(), "AWS::")
	})
}

// stack is one template that is read.
type stack struct {
	*reader
	*functions
	globals  Node // of SAM, for functions
	services []ecsService
	assets   []cdkAsset
	looked   bool // for assets
}

// resource is one that starts images.
type resource struct {
	id, kind string
	pos      Pos
	node     Node
	props    tree
}

// resourceReaders read the properties of each type of resource.
var resourceReaders = map[string]func(*stack, *resource) []*Workload{
	"AWS::ECS::TaskDefinition":        (*stack).taskDefinition,
	"AWS::ECS::DaemonTaskDefinition":  (*stack).taskDefinition,
	"AWS::ECS::ExpressGatewayService": (*stack).expressService,
	"AWS::Lambda::Function":           (*stack).lambda,
	"AWS::Serverless::Function":       (*stack).lambda,
	"AWS::AppRunner::Service":         (*stack).appRunner,
	"AWS::Batch::JobDefinition":       (*stack).batch,
	"AWS::BedrockAgentCore::Runtime":  (*stack).agentRuntime,
	"AWS::Lightsail::Container":       (*stack).lightsail,
}

func (r *reader) readCloudFormation() {
	documents, _ := r.Documents() // is has looked
	for _, n := range documents {
		if !isTemplate(n) {
			continue
		}
		s := &stack{reader: r, functions: newFunctions(n, r.Parameters), globals: n.Get("Globals", "Function")}
		resources := n.Get("Resources")
		if !resources.IsMap() {
			r.broken(resources.Pos(), "Resources is %s: an object was expected", plain(resources).describe())
			continue
		}
		s.services = s.ecsServices(resources)
		for _, e := range resources.Entries() {
			s.resource(e)
		}
	}
}

func (s *stack) resource(e Entry) {
	if strings.HasPrefix(e.Key.Text(), "Fn::ForEach") {
		if s.readsIn(e.Value, maxDepth) {
			s.open(e.Key.Pos(), "%s is expanded when it is deployed: the images in it are not read", e.Key.Text())
		}
		return
	}
	kind := e.Value.Get("Type").Text()
	read := resourceReaders[kind]
	if read == nil {
		return
	}
	properties := e.Value.Get("Properties")
	if c := e.Value.Get("Condition").Text(); c != "" { // it is there only where this holds
		before, had := s.known[c]
		s.known[c] = truth{holds: true}
		defer func() {
			if delete(s.known, c); had {
				s.known[c] = before
			}
		}()
	}
	res := &resource{id: e.Key.Text(), kind: kind, pos: e.Key.Pos(), node: e.Value, props: s.eval(properties)}
	if strings.HasPrefix(kind, "AWS::Serverless::") && res.props.kind == absent {
		res.props.kind = object // all from Globals
	}
	switch res.props.kind {
	case unknown:
		s.open(properties.Pos(), "%s %s: its properties are not known: %s", kind, res.id, res.props.Unknown)
		return
	case object:
	default:
		pos := properties.Pos()
		if !properties.Exists() {
			pos = res.pos
		}
		s.broken(pos, "%s %s: Properties is %s: an object was expected", kind, res.id, res.props.describe())
		return
	}
	for _, w := range read(s, res) {
		w.Kind, w.Pos = kind, res.pos
		if w.Name = res.id + w.Name; res.props.node.IsMap() && e.Value.Get("Metadata", "aws:cdk:path").Exists() && w.SetPlatform != nil {
			w.SetPlatform = s.synthesized(w)
		}
		s.metadataIgnores(e.Value, w)
		s.add(w)
	}
}

// readsIn tells whether a resource that is read is somewhere in n.
func (s *stack) readsIn(n Node, depth int) bool {
	if depth == 0 {
		return false
	}
	if resourceReaders[n.Get("Type").Text()] != nil {
		return true
	}
	for _, item := range n.Items() {
		if s.readsIn(item, depth-1) {
			return true
		}
	}
	for _, e := range n.Entries() {
		if s.readsIn(e.Value, depth-1) {
			return true
		}
	}
	return false
}

// synthesized says that a template is made anew by the next cdk synth.
func (s *stack) synthesized(w *Workload) func(platform.Platform) ([]Edit, error) {
	return func(platform.Platform) ([]Edit, error) {
		return nil, fmt.Errorf("%s: cdk synth writes this template: say it in the app that it is made from", w.Pos)
	}
}

// metadataIgnores reads what the Metadata of a resource says not to report:
//
//	Metadata:
//	  berth:
//	    ignore: [{rule: BER001, reason: built by the release job}]
func (s *stack) metadataIgnores(n Node, w *Workload) {
	ignores := n.Get("Metadata", "berth", "ignore")
	if !ignores.Exists() {
		return
	}
	for _, t := range s.list(plain(ignores), "Metadata.berth.ignore") {
		s.ignore(Ignore{Rule: t.get("rule").Text, Reason: t.get("reason").Text, Pos: t.Pos, Workload: w})
	}
}

func (s *stack) taskDefinition(res *resource) []*Workload {
	e := ecs{reader: s.reader, task: res.props, spelled: upperFirst, daemon: res.kind == "AWS::ECS::DaemonTaskDefinition"}
	for _, service := range s.services {
		if service.task == res.id {
			e.launch = append(e.launch, service.launch)
		}
	}
	w := &Workload{}
	e.read(w)
	s.build(w)
	return []*Workload{w}
}

// build says of images that are assets of CDK how they are built.
func (s *stack) build(w *Workload) {
	for i := range w.Containers {
		s.asset(&w.Containers[i])
	}
}

// ecsService is how something in the same template launches a task definition.
type ecsService struct {
	task   string // the ID of its resource
	launch ecsLaunch
}

// ecsServices are the services and scheduled tasks of a template whose launch type is said.
func (s *stack) ecsServices(resources Node) []ecsService {
	var services []ecsService
	add := func(e Entry, task, launchType tree, providers []tree) {
		compatibility := launchType.Text
		for _, p := range providers {
			if p = p.get("capacityProvider"); p.kind == scalar {
				compatibility = ecsCapacity(p.Text)
			} else if p.ref != "" {
				compatibility = "EC2"
				if resources.Get(p.ref, "Properties", "ManagedInstancesProvider").Exists() {
					compatibility = "MANAGED_INSTANCES"
				}
			}
		}
		if task.ref != "" && compatibility != "" && launchType.kind != unknown {
			services = append(services, ecsService{task.ref, ecsLaunch{compatibility, e.Key.Text(), e.Key.Pos()}})
		}
	}
	for _, e := range resources.Entries() {
		p := e.Value.Get("Properties")
		switch e.Value.Get("Type").Text() {
		case "AWS::ECS::Service":
			add(e, s.eval(p.Get("TaskDefinition")), s.eval(p.Get("LaunchType")), s.eval(p.Get("CapacityProviderStrategy")).items)
		case "AWS::Events::Rule":
			for _, target := range p.Get("Targets").Items() {
				t := s.eval(target.Get("EcsParameters"))
				add(e, t.get("taskDefinitionArn"), t.get("launchType"), t.get("capacityProviderStrategy").items)
			}
		}
	}
	return services
}

func (s *stack) expressService(res *resource) []*Workload {
	t := s.target("ecs-express")
	w := &Workload{Requirement: defaultOf(t, "no property says the platform", res.props.Pos)}
	c := res.props.get("primaryContainer")
	if !s.expect(c, object, "PrimaryContainer") {
		if c.kind == absent {
			s.broken(res.props.Pos, "%s %s has no PrimaryContainer", res.kind, res.id)
		}
		return nil
	}
	e := ecs{reader: s.reader, spelled: upperFirst}
	w.Containers = []Container{e.container(c, "PrimaryContainer")}
	s.build(w)
	return []*Workload{w}
}

// lambda is a function whose package is an image. Those that are a ZIP file, or inline
// code, start none.
func (s *stack) lambda(res *resource) []*Workload {
	l := lambdaFunction{reader: s.reader, props: res.props, spelled: upperFirst, after: []string{"PackageType", "MemorySize", "Timeout"}}
	l.image = res.props.get("code", "imageUri")
	l.missing = "Code.ImageUri"
	if res.kind == "AWS::Serverless::Function" {
		l.props = s.withGlobals(res.props)
		l.image, l.missing = l.props.get("imageUri"), "ImageUri"
		l.build = s.samBuild(res.node.Get("Metadata"))
	}
	w := l.read()
	if w == nil {
		return nil
	}
	if l.build == nil {
		s.build(w)
	}
	return []*Workload{w}
}

// withGlobals are the properties of a SAM function with those of Globals: a property of
// its own counts more, and lists become longer, Architectures too:
// docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html
func (s *stack) withGlobals(own tree) tree {
	global := s.eval(s.globals)
	if global.kind != object {
		return own
	}
	merged := own
	merged.fields = nil
	for _, g := range global.fields {
		o := own.get(g.key)
		if o.kind == list && g.value.kind == list {
			g.value.items = append(slices.Clone(g.value.items), o.items...)
			g.value.Pos, g.value.node = o.Pos, Node{}
			o = g.value
		}
		if o.kind == absent {
			o = g.value
		}
		merged.fields = append(merged.fields, field{g.key, o})
	}
	for _, f := range own.fields {
		if global.get(f.key).kind == absent {
			merged.fields = append(merged.fields, f)
		}
	}
	return merged
}

// samBuild is how sam build makes the image of a function; nil where it makes none.
func (s *stack) samBuild(metadata Node) *Build {
	dockerfile := metadata.Get("Dockerfile")
	if !dockerfile.IsScalar() && !metadata.Get("DockerContext").IsScalar() {
		return nil
	}
	name, folder := dockerfile.Text(), metadata.Get("DockerContext").Text()
	if name == "" {
		name, dockerfile = "Dockerfile", metadata.Get("DockerContext")
	}
	return &Build{Dockerfile: path.Join(folder, name), Pos: dockerfile.Pos()}
}

func (s *stack) appRunner(res *resource) []*Workload {
	ws := s.appRunnerService(res.props, upperFirst)
	for _, w := range ws {
		s.build(w)
	}
	return ws
}

func (s *stack) batch(res *resource) []*Workload {
	ws := (&batchJob{reader: s.reader, job: res.props, spelled: upperFirst}).read(res.kind + " " + res.id)
	for _, w := range ws {
		s.build(w)
	}
	return ws
}

// agentRuntime is a runtime of Bedrock AgentCore.
func (s *stack) agentRuntime(res *resource) []*Workload {
	c := res.props.get("agentRuntimeArtifact", "containerConfiguration")
	if c.kind == absent { // code in a ZIP file
		return nil
	}
	w := &Workload{Requirement: defaultOf(s.target("agentcore"), "no property says the platform", res.props.Pos)}
	w.Containers = []Container{{Image: s.image(c.get("containerUri"), c, "ContainerUri", "ContainerConfiguration")}}
	s.build(w)
	return []*Workload{w}
}

// lightsail is a container service of Lightsail, whose command is one string.
func (s *stack) lightsail(res *resource) []*Workload {
	w := &Workload{Requirement: defaultOf(s.target("lightsail"), "no property says the platform", res.props.Pos)}
	for i, c := range s.list(res.props.get("containerServiceDeployment", "containers"), "Containers") {
		what := fmt.Sprintf("Containers[%d]", i)
		if !s.expect(c, object, what) {
			continue
		}
		out := Container{Name: c.get("containerName").Text, Image: s.image(c.get("image"), c, "Image", what)}
		if c.get("command").has() {
			out.Process.unknown("Command", "how Lightsail splits it is not known")
		}
		w.Containers = append(w.Containers, out)
	}
	if len(w.Containers) == 0 {
		return nil // it deploys nothing yet
	}
	s.build(w)
	return []*Workload{w}
}
