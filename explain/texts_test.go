package explain

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"berth/check"
	"berth/launch"
	"berth/target"
)

func TestTextsAreDocumentedAndUnique(t *testing.T) {
	set, err := target.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	stages := map[launch.Stage]bool{StagePull: true, launch.StageCreate: true, launch.StageExec: true, launch.StageLoad: true, launch.StageRun: true}
	words := map[string]bool{}
	for _, c := range Causes() {
		if words[c.Word] || c.Title == "" || c.FindOut == "" || c.Fix == "" {
			t.Errorf("cause %s: words must be unique, and title, a way to find out and a fix are needed", c.Word)
		}
		words[c.Word] = true
	}
	ids, used := map[string]bool{}, map[string]bool{}
	for _, text := range Texts() {
		if ids[text.ID] {
			t.Errorf("two texts are called %s", text.ID)
		}
		ids[text.ID] = true
		if text.ID == "" || !stages[text.Stage] || !strings.HasSuffix(text.Meaning, ".") || len(text.Causes) == 0 || len(text.Forms) == 0 {
			t.Errorf("%s: needs an ID, a stage, a meaning in sentences, causes and forms", text.ID)
		}
		twice := map[string]bool{}
		for _, word := range text.Causes {
			if !words[word] || twice[word] {
				t.Errorf("%s: cause %s is not in Causes, or there twice", text.ID, word)
			}
			used[word], twice[word] = true, true
		}
		for _, f := range text.Forms {
			if f.Who == "" || f.Source == "" || f.Key == "" || f.Key != strings.ToLower(f.Key) {
				t.Errorf("%s: %s: needs who says it, a source, and a key in lower case", text.ID, f.Pattern)
			}
			if f.Target != "" {
				if _, err := set.Find(f.Target); err != nil {
					t.Errorf("%s: %v", text.ID, err)
				}
			}
		}
	}
	for word := range words {
		if !used[word] {
			t.Errorf("no text comes from %s", word)
		}
	}
	for _, s := range signs {
		if _, err := set.Find(s.target); err != nil || s.key != strings.ToLower(s.key) || s.source == "" {
			t.Errorf("sign %q: %v; the key must be in lower case, and a source is needed", s.key, err)
		}
	}
}

// TestCausesAreThoseOfProofsAndRules holds the words against their owners: each cause
// of package launch has an entry, and those of manifests are names of rules.
func TestCausesAreThoseOfProofsAndRules(t *testing.T) {
	kinds := map[string]Kind{}
	for _, c := range Causes() {
		kinds[c.Word] = c.Kind
	}
	rules := map[string]bool{}
	for _, rule := range check.Rules() {
		rules[rule.Name] = true
	}
	for word, kind := range kinds {
		if kind == InManifest && !rules[word] {
			t.Errorf("%s is no rule", word)
		}
	}
	source, err := os.ReadFile("../launch/cause.go")
	if err != nil {
		t.Fatal(err)
	}
	failures, _, _ := strings.Cut(string(source), "[Warning]")
	found := regexp.MustCompile(`Cause\w+ += "([a-z-]+)"`).FindAllStringSubmatch(failures, -1)
	if len(found) == 0 {
		t.Fatal("no causes found in launch/cause.go")
	}
	for _, m := range found {
		if _, ok := kinds[m[1]]; !ok {
			t.Errorf("launch fails for %s, which is not in Causes", m[1])
		}
	}
}

// wrappings are what logs do to a line.
var wrappings = map[string]func(string) string{
	"alone":              func(s string) string { return s },
	"docker compose":     func(s string) string { return "\x1b[36mweb-1  | \x1b[0m" + s + "\nweb-1 exited with code 0\n" },
	"docker -t, windows": func(s string) string { return "2026-11-20T10:00:00.123456789Z " + s + "\r\n" },
	"kubectl describe": func(s string) string {
		return "Events:\n  Type     Reason   Age                From     Message\n  ----     ------   ----               ----     -------\n" +
			"  Warning  Failed   3s (x4 over 48s)   kubelet  Error: " + s + "\n"
	},
	"journal": func(s string) string {
		return "Nov 20 10:00:00 node-1 dockerd[812]: time=\"2026-11-20T10:00:00Z\" level=error msg=" + quoteJSON(s)
	},
	"ECS": func(s string) string {
		return `{"tasks":[{"stoppedReason":` + quoteJSON(s) + `,"lastStatus":"STOPPED"}]}`
	},
	"ECS, indented": func(s string) string {
		return "{\n    \"tasks\": [\n        {\n            \"stoppedReason\": " + quoteJSON(s) + ",\n"
	},
	"CloudWatch in an event": func(s string) string {
		return `{"events":[{"timestamp":1700000000000,"message":` + quoteJSON(`{"log":`+quoteJSON(s+"\n")+`,"stream":"stderr"}`) + `}]}`
	},
	"GitHub Actions":   func(s string) string { return "2026-11-20T10:00:00.0000000Z ##[error]\x1b[31m" + s + "\x1b[0m" },
	"CRI":              func(s string) string { return "2026-11-20T10:00:00.000000000Z stderr F " + s },
	"among others":     func(s string) string { return "starting\nlistening soon\n" + s + "\nbye\n" },
	"web page":         func(s string) string { return "> \u200b" + strings.ReplaceAll(s, " ", "\u00a0") + "\u200b" },
	"PowerShell's >":   utf16LE,
	"with a long tail": func(s string) string { return s + " " + strings.Repeat("x", maxLine) },
}

func quoteJSON(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func utf16LE(s string) string {
	out := "\xff\xfe"
	for _, u := range utf16.Encode([]rune(s)) {
		out += string([]byte{byte(u), byte(u >> 8)})
	}
	return out
}

// TestEveryFormIsRecognised holds each sample against its own text, in all wrappings.
func TestEveryFormIsRecognised(t *testing.T) {
	for _, text := range Texts() {
		for i, form := range text.Forms {
			for name, wrap := range wrappings {
				t.Run(fmt.Sprintf("%s/%d/%s", text.ID, i, name), func(t *testing.T) {
					if _, err := fmt.Sscan(form.Sample, new(int)); err == nil && len(form.Sample) < 4 && name != "alone" && name != "PowerShell's >" && name != "among others" {
						return // a lone number is only read where it is all of a line
					}
					log := wrap(form.Sample)
					r := Recognise(log)
					for _, s := range r.Said {
						if s.Text.ID != text.ID {
							continue
						}
						if s.Form.Who != form.Who && !strings.Contains(form.Who, "containerd") {
							t.Errorf("said by %s, want %s", s.Form.Who, form.Who)
						}
						return
					}
					t.Errorf("%.400q\nwas read as %s", log, ids(r))
				})
			}
		}
	}
}

func ids(r Reading) string {
	var out []string
	for _, s := range r.Said {
		out = append(out, s.Text.ID)
	}
	return strings.Join(out, ", ")
}
