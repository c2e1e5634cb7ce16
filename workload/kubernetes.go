package workload

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// kubernetes reads objects of Kubernetes: those that it has itself, and, by their shape,
// those of custom resources that have pod templates in them.
var kubernetes = &Format{
	Name:  "kubernetes",
	Title: "Kubernetes manifest",
	Files: []string{"*.yaml", "*.yml", "*.json"},
	Mark:  regexp.MustCompile(`\bapiVersion["']?\s*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		if err != nil {
			return false
		}
		for _, document := range documents {
			if isObject(document) {
				return true
			}
		}
		return false
	},
	read: func(r *reader) {
		documents, _ := r.Documents() // parsed above
		for _, document := range documents {
			if !isObject(document) {
				r.broken(document.Pos(), "this document has no apiVersion and kind, beside others that are Kubernetes objects")
				continue
			}
			r.object(document)
		}
	},
}

// kustomization is what kustomize builds manifests from. What it changes is not worked
// out again here.
var kustomization = &Format{
	Name:  "kustomization",
	Title: "kustomization",
	Files: []string{"kustomization.yaml", "kustomization.yml", "Kustomization"},
	Mark:  regexp.MustCompile(`(?m)^(resources|bases|components|generators|helmCharts|images|kind)\s*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		if err != nil || len(documents) != 1 || !documents[0].IsMap() {
			return false
		}
		switch path.Base(strings.ReplaceAll(f.Name, `\`, "/")) {
		case "kustomization.yaml", "kustomization.yml", "Kustomization": // recognizedKustomizationFileNames of kustomize's api/konfig
			return true
		}
		return strings.HasPrefix(documents[0].Get("apiVersion").Text(), "kustomize.config.k8s.io/")
	},
	read: func(r *reader) {
		folder := path.Dir(strings.ReplaceAll(r.Name, `\`, "/"))
		r.open(r.Pos(1, 1), "images and patches of a kustomization count once it is built: kustomize build %s | berth check -", folder)
	},
}

// isObject tells objects from what else has an apiVersion and a kind: skaffold.yaml names
// the images that are built.
func isObject(n Node) bool {
	version := n.Get("apiVersion").Text()
	return version != "" && n.Get("kind").Text() != "" && !strings.HasPrefix(version, "skaffold/")
}

// object reads one object, or those of a list.
func (r *reader) object(n Node) {
	kind := n.Get("kind").Text()
	switch {
	case strings.HasSuffix(kind, "List") && n.Get("items").Exists():
		for _, item := range n.Get("items").Items() {
			if !isObject(item) {
				r.broken(item.Pos(), "this item of a %s has no apiVersion and kind", kind)
				continue
			}
			r.object(item)
		}
		return
	case kind == "CustomResourceDefinition":
		return // a schema, whose properties may be called containers and image
	}
	specs := podSpecs(n, nil)
	if spec := n.Get("spec"); len(specs) == 0 && isCustom(n) && imageOfCustom(spec.Get("image")) {
		specs = []podSpec{{Node: spec, path: []string{"spec"}, template: n}}
	}
	for _, spec := range specs {
		r.pod(n, spec, len(specs) > 1)
	}
}

// isCustom tells custom resources, whose groups have a domain, from those of Kubernetes.
func isCustom(n Node) bool {
	group, _, both := strings.Cut(n.Get("apiVersion").Text(), "/")
	return both && strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io")
}

// imageOfCustom tells whether spec.image of a custom resource is the image of what its
// controller starts, as those of Prometheus and Spark have it: images of machines are
// called so too.
func imageOfCustom(n Node) bool {
	return n.IsScalar() && strings.Contains(n.Text(), "/") && strings.Contains(path.Base(n.Text()), ":") && !strings.Contains(n.Text(), "://")
}

// podSpec is a pod's specification inside of an object.
type podSpec struct {
	Node
	path     []string // the keys that lead to it
	template Node     // what it is the spec of, which has metadata of its own
}

// podSpecs finds them by their shape, so that pod templates of custom resources are
// found too: Rollouts of Argo, Services of Knative, jobs of Kubeflow. What is inside of
// one is not looked at again.
func podSpecs(n Node, keys []string) []podSpec {
	switch {
	case n.IsMap():
		if isPodSpec(n) {
			return []podSpec{{Node: n, path: keys}}
		}
		var specs []podSpec
		for _, e := range n.Entries() {
			found := podSpecs(e.Value, append(keys[:len(keys):len(keys)], e.Key.Text()))
			for i := range found {
				if e.Key.Text() == "spec" && len(found[i].path) == len(keys)+1 {
					found[i].template = n
				}
			}
			specs = append(specs, found...)
		}
		return specs
	case n.IsList():
		var specs []podSpec
		for i, item := range n.Items() {
			key := item.Get("name").Text()
			if key == "" {
				key = strconv.Itoa(i)
			}
			specs = append(specs, podSpecs(item, append(keys[:len(keys):len(keys)], key))...)
		}
		return specs
	}
	return nil
}

// containerKeys are the lists of containers of a pod, in the order of their start.
// Steps and sidecars are those of Tekton.
var containerKeys = []string{"initContainers", "containers", "ephemeralContainers", "steps", "sidecars"}

// singleKeys are those of a step of Argo Workflows, which has one container.
var singleKeys = []string{"container", "script"}

func isPodSpec(n Node) bool {
	for _, key := range containerKeys {
		for _, item := range n.Get(key).Items() {
			if item.Get("image").IsScalar() || key == "containers" && item.Get("name").IsScalar() {
				return true
			}
		}
	}
	for _, key := range singleKeys {
		if n.Get(key, "image").IsScalar() {
			return true
		}
	}
	return false
}

// pod reads a pod's specification. named says that the object has others.
func (r *reader) pod(object Node, spec podSpec, named bool) {
	w := &Workload{Kind: object.Get("kind").Text(), Pos: object.Pos()}
	w.Name = object.Get("metadata", "name").Text()
	if w.Name == "" {
		w.Name = object.Get("metadata", "generateName").Text()
	}
	if named {
		w.Name = strings.TrimSpace(w.Name + " " + specName(spec.path))
		w.Pos = spec.Pos()
	}
	for _, key := range containerKeys {
		for _, c := range spec.Get(key).Items() {
			if c.IsMap() {
				w.Containers = append(w.Containers, r.kubernetesContainer(c, spec, w.Kind))
			} else {
				r.broken(c.Pos(), "%s has a container that is no mapping", key)
			}
		}
	}
	for _, key := range singleKeys {
		if c := spec.Get(key); c.Get("image").IsScalar() {
			w.Containers = append(w.Containers, r.kubernetesContainer(c, spec, w.Kind))
		}
	}
	if len(w.Containers) == 0 {
		w.Containers = []Container{{
			Image:   kubernetesImage(spec.Get("image"), spec.Node, w.Kind),
			Process: Process{Unknown: "the controller of the " + w.Kind + " says how it is started"},
		}}
	}
	for _, volume := range spec.Get("volumes").Items() {
		if image := volume.Get("image"); image.IsMap() {
			w.Containers = append(w.Containers, Container{
				Name: volume.Get("name").Text(), Image: kubernetesImage(image.Get("reference"), image, w.Kind), Pulled: true,
			})
		}
	}
	selection := r.nodeSelection(spec.Node)
	w.Requirement, w.SetPlatform = r.nodeRequirement(selection), selection.set
	r.add(w)
	holders := []Node{object}
	if spec.template != object {
		holders = append(holders, spec.template)
	}
	for _, holder := range holders {
		r.ignoreLines(holder.Get("metadata", "annotations", IgnoreAnnotation), w)
	}
}

// specName is what tells a pod's specification from others of its object:
// "pytorchReplicaSpecs.Worker" of spec.pytorchReplicaSpecs.Worker.template.spec.
func specName(keys []string) string {
	name := strings.Join(keys, ".")
	name = strings.TrimPrefix(name, "spec.")
	return strings.TrimSuffix(strings.TrimSuffix(name, ".spec"), ".template")
}

func kubernetesImage(image, container Node, kind string) Value {
	v := image.Value()
	switch {
	case image.IsNull():
		v.Pos = container.Pos()
		v.Unknown = "there is no image here: it is left to the controller of the " + kind + ", or to what this is a patch of"
	case !image.IsScalar():
		v.Unknown = "the image is not a string"
	case strings.TrimSpace(v.Text) == "":
		v.Unknown = "the image is empty: something fills it in later"
	case strings.Contains(v.Text, "{{"):
		v.Unknown = "it is a template, to be rendered first (helm template … | berth check -) or filled in by a controller"
	case strings.Contains(v.Text, "$(") || strings.Contains(v.Text, "${"):
		v.Unknown = "it has a variable in it, which Kubernetes does not replace in an image: something fills it in before"
	}
	return v
}

// kubernetesContainer reads a container of a pod.
func (r *reader) kubernetesContainer(n Node, pod podSpec, kind string) Container {
	c := Container{Name: n.Get("name").Text(), Image: kubernetesImage(n.Get("image"), n, kind)}
	env := kubernetesEnvOf(n)
	p := &c.Process
	p.Entrypoint, p.Command = env.expandAll(n.Get("command")), env.expandAll(n.Get("args"))
	p.WorkDir = n.Get("workingDir").Text()
	p.Env = env.literal
	p.User = kubernetesUser(n, pod.Node)
	if n.Get("script").IsScalar() || pod.Get("script", "image").IsScalar() {
		p.Unknown = "it starts a script that its controller puts there"
	}
	for _, mount := range n.Get("volumeMounts").Items() {
		if at := mount.Get("mountPath").Text(); at != "" {
			p.Mounts = append(p.Mounts, at)
		}
	}
	if p.Unknown == "" {
		p.Unknown = env.unknown
	}
	return c
}

// kubernetesUser is uid[:gid] of the security context of the container, over that of the
// pod. A group alone has the user of the image, and changes nothing about how it starts.
func kubernetesUser(container, pod Node) string {
	say := func(key string) string {
		if v := container.Get("securityContext", key); !v.IsNull() {
			return v.Text()
		}
		return pod.Get("securityContext", key).Text()
	}
	user := say("runAsUser")
	if group := say("runAsGroup"); user != "" && group != "" {
		user += ":" + group
	}
	return user
}

// kubernetesEnv is the environment of a container, as far as the file says it.
type kubernetesEnv struct {
	values  map[string]string // nil for one that comes from elsewhere
	from    map[string]string // where those come from
	any     bool              // others come from elsewhere
	literal []string
	unknown string // why what was expanded is not all known
}

// envSources are those of EnvVarSource, in words.
var envSources = map[string]string{
	"secretKeyRef": "secret", "configMapKeyRef": "config map", "fieldRef": "field of the pod",
	"resourceFieldRef": "resource of the container", "fileKeyRef": "file",
}

func kubernetesEnvOf(n Node) *kubernetesEnv {
	e := &kubernetesEnv{values: map[string]string{}, from: map[string]string{}, any: len(n.Get("envFrom").Items()) > 0}
	for _, v := range n.Get("env").Items() {
		name := v.Get("name").Text()
		if source := v.Get("valueFrom"); !source.IsNull() {
			e.from[name] = "source elsewhere"
			for _, s := range source.Entries() {
				if words, ok := envSources[s.Key.Text()]; ok {
					e.from[name] = words
				}
			}
			delete(e.values, name)
			if name == "PATH" || strings.HasPrefix(name, "LD_") {
				e.unknown = "its " + name + " comes from a " + e.from[name]
			}
			continue
		}
		unknown := e.unknown
		value, known := e.expand(v.Get("value").Text())
		if !known {
			e.from[name] = "variable that is not known"
			delete(e.values, name)
			e.unknown = unknown // matters where it is used
			continue
		}
		e.values[name] = value
		delete(e.from, name)
	}
	for _, v := range n.Get("env").Items() {
		name := v.Get("name").Text()
		if value, ok := e.values[name]; ok {
			e.literal = append(e.literal, name+"="+value)
		}
	}
	return e
}

// expandAll expands a list of strings; nil for none, and for an empty one, which to
// Kubernetes is the same.
func (e *kubernetesEnv) expandAll(list Node) []string {
	var texts []string
	for _, item := range list.Items() {
		text, _ := e.expand(item.Text())
		texts = append(texts, text)
	}
	return texts
}

// expand replaces $(NAME) by the rules of third_party/forked/golang/expansion of
// kubernetes/kubernetes: "$$" is one dollar, and a name that is not there stays as it is
// written.
func (e *kubernetesEnv) expand(s string) (expanded string, known bool) {
	var b strings.Builder
	known = true
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		end := strings.IndexByte(s[i:], ')')
		switch {
		case s[i+1] == '$':
			b.WriteByte('$')
			i++
		case s[i+1] == '(' && end > 0:
			name := s[i+2 : i+end]
			value, ok := e.values[name]
			if !ok {
				value = "$(" + name + ")"
				if from := e.missing(name); from != "" {
					e.unknown, known = "it uses $("+name+"), which comes from a "+from, false
				}
			}
			b.WriteString(value)
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String(), known
}

// serviceVariable is what the kubelet sets for each service of the namespace.
var serviceVariable = regexp.MustCompile(`^[A-Z][A-Z0-9_]*_(SERVICE_(HOST|PORT)|PORT)(_|$)`)

// missing says where the value of a name comes from that is not in the file; empty where
// it comes from nowhere.
func (e *kubernetesEnv) missing(name string) string {
	switch {
	case e.from[name] != "":
		return e.from[name]
	case serviceVariable.MatchString(name):
		return "service"
	case e.any:
		return "config map or secret"
	}
	return ""
}
