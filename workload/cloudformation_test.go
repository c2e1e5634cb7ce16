package workload

import (
	"fmt"
	"strings"
	"testing"

	"berth/platform"
)

// values is the template that TestFunctions evaluates values in.
const values = `
Parameters:
  Tag: {Type: String, Default: v1}
  NoDefault: {Type: String}
  Empty: {Type: String, Default: ""}
  Number: {Type: Number, Default: 7}
  List: {Type: CommaDelimitedList, Default: "a, b,c"}
  Given: {Type: String, Default: default}
  FromSSM: {Type: "AWS::SSM::Parameter::Value<String>", Default: /app/tag}
  SSMName: {Type: "AWS::SSM::Parameter::Name", Default: /app/name}
Mappings:
  Images:
    v1: {web: "nginx:1", all: [x, y]}
Conditions:
  "Yes": !Equals [!Ref Tag, v1]
  "No": {"Fn::Not": [{Condition: "Yes"}]}
  Both: !And [!Condition "Yes", !Condition "No"]
  Either: {"Fn::Or": [{Condition: "Yes"}, {"Fn::Equals": [{Ref: NoDefault}, x]}]}
  Open: !Equals [!Ref NoDefault, x]
  OpenAndNo: !And [!Condition Open, !Condition "No"]
  Self: !Not [!Condition Self]
Resources:
  Named: {Type: AWS::ECR::Repository, Properties: {RepositoryName: shop/api}}
  Repo: {Type: AWS::ECR::Repository}
  Nested: {Type: AWS::CloudFormation::Stack}
  Other: {Type: AWS::S3::Bucket}
  Made: {Type: Custom::Image}
`

