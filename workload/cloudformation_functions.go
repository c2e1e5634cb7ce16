package workload

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxEvaluations bounds how many values of a template are evaluated: a value stands for
// one each time that it is used. The largest templates, 1 MB, have about 100,000.
const maxEvaluations = 1_000_000

// maxSubstituted bounds a string that functions put together, which nested Fn::Sub can
// make grow without end. The longest that CloudFormation takes are 4 KiB.
const maxSubstituted = 64 << 10

// functions evaluates the functions of a CloudFormation template, as far as it can be
// done without an account:
// docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
type functions struct {
	root      Node
	overrides map[string]string // of parameters
	known     map[string]truth  // conditions
	visiting  map[string]bool
	left      int // of maxEvaluations
}

// truth is what a condition comes to. why is set where it cannot be known.
type truth struct {
	holds bool
	why   string
}

func newFunctions(root Node, overrides map[string]string) *functions {
	return &functions{root: root, overrides: overrides, known: map[string]truth{}, visiting: map[string]bool{}, left: maxEvaluations}
}

// function is the name of the one that n calls, without "Fn::", and its argument. YAML
// has short forms, as tags.
func function(n Node) (name string, arg Node) {
	if tag := n.Tag(); strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") {
		untagged := *n.node
		untagged.Tag = map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq"}[untagged.Kind]
		if untagged.Tag == "" {
			untagged.Tag = "!!str"
		}
		return tag[1:], Node{&untagged, n.file}
	}
	entries := n.Entries()
	if len(entries) != 1 {
		return "", Node{}
	}
	key := entries[0].Key.Text()
	if name, ok := strings.CutPrefix(key, "Fn::"); ok {
		return name, entries[0].Value
	}
	if key == "Ref" {
		return key, entries[0].Value
	}
	return "", Node{}
}

// eval is what a value of the template comes to. Its place is where it is used; its node
// is where it is written out, such as the default of a parameter.
func (f *functions) eval(n Node) tree {
	if f.left--; f.left < 0 {
		return unknownAt(n.Pos(), "", "the template has too many values")
	}
	name, arg := function(n)
	if name == "" {
		return f.literal(n)
	}
	t := f.call(name, arg)
	t.Pos = n.Pos()
	return t
}

// literal evaluates what is inside of n, which is no function itself.
func (f *functions) literal(n Node) tree {
	t := tree{node: n, Value: Value{Pos: n.Pos()}}
	switch {
	case n.IsNull():
	case n.IsMap():
		t.kind = object
		for _, e := range n.merged() {
			if v := f.eval(e.Value); v.has() { // not AWS::NoValue
				t.fields = append(t.fields, field{e.Key.Text(), v})
			}
		}
	case n.IsList():
		t.kind = list
		for _, item := range n.Items() {
			if v := f.eval(item); v.has() {
				t.items = append(t.items, v)
			}
		}
	default:
		t = text(t.Pos, n.Text())
		t.node, t.tag = n, n.Tag()
	}
	return t
}

// dynamic is t, unknown where it has a dynamic reference.
func dynamic(t tree) tree {
	if at := strings.Index(t.Text, "{{resolve:"); at >= 0 {
		service, _, _ := strings.Cut(t.Text[at+len("{{resolve:"):], ":")
		names := map[string]string{"ssm": "the SSM Parameter Store", "ssm-secure": "the SSM Parameter Store", "secretsmanager": "Secrets Manager"}
		from := names[service]
		if from == "" {
			from = "another service"
		}
		t.kind, t.Unknown = unknown, "it is read from "+from+" when it is deployed"
	}
	return t
}

func unknownAt(pos Pos, text, why string) tree {
	return tree{kind: unknown, Value: Value{Text: text, Unknown: why, Pos: pos}}
}

func (f *functions) call(name string, arg Node) tree {
	pos := arg.Pos()
	switch name {
	case "Ref":
		return f.ref(arg.Text(), pos)
	case "GetAtt":
		return f.getAtt(arg)
	case "Sub":
		return f.sub(arg)
	case "Join":
		return f.join(arg)
	case "If":
		return f.branch(arg)
	case "FindInMap":
		return f.findInMap(arg)
	case "Select":
		return f.selected(arg)
	case "Split":
		return f.split(arg)
	case "Base64":
		t := f.eval(arg)
		if t.kind == scalar {
			return text(pos, base64.StdEncoding.EncodeToString([]byte(t.Text)))
		}
		return t
	case "ImportValue":
		export := f.eval(arg)
		return unknownAt(pos, "${ImportValue:"+export.Text+"}", "it is exported by another stack, as "+export.Text)
	case "GetAZs", "Cidr":
		return unknownAt(pos, "${"+name+"}", "Fn::"+name+" is known when it is deployed")
	case "Transform":
		return unknownAt(pos, "${Transform}", "a macro makes it when it is deployed")
	}
	return unknownAt(pos, "${"+name+"}", "Fn::"+name+" is not evaluated")
}

