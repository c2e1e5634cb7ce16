package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/internal/imagetest"
	"berth/workload"
)

// TestConfigurationPage holds docs/configuration.md's example against the reader.
func TestConfigurationPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(page)
	if example == nil {
		t.Fatal("the page has no example")
	}
	c, err := parseConfig(workload.NewFile(configName, example[1]))
	if err != nil {
		t.Fatal(err)
	}
	if c.FailOn != "warning" || c.Cluster != "eks" || len(c.For) != 1 || len(c.ClusterPlatforms) != 2 || len(c.Parameters) != 1 ||
		len(c.Targets) != 1 || len(c.Exclude) != 2 || len(c.Ignores) != 1 || c.Ignores[0].Reason == "" || c.Strict {
		t.Errorf("%+v", c)
	}
}

func TestConfigMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"a: [":                          ".berth.yaml:1:5: did not find",
		"[]":                            "one mapping is needed",
		"strict: 'yes'":                 "strict is true or false",
		"fail-on: [error]":              "fail-on needs a value",
		"cluster-platforms: [a, {}]":    "cluster-platforms is a list of values",
		"parameters: [a]":               "parameters is a mapping",
		"exclude: ['[']":                "syntax error in pattern",
		"ignore: {rule: BER001}":        "ignore is a list",
		"ignore: [{rule: BER001}]":      "needs a rule and a reason",
		"ignore: [{rule: a, reson: b}]": `"reson" is not known`,
	} {
		_, err := parseConfig(workload.NewFile(configName, []byte(text)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestLockMatchesItsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schema/lock-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	host := imagetest.Registry(t)
	if err := publish(host); err != nil {
		t.Fatal(err)
	}
	name := t.TempDir() + "/berth.lock"
	var out bytes.Buffer
	if code := Main(context.Background(), []string{"check", host + "/app:v1", "--for", "fargate", "--lock", name}, strings.NewReader(""), &out, &out); code != exitYes {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(raw), host+"/app:v1\": \"sha256:") {
		t.Errorf("%s", raw)
	}
}