func TestFunctions(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		// want is the value; after "? " why it is not known; "[…]" a list; "-" nothing.
		{`nginx`, "nginx"},
		{`"1.10"`, "1.10"},
		{`!Ref Tag`, "v1"},
		{`{Ref: Tag}`, "v1"},
		{`!Ref Number`, "7"},
		{`!Ref Empty`, ""},
		{`!Ref NoDefault`, "? parameter NoDefault has no default (--parameter-overrides NoDefault=…)"},
		{`!Ref Given`, "given"},
		{`!Ref List`, "[a b c]"},
		{`!Ref FromSSM`, "? parameter FromSSM is read from the SSM parameter /app/tag"},
		{`!Ref SSMName`, "/app/name"},
		{`!Ref Nowhere`, "? Nowhere is no parameter or resource of this template"},
		{`!Ref Named`, "shop/api"},
		{`!Ref Repo`, "? the name of Repo, a resource of this template, is known when it is deployed"},
		{`!Ref AWS::NoValue`, "-"},
		{`!Ref AWS::Region`, "us-gov-west-1"},
		{`!Ref AWS::Partition`, "aws-us-gov"},
		{`!Ref AWS::URLSuffix`, "amazonaws.com"},
		{`!Ref AWS::AccountId`, "? AWS::AccountId is known when it is deployed"},
		{`!GetAtt Repo.RepositoryUri`, "? the repository Repo is made by this template, and is empty until something is pushed to it"},
		{`{"Fn::GetAtt": [Repo, RepositoryUri]}`, "? the repository Repo is made by this template, and is empty until something is pushed to it"},
		{`!GetAtt Nested.Outputs.Image`, "? Outputs.Image is an output of the nested stack Nested"},
		{`!GetAtt Other.Arn`, "? Other.Arn is known when it is deployed"},
		{`!GetAtt Made.Uri`, "? the custom resource Made makes it when it is deployed"},
		{`!GetAtt Nowhere.Arn`, "? Nowhere is no resource of this template"},
		{`!Sub "app:${Tag}"`, "app:v1"},
		{`!Sub app`, "app"},
		{`!Sub "${!Literal}-${Tag}"`, "${Literal}-v1"},
		{`!Sub ["${a}/${Tag}:${b}", {a: x, b: !Join ["-", [p, q]]}]`, "x/v1:p-q"},
		{`{"Fn::Sub": ["${a}", {a: {Ref: Tag}}]}`, "v1"},
		{`!Sub "${Repo.RepositoryUri}:${Tag}"`, "? the repository Repo is made by this template, and is empty until something is pushed to it"},
		{`!Sub "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/x"`, "? AWS::AccountId is known when it is deployed"},
		{`!Sub "${List}"`, "? a part of it is a list"},
		{`!Sub [x]`, "? Fn::Sub has not the arguments that it takes"},
		{`!Join ["", [a, !Ref Tag, {"Fn::Sub": "-${Number}"}]]`, "av1-7"},
		{`!Join [",", !Ref List]`, "a,b,c"},
		{`!Join ["/", !Split ["-", "a-b-c"]]`, "a/b/c"},
		{`!Join [",", [a, !Ref AWS::NoValue, b]]`, "a,b"},
		{`!Join [",", !Ref NoDefault]`, "? parameter NoDefault has no default (--parameter-overrides NoDefault=…)"},
		{`!Select [1, [a, b]]`, "b"},
		{`!Select ["2", !Ref List]`, "c"},
		{`!Select [0, !Split [":", !Sub "${Tag}:x"]]`, "v1"},
		{`!Select [9, [a]]`, "? Fn::Select has not the arguments that it takes"},
		{`!Split [",", "a,b"]`, "[a b]"},
		{`!FindInMap [Images, !Ref Tag, web]`, "nginx:1"},
		{`!FindInMap [Images, v1, all]`, "[x y]"},
		{`!FindInMap [Images, v2, web]`, "? the template has no mapping Images.v2.web"},
		{`!FindInMap [Images, v2, web, {DefaultValue: nginx}]`, "nginx"},
		{`!FindInMap [Images, !Ref NoDefault, web]`, "? parameter NoDefault has no default (--parameter-overrides NoDefault=…)"},
		{`!If ["Yes", a, b]`, "a"},
		{`!If ["No", a, b]`, "b"},
		{`!If [Both, a, b]`, "b"},
		{`!If [Either, a, b]`, "a"},
		{`!If [Open, a, b]`, "? condition Open is not known: parameter NoDefault has no default (--parameter-overrides NoDefault=…)"},
		{`!If [OpenAndNo, a, b]`, "b"},
		{`!If [Self, a, b]`, "? condition Self is not known: it depends on itself"},
		{`!If [Nowhere, a, b]`, "? condition Nowhere is not known: the template has no such condition"},
		{`!If ["No", a, !Ref AWS::NoValue]`, "-"},
		{`!If ["Yes", !If ["No", a, b], c]`, "b"},
		{`{"Fn::Base64": !Sub "x${Tag}"}`, "eHYx"},
		{`!Base64 ab`, "YWI="},
		{`!ImportValue shared-image`, "? it is exported by another stack, as shared-image"},
		{`{"Fn::ImportValue": !Sub "${Tag}-image"}`, "? it is exported by another stack, as v1-image"},
		{`!GetAZs ""`, "? Fn::GetAZs is known when it is deployed"},
		{`{"Fn::Transform": {Name: M}}`, "? a macro makes it when it is deployed"},
		{`{"Fn::Length": [a]}`, "? Fn::Length is not evaluated"},
		{`"{{resolve:ssm:/app/image:1}}"`, "? it is read from the SSM Parameter Store when it is deployed"},
		{`!Sub "x:{{resolve:secretsmanager:tag}}"`, "? it is read from Secrets Manager when it is deployed"},
		{`[a, !Ref Tag]`, "[a v1]"},
	} {
		f := NewFile("t.yaml", []byte(values+"Value: "+c.yaml+"\n"))
		documents, err := f.Documents()
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
			continue
		}
		root := documents[0]
		eval := newFunctions(root, map[string]string{"Given": "given", "AWS::Region": "us-gov-west-1"})
		if got := shown(eval.eval(root.Get("Value"))); got != c.want {
			t.Errorf("%s is %q, want %q", c.yaml, got, c.want)
		}
	}
}

