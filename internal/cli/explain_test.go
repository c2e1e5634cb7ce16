package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store/registry"
)

// explained is what the tests look at of berth/explanation/v1.
type explained struct {
	Conclusion, Summary string
	Log                 struct{ Reference, Target string }
	Said                []struct{ ID, Path string }
	Causes              []struct {
		Cause, Status, Evidence, Why string
		Failure                      *struct{ Path, Layer, CreatedBy, Fix string }
	}
	Conflicts []string
	Next      []struct{ Title, Command string }
	Images    []struct {
		Needed, Error string
		Proof, Named  *struct{ Verdict string }
	}
}

// explainJSON runs berth explain -o json, and holds the document against its schema.
func explainJSON(t *testing.T, stdin string, args ...string) (explained, int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := Main(context.Background(), append([]string{"explain", "-o", "json"}, args...), strings.NewReader(stdin), &out, &errs)
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "..", "docs", "schema", "explanation-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	var e explained
	if err := json.Unmarshal(out.Bytes(), &e); err != nil {
		t.Fatal(err)
	}
	return e, code
}

var (
	amd64 = platform.MustParse("linux/amd64")
	arm64 = platform.MustParse("linux/arm64")
)

// TestExplainRefusals is what says that an image is not taken at all.
func TestExplainRefusals(t *testing.T) {
	host := imagetest.Registry(t)
	m := imagetest.New()
	one := m.AddImage(program(amd64, amd64), "plain")
	two := m.AddImage(program(arm64, arm64), "")
	m.AddIndex("both", "", one, two)
	m.AddIndex("arm", "", two)
	m.AddIndex("attested", "", one, m.AddAttestation(one))
	zstd := program(amd64, amd64)
	zstd.Layers[0].MediaType = v1.MediaTypeImageLayerZstd
	m.AddImage(zstd, "zstd")
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "app")); err != nil {
		t.Fatal(err)
	}
	lambda := "The image manifest, config or layer media type for the source image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1 is not supported. (Service: Lambda, Status Code: 400)"
	for _, c := range []struct {
		name, tag, text   string
		args              []string
		conclusion, cause string
		command           string // a part of one of the commands
	}{
		{"Fargate finds no platform", "arm", "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'", nil, "confirmed", "platform-missing", "--for fargate"},
		{"it has it now", "both", "no matching manifest for linux/arm64/v8 in the manifest list entries", nil, "contradicted", "", "docker inspect"},
		{"kubelet, and --for says where", "arm", `Failed to pull image "x": no match for platform in manifest: not found`, []string{"--for", "eks/amd64"}, "confirmed", "platform-missing", "--for eks/amd64"},
		{"Container Apps", "arm", "no child with platform linux/amd64 in index app.azurecr.io/web:v1", nil, "confirmed", "platform-missing", "docker buildx build --platform linux/amd64"},
		{"Lambda and attestations", "attested", lambda, nil, "confirmed", "attestation-refused", "--provenance=false"},
		{"Lambda and an index", "both", lambda, nil, "confirmed", "index-refused", "berth copy"},
		{"Lambda, and nothing is wrong", "plain", lambda, nil, "contradicted", "", "aws lambda get-function"},
		{"zstd and an old engine", "zstd", "failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header", nil, "confirmed", "compression-refused", ""},
		{"exec format error of an index without the platform", "arm", "exec /app: exec format error", []string{"--for", "cloudrun"}, "confirmed", "wrong-machine", "--for cloudrun"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, code := explainJSON(t, c.text, append([]string{"--image", host + "/app:" + c.tag}, c.args...)...)
			if e.Conclusion != c.conclusion || code != exitYes {
				t.Fatalf("conclusion %s, exit code %d; want %s and 0\n%+v", e.Conclusion, code, c.conclusion, e)
			}
			if c.cause != "" && (e.Causes[0].Cause != c.cause || e.Causes[0].Status != "established") {
				t.Errorf("%+v, want %s", e.Causes[0], c.cause)
			}
			if c.cause == "" && len(e.Conflicts) == 0 {
				t.Error("no conflict is stated")
			}
			if !slices.ContainsFunc(e.Next, func(n struct{ Title, Command string }) bool { return strings.Contains(n.Command, c.command) }) {
				t.Errorf("no command has %q: %+v", c.command, e.Next)
			}
		})
	}
}

// TestExplainSaysWhatDisagrees holds the statements about conflicts.
func TestExplainSaysWhatDisagrees(t *testing.T) {
	host := imagetest.Registry(t)
	m := imagetest.New()
	one := m.AddImage(program(amd64, amd64), "v1")
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "app")); err != nil {
		t.Fatal(err)
	}
	image := host + "/app:v1"
	absent := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name, text string
		args       []string
		conflict   string
	}{
		{"another image", "Failed to start image \"ghcr.io/acme/other:v2\"\nUnable to find image 'ghcr.io/acme/other:v2' locally\nexec /app: exec format error", nil, "is about the image ghcr.io/acme/other:v2"},
		{"another target", "RequestId: 1 Error: fork/exec /app: exec format error\nRuntime.InvalidEntrypoint", []string{"--for", "fargate"}, "is from lambda, and berth was asked about fargate"},
		{"another platform", "no matching manifest for linux/arm64/v8 in the manifest list entries", []string{"--platform", "linux/amd64"}, "a host of linux/arm64"},
		{"another digest", "Image ID: ghcr.io/acme/app@" + absent + "\nexec /app: exec format error", nil, absent},
		{"another program", "exec /other: permission denied", nil, "names /other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, _ := explainJSON(t, c.text, append([]string{"--image", image}, c.args...)...)
			if !strings.Contains(strings.Join(e.Conflicts, "\n"), c.conflict) {
				t.Errorf("%q is not among %q", c.conflict, e.Conflicts)
			}
		})
	}
	t.Run("the same digest", func(t *testing.T) {
		e, _ := explainJSON(t, "\"imageDigest\": \""+one.Digest.String()+"\"\nexec /app: exec format error", "--image", image)
		for _, cause := range e.Causes {
			if cause.Cause == "other-image" && cause.Status != "ruled-out" {
				t.Errorf("the log names the image's own digest, and another image is %s", cause.Status)
			}
		}
	})
	t.Run("another platform than the log says", func(t *testing.T) {
		e, _ := explainJSON(t, "image OS/Arc must be linux/amd64 but found linux/arm64", "--image", image)
		if e.Conclusion != "contradicted" || !strings.Contains(strings.Join(e.Conflicts, "\n"), "was for linux/arm64, and berth looked at one for linux/amd64") {
			t.Errorf("%s, %q", e.Conclusion, e.Conflicts)
		}
	})
	t.Run("an image that is not there", func(t *testing.T) {
		e, code := explainJSON(t, "exec /app: exec format error", "--image", host+"/app:none")
		if e.Conclusion != "unknown" || code != exitUnknown || e.Images[0].Error == "" {
			t.Errorf("%+v, exit code %d", e, code)
		}
	})
}
