package workload

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// TestJSON holds the reader of JSON against the parser of YAML.
func TestJSON(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, "\xef\xbb\xbf {\"a\": 1}", `{"é": ["ü", "x"], "b": {"c": null}}`,
		"{\r\n\t\"a\": [true, false, 1, -2.5e3],\r\n\t\"b\": \"x\"\r\n}\r\n",
		`{"a": "q\"u\\o\/te\n\u00e9", "b": ""}`,
		"[\n  {\n  \"a\"  :\n  \"b\" , \"c\":[ ]}]",
	} {
		got, ok := parseJSON([]byte(text))
		if !ok {
			t.Errorf("%q is not read", text)
			continue
		}
		var want yaml.Node
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(outline(want.Content[0]), outline(got)); diff != "" {
			t.Errorf("%q: -yaml +json\n%s", text, diff)
		}
	}
	for _, text := range []string{
		``, `x`, `1`, `{"a" 1}`, `{"a": 1,}`, `[1 2]`, `{"a": 01}`, `{a: 1}`, `{"a": tru}`, "{\"a\": \"\n\"}", `{"a": "`, `{"a": "\x"}`, `{} {}`, "{\"a\": \"\xff\"}",
		`{"a": .5}`, `{"a": -}`, `{"a": }`, `{"a": NaN}`, strings.Repeat("[", 300) + strings.Repeat("]", 300),
	} {
		if _, ok := parseJSON([]byte(text)); ok {
			t.Errorf("%q is read", text)
		}
	}
	if n, _ := parseJSON([]byte(`["\ud83d\ude00"]`)); n.Content[0].Value != "😀" {
		t.Errorf("a character of two halves is %q", n.Content[0].Value)
	}
}

func outline(n *yaml.Node) []string {
	all := []string{fmt.Sprint(n.Kind, n.Style, n.Tag, n.Line, n.Column, n.Value)}
	for _, c := range n.Content {
		all = append(all, outline(c)...)
	}
	return all
}
