package workload

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"berth/platform"
)

// dockerfile reads Dockerfiles: the images that they build upon, and what makes an image
// say another platform than it holds.
var dockerfile = &Format{
	Name:  "dockerfile",
	Title: "Dockerfile",
	Files: []string{"Dockerfile", "dockerfile", "Containerfile", "Dockerfile.*", "Containerfile.*", "*.Dockerfile", "*.dockerfile", "*.Containerfile"},
	Mark:  regexp.MustCompile(`(?im)^[ \t]*FROM[ \t]`),
	is: func(f *File) bool {
		if f.Name != Stdin {
			return isDockerfileName(f.Name) && !strings.HasSuffix(f.Name, ".dockerignore")
		}
		if len(f.Data) > maxDockerfile {
			return false
		}
		all, _, bad := parseDockerfile(f)
		begins := slices.IndexFunc(all, func(i *instruction) bool { return i.name != "ARG" })
		return bad == "" && begins >= 0 && all[begins].name == "FROM"
	},
	read: func(r *reader) { (&dockerReader{reader: r}).read() },
}

func isDockerfileName(name string) bool {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	for _, word := range []string{"Dockerfile", "dockerfile", "Containerfile"} {
		if base == word || strings.HasPrefix(base, word+".") || strings.HasSuffix(base, "."+word) {
			return true
		}
	}
	return false
}

// maxDockerfile bounds a Dockerfile: where each byte of an instruction stands takes eight
// others.
const maxDockerfile = 1 << 20

// Arguments that the builder sets by itself: of what is built for, and of the machine that
// builds (docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope).
var (
	targetArgs = []string{"TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT"}
	buildArgs  = []string{"BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT"}
)

// dockerReader is the reading of one Dockerfile.
type dockerReader struct {
	*reader
	global map[string]Value // arguments before the first stage
	stages []*dockerStage
}

type dockerStage struct {
	from     *instruction
	name     string
	index    int
	image    Value
	scratch  bool
	parent   *dockerStage // the stage that it is FROM
	platform *dockerFlag
	body     []*instruction
}

// is tells whether ref is the name or the number of the stage.
func (s *dockerStage) is(ref string) bool {
	return s.name != "" && strings.EqualFold(s.name, ref) || strconv.Itoa(s.index) == ref
}

func (d *dockerReader) read() {
	if len(d.Data) > maxDockerfile {
		d.broken(d.Pos(1, 1), "%d bytes are more than the %d that are read of a Dockerfile", len(d.Data), maxDockerfile)
		return
	}
	all, line, bad := parseDockerfile(d.File)
	if bad != "" {
		if templated.Match(d.Data) {
			d.open(d.Pos(line, 1), "it looks like a Dockerfile, as a template that is to be rendered first")
		} else {
			d.broken(d.Pos(line, 1), "%s", bad)
		}
	}
	d.global = map[string]Value{}
	for _, i := range all {
		switch {
		case i.name == "FROM":
			d.stage(i)
		case len(d.stages) > 0:
			s := d.stages[len(d.stages)-1]
			s.body = append(s.body, i)
		case i.name == "ARG":
			d.globalArgs(i)
		default:
			d.broken(d.Pos(i.start, 1), "%s stands before the first FROM", i.name)
		}
	}
	for _, s := range d.stages {
		d.workloads(s)
	}
	d.mistakes()
}

func (d *dockerReader) globalArgs(i *instruction) {
	for _, word := range i.words {
		name, value, set := strings.Cut(word.text, "=")
		switch {
		case !set && isAutomatic(name):
			d.global[name] = automatic(name)
		case !set:
			d.global[name] = Value{Text: "$" + name, Unknown: "the argument " + name + " has no default", Pos: d.PosAt(word.start)}
		default:
			v := d.expand(unquote(value))
			v.Pos = d.PosAt(word.start)
			d.global[name] = v
		}
	}
}

// unquote takes off the quotes around a word.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// stage begins a stage: FROM [--platform=…] image [AS name].
func (d *dockerReader) stage(i *instruction) {
	s := &dockerStage{from: i, index: len(d.stages), platform: i.flag("platform")}
	if templated.MatchString(i.text) && len(i.words) > 0 {
		s.image = Value{Text: strings.TrimSpace(i.text), Unknown: "it is a template, to be rendered first", Pos: d.PosAt(i.words[0].start)}
		d.stages = append(d.stages, s)
		return
	}
	if len(i.words) == 0 || len(i.words) != 1 && (len(i.words) != 3 || !strings.EqualFold(i.words[1].text, "AS")) {
		d.broken(d.Pos(i.start, 1), "FROM takes an image, or an image AS a name")
		if len(i.words) == 0 {
			d.stages = append(d.stages, s)
			return
		}
	}
	if len(i.words) == 3 {
		s.name = i.words[2].text
	}
	s.image = d.expand(unquote(i.words[0].text))
	s.image.Pos = d.PosAt(i.words[0].start)
	if s.image.Known() {
		s.scratch = s.image.Text == "scratch"
		for k := len(d.stages) - 1; k >= 0; k-- { // the nearest of that name
			if d.stages[k].name != "" && strings.EqualFold(d.stages[k].name, s.image.Text) {
				s.parent = d.stages[k]
				break
			}
		}
	}
	d.stages = append(d.stages, s)
}

var dockerVariable = regexp.MustCompile(`\$(?:([a-zA-Z_][a-zA-Z0-9_]*)|\{([a-zA-Z_][a-zA-Z0-9_]*)(?:(:?[-+])([^${}]*))?\}|\{)`)

