package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxComposeFiles bounds how many files one Compose file leads to, by include, extends and
// overrides. Projects of that many services are put together from some twenty.
const maxComposeFiles = 200

// composeLoader reads what a Compose file leads to. Each file is read once.
type composeLoader struct {
	*reader
	files map[string]*File
	bases int // how often extends was followed, which a cycle would do forever
}

// composeProject is what paths are relative to, and what is interpolated.
type composeProject struct {
	dir string
	env composeEnv
}

// first is the first of the names that is beside the file, or the empty string.
func (l *composeLoader) first(names []string) string {
	for _, name := range names {
		name = l.beside(name)
		if f, _ := l.file(name); f != nil {
			return name
		}
	}
	return ""
}

var errNoFiles = errors.New("no other file is read here")

// file reads a file by its name.
func (l *composeLoader) file(name string) (*File, error) {
	if f, ok := l.files[name]; ok {
		return f, nil
	}
	data, err := l.bytes(name)
	if err != nil {
		return nil, err
	}
	f := NewFile(name, data)
	l.files[name] = f
	return f, nil
}

func (l *composeLoader) bytes(name string) ([]byte, error) {
	if l.ReadFile == nil || l.Name == Stdin {
		return nil, errNoFiles
	}
	if len(l.files) >= maxComposeFiles {
		return nil, fmt.Errorf("more than %d files belong together", maxComposeFiles)
	}
	return l.ReadFile(name)
}

// dotenv reads a file of variables; one that is not there has none.
func (l *composeLoader) dotenv(name string, env composeEnv) map[string]string {
	data, err := l.bytes(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoFiles) {
			l.broken(l.Pos(1, 1), "reading %s: %v", name, err)
		}
		return nil
	}
	return parseDotenv(string(data), env)
}

// project reads files that are merged, those after over those before, with what they
// include. The order of the names is that of the files.
func (l *composeLoader) project(p *composeProject, names, within []string) (services map[string]*composeService, order []string) {
	services = map[string]*composeService{}
	for _, name := range names {
		f, err := l.file(name)
		if err != nil {
			l.broken(l.Pos(1, 1), "reading %s: %v", name, err)
			continue
		}
		documents, err := f.Documents()
		if err != nil {
			l.broken(l.Pos(1, 1), "reading %s: %v", name, err)
			continue
		}
		for _, document := range documents {
			own, ownOrder := l.document(p, document, name, within)
			for _, name := range ownOrder {
				s := own[name]
				if before, ok := services[name]; ok {
					before.layers = append(s.layers, before.layers...)
					continue
				}
				services[name], order = s, append(order, name)
			}
		}
	}
	return services, order
}

// document reads one document: its services, those that it includes, and what they extend.
func (l *composeLoader) document(p *composeProject, n Node, name string, within []string) (services map[string]*composeService, order []string) {
	services = map[string]*composeService{}
	for _, e := range n.Get("services").merged() {
		if e.Value.IsNull() {
			continue
		}
		if !e.Value.IsMap() {
			l.broken(e.Value.Pos(), "the service %s is no mapping", e.Key.Text())
			continue
		}
		s := &composeService{name: e.Key.Text(), pos: e.Key.Pos(), layers: []composeLayer{{Node: e.Value, env: p.env, dir: p.dir}}}
		raw := n.Get("services").raw(s.name)
		s.layers[0].base = raw == nil || raw.Kind == yaml.AliasNode
		if _, twice := services[s.name]; !twice {
			order = append(order, s.name)
		}
		services[s.name] = s
	}
	for _, include := range n.Get("include").Items() {
		included, includedOrder := l.include(p, include, append(slices.Clone(within), name))
		for _, name := range includedOrder {
			if own, ok := services[name]; ok {
				l.broken(own.pos, "the service %s is in an included file too, at %s", name, included[name].pos)
				continue
			}
			services[name], order = included[name], append(order, name)
		}
	}
	for _, name := range order {
		if s := services[name]; len(s.layers) == 1 && s.layers[0].file == n.file {
			for _, base := range l.extended(p, s.layers[0], name, services, nil) {
				base.base = true
				s.layers = append(s.layers, base)
			}
		}
	}
	return services, order
}

