package workload

import (
	"fmt"
	"regexp"
	"slices"

	"berth/platform"
)

// lambdaRequest is what create-function and update-function-code take, or what
// get-function gives, of a function whose package is an image.
var lambdaRequest = &Format{
	Name:  "lambda-function",
	Title: "Lambda function",
	Files: []string{"*.json", "*.yaml", "*.yml"},
	Mark:  regexp.MustCompile(`FunctionName["']?\s*:`),
	is: func(f *File) bool {
		documents, err := f.Documents()
		return err == nil && slices.ContainsFunc(documents, isLambda)
	},
	read: (*reader).readLambda,
}

func isLambda(n Node) bool {
	named := n.Get("FunctionName").Exists() || n.Get("Configuration", "FunctionName").Exists()
	return named && (n.Get("ImageUri").Exists() || n.Get("Code", "ImageUri").Exists() ||
		n.Get("PackageType").Text() == "Image" || n.Get("Configuration", "PackageType").Text() == "Image")
}

func (r *reader) readLambda() {
	documents, _ := r.Documents() // is has looked
	for _, n := range documents {
		if !isLambda(n) {
			continue
		}
		t := plain(n)
		l := lambdaFunction{reader: r, props: t, image: t.get("code", "imageUri"), missing: "Code.ImageUri", spelled: upperFirst, after: []string{"PackageType", "FunctionName"}}
		if c := t.get("configuration"); c.has() {
			l.props = c
		}
		if i := t.get("imageUri"); i.has() {
			l.image, l.missing = i, "ImageUri"
		}
		if w := l.read(); w != nil {
			w.Kind, w.Name, w.Pos = "Lambda function", l.props.get("functionName").Text, n.Pos()
			r.add(w)
		}
	}
}

// lambdaFunction reads one function, whatever file it is in.
type lambdaFunction struct {
	*reader
	props, image tree
	missing      string // what a function without an image has not
	spelled      func(string) string
	after        []string // the properties after which Architectures may come
	build        *Build
}

// lambdaArchitectures are the values of Architectures:
// docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html
var lambdaArchitectures = map[string]string{"x86_64": "amd64", "arm64": "arm64"}

// read returns nil for a function whose package is a ZIP file.
func (l *lambdaFunction) read() *Workload {
	w := &Workload{Requirement: l.requirement(), SetPlatform: l.setPlatform}
	c := Container{Image: l.image.Value}
	switch {
	case l.image.has():
		c.Image = l.reader.image(l.image, l.props, l.missing, "the function")
	case l.props.get("packageType").Text != "Image":
		return nil
	case l.build == nil:
		c.Image = l.reader.image(l.image, l.props, l.missing, "the function")
	}
	if l.build != nil {
		l.build.Platforms = w.Requirement.Platforms // sam build builds for Architectures
		c.Build = l.build
		if !l.image.has() {
			c.Image.Pos = l.build.Pos
		}
	}
	config, what := l.props.get("imageConfig"), l.spelled("imageConfig")
	if answer := l.props.get("imageConfigResponse", "imageConfig"); answer.has() {
		config = answer
	}
	if l.expect(config, object, what) {
		p := &c.Process
		for _, f := range []struct {
			key  string
			into *[]string
		}{{"entryPoint", &p.Entrypoint}, {"command", &p.Command}} {
			words, why := l.words(config.get(f.key), what+"."+l.spelled(f.key))
			p.unknown(l.spelled(f.key), why)
			if len(words) > 0 {
				*f.into = words
			}
		}
		v, _ := l.text(config.get("workingDirectory"), what+"."+l.spelled("workingDirectory"))
		p.WorkDir = v.Text
		if !v.Known() {
			p.WorkDir = ""
			p.unknown(l.spelled("workingDirectory"), v.Unknown)
		}
	}
	for _, f := range l.props.get("environment", "variables").fields {
		c.Process.variable(f.key, f.value)
	}
	w.Containers = []Container{c}
	return w
}

func (l *lambdaFunction) requirement() Requirement {
	t, field := l.target("lambda"), l.spelled("architectures")
	a := l.props.get("architectures")
	q := Requirement{Target: t, Pos: a.Pos, Certainty: Undetermined}
	switch {
	case a.kind == unknown:
		q.Why = field + " is not known: " + a.Unknown
		return q
	case a.kind == absent, a.kind == list && len(a.items) == 0:
		return defaultOf(t, "no "+field, l.props.Pos)
	case !l.expect(a, list, field):
		q.Why = field + " is not a list"
		return q
	case len(a.items) > 1:
		l.broken(a.Pos, "%s has %d values: a function has one architecture", field, len(a.items))
		q.Why = fmt.Sprintf("%s has %d values", field, len(a.items))
		return q
	}
	v := a.items[0]
	q.Pos = v.Pos
	if v.kind == unknown {
		q.Why = field + " is not known: " + v.Unknown
		return q
	}
	arch := lambdaArchitectures[v.Text]
	if v.kind != scalar || arch == "" {
		l.broken(v.Pos, "%s has %s: x86_64 or arm64 was expected", field, v.describe())
		q.Why = field + " has " + v.describe() + ", which is not known"
		return q
	}
	q.Certainty, q.Platforms = Stated, []platform.Platform{{OS: "linux", Architecture: arch}}
	q.Why = field + " is " + v.Text + v.by()
	return q
}

// by says where a value stands that is not written out where it is used.
func (t tree) by() string {
	if t.via == "" {
		return ""
	}
	return ", " + t.via
}

func (l *lambdaFunction) setPlatform(p platform.Platform) ([]Edit, error) {
	value := ""
	for name, arch := range lambdaArchitectures {
		if platform.Equal(p, platform.Platform{OS: "linux", Architecture: arch}) {
			value = name
		}
	}
	if value == "" {
		return nil, fmt.Errorf("%s: AWS Lambda has no name for %s", l.props.Pos, platform.Format(p))
	}
	field := l.spelled("architectures")
	a := l.props.get("architectures")
	switch {
	case a.kind == absent && l.props.node.IsMap():
		return l.props.node.set(field, []string{value}, l.after...)
	case a.kind == list && len(a.items) == 1 && a.items[0].kind == scalar:
		return a.items[0].rewrite(field, value)
	case a.kind == list && a.node.IsList():
		return a.node.replaceList([]string{value})
	}
	pos := a.Pos
	if a.kind == absent {
		pos = l.props.Pos
	}
	return nil, fmt.Errorf("%s: %s is not written out here, so that it cannot be changed here", pos, field)
}

// rewrite changes a scalar where it is written out: maybe in the default of a parameter.
func (t tree) rewrite(field, value string) ([]Edit, error) {
	if !t.node.IsScalar() {
		return nil, fmt.Errorf("%s: %s is not written out here, so that it cannot be changed here", t.Pos, field)
	}
	if allowed := t.allowed.Texts(); len(allowed) > 0 && !slices.Contains(allowed, value) {
		return nil, fmt.Errorf("%s: %s is %s, and AllowedValues has no %s", t.allowed.Pos(), field, t.via, value)
	}
	return t.node.replace(value)
}
