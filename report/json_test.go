package report

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"berth/check"
	"berth/image"
	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
	"berth/transfer"
)

// fixture is an index with an image that starts, one that does not, one that cannot
// be read, and an attestation.
func fixture(t *testing.T) (*imagetest.Memory, *image.Image) {
	t.Helper()
	m := imagetest.New()
	var entries []store.Descriptor
	for label, actual := range map[string]string{"linux/amd64": "linux/amd64", "linux/arm64": "linux/amd64", "linux/386": "linux/386"} {
		entries = append(entries, m.AddImage(imagetest.Image{
			Configured: platform.MustParse(label),
			Config:     v1.ImageConfig{Entrypoint: []string{"/app"}, Cmd: []string{"serve"}},
			Layers:     []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse(actual), ""))})},
			History:    []v1.History{{CreatedBy: "COPY app /app"}},
		}, ""))
	}
	entries = append(entries, m.AddAttestation(entries[0]))
	hole := m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/s390x")}, "")
	m.AddIndex("v1", "", append(entries, hole)...)
	m.Remove(hole.Digest)
	im, err := image.Open(context.Background(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	return m, im
}

// TestJSONMatchesItsSchema holds what -o json writes against docs/schema, which
// allows no field that it does not name.
func TestJSONMatchesItsSchema(t *testing.T) {
	ctx := context.Background()
	m, im := fixture(t)
	open := func(store.Reference) (store.Source, error) { return m, nil }
	var hosts []launch.Host
	for _, manifest := range im.Images() {
		hosts = append(hosts, check.HostFor(manifest))
	}
	starts, err := check.ProveAll(ctx, m, im.Images(), hosts)
	if err != nil {
		t.Fatal(err)
	}
	set, err := target.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var needs []target.Need
	for _, name := range []string{"fargate/amd64", "linux/arm64", "linux/s390x", "linux/riscv64", "lambda"} {
		need, err := set.Need(name)
		if err != nil {
			t.Fatal(err)
		}
		needs = append(needs, need)
	}
	subjects := append(
		check.Asked(store.Reference{Transport: store.OCILayout, Path: "x", Tag: "v1"}, "x", needs),
		check.Asked(store.Reference{Transport: store.OCILayout, Path: "x", Tag: "none"}, "none", needs[:1])...)
	if err := check.Gather(ctx, open, subjects, check.GatherOptions{Prove: true}); err != nil {
		t.Fatal(err)
	}
	selection, err := im.Only([]platform.Platform{platform.MustParse("linux/amd64")}, image.OnlyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := transfer.New(selection, transfer.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	result, err := plan.Run(ctx, m, imagetest.New(), transfer.Options{Tag: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	copied := Copied{Source: "a", Destination: "b", Selection: selection, Plan: plan, Result: result, Starts: starts, Requests: 3, Seconds: 0.5}
	m.AddReferrer(selection.Manifests[0].Descriptor, "application/example", "a", store.ReferrersTag(selection.Manifests[0].Descriptor.Digest)+".sig")
	found, err := image.FindAttached(ctx, m, selection.Digests())
	if err != nil {
		t.Fatal(err)
	}
	found.Unread = []error{store.ErrNotFound}
	copied.Attachments = &Attachments{Attachments: found, Left: found.Found}
	copied.Converted = &transfer.Converted{Conversions: []transfer.Conversion{{Platform: platform.MustParse("linux/amd64"), From: plan.Root.Digest, To: plan.Root.Digest, Layers: 1}}}
	planned := copied
	planned.Result, planned.DryRun, planned.Starts = nil, true, nil

	for _, c := range []struct {
		name, schema string
		write        func(Format) error
	}{
		{"image", "image-v1", func(f Format) error { return f.Image(&Opened{Name: "x", Image: im, Manifests: im.Manifests}) }},
		{"proof", "proof-v1", func(f Format) error { return f.Proofs(&Proved{Name: "x", Image: im, Starts: starts}) }},
		{"report", "report-v1", func(f Format) error { return f.Check(check.Examine(check.Facts{Subjects: subjects})) }},
		{"copy", "copy-v1", func(f Format) error { return f.Copy(&copied) }},
		{"several copies", "copies-v1", func(f Format) error {
			return f.Copies(&Copies{Source: "a", Copies: []*Copied{&copied, {Destination: "c", Err: store.ErrDenied}}})
		}},
		{"plan of a copy", "copy-v1", func(f Format) error { return f.Copy(&planned) }},
		{"targets", "targets-v1", func(f Format) error { return f.Targets(set.All()) }},
		{"no targets", "targets-v1", func(f Format) error { return f.Targets(nil) }},
		{"deployment files", "report-v1", func(f Format) error { return f.Check(deployment(t)) }},
		{"hostile files", "report-v1", func(f Format) error { return f.Check(hostile(t)) }},
		{"no results", "report-v1", func(f Format) error { return f.Check(&check.Report{}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "docs", "schema", c.schema+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			f, err := New("check", "json", &out, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.write(f); err != nil {
				t.Fatal(err)
			}
			var doc any
			if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(doc); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}
