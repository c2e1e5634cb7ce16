package workload

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"berth/platform"
)

// copilot is a manifest of AWS Copilot, which runs services on Fargate and those that are
// "Request-Driven" on App Runner: aws.github.io/copilot-cli/docs/manifest/overview/
var copilot = &Format{
	Name:  "copilot-manifest",
	Title: "AWS Copilot manifest",
	Files: []string{"manifest.yml", "manifest.yaml"},
	Mark:  regexp.MustCompile(`type:[ \t]*["']?(Load Balanced Web Service|Backend Service|Worker Service|Scheduled Job|Request-Driven Web Service)\b`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, isCopilot)
	},
	read: (*reader).readCopilot,
}

func isCopilot(n Node) bool {
	return n.Get("name").Exists() && slices.Contains(copilotTypes, n.Get("type").Text())
}

const requestDriven = "Request-Driven Web Service"

var copilotTypes = []string{"Load Balanced Web Service", "Backend Service", "Worker Service", "Scheduled Job", requestDriven}

func (r *reader) readCopilot() {
	documents, _ := r.Documents() // is has looked
	for _, n := range documents {
		if !isCopilot(n) {
			continue
		}
		base := plain(n)
		r.copilotService(base, base, n, "")
		environments := base.get("environments")
		if !environments.has() || !r.expect(environments, object, "environments") {
			continue
		}
		for _, e := range environments.fields {
			if slices.ContainsFunc(copilotKeys, func(key string) bool { return e.value.get(key).has() }) {
				r.copilotService(base.override(e.value), base, n, e.key)
			}
		}
	}
}

// copilotKeys are what an environment may say otherwise of its images and how they start.
var copilotKeys = []string{"image", "platform", "sidecars", "entrypoint", "command"}

// override is t with what an environment says otherwise: of objects each key. An image
// that is built and one that has a location take the place of each other.
func (t tree) override(by tree) tree {
	if t.kind != object || by.kind != object {
		if by.has() {
			return by
		}
		return t
	}
	merged := t
	merged.fields = nil
	for _, f := range t.fields {
		switch {
		case f.key == "build" && by.get("location").has(), f.key == "location" && by.get("build").has():
		case f.key == "platform": // one of two forms, which are not mixed
			if p := by.get("platform"); p.has() {
				f.value = p
			}
			merged.fields = append(merged.fields, f)
		default:
			merged.fields = append(merged.fields, field{f.key, f.value.override(by.get(f.key))})
		}
	}
	for _, f := range by.fields {
		if !t.get(f.key).has() {
			merged.fields = append(merged.fields, f)
		}
	}
	return merged
}

// copilotService adds what runs in an environment, or where it is empty, in each that says
// nothing otherwise.
func (r *reader) copilotService(t, base tree, n Node, environment string) {
	w := &Workload{Kind: t.get("type").Text, Name: t.get("name").Text, Pos: n.Pos()}
	if environment != "" {
		w.Name += " (" + environment + ")"
		w.Pos = n.Get("environments").Key(environment).Pos()
	}
	if w.Kind == requestDriven {
		w.Requirement = defaultOf(r.target("apprunner"), "", base.Pos)
	} else {
		w.Requirement = r.copilotPlatform(t.get("platform"), base.Pos)
		w.SetPlatform = func(p platform.Platform) ([]Edit, error) { return copilotSet(t.get("platform"), n, p) }
	}
	if c, ok := r.copilotContainer(t, "image", w); ok {
		c.Name = t.get("name").Text
		r.copilotProcess(t, &c.Process, "")
		w.Containers = append(w.Containers, c)
	}
	sidecars := t.get("sidecars")
	if sidecars.has() && r.expect(sidecars, object, "sidecars") {
		for _, s := range sidecars.fields {
			what := "sidecars." + s.key
			if !r.expect(s.value, object, what) {
				continue
			}
			if c, ok := r.copilotContainer(s.value, what+".image", w); ok {
				c.Name = s.key
				r.copilotProcess(s.value, &c.Process, what+".")
				w.Containers = append(w.Containers, c)
			}
		}
	}
	r.add(w)
}