// include reads what one entry of include names.
func (l *composeLoader) include(p *composeProject, n Node, within []string) (services map[string]*composeService, order []string) {
	paths := n
	if n.IsMap() {
		paths = n.Get("path")
	}
	var names []string
	for _, item := range append(paths.Items(), paths) {
		if !item.IsScalar() || item.Text() == "" {
			continue
		}
		text, unknown := p.env.interpolate(item.Text())
		switch {
		case unknown != "":
			l.open(item.Pos(), "what is included is not known: %s", unknown)
			return nil, nil
		case remote.MatchString(text) || strings.HasPrefix(text, "oci:"):
			l.open(item.Pos(), "%s is included from a network, and not read", text)
			return nil, nil
		}
		names = append(names, joined(p.dir, text))
	}
	if len(names) == 0 {
		l.broken(n.Pos(), "include names no file")
		return nil, nil
	}
	if slices.Contains(within, names[0]) {
		l.broken(n.Pos(), "%s includes itself", names[0])
		return nil, nil
	}
	for _, name := range names {
		if _, err := l.file(name); err != nil {
			l.otherFile(n.Pos(), name, err)
			return nil, nil
		}
	}
	inner := &composeProject{dir: path.Dir(names[0])}
	if dir := n.Get("project_directory").Text(); dir != "" {
		inner.dir = joined(p.dir, dir)
	}
	inner.env = p.env.over(l.includedEnv(p, inner.dir, n.Get("env_file")))
	return l.project(inner, names, within)
}

// includedEnv are the variables of the files that an include names, or of the .env there.
func (l *composeLoader) includedEnv(p *composeProject, dir string, n Node) map[string]string {
	all := map[string]string{}
	if !n.Exists() {
		return l.dotenv(path.Join(dir, ".env"), p.env)
	}
	for _, item := range append(n.Items(), n) {
		if item.Text() == "" || item.Text() == "/dev/null" {
			continue
		}
		for name, value := range l.dotenv(joined(p.dir, item.Text()), p.env.over(all)) {
			all[name] = value
		}
	}
	return all
}

// otherFile says that a file could not be read: where there is none to read, that is left
// open.
func (l *composeLoader) otherFile(pos Pos, name string, err error) {
	if errors.Is(err, errNoFiles) {
		l.open(pos, "it needs %s too, which is not read here: give berth the file, not its text", name)
		return
	}
	l.broken(pos, "reading %s: %v", name, err)
}

// joined is a path relative to a folder.
func joined(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

// extended are the mappings that a service extends, nearest first.
func (l *composeLoader) extended(p *composeProject, layer composeLayer, name string, services map[string]*composeService, seen []string) []composeLayer {
	n := layer.Get("extends")
	if n.IsNull() {
		return nil
	}
	base, file := n.Text(), ""
	if n.IsMap() {
		base = n.Get("service").Text()
		var unknown string
		if file, unknown = layer.env.interpolate(n.Get("file").Text()); unknown != "" {
			l.open(n.Pos(), "what is extended is not known: %s", unknown)
			return nil
		}
	}
	if base == "" {
		l.broken(n.Pos(), "extends names no service")
		return nil
	}
	here := layer.file.Name + " " + name
	if slices.Contains(seen, here) || len(seen) > maxDepth {
		l.broken(n.Pos(), "the service %s extends itself", name)
		return nil
	}
	if l.bases++; l.bases > maxNodes/maxDepth {
		l.broken(n.Pos(), "it extends too many services")
		return nil
	}
	seen = append(slices.Clone(seen), here)
	if file == "" {
		from, ok := services[base]
		if !ok {
			l.broken(n.Pos(), "the service %s extends %s, which is not there", name, base)
			return nil
		}
		layers := slices.Clone(from.layers[:1])
		if from.layers[0].file != layer.file || len(from.layers) > 1 {
			return slices.Clone(from.layers) // from an include, or done already
		}
		return append(layers, l.extended(p, layers[0], base, services, seen)...)
	}
	if remote.MatchString(file) {
		l.open(n.Pos(), "%s is taken from a network, and not read", file)
		return nil
	}
	other := joined(layer.dir, file)
	f, err := l.file(other)
	if err != nil {
		l.otherFile(n.Pos(), other, err)
		return nil
	}
	documents, err := f.Documents()
	if err != nil {
		l.broken(n.Pos(), "reading %s: %v", other, err)
		return nil
	}
	found := map[string]*composeService{}
	for _, document := range documents {
		for _, e := range document.Get("services").merged() {
			if e.Value.IsMap() {
				found[e.Key.Text()] = &composeService{name: e.Key.Text(), pos: e.Key.Pos(), layers: []composeLayer{{Node: e.Value, env: layer.env, dir: path.Dir(other)}}}
			}
		}
	}
	from, ok := found[base]
	if !ok {
		l.broken(n.Pos(), "the service %s extends %s of %s, which is not there", name, base, other)
		return nil
	}
	return append(slices.Clone(from.layers), l.extended(p, from.layers[0], base, found, seen)...)
}