func text(pos Pos, s string) tree {
	if len(s) > maxSubstituted {
		return unknownAt(pos, s[:64]+"…", "the string that functions put together is too long")
	}
	return dynamic(tree{kind: scalar, tag: "!!str", Value: Value{Text: s, Pos: pos}})
}

// items are the arguments of a function, evaluated.
func (f *functions) items(arg Node) []tree {
	var items []tree
	for _, item := range arg.Items() {
		items = append(items, f.eval(item))
	}
	return items
}

func malformed(name string, arg Node) tree {
	return unknownAt(arg.Pos(), "${"+name+"}", "Fn::"+name+" has not the arguments that it takes")
}

// ref is the value of a parameter, a pseudo-parameter or a resource.
func (f *functions) ref(name string, pos Pos) tree {
	if p := f.root.Get("Parameters", name); p.Exists() {
		return f.parameter(name, p, pos)
	}
	if strings.HasPrefix(name, "AWS::") {
		return f.pseudo(name, pos)
	}
	r := f.root.Get("Resources", name)
	if !r.Exists() {
		return unknownAt(pos, "${"+name+"}", name+" is no parameter or resource of this template")
	}
	t := unknownAt(pos, "${"+name+"}", "the name of "+name+", a resource of this template, is known when it is deployed")
	if r.Get("Type").Text() == "AWS::ECR::Repository" {
		if n := f.eval(r.Get("Properties", "RepositoryName")); n.kind == scalar {
			t = n
		}
	}
	t.ref = name
	return t
}

func (f *functions) parameter(name string, p Node, pos Pos) tree {
	kind := p.Get("Type").Text()
	value, given := f.overrides[name]
	def := p.Get("Default")
	t := text(pos, value)
	if !given {
		if !def.IsScalar() {
			return unknownAt(pos, "${"+name+"}", "parameter "+name+" has no default (--parameter-overrides "+name+"=…)")
		}
		t = text(pos, def.Text())
		t.node, t.allowed, t.via = def, p.Get("AllowedValues"), "the default of parameter "+name
	}
	if strings.HasPrefix(kind, "AWS::SSM::Parameter::Value<") {
		return unknownAt(pos, "${"+name+"}", "parameter "+name+" is read from the SSM parameter "+t.Text)
	}
	if kind == "CommaDelimitedList" || strings.HasPrefix(kind, "List<") {
		return splitText(t, ",")
	}
	return t
}

// pseudo is the value of a pseudo-parameter. All depend on where it is deployed.
func (f *functions) pseudo(name string, pos Pos) tree {
	if value, ok := f.overrides[name]; ok {
		return text(pos, value)
	}
	region, ok := f.overrides["AWS::Region"]
	china := strings.HasPrefix(region, "cn-")
	switch {
	case name == "AWS::NoValue":
		return tree{Value: Value{Pos: pos}}
	case name == "AWS::URLSuffix" && ok && china:
		return text(pos, "amazonaws.com.cn")
	case name == "AWS::URLSuffix" && ok && !strings.Contains(region, "-iso"): // isolated regions have others
		return text(pos, "amazonaws.com")
	case name == "AWS::Partition" && ok && china:
		return text(pos, "aws-cn")
	case name == "AWS::Partition" && ok && strings.HasPrefix(region, "us-gov-"):
		return text(pos, "aws-us-gov")
	case name == "AWS::Partition" && ok && !strings.Contains(region, "-iso"):
		return text(pos, "aws")
	}
	return unknownAt(pos, "${"+name+"}", name+" is known when it is deployed")
}

func (f *functions) getAtt(arg Node) tree {
	name := arg.Text()
	if arg.IsList() {
		parts := f.items(arg)
		texts := make([]string, len(parts))
		for i, p := range parts {
			texts[i] = p.Text
		}
		name = strings.Join(texts, ".")
	}
	return f.attribute(name, arg.Pos())
}

