package workload

import (
	"regexp"
	"slices"
)

// appRunnerRequest is what create-service of App Runner takes, or what describe-service
// gives, of a service that runs an image. (apprunner.yaml is for services that App Runner
// builds from source, and names none.)
var appRunnerRequest = &Format{
	Name:  "apprunner-service",
	Title: "App Runner service",
	Files: []string{"*.json", "*.yaml", "*.yml"},
	Mark:  regexp.MustCompile(`ImageRepository["']?\s*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, func(n Node) bool { return appRunnerIn(n).Exists() })
	},
	read: (*reader).readAppRunner,
}

// appRunnerIn is the service in a document, or nothing.
func appRunnerIn(n Node) Node {
	for _, n := range []Node{n, n.Get("Service")} {
		if n.Get("SourceConfiguration", "ImageRepository").Exists() {
			return n
		}
	}
	return Node{}
}

func (r *reader) readAppRunner() {
	documents, _ := r.Documents() // is has looked
	for _, n := range documents {
		n := appRunnerIn(n)
		if !n.Exists() {
			continue
		}
		t := plain(n)
		for _, w := range r.appRunnerService(t, upperFirst) {
			w.Kind, w.Name, w.Pos = "App Runner service", t.get("serviceName").Text, n.Pos()
			r.add(w)
		}
	}
}

// appRunnerService reads one, whatever file it is in; none where it is built from source.
func (r *reader) appRunnerService(t tree, spelled func(string) string) []*Workload {
	source := t.get("sourceConfiguration")
	repository, what := source.get("imageRepository"), spelled("sourceConfiguration.imageRepository")
	if !r.expect(source, object, spelled("sourceConfiguration")) || !r.expect(repository, object, what) && repository.kind != unknown {
		return nil
	}
	image := r.image(repository.get("imageIdentifier"), repository, spelled("imageIdentifier"), what)
	c := Container{Image: image}
	config := repository.get("imageConfiguration")
	if config.get("startCommand").has() {
		c.Process.unknown(spelled("startCommand"), "how App Runner splits it is not known")
	}
	env := config.get("runtimeEnvironmentVariables")
	for _, f := range env.fields { // in requests and plans an object
		c.Process.variable(f.key, f.value)
	}
	for _, item := range env.items { // in templates a list
		c.Process.variable(item.get("name").Text, item.get("value"))
	}
	return []*Workload{{
		Requirement: defaultOf(r.target("apprunner"), "no field says the platform", t.Pos),
		Containers:  []Container{c},
	}}
}

// variable adds one of the environment. Those with unknown values are left out, and said
// where they decide what starts.
func (p *Process) variable(name string, value tree) {
	switch {
	case name == "":
	case value.kind == unknown && startEnv[name]:
		p.unknown(name, value.Unknown)
	case value.kind == scalar || value.kind == absent:
		p.Env = append(p.Env, name+"="+value.Text)
	}
}