// copilotContainer reads the image of the service or of a sidecar: a location, or how it
// is built, which Copilot does for the platform of the manifest. ok is false where the
// file is broken.
func (r *reader) copilotContainer(of tree, what string, w *Workload) (c Container, ok bool) {
	image := of.get("image")
	switch {
	case image.kind == absent:
		r.broken(of.Pos, "there is no %s", what)
		return c, false
	case image.kind == scalar: // of sidecars
		return Container{Image: r.image(image, of, "image", strings.TrimSuffix(what, ".image"))}, true
	case !r.expect(image, object, what):
		return c, false
	}
	build := image.get("build")
	if !build.has() {
		return Container{Image: r.image(image.get("location"), image, "location", what)}, true
	}
	c.Image.Pos = build.Pos
	c.Build = &Build{Platforms: w.Requirement.Platforms, Pos: build.Pos}
	switch build.kind {
	case scalar:
		c.Build.Dockerfile = build.Text
	case object:
		c.Build.Dockerfile = build.get("dockerfile").Text
		if c.Build.Dockerfile == "" {
			c.Build.Dockerfile = path.Join(build.get("context").Text, "Dockerfile")
		}
	default:
		r.broken(build.Pos, "%s.build is %s: a path or an object was expected", what, build.describe())
	}
	return c, true
}

// copilotProcess reads how it is started: lists, or strings that are split as a shell does.
func (r *reader) copilotProcess(t tree, p *Process, what string) {
	for _, f := range []struct {
		key  string
		into *[]string
	}{{"entrypoint", &p.Entrypoint}, {"command", &p.Command}} {
		v := t.get(f.key)
		if v.kind == scalar {
			if strings.ContainsAny(v.Text, "'\"\\$") {
				p.unknown(f.key, "quotes in a string are not read")
			} else {
				*f.into = strings.Fields(v.Text)
			}
			continue
		}
		words, why := r.words(v, what+f.key)
		p.unknown(f.key, why)
		if len(words) > 0 {
			*f.into = words
		}
	}
	for _, f := range t.get("variables").fields {
		if f.value.kind == scalar && !strings.Contains(f.value.Text, "${") {
			p.variable(f.key, f.value)
		} else if startEnv[f.key] {
			p.unknown(f.key, "its value is put in when it is deployed")
		}
	}
}

// copilotArchitectures are how manifests name them.
var copilotArchitectures = map[string]string{"x86_64": "amd64", "amd64": "amd64", "arm64": "arm64"}

func (r *reader) copilotPlatform(p tree, missing Pos) Requirement {
	t := r.target("fargate")
	q := Requirement{Target: t, Pos: p.Pos, Certainty: Undetermined}
	arch, os, field := tree{}, "linux", "platform"
	switch p.kind {
	case absent:
		return defaultOf(t, "no platform", missing)
	case scalar:
		name, architecture, ok := strings.Cut(p.Text, "/")
		if !ok || name != "linux" && name != "windows" {
			return r.copilotBroken(q, p, "linux/x86_64 or linux/arm64 was expected")
		}
		os, arch = name, p
		arch.Text = architecture
	case object:
		field = "platform.architecture"
		if family := p.get("osfamily"); family.kind == scalar && family.Text != "linux" {
			if !strings.HasPrefix(family.Text, strings.ToLower(ecsWindows)) {
				return r.copilotBroken(q, family, "linux or "+strings.ToLower(ecsWindows)+"… was expected")
			}
			os = "windows"
		}
		if arch = p.get("architecture"); arch.kind == absent {
			return r.copilotBroken(q, p, "osfamily and architecture were expected")
		}
	default:
		return r.copilotBroken(q, p, "a string such as linux/arm64 was expected")
	}
	architecture := copilotArchitectures[arch.Text]
	if architecture == "" {
		return r.copilotBroken(q, arch, "x86_64 or arm64 was expected")
	}
	q.Certainty, q.Pos = Stated, arch.Pos
	q.Platforms = []platform.Platform{{OS: os, Architecture: architecture}}
	q.Why = field + " is " + arch.Text
	if p.kind == scalar {
		q.Why = "platform is " + p.Text
	}
	return q
}

func (r *reader) copilotBroken(q Requirement, t tree, expected string) Requirement {
	r.broken(t.Pos, "platform is %s: %s", t.describe(), expected)
	q.Pos, q.Why = t.Pos, "platform is "+t.describe()+", which is not known"
	return q
}

func copilotSet(at tree, n Node, p platform.Platform) ([]Edit, error) {
	name := ""
	for _, known := range []string{"x86_64", "arm64"} {
		if platform.Equal(p, platform.Platform{OS: "linux", Architecture: copilotArchitectures[known]}) {
			name = known
		}
	}
	if name == "" {
		return nil, fmt.Errorf("%s: Copilot has no name for %s", n.Pos(), platform.Format(p))
	}
	switch at.kind {
	case absent:
		return n.set("platform", "linux/"+name, "image", "type")
	case scalar:
		return at.rewrite("platform", "linux/"+name)
	case object:
		if os := at.get("osfamily"); os.kind == scalar && os.Text != "linux" {
			return nil, fmt.Errorf("%s: osfamily is %s", os.Pos, os.Text)
		}
		return at.node.set("architecture", name)
	}
	return nil, fmt.Errorf("%s: platform is %s", at.Pos, at.kind)
}
