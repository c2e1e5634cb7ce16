package workload

import (
	"slices"
	"strings"
	"testing"
)

// TestMatrix expands the example of GitHub's documentation on include, and limits.
func TestMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		matrix string
		want   []string
	}{
		"none":    {"null", []string{""}},
		"product": {"{a: [1, 2], b: [x, y]}", []string{"a=1 b=x", "a=1 b=y", "a=2 b=x", "a=2 b=y"}},
		"exclude": {"{a: [1, 2], b: [x, y], exclude: [{a: 1, b: x}, {b: y}]}", []string{"a=2 b=x"}},
		"only":    {"{include: [{a: 1}, {a: 2, b: x}]}", []string{"a=1", "a=2 b=x"}},
		"objects": {"{a: [{x: 1}, {x: 2}], exclude: [{a: {x: 1}}]}", []string{"a.x=2"}},
		"empty":   {"{a: []}", nil},
		"documents": {
			"{fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat}, {fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]}",
			[]string{
				"fruit=apple animal=cat color=pink shape=circle", "fruit=apple animal=dog color=green shape=circle",
				"fruit=pear animal=cat color=pink", "fruit=pear animal=dog color=green", "fruit=banana", "fruit=banana animal=cat",
			},
		},
	} {
		documents, err := NewFile("f", []byte("m: "+c.matrix)).Documents()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, combination := range matrixOf(documents[0].Get("m")) {
			var texts []string
			for _, key := range combination.keys {
				v := combination.values[key]
				for _, e := range v.Entries() {
					texts = append(texts, key+"."+e.Key.Text()+"="+e.Value.Text())
				}
				if v.IsScalar() {
					texts = append(texts, key+"="+v.Text())
				}
			}
			got = append(got, strings.Join(texts, " "))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	wide := "{a: [" + strings.Repeat("1,", 99) + "1], b: [" + strings.Repeat("1,", 99) + "1]}"
	documents, err := NewFile("f", []byte(wide)).Documents()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(matrixOf(documents[0])); n != maxMatrix {
		t.Errorf("%d combinations, want %d", n, maxMatrix)
	}
}