// attribute is that of a resource, "Resource.Attribute".
func (f *functions) attribute(name string, pos Pos) tree {
	id, attribute, _ := strings.Cut(name, ".")
	r := f.root.Get("Resources", id)
	why := name + " is known when it is deployed"
	switch kind := r.Get("Type").Text(); {
	case !r.Exists():
		why = id + " is no resource of this template"
	case kind == "AWS::ECR::Repository" && attribute == "RepositoryUri":
		why = "the repository " + id + " is made by this template, and is empty until something is pushed to it"
	case kind == "AWS::CloudFormation::Stack":
		why = attribute + " is an output of the nested stack " + id
	case strings.HasPrefix(kind, "Custom::") || kind == "AWS::CloudFormation::CustomResource":
		why = "the custom resource " + id + " makes it when it is deployed"
	}
	t := unknownAt(pos, "${"+name+"}", why)
	t.ref = id
	return t
}

var variable = regexp.MustCompile(`\$\{([^${}]*)\}`)

// sub replaces ${Name} in a string, by values that it is given or by references.
func (f *functions) sub(arg Node) tree {
	template, values := arg, Node{}
	if arg.IsList() {
		items := arg.Items()
		if len(items) != 2 {
			return malformed("Sub", arg)
		}
		template, values = items[0], items[1]
	}
	if !template.IsScalar() {
		return malformed("Sub", arg)
	}
	var parts []tree
	at := 0
	seen := map[string]tree{}
	source := template.Text()
	for _, m := range variable.FindAllStringSubmatchIndex(source, -1) {
		parts = append(parts, text(arg.Pos(), source[at:m[0]]))
		at = m[1]
		name := strings.TrimSpace(source[m[2]:m[3]])
		switch v := values.Get(name); {
		case strings.HasPrefix(name, "!"):
			parts = append(parts, text(arg.Pos(), "${"+name[1:]+"}"))
		case v.Exists():
			t, ok := seen[name]
			if !ok {
				t = f.eval(v)
				seen[name] = t
			}
			parts = append(parts, t)
		case strings.Contains(name, "."):
			parts = append(parts, f.attribute(name, arg.Pos()))
		default:
			parts = append(parts, f.ref(name, arg.Pos()))
		}
	}
	if len(parts) == 0 {
		t := text(arg.Pos(), source)
		t.node = template
		return t
	}
	return concat(arg.Pos(), "", append(parts, text(arg.Pos(), source[at:])))
}

// concat joins scalars. Where one is unknown, so is the whole, with what is known of it.
func concat(pos Pos, delimiter string, parts []tree) tree {
	var b strings.Builder
	var reasons []string
	for i, p := range parts {
		if i > 0 {
			b.WriteString(delimiter)
		}
		b.WriteString(p.Text)
		why := p.Unknown
		if p.kind == list || p.kind == object {
			why = "a part of it is " + p.kind.String()
		}
		if why != "" && !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
		if b.Len() > maxSubstituted {
			return text(pos, b.String())
		}
	}
	if len(reasons) > 0 {
		return unknownAt(pos, b.String(), together(reasons))
	}
	t := text(pos, b.String())
	if len(parts) == 1 {
		t.via = parts[0].via
	}
	return t
}

// together is reasons as one clause; of those that differ in a name only, the names.
func together(reasons []string) string {
	const deployed = " is known when it is deployed"
	var names, others []string
	for _, r := range reasons {
		if name, ok := strings.CutSuffix(r, deployed); ok && !strings.Contains(name, " ") {
			names = append(names, name)
		} else {
			others = append(others, r)
		}
	}
	switch {
	case len(names) == 1:
		others = append(others, names[0]+deployed)
	case len(names) > 1:
		others = append(others, strings.Join(names[:len(names)-1], ", ")+" and "+names[len(names)-1]+" are known when it is deployed")
	}
	if len(others) > 3 {
		others = append(others[:3], "…")
	}
	return strings.Join(others, "; ")
}

func (f *functions) join(arg Node) tree {
	items := arg.Items()
	if len(items) != 2 {
		return malformed("Join", arg)
	}
	delimiter, parts := f.eval(items[0]), f.eval(items[1])
	switch {
	case parts.kind == unknown:
		return unknownAt(arg.Pos(), parts.Text, parts.Unknown)
	case parts.kind != list || delimiter.kind != scalar:
		return malformed("Join", arg)
	}
	return concat(arg.Pos(), delimiter.Text, parts.items)
}