// expand replaces the arguments of a FROM, which are those before the first stage.
func (d *dockerReader) expand(s string) Value {
	v := Value{Text: s}
	text := dockerVariable.ReplaceAllStringFunc(s, func(part string) string {
		m := dockerVariable.FindStringSubmatch(part)
		name, operator, word := m[1]+m[2], m[3], m[4]
		if name == "" {
			v.Unknown = "what is in the braces is not understood"
			return part
		}
		value, declared := d.global[name]
		if !declared {
			value = automatic(name)
		}
		if isAutomatic(name) && !value.Known() {
			v.Unknown = value.Unknown
			return part
		}
		set := value.Known() && (value.Text != "" || !strings.HasPrefix(operator, ":"))
		switch strings.TrimPrefix(operator, ":") {
		case "-":
			if !set {
				return word
			}
		case "+":
			if !set {
				word = ""
			}
			return word
		}
		if !value.Known() {
			v.Unknown = value.Unknown
			return part
		}
		return value.Text
	})
	if v.Unknown == "" {
		v.Text = text
	}
	return v
}

func isAutomatic(name string) bool {
	for _, arg := range append(targetArgs, buildArgs...) {
		if arg == name {
			return true
		}
	}
	return false
}

// automatic is an argument that is not declared before the first stage.
func automatic(name string) Value {
	switch {
	case strings.HasPrefix(name, "TARGET") && isAutomatic(name):
		return Value{Text: "$" + name, Unknown: name + " is of what is built for"}
	case isAutomatic(name):
		return Value{Text: "$" + name, Unknown: name + " is of the machine that builds"}
	}
	return Value{Unknown: "no ARG " + name + " stands before the first FROM"}
}

// workloads are what a stage pulls: the image that it is FROM, for the platform of the
// stage, and those that it copies from or mounts, for the platform that is built for.
func (d *dockerReader) workloads(s *dockerStage) {
	name := s.name
	if name == "" {
		name = strconv.Itoa(s.index)
	}
	w := &Workload{Kind: "stage", Name: name, Pos: d.Pos(s.from.start, 1)}
	if s.image.Pos != (Pos{}) && !s.scratch && s.parent == nil {
		w.Containers = append(w.Containers, Container{Image: s.image, Pulled: true})
	}
	w.Requirement = d.stageRequirement(s)
	var copied []Container
	for _, i := range s.body {
		for _, ref := range d.froms(i) {
			if !d.isStage(ref.Text) {
				copied = append(copied, Container{Image: ref, Pulled: true})
			}
		}
	}
	if s.platform == nil {
		w.Containers = append(w.Containers, copied...)
		copied = nil
	}
	if len(w.Containers) > 0 {
		d.add(w)
	}
	if len(copied) > 0 {
		pos := copied[0].Image.Pos
		d.add(&Workload{Kind: "stage", Name: name + ", copied from", Pos: pos, Requirement: d.targetRequirement(pos), Containers: copied})
	}
}

func (d *dockerReader) isStage(ref string) bool {
	for _, s := range d.stages {
		if s.is(ref) {
			return true
		}
	}
	return false
}

// froms are images and stages that an instruction takes files from.
func (d *dockerReader) froms(i *instruction) []Value {
	var all []Value
	add := func(text string, at int) {
		v := Value{Text: text, Pos: d.PosAt(at)}
		if strings.Contains(text, "$") {
			v.Unknown = "the builder expands no variables here"
		} else if strings.Contains(text, "{{") {
			v.Unknown = "it is a template, to be rendered first"
		}
		if text != "" && text != "scratch" {
			all = append(all, v)
		}
	}
	switch i.name {
	case "COPY", "ADD":
		if from := i.flag("from"); from != nil {
			add(from.value, from.start+len("--from="))
		}
	case "RUN":
		for _, f := range i.flags {
			if f.name != "mount" {
				continue
			}
			for part := range strings.SplitSeq(f.value, ",") {
				if from, ok := strings.CutPrefix(part, "from="); ok {
					add(from, f.start+max(0, strings.Index(string(d.Data[f.start:f.end]), "from=")+len("from=")))
				}
			}
		}
	}
	return all
}

// targetRequirement is of what is built for.
func (d *dockerReader) targetRequirement(pos Pos) Requirement {
	return Requirement{Certainty: Undetermined, Why: "it is built for the platform that docker build is asked for", Pos: pos}
}

// stageRequirement is the platform of a stage.
func (d *dockerReader) stageRequirement(s *dockerStage) Requirement {
	q := d.targetRequirement(d.Pos(s.from.start, 1))
	if s.platform == nil {
		return q
	}
	q.Pos = d.PosAt(s.platform.start)
	value := d.expand(s.platform.value)
	switch name := strings.Trim(s.platform.value, "${}"); {
	case name == "TARGETPLATFORM":
	case name == "BUILDPLATFORM":
		q.Why = "--platform is that of the machine that builds"
	case !value.Known():
		q.Why = "--platform is " + s.platform.value + ": " + value.Unknown
	default:
		p, err := platform.Parse(value.Text)
		if err != nil {
			d.broken(q.Pos, "%q is no platform: write os/architecture, as linux/arm64", value.Text)
			q.Why = "--platform is " + value.Text + ", which is no platform"
			break
		}
		q.Platforms, q.Certainty, q.Why = []platform.Platform{p}, Stated, "--platform is "+value.Text
		if value.Text != s.platform.value {
			q.Certainty, q.Why = Default, "--platform is "+s.platform.value+", which is "+value.Text+" by default"
		}
	}
	return q
}
