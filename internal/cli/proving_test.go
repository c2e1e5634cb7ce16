package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store/registry"
)

// noise is n bytes that do not compress.
func noise(n int) string {
	var out bytes.Buffer
	for block := sha256.Sum256(nil); out.Len() < n; block = sha256.Sum256(block[:]) {
		out.Write(block[:])
	}
	return out.String()[:n]
}

// deep is an image whose program is in its base, below a layer of 9 MiB.
func deep(t *testing.T, host string) string {
	t.Helper()
	amd64 := platform.MustParse("linux/amd64")
	img := program(amd64, amd64)
	img.Layers = append(img.Layers, imagetest.GzipLayer(imagetest.File{Name: "data", Body: noise(9 << 20)}))
	img.History = append(img.History, v1.History{CreatedBy: "COPY data /"})
	m := imagetest.New()
	m.AddImage(img, "v1")
	if err := m.PushTo(context.Background(), registry.New(registry.Options{}).Repository(host, "deep")); err != nil {
		t.Fatal(err)
	}
	return host + "/deep:v1"
}

// run runs berth, and returns its exit code and what it wrote.
func run(args ...string) (int, string) {
	var out bytes.Buffer
	code := Main(context.Background(), args, strings.NewReader(""), &out, &out)
	return code, out.String()
}

// A proof that the budget ended does not say that it is one.
func TestBudget(t *testing.T) {
	ref := deep(t, imagetest.Registry(t))
	for _, test := range []struct {
		args     []string
		evidence string
		most     int64
	}{
		{[]string{"prove", ref}, "proven", 10 << 20},
		{[]string{"prove", ref, "--budget", "none"}, "proven", 10 << 20},
		{[]string{"prove", ref, "--budget", "100kB"}, "sampled", 100_000},
		{[]string{"check", ref, "--for", "linux/amd64"}, "proven", 10 << 20},
		{[]string{"check", ref, "--for", "linux/amd64", "--budget", "8MiB"}, "sampled", 8 << 20},
		{[]string{"check", ref, "--for", "linux/amd64", "--budget", "1 MiB"}, "sampled", 1 << 20},
	} {
		code, out := run(append(test.args, "-o", "json", "--no-cache")...)
		evidence, fetched := evidenceIn(t, out)
		if code != exitYes || evidence != test.evidence || fetched > test.most {
			t.Errorf("%s: exit code %d, %s, %d bytes; want %s, at most %d", test.args, code, evidence, fetched, test.evidence, test.most)
		}
	}
	for _, wrong := range []string{"0", "-1", "much", "16EiB"} {
		if code, out := run("prove", ref, "--budget", wrong); code != exitUsage || !strings.Contains(out, "8MiB, or none") {
			t.Errorf("--budget %s: exit code %d, %s", wrong, code, out)
		}
	}
}

// evidenceIn finds what a document of prove or check says of its only proof.
func evidenceIn(t *testing.T, out string) (evidence string, fetched int64) {
	t.Helper()
	type proof struct {
		Evidence string
		Bytes    struct{ Fetched int64 }
	}
	var doc struct {
		Proofs  []proof
		Results []struct{ Proof proof }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, r := range doc.Results {
		doc.Proofs = append(doc.Proofs, r.Proof)
	}
	if len(doc.Proofs) != 1 {
		t.Fatalf("%d proofs: %s", len(doc.Proofs), out)
	}
	return doc.Proofs[0].Evidence, doc.Proofs[0].Bytes.Fetched
}