// branch is the one that the condition of Fn::If chooses.
func (f *functions) branch(arg Node) tree {
	items := arg.Items()
	if len(items) != 3 || !items[0].IsScalar() {
		return malformed("If", arg)
	}
	c := f.condition(items[0].Text())
	switch {
	case c.why != "":
		t := unknownAt(arg.Pos(), "${If:"+items[0].Text()+"}", "condition "+items[0].Text()+" is not known: "+c.why)
		t.either = []tree{f.eval(items[1]), f.eval(items[2])}
		return t
	case c.holds:
		return f.eval(items[1])
	}
	return f.eval(items[2])
}

// condition is whether one of the template's conditions holds.
func (f *functions) condition(name string) truth {
	if known, ok := f.known[name]; ok {
		return known
	}
	n := f.root.Get("Conditions", name)
	if !n.Exists() {
		return truth{why: "the template has no such condition"}
	}
	if f.visiting[name] {
		return truth{why: "it depends on itself"}
	}
	if len(f.visiting) > maxDepth {
		return truth{why: "it depends on too many others"}
	}
	f.visiting[name] = true
	known := f.holds(n)
	delete(f.visiting, name)
	f.known[name] = known
	return known
}

func (f *functions) holds(n Node) truth {
	if f.left--; f.left < 0 {
		return truth{why: "the template has too many values"}
	}
	name, arg := function(n)
	if c := n.Get("Condition"); name == "" && c.IsScalar() {
		return f.condition(c.Text())
	}
	switch items := arg.Items(); {
	case name == "Condition":
		return f.condition(arg.Text())
	case name == "Not" && len(items) == 1:
		c := f.holds(items[0])
		c.holds = !c.holds
		return c
	case name == "And" || name == "Or":
		all := truth{holds: name == "And"}
		for _, item := range items {
			switch c := f.holds(item); {
			case c.why == "" && c.holds == (name == "Or"): // decides it, whatever the others are
				return c
			case c.why != "":
				all.why = c.why
			}
		}
		return all
	case name == "Equals" && len(items) == 2:
		a, b := f.eval(items[0]), f.eval(items[1])
		for _, t := range []tree{a, b} {
			if t.kind == unknown {
				return truth{why: t.Unknown}
			}
			if t.kind != scalar {
				return truth{why: "it compares " + t.kind.String()}
			}
		}
		return truth{holds: a.Text == b.Text}
	}
	return truth{why: "it is not understood"}
}

func (f *functions) findInMap(arg Node) tree {
	items := arg.Items()
	if len(items) < 3 {
		return malformed("FindInMap", arg)
	}
	var keys []string
	for _, item := range items[:3] {
		k := f.eval(item)
		if k.kind != scalar {
			if k.Unknown == "" {
				return malformed("FindInMap", arg)
			}
			return unknownAt(arg.Pos(), "${FindInMap:"+strings.Join(append(keys, k.Text), ".")+"}", k.Unknown)
		}
		keys = append(keys, k.Text)
	}
	n := f.root.Get("Mappings").Get(keys...)
	if n.Exists() {
		return f.literal(n)
	}
	if len(items) == 4 && items[3].Get("DefaultValue").Exists() {
		return f.eval(items[3].Get("DefaultValue"))
	}
	return unknownAt(arg.Pos(), "${FindInMap:"+strings.Join(keys, ".")+"}", "the template has no mapping "+strings.Join(keys, "."))
}

func (f *functions) selected(arg Node) tree {
	items := arg.Items()
	if len(items) != 2 {
		return malformed("Select", arg)
	}
	index, from := f.eval(items[0]), f.eval(items[1])
	for _, t := range []tree{index, from} {
		if t.kind == unknown {
			return unknownAt(arg.Pos(), "${Select}", t.Unknown)
		}
	}
	i, err := strconv.Atoi(index.Text)
	if err != nil || from.kind != list || i < 0 || i >= len(from.items) {
		return malformed("Select", arg)
	}
	return from.items[i]
}

func (f *functions) split(arg Node) tree {
	items := arg.Items()
	if len(items) != 2 {
		return malformed("Split", arg)
	}
	delimiter, source := f.eval(items[0]), f.eval(items[1])
	switch {
	case source.kind == unknown:
		return unknownAt(arg.Pos(), source.Text, source.Unknown)
	case source.kind != scalar || delimiter.kind != scalar || delimiter.Text == "":
		return malformed("Split", arg)
	}
	return splitText(source, delimiter.Text)
}

func splitText(t tree, delimiter string) tree {
	if t.kind != scalar {
		return t
	}
	l := tree{kind: list, Value: Value{Pos: t.Pos}}
	for part := range strings.SplitSeq(t.Text, delimiter) {
		l.items = append(l.items, text(t.Pos, strings.TrimSpace(part)))
	}
	return l
}
