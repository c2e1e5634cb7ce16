package target

import (
	"strings"
	"testing"
)

const valid = `name: mine
title: My cluster
aliases: [my-cluster]
runs: [linux/arm64, linux/amd64]
default: linux/arm64
declaredIn: arch
accepts:
  index: yes
  attestation: unknown
  zstd: unknown
  oci: unknown
  maxUncompressed: 1000
compat:
  ia32: unknown
  aarch32: unknown
facts:
  - {topic: runs, says: Both., source: "https://wiki.example.com/a", checked: 2026-01-02}
  - {topic: default, says: ARM., source: wiki.example.com/a, checked: 2026-01-02}
  - {topic: declaredIn, says: In arch., source: wiki.example.com/a, checked: 2026-01-02}
  - {topic: index, says: It is., source: "http://wiki.example.com:8080/a?b=c", checked: 2026-01-02}
  - {topic: maxUncompressed, says: Small., source: wiki.example.com/a, checked: 2026-01-02}
`

func TestAdd(t *testing.T) {
	s := builtin(t)
	before := len(s.All())
	two := valid + "---\n" + strings.NewReplacer("mine", "other", "my-cluster", "o").Replace(valid)
	if err := s.Add(strings.NewReader(two), "t.yaml"); err != nil {
		t.Fatal(err)
	}
	if got := len(s.All()); got != before+2 {
		t.Errorf("%d targets, want %d", got, before+2)
	}
	need, err := s.Need("my-cluster")
	if err != nil || need.Platform.Architecture != "arm64" || need.Why != "the default of My cluster where no arch is given" {
		t.Errorf("Need = %+v, %v", need, err)
	}
	if got := need.Target.Facts[0].Source; got != "wiki.example.com/a" {
		t.Errorf("source %q, want it without https://", got)
	}
	if got := need.Target.Runs[0].Architecture; got != "amd64" {
		t.Errorf("runs starts with %s, want it sorted", got)
	}
}

func TestAddReplacesBuiltin(t *testing.T) {
	s := builtin(t)
	before := len(s.All())
	mine := strings.Replace(valid, "name: mine", "name: apprunner", 1)
	if err := s.Add(strings.NewReader(mine), "t.yaml"); err != nil {
		t.Fatal(err)
	}
	if got := len(s.All()); got != before {
		t.Errorf("%d targets, want %d", got, before)
	}
	if need, err := s.Need("apprunner/arm64"); err != nil || need.Target.Title != "My cluster" {
		t.Errorf("Need = %+v, %v", need, err)
	}
	if _, err := s.Find("app-runner"); err == nil {
		t.Error("an alias of what was replaced is still there")
	}
	err := s.Add(strings.NewReader("# again\n"+mine), "u.yaml")
	if want := `u.yaml:2: target "apprunner" is defined already, in t.yaml:1`; err == nil || err.Error() != want {
		t.Errorf("replaced twice: %v, want %s", err, want)
	}
}

func TestAddRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, says string }{
		{"an unknown key", "title:", "titel:", `t.yaml:2: unknown key "titel": a target has name, title,`},
		{"a missing key", "declaredIn: arch\n", "", `t.yaml:1: a target has no "declaredIn"`},
		{"a key twice", "title: My cluster", "title: a\ntitle: b", `t.yaml:3: key "title" is there twice`},
		{"an unknown key deep down", "  zstd:", "  lz4:", `t.yaml:10: unknown key "lz4": accepts has index,`},
		{"an empty title", "title: My cluster", `title: ""`, "t.yaml:2: title has to be a text that is not empty"},
		{"a title that is a list", "title: My cluster", `title: [a]`, "t.yaml:2: title has to be a text"},
		{"a control character", "title: My cluster", `title: "a\eb"`, "t.yaml:2: title has a control character"},
		{"an upper-case name", "name: mine", "name: Mine", `t.yaml:1: "Mine" is not a name for a target`},
		{"a name with a slash", "name: mine", "name: a/b", `t.yaml:1: "a/b" is not a name for a target`},
		{"an OS as name", "name: mine", "name: linux", `t.yaml:1: "linux" is not a name for a target: it is part of a platform`},
		{"an architecture as alias", "[my-cluster]", "[arm64]", `t.yaml:3: "arm64" is not a name for a target`},
		{"an alias that is the name", "[my-cluster]", "[mine]", `t.yaml:3: "mine" is already a name of this target`},
		{"an alias of another target", "[my-cluster]", "[k8s]", `t.yaml:1: target "mine": "k8s" is already a name of target "kubernetes"`},
		{"the name of another's alias", "name: mine", "name: k8s", `t.yaml:1: target "k8s": "k8s" is already a name of target "kubernetes"`},
		{"aliases that are no list", "[my-cluster]", "my-cluster", "t.yaml:3: aliases has to be a list"},
		{"a platform without OS", "[linux/arm64, linux/amd64]", "[linux/arm64, amd64]", `t.yaml:4: runs: platform "amd64" has no operating system`},
		{"a platform twice", "[linux/arm64, linux/amd64]", "[linux/arm64, linux/aarch64]", "t.yaml:4: runs has linux/arm64 twice"},
		{"no platforms", "[linux/arm64, linux/amd64]", "[]", "t.yaml:4: runs has to be a list of platforms, or the word depends"},
		{"runs unknown", "[linux/arm64, linux/amd64]", "unknown", "t.yaml:4: runs has to be a list of platforms, or the word depends"},
		{"a default that it does not run", "default: linux/arm64", "default: linux/386", "t.yaml:5: default linux/386 is none of the platforms in runs"},
		{"one platform and no default", "[linux/arm64, linux/amd64]\ndefault: linux/arm64", "[linux/arm64]\ndefault: none", "t.yaml:5: default has to be linux/arm64"},
		{"a default without fact", "topic: default", "topic: registry", `t.yaml:5: default is stated without a fact on the topic "default": add one with its source, or write unknown`},
		{"runs without fact", "topic: runs", "topic: registry", `t.yaml:4: runs is stated without a fact`},
		{"declaredIn without fact", "topic: declaredIn", "topic: registry", `t.yaml:6: declaredIn is stated without a fact`},
		{"an answer without fact", "zstd: unknown", "zstd: no", `t.yaml:10: zstd is stated without a fact`},
		{"compat without fact", "ia32: unknown", "ia32: yes", `t.yaml:14: ia32 is stated without a fact`},
		{"a limit without fact", "topic: maxUncompressed", "topic: registry", `t.yaml:12: maxUncompressed is stated without a fact`},
		{"an answer of another kind", "zstd: unknown", "zstd: true", "t.yaml:10: zstd has to be yes, no or unknown"},
		{"a limit in words", "maxUncompressed: 1000", "maxUncompressed: 10GB", "t.yaml:12: maxUncompressed has to be a number of bytes, or unknown"},
		{"a negative limit", "maxUncompressed: 1000", "maxUncompressed: -1", "t.yaml:12: maxUncompressed has to be a number of bytes"},
		{"an unknown topic", "topic: runs", "topic: rnus", `t.yaml:17: unknown topic "rnus": a fact is about runs, default,`},
		{"a fact without source", ", source: \"https://wiki.example.com/a\"", "", `t.yaml:17: a fact has no "source"`},
		{"a source that is no URL", `"https://wiki.example.com/a"`, "somebody", `t.yaml:17: source "somebody" is not a URL`},
		{"a source with a space", `"https://wiki.example.com/a"`, `"wiki.example.com/a b"`, "t.yaml:17: source"},
		{"a day that does not exist", "says: Both., source: \"https://wiki.example.com/a\", checked: 2026-01-02", "says: Both., source: a.b, checked: 2026-02-30", `t.yaml:17: checked "2026-02-30" is not a day`},
		{"not a mapping", valid, "- a\n", "t.yaml:1: a target has to be a mapping with the keys name"},
		{"an anchor instead of a value", "title: My cluster\naliases: [my-cluster]", "title: &a x\naliases: *a", "t.yaml:3: aliases has to be a list"},
		{"not YAML", valid, "name: [", "t.yaml: "},
		{"nothing", valid, "", "t.yaml: no target in it"},
		{"a comment only", valid, "# nothing\n", "t.yaml: no target in it"},
		{"the same name twice", valid, valid + "---\n" + valid, `t.yaml:23: target "mine" is defined already, in t.yaml:1`},
		{"too large", valid, strings.Repeat("#", MaxFileSize+1), "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(valid, c.old) {
				t.Fatalf("the valid target has no %q", c.old)
			}
			s := builtin(t)
			before := len(s.All())
			err := s.Add(strings.NewReader(strings.Replace(valid, c.old, c.new, 1)), "t.yaml")
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
			if got := len(s.All()); got != before {
				t.Errorf("%d targets after the error, want %d", got, before)
			}
		})
	}
}

func TestAddSaysAllThatIsWrong(t *testing.T) {
	bad := strings.NewReplacer("zstd: unknown", "zstd: maybe", "default: linux/arm64", "default: arm64").Replace(valid)
	err := builtin(t).Add(strings.NewReader(bad), "t.yaml")
	for _, says := range []string{"t.yaml:5: default:", "t.yaml:10: zstd"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

func FuzzAdd(f *testing.F) {
	f.Add(valid)
	f.Add(valid + "---\n" + valid)
	f.Add("name: [")
	f.Add("a: &a [*a]")
	f.Add("? {}\n: 1")
	f.Fuzz(func(t *testing.T, text string) {
		s := &Set{byName: map[string]*Target{}, origin: map[string]string{}}
		if err := s.Add(strings.NewReader(text), "t.yaml"); err != nil {
			if len(s.All()) != 0 {
				t.Fatalf("targets were added with the error %v", err)
			}
			return
		}
		for _, target := range s.All() {
			if len(target.Facts) == 0 {
				t.Fatalf("target %q has no facts", target.Name)
			}
			if _, err := s.Find(target.Name); err != nil {
				t.Fatal(err)
			}
		}
	})
}