func shown(t tree) string {
	switch t.kind {
	case absent:
		return "-"
	case scalar:
		return t.Text
	case list:
		return "[" + strings.Join(t.texts(), " ") + "]"
	case unknown:
		return "? " + t.Unknown
	}
	return t.kind.String()
}

// TestFunctionsAreBounded evaluates what would grow without end.
func TestFunctionsAreBounded(t *testing.T) {
	value := "x"
	for range 60 {
		value = `!Sub ["` + strings.Repeat("${v}", 20) + `", {v: ` + value + `}]`
	}
	root := template(t, "Value: "+value+"\n")
	if got := shown(newFunctions(root, nil).eval(root.Get("Value"))); got != "? the string that functions put together is too long" {
		t.Errorf("it is %.100q", got)
	}
	var chain strings.Builder
	chain.WriteString("Conditions:\n  C0: !Equals [a, a]\n")
	for i := range 10_000 {
		fmt.Fprintf(&chain, "  C%d: !Condition C%d\n", i+1, i)
	}
	root = template(t, chain.String()+"Value: !If [C10000, a, b]\n")
	if got := shown(newFunctions(root, nil).eval(root.Get("Value"))); !strings.HasPrefix(got, "? condition C10000 is not known") {
		t.Errorf("it is %.100q", got)
	}
}

func template(t *testing.T, text string) Node {
	t.Helper()
	documents, err := NewFile("t.yaml", []byte(text)).Documents()
	if err != nil {
		t.Fatal(err)
	}
	return documents[0]
}

// TestSetParameter sets a platform whose value is the default of a parameter.
func TestSetParameter(t *testing.T) {
	text := `Parameters:
  Arch: {Type: String, Default: X86_64%s}
Resources:
  T:
    Type: AWS::ECS::TaskDefinition
    Properties:
      RequiresCompatibilities: [FARGATE]
      RuntimePlatform: {CpuArchitecture: !Ref Arch, OperatingSystemFamily: LINUX}
      ContainerDefinitions: [{Name: a, Image: nginx}]
`
	read := func(allowed string, opts Options) (string, error) {
		f := NewFile("t.yaml", []byte(strings.Replace(text, "%s", allowed, 1)))
		edits, err := Read(f, opts).Workloads[0].SetPlatform(platform.MustParse("linux/arm64"))
		if err != nil {
			return "", err
		}
		data, err := Apply(f.Data, edits)
		return string(data), err
	}
	got, err := read("", Options{})
	if err != nil || !strings.Contains(got, "Default: ARM64}") || !strings.Contains(got, "!Ref Arch") {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := read(", AllowedValues: [X86_64]", Options{}); err == nil || !strings.Contains(err.Error(), "AllowedValues has no ARM64") {
		t.Errorf("a value that is not allowed: %v", err)
	}
	if _, err := read("", Options{Parameters: map[string]string{"Arch": "X86_64"}}); err == nil || !strings.Contains(err.Error(), "not written out here") {
		t.Errorf("a value that the caller gave: %v", err)
	}
}

// TestSynthesized is that no edit is offered where the next cdk synth would undo it.
func TestSynthesized(t *testing.T) {
	for _, f := range fixtures(t) {
		if f.path != "cloudformation/cdk/Shop.template.json" {
			continue
		}
		for _, w := range Read(NewFile(f.path, f.data), f.opts).Workloads {
			if _, err := w.SetPlatform(platform.MustParse("linux/arm64")); err == nil || !strings.Contains(err.Error(), "cdk synth") {
				t.Errorf("%s: %v", w, err)
			}
		}
		return
	}
	t.Fatal("the fixture is gone")
}
