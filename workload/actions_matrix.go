package workload

import (
	"regexp"
	"slices"
	"strings"
)

// maxMatrix is how many jobs a matrix may make
// (docs.github.com/en/actions/reference/limits).
const maxMatrix = 256

// combination is what a matrix gives one job: its keys, and a value for each.
type combination struct {
	keys   []string
	values map[string]Node
	open   string // why it is not known, or empty
}

// name is what GitHub shows beside the job: "(ubuntu-24.04, 3.13)".
func (c combination) name() string {
	var texts []string
	for _, key := range c.keys {
		v := c.values[key]
		if v.IsScalar() {
			texts = append(texts, v.Text())
		}
		for _, e := range v.Entries() {
			if e.Value.IsScalar() {
				texts = append(texts, e.Value.Text())
			}
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "(" + strings.Join(texts, ", ") + ")"
}

func (c combination) with(key string, value Node) combination {
	out := combination{keys: slices.Clone(c.keys), values: map[string]Node{}, open: c.open}
	for k, v := range c.values {
		out.values[k] = v
	}
	if _, ok := out.values[key]; !ok {
		out.keys = append(out.keys, key)
	}
	out.values[key] = value
	return out
}

// matrixOf are the combinations of a matrix; one without values where there is none
// (docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstrategymatrix).
func matrixOf(n Node) []combination {
	if !n.IsMap() {
		c := combination{}
		if !n.IsNull() {
			c.open = "the matrix is made when the workflow runs"
		}
		return []combination{c}
	}
	all := []combination{{}}
	var original []string
	for _, e := range n.Entries() {
		key := e.Key.Text()
		if key == "include" || key == "exclude" {
			continue
		}
		original = append(original, key)
		values := e.Value.Items()
		if !e.Value.IsList() {
			values = []Node{e.Value} // an expression
		}
		var next []combination
		for _, c := range all {
			for _, v := range values {
				if len(next) < maxMatrix {
					next = append(next, c.with(key, v))
				}
			}
		}
		all = next
	}
	all = slices.DeleteFunc(all, func(c combination) bool {
		return slices.ContainsFunc(n.Get("exclude").Items(), func(exclude Node) bool {
			for _, e := range exclude.Entries() {
				if !sameValue(c.values[e.Key.Text()], e.Value) {
					return false
				}
			}
			return exclude.IsMap()
		})
	})
	if len(original) == 0 {
		all = nil
	}
	made := len(all)
	for _, include := range n.Get("include").Items() {
		added := false
		for i := range all[:made] {
			fits := true
			for _, e := range include.Entries() {
				key := e.Key.Text()
				fits = fits && (!slices.Contains(original, key) || sameValue(all[i].values[key], e.Value))
			}
			if !fits {
				continue
			}
			added = true
			for _, e := range include.Entries() {
				all[i] = all[i].with(e.Key.Text(), e.Value)
			}
		}
		if !added && len(all) < maxMatrix {
			c := combination{}
			for _, e := range include.Entries() {
				c = c.with(e.Key.Text(), e.Value)
			}
			all = append(all, c)
		}
	}
	for _, key := range []string{"include", "exclude"} {
		if v := n.Get(key); v.IsScalar() && !v.IsNull() {
			all = append(all, combination{open: "the matrix is made when the workflow runs"})
			break
		}
	}
	return all
}

// sameValue compares values as GitHub does for exclude and include.
func sameValue(a, b Node) bool {
	if a.IsMap() && b.IsMap() {
		x, y := a.Entries(), b.Entries()
		return len(x) == len(y) && !slices.ContainsFunc(x, func(e Entry) bool { return !sameValue(e.Value, b.Get(e.Key.Text())) })
	}
	if a.IsList() && b.IsList() {
		return slices.EqualFunc(a.Items(), b.Items(), sameValue)
	}
	return a.IsScalar() && b.IsScalar() && a.Text() == b.Text()
}

var (
	expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)
	matrixPath = regexp.MustCompile(`^matrix\.([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*)$`)
	orLiteral  = regexp.MustCompile(`^(\S+)\s*\|\|\s*'([^']*)'$`)
)

// whole is the node of the matrix that a string stands for, when it is one expression.
func (c combination) whole(text string) Node {
	if m := expression.FindStringSubmatch(text); m != nil && m[0] == strings.TrimSpace(text) {
		if p := matrixPath.FindStringSubmatch(m[1]); p != nil {
			keys := strings.Split(p[1], ".")
			return c.values[keys[0]].Get(keys[1:]...)
		}
	}
	return Node{}
}

// value is a string with its expressions evaluated, as far as the matrix says them. Its
// place is that of the matrix where it stands there as a whole.
func (c combination) value(n Node) Value {
	v := n.Value()
	if n.Exists() && !n.IsScalar() {
		v.Unknown = "it is not a string"
		return v
	}
	if at := c.whole(v.Text); at.IsScalar() {
		v.Pos = at.Pos()
	}
	v.Text = expression.ReplaceAllStringFunc(v.Text, func(part string) string {
		inner, fallback := expression.FindStringSubmatch(part)[1], ""
		if m := orLiteral.FindStringSubmatch(inner); m != nil {
			inner, fallback = m[1], m[2]
		}
		p := matrixPath.FindStringSubmatch(inner)
		switch {
		case p == nil:
			v.Unknown = "the expression " + inner + " is evaluated when the workflow runs"
			return part
		case c.open != "":
			v.Unknown = c.open
			return part
		}
		keys := strings.Split(p[1], ".")
		value := c.values[keys[0]].Get(keys[1:]...)
		switch {
		case value.IsNull() || value.IsScalar() && value.Text() == "":
			return fallback // what is not there is the empty string
		case !value.IsScalar():
			v.Unknown = inner + " is not a string"
			return part
		case strings.Contains(value.Text(), "${{"):
			v.Unknown = inner + " is " + value.Text() + ", which is evaluated when the workflow runs"
			return part
		}
		return value.Text()
	})
	return v
}
