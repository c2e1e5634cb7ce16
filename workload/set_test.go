package workload

import (
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	arm := []pair{{"cpu", "ARM64"}, {"os", "LINUX"}}
	for name, c := range map[string]struct {
		text  string
		path  string // keys to the mapping, joined by "."
		key   string
		value any
		after string
		want  string
	}{
		"block, at the end":             {"a: 1\nb: 2\n", "", "p", "x", "", "a: 1\nb: 2\np: x\n"},
		"block, after a key":            {"a: 1 # one\nb: 2\n", "", "p", "x", "a", "a: 1 # one\np: x\nb: 2\n"},
		"block, no last end":            {"a: 1", "", "p", "x", "", "a: 1\np: x"},
		"block, CRLF":                   {"a: 1\r\nb: 2\r\n", "", "p", "x", "a", "a: 1\r\np: x\r\nb: 2\r\n"},
		"block, inside":                 {"m:\n    a: 1\n# c\nn: 2\n", "m", "p", "x", "", "m:\n    a: 1\n    p: x\n# c\nn: 2\n"},
		"block, after a mapping":        {"m:\n  a: 1\n\nn: 2\n", "", "p", "x", "m", "m:\n  a: 1\np: x\n\nn: 2\n"},
		"block, after a list":           {"l:\n- a\n- b\nn: 2\n", "", "p", "x", "l", "l:\n- a\n- b\np: x\nn: 2\n"},
		"block, after literal text":     {"s: |\n  a\n\n  b\n\nn: 2\n", "", "p", "x", "s", "s: |\n  a\n\n  b\np: x\n\nn: 2\n"},
		"block, after folded text":      {"s: >-\n  a\n  b\nn: 2\n", "", "p", "x", "s", "s: >-\n  a\n  b\np: x\nn: 2\n"},
		"block, after plain lines":      {"s: a\n  b\nn: 2\n", "", "p", "x", "s", "s: a\n  b\np: x\nn: 2\n"},
		"block, after quoted lines":     {"s: \"a\n  b \\\" c\"\nn: 2\n", "", "p", "x", "s", "s: \"a\n  b \\\" c\"\np: x\nn: 2\n"},
		"block, after single quotes":    {"s: 'it''s'\nn: 2\n", "", "p", "x", "s", "s: 'it''s'\np: x\nn: 2\n"},
		"block, after flow lines":       {"s: [a,\n  b, # c]\n]\nn: 2\n", "", "p", "x", "s", "s: [a,\n  b, # c]\n]\np: x\nn: 2\n"},
		"block, after nothing":          {"s:\nn: 2\n", "", "p", "x", "s", "s:\np: x\nn: 2\n"},
		"block, after an alias":         {"a: &a 1\ns: *a\nn: 2\n", "", "p", "x", "s", "a: &a 1\ns: *a\np: x\nn: 2\n"},
		"block, after a tag":            {"s: !Sub '${x}'\nn: 2\n", "", "p", "x", "s", "s: !Sub '${x}'\np: x\nn: 2\n"},
		"block in a list":               {"l:\n  - a: 1\n  - b: 2\n", "l.0", "p", "x", "", "l:\n  - a: 1\n    p: x\n  - b: 2\n"},
		"block, nested":                 {"m:\n   a: 1\n", "m", "p", arm, "", "m:\n   a: 1\n   p:\n      cpu: ARM64\n      os: LINUX\n"},
		"block, a list":                 {"a: 1\n", "", "p", []string{"arm64"}, "", "a: 1\np: [arm64]\n"},
		"block, what needs quotes":      {"a: 1\n", "", "p", "yes", "", "a: 1\np: \"yes\"\n"},
		"replaced":                      {"p: y # c\n", "", "p", "x", "", "p: x # c\n"},
		"replaced in double quotes":     {"p: \"y\"\n", "", "p", "x", "", "p: \"x\"\n"},
		"replaced in single quotes":     {"p: 'y'\n", "", "p", "x", "", "p: 'x'\n"},
		"replaced with an anchor":       {"p: &a y\nq: *a\n", "", "p", "x", "", "p: &a x\nq: *a\n"},
		"the last of two":               {"p: 1\np: 2\n", "", "p", "x", "", "p: 1\np: x\n"},
		"filled":                        {"p:\nq: 1\n", "", "p", "x", "", "p: x\nq: 1\n"},
		"filled with a mapping":         {"p: # c\nq: 1\n", "", "p", arm, "", "p: {cpu: ARM64, os: LINUX} # c\nq: 1\n"},
		"null":                          {"p: ~\n", "", "p", "x", "", "p: x\n"},
		"a mapping that is there":       {"p:\n  cpu: X86_64 # c\n  z: 1\n", "", "p", arm, "", "p:\n  cpu: ARM64 # c\n  z: 1\n  os: LINUX\n"},
		"a list that is there":          {"p:\n- x86_64 # c\n", "", "p", []string{"arm64"}, "", "p:\n- arm64 # c\n"},
		"a longer list":                 {"p:\n  - a\n  - b\nq: 1\n", "", "p", []string{"c"}, "", "p:\n  - c\nq: 1\n"},
		"a flow list":                   {"p: [a, b] # c\n", "", "p", []string{"c"}, "", "p: [c] # c\n"},
		"an empty list":                 {"p: []\n", "", "p", []string{"c"}, "", "p: [c]\n"},
		"flow":                          {"m: {a: 1, b: 2}\n", "m", "p", "x", "a", "m: {a: 1, p: x, b: 2}\n"},
		"flow, nested":                  {"m: {a: 1}\n", "m", "p", arm, "", "m: {a: 1, p: {cpu: ARM64, os: LINUX}}\n"},
		"flow, empty":                   {"m: {}\n", "m", "p", "x", "", "m: {p: x}\n"},
		"flow, a comma at the end":      {"m: {a: 1,}\n", "m", "p", "x", "", "m: {a: 1, p: x,}\n"},
		"flow lines":                    {"m: {\n  a: 1,\n  b: 2\n}\n", "m", "p", "x", "", "m: {\n  a: 1,\n  b: 2,\n  p: x\n}\n"},
		"merged":                        {"a: &a {p: y}\nm:\n  <<: *a\n  b: 1\n", "m", "p", "x", "", "a: &a {p: y}\nm:\n  <<: *a\n  b: 1\n  p: x\n"},
		"JSON":                          {"{\n  \"a\": 1,\n  \"b\": 2\n}\n", "", "p", "x", "a", "{\n  \"a\": 1,\n  \"p\": \"x\",\n  \"b\": 2\n}\n"},
		"JSON, last":                    {"{\n  \"a\": 1\n}\n", "", "p", "x", "", "{\n  \"a\": 1,\n  \"p\": \"x\"\n}\n"},
		"JSON, nested":                  {"{\n\t\"a\": 1\n}\n", "", "p", arm, "", "{\n\t\"a\": 1,\n\t\"p\": {\n\t\t\"cpu\": \"ARM64\",\n\t\t\"os\": \"LINUX\"\n\t}\n}\n"},
		"JSON, compact":                 {`{"a":[1,{}],"b":2}`, "", "p", arm, "a", `{"a":[1,{}],"p":{"cpu":"ARM64","os":"LINUX"},"b":2}`},
		"JSON, one line":                {`{"a": 1, "b": 2}`, "", "p", []string{"x"}, "", `{"a": 1, "b": 2, "p": ["x"]}`},
		"JSON, empty":                   {`{"m":{}}`, "m", "p", "x", "", `{"m":{"p": "x"}}`},
		"JSON, empty in lines":          {"{\n  \"m\": {}\n}\n", "m", "p", "x", "", "{\n  \"m\": {\n    \"p\": \"x\"\n  }\n}\n"},
		"JSON, CRLF":                    {"{\r\n  \"a\": 1\r\n}", "", "p", "x", "", "{\r\n  \"a\": 1,\r\n  \"p\": \"x\"\r\n}"},
		"JSON, null":                    {`{"p": null}`, "", "p", "x", "", `{"p": "x"}`},
		"JSON, braces and quotes in it": {`{"a": "}\",{", "b": "é"}`, "", "p", "x", "a", `{"a": "}\",{", "p": "x", "b": "é"}`},
		"JSON, a list":                  {`{"p": ["y"]}`, "", "p", []string{"x"}, "", `{"p": ["x"]}`},
	} {
		f := NewFile("f", []byte(c.text))
		documents, err := f.Documents()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n := documents[0]
		for key := range strings.SplitSeq(c.path, ".") {
			switch {
			case key == "0":
				n = n.Items()[0]
			case key != "":
				n = n.Get(key)
			}
		}
		edits, err := n.set(c.key, c.value, c.after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := Apply(f.Data, edits)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%q\nwant\n%q", name, err, got, c.want)
		}
	}
}

// TestSetNot is what is refused: what would change something else, or cannot be written.
func TestSetNot(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		value any
		want  string
	}{
		"an alias":           {"a: &a y\np: *a\n", "x", "f:2:4: p is an alias"},
		"a function":         {"p: !Ref y\n", "x", "f:1:4: this is no plain value"},
		"a list for a value": {"p: [a]\n", "x", "f:1:4: p is not what it is expected to be"},
		"a value for a list": {"p: a\n", []string{"x"}, "f:1:4: p is not what it is expected to be"},
		"a list":             {"- p\n", "x", "f:1:1: this is no mapping"},
	} {
		documents, err := NewFile("f", []byte(c.text)).Documents()
		if err != nil {
			t.Fatal(err)
		}
		if edits, err := documents[0].set("p", c.value); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, edits, err)
		}
	}
}
