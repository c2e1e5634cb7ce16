package workload

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mattn/go-shellwords"

	"berth/platform"
)

// compose reads Docker Compose files by the rules of compose-go, which the tests hold it
// against. compose-go itself knows no places, opens files by itself and logs to standard
// error; so values are looked up here in the files that a service is put together from.
var compose = &Format{
	Name:  "compose",
	Title: "Compose file",
	Files: []string{"*.yaml", "*.yml"},
	Mark:  regexp.MustCompile(`(?m)^["']?(services|include)["']?[ \t]*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		if err != nil || len(documents) == 0 {
			return false
		}
		for _, document := range documents {
			if isCompose(document, f.Name) {
				return true
			}
		}
		return false
	},
	read: func(r *reader) { r.compose() },
}

// composeName is a name that only Compose files have.
var composeName = regexp.MustCompile(`(^|[/\\])(docker-)?compose[^/\\]*\.ya?ml$`)

// serviceKeys are keys of services that other files with services do not have.
var serviceKeys = []string{"image", "build", "extends", "command", "entrypoint", "ports", "depends_on", "container_name", "env_file"}

func isCompose(n Node, name string) bool {
	if n.Get("apiVersion").Exists() || n.Get("Resources").IsMap() {
		return false
	}
	services := n.Get("services")
	if composeName.MatchString(name) {
		return services.IsMap() || n.Get("include").IsList()
	}
	for _, e := range services.Entries() {
		for _, key := range serviceKeys {
			if e.Value.Get(key).Exists() {
				return true
			}
		}
	}
	return false
}

// Names that docker compose looks for by itself, in its order (cli/options.go of compose-go).
var (
	composeMain     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	composeOverride = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

func (r *reader) compose() {
	base := path.Base(strings.ReplaceAll(r.Name, `\`, "/"))
	l := &composeLoader{reader: r, files: map[string]*File{r.Name: r.File}}
	files := []string{r.Name}
	switch {
	case slices.Contains(composeOverride, base):
		if l.first(composeMain) != "" {
			return // it is read together with that one
		}
	case slices.Contains(composeMain, base):
		if override := l.first(composeOverride); override != "" {
			files = append(files, override)
		}
	}
	p := &composeProject{dir: r.beside("."), env: composeEnv{r.Env}}
	p.env = p.env.over(l.dotenv(r.beside(".env"), p.env))
	services, order := l.project(p, files, nil)
	for _, name := range order {
		l.service(services[name])
	}
}

// service is what is known of one service: the mappings that it is put together from,
// those that win first.
type composeService struct {
	name   string
	pos    Pos
	layers []composeLayer
}

type composeLayer struct {
	Node
	env composeEnv
	dir string // what its paths are relative to
	// base says that it is not the service's own: others may extend it too, or be the same by
	// an alias.
	base bool
}

// composeValue is a value of a service, with what it is interpolated with.
type composeValue struct {
	Node
	layer composeLayer
}

// get is the value that wins. The tag !reset takes away what files before said
// (docs.docker.com/reference/compose-file/merge/).
func (s *composeService) get(keys ...string) composeValue {
	for _, layer := range s.layers {
		switch n := layer.Get(keys...); {
		case n.Tag() == "!reset":
			return composeValue{}
		case !n.IsNull():
			return composeValue{n, layer}
		}
	}
	return composeValue{}
}

// all are the values of a key that files add to each other, those that win last.
func (s *composeService) all(key string) []composeValue {
	var values []composeValue
	for _, layer := range s.layers {
		n := layer.Get(key)
		if n.Tag() == "!reset" {
			break
		}
		if !n.IsNull() {
			values = append(values, composeValue{n, layer})
		}
		if n.Tag() == "!override" {
			break
		}
	}
	slices.Reverse(values)
	return values
}

// value is the scalar, interpolated.
func (v composeValue) value() Value {
	out := v.Node.Value()
	if v.Exists() && !v.IsScalar() {
		out.Unknown = "it is not a string"
		return out
	}
	text, unknown := v.layer.env.interpolate(v.Node.Text())
	if out.Unknown = unknown; unknown == "" {
		out.Text = text
	}
	return out
}

// service makes the workload of a service.
func (l *composeLoader) service(s *composeService) {
	r := l.reader
	w := &Workload{Kind: "service", Name: s.name, Pos: s.pos}
	if s.get("provider").Exists() {
		return // something else than a container (docs.docker.com/reference/compose-file/services/#provider)
	}
	c := Container{Image: s.get("image").value(), Process: s.process()}
	build := s.get("build")
	if build.Exists() {
		c.Build = s.build()
	}
	switch {
	case s.get("image").Exists():
	case build.Exists():
		c.Image = Value{Pos: build.Pos()}
	default:
		c.Image = Value{Pos: s.layers[0].Pos(), Unknown: "the service has neither image nor build here: another file adds it"}
	}
	if c.Image.Pos == (Pos{}) {
		c.Image.Pos = s.pos
	}
	w.Containers = []Container{c}
	w.Requirement = s.requirement(r)
	w.SetPlatform = func(p platform.Platform) ([]Edit, error) { return s.set(r.File, p) }
	r.add(w)
}

// requirement says where a service will run.
func (s *composeService) requirement(r *reader) Requirement {
	q := Requirement{Target: r.target("compose"), Pos: s.layers[0].Pos(), Certainty: Undetermined}
	q.Why = "no platform: it runs on the machine of whoever starts it"
	says := s.get("platform")
	if says.Exists() {
		q.Pos = says.Pos()
		value := says.value()
		if !value.Known() {
			q.Why = "platform is " + value.Text + ": " + value.Unknown
			return q
		}
		if value.Text != "" {
			return r.composePlatform(q, value.Text, "platform is "+value.Text)
		}
	}
	for _, v := range s.get("deploy", "placement", "constraints").Items() {
		m := swarmArchitecture.FindStringSubmatch(v.Text())
		if m == nil {
			continue
		}
		q.Pos = v.Pos()
		return r.composePlatform(q, "linux/"+m[1], "deploy.placement.constraints of docker stack deploy: "+v.Text())
	}
	if value, ok := s.layers[0].env.lookup("DOCKER_DEFAULT_PLATFORM"); ok && value != "" {
		q = r.composePlatform(q, value, "DOCKER_DEFAULT_PLATFORM is "+value)
		if q.Certainty == Stated {
			q.Certainty = Assumed
		}
	}
	return q
}

// swarmArchitecture is a constraint that Swarm knows
// (docs.docker.com/reference/cli/docker/service/create/#constraint). The architecture is
// the one that uname says.
var swarmArchitecture = regexp.MustCompile(`^\s*node\.platform\.arch\s*==\s*([a-z0-9_]+)\s*$`)

// composePlatform completes q for a platform as Docker takes it: without an architecture
// it is that of the machine, without an OS that of the engine, which but for Windows is linux.
func (r *reader) composePlatform(q Requirement, text, why string) Requirement {
	q.Why = why
	full := text
	if !strings.Contains(text, "/") {
		if text == "linux" || text == "windows" {
			q.Why += ", and the architecture is that of the machine of whoever starts it"
			return q
		}
		full = "linux/" + text
	}
	p, err := platform.Parse(full)
	if err != nil || !strings.Contains(text, "/") && !slices.Contains(nodeArchitectures, p.Architecture) {
		r.broken(q.Pos, "%q is no platform: write os/architecture, as linux/arm64", text)
		q.Why += ", which is no platform"
		return q
	}
	q.Platforms, q.Certainty = []platform.Platform{p}, Stated
	return q
}

// build reads what is built.
func (s *composeService) build() *Build {
	first := s.get("build")
	b := &Build{Pos: first.Pos()}
	folder, dockerfile, known := Value{Text: "."}, Value{Text: "Dockerfile"}, true
	if first.IsScalar() {
		folder = first.value()
	} else {
		if v := s.get("build", "context"); v.Exists() {
			folder = v.value()
		}
		if v := s.get("build", "dockerfile"); v.Exists() {
			dockerfile = v.value()
		}
		known = !s.get("build", "dockerfile_inline").Exists()
		if platforms := s.get("build", "platforms"); platforms.Exists() {
			b.Platforms = []platform.Platform{}
			for _, item := range platforms.Items() {
				text, unknown := platforms.layer.env.interpolate(item.Text())
				if p, err := platform.Parse(text); unknown == "" && err == nil {
					b.Platforms = append(b.Platforms, p)
					b.Pos = platforms.Pos()
				}
			}
			if len(b.Platforms) == 0 {
				b.Platforms = nil
			}
		}
	}
	if known && folder.Known() && dockerfile.Known() && !remote.MatchString(folder.Text) {
		b.Dockerfile = dockerfile.Text
		if !path.IsAbs(b.Dockerfile) {
			b.Dockerfile = path.Join(folder.Text, b.Dockerfile)
		}
	}
	return b
}

// remote is what Compose fetches from a network.
var remote = regexp.MustCompile(`^([a-z][a-z0-9+.-]*://|git@|github\.com/)`)

// process is what a service starts.
func (s *composeService) process() Process {
	var p Process
	note := func(unknown string) {
		if p.Unknown == "" {
			p.Unknown = unknown
		}
	}
	command := func(key string) []string {
		v := s.get(key)
		if !v.Exists() {
			return nil
		}
		if v.IsScalar() { // the words of a shell (types/command.go of compose-go)
			value := v.value()
			if note(value.Unknown); !value.Known() {
				return []string{value.Text}
			}
			words, err := shellwords.Parse(value.Text)
			if err != nil {
				note("the words of " + key + " cannot be told apart: " + err.Error())
			}
			return append([]string{}, words...)
		}
		words := []string{}
		for _, item := range v.Items() {
			text, unknown := v.layer.env.interpolate(item.Text())
			note(unknown)
			words = append(words, text)
		}
		return words
	}
	p.Entrypoint, p.Command = command("entrypoint"), command("command")
	text := func(key string) string {
		value := s.get(key).value()
		note(value.Unknown)
		return value.Text
	}
	p.User, p.WorkDir = text("user"), text("working_dir")
	env := map[string]string{}
	var names []string
	for _, v := range s.all("environment") {
		for _, kv := range v.pairs() {
			if !slices.Contains(names, kv.name) {
				names = append(names, kv.name)
			}
			delete(env, kv.name)
			switch {
			case kv.unknown == "" && kv.set:
				env[kv.name] = kv.value
			case kv.name == "PATH" || strings.HasPrefix(kv.name, "LD_"):
				note("its " + kv.name + " is not known: " + kv.unknown)
			}
		}
	}
	for _, name := range names {
		if value, ok := env[name]; ok {
			p.Env = append(p.Env, name+"="+value)
		}
	}
	p.Mounts = s.mounts()
	return p
}

type composePair struct {
	name, value, unknown string
	set                  bool
}

// pairs are those of a mapping, or of a list of KEY=VALUE. A key alone takes the value of
// the environment that docker compose has.
func (v composeValue) pairs() []composePair {
	var pairs []composePair
	add := func(name, value string, set bool) {
		p := composePair{name: name, set: set}
		if set {
			p.value, p.unknown = v.layer.env.interpolate(value)
		} else if p.value, p.set = v.layer.env.lookup(name); !p.set {
			p.unknown = "it is taken from the environment of docker compose"
		}
		pairs = append(pairs, p)
	}
	for _, e := range v.Entries() {
		add(e.Key.Text(), e.Value.Text(), !e.Value.IsNull())
	}
	for _, item := range v.Items() {
		name, value, set := strings.Cut(item.Text(), "=")
		add(name, value, set)
	}
	return pairs
}

// mounts are the places where something of the host lies over the image. Volumes are not
// among them: a new one is filled with what the image has there.
func (s *composeService) mounts() []string {
	var at []string
	add := func(target string) {
		if path.IsAbs(target) && !slices.Contains(at, path.Clean(target)) {
			at = append(at, path.Clean(target))
		}
	}
	for _, v := range s.all("volumes") {
		for _, item := range v.Items() {
			if item.IsMap() {
				if kind := item.Get("type").Text(); kind != "volume" {
					target, _ := v.layer.env.interpolate(item.Get("target").Text())
					add(target)
				}
				continue
			}
			text, _ := v.layer.env.interpolate(item.Text())
			source, target, both := strings.Cut(text, ":")
			if both && strings.IndexAny(source, "/.~$") == 0 {
				target, _, _ = strings.Cut(target, ":")
				add(target)
			}
		}
	}
	for _, key := range []string{"configs", "secrets"} {
		for _, v := range s.all(key) {
			for _, item := range v.Items() {
				switch target := item.Get("target").Text(); {
				case path.IsAbs(target):
					add(target)
				case key == "configs" && item.IsScalar():
					add("/" + item.Text())
				}
			}
		}
	}
	for _, v := range s.all("tmpfs") {
		for _, item := range append(v.Items(), v.Node) {
			target, _, _ := strings.Cut(item.Text(), ":")
			add(target)
		}
	}
	return at
}

// set makes a service run on p.
func (s *composeService) set(own *File, p platform.Platform) ([]Edit, error) {
	text := platform.Format(p)
	if v := s.get("build", "platforms"); v.Exists() && !slices.Contains(v.Texts(), text) {
		// platform has to be among them: checkConsistency of compose-go.
		return nil, errorAt(v.Pos(), "the image is not built for %s", text)
	}
	if v := s.get("platform"); strings.Contains(v.Text(), "$") {
		return nil, errorAt(v.Pos(), "platform comes from a variable: set that one to %s", text)
	}
	var at composeLayer // what says it, else what is in the file that was read
	for _, layer := range s.layers {
		switch {
		case layer.base:
		case layer.raw("platform") != nil:
			return layer.set("platform", text)
		case at.node == nil || layer.file == own && at.file != own:
			at = layer
		}
	}
	if at.node == nil {
		return nil, errorAt(s.pos, "the service %s is the same as others, by an alias or by extends", s.name)
	}
	return at.set("platform", text, "image", "build", "extends")
}
