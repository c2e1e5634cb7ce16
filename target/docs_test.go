package target

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/platform"
)

const docsFile = "../docs/targets.md"

var update = flag.Bool("update", false, "write "+docsFile+" anew")

func TestDocsAreUpToDate(t *testing.T) {
	want := page(builtin(t))
	if *update {
		if err := os.MkdirAll(filepath.Dir(docsFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatalf("%v; make it with: go test ./target -update", err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the data says; make it anew with: go test ./target -update\n%s", docsFile, diff)
	}
}

// page is docs/targets.md.
func page(s *Set) string {
	var b strings.Builder
	b.WriteString(`# Deploy targets

What berth knows of the places where images are deployed. It is data:
[one file each](../target/data), and this page is made from it by
` + "`go test ./target -update`" + `. Every statement has its source and the day it was
checked; what nobody has found out is **unknown**, and berth says so instead of
guessing. Targets of your own are read with ` + "`--targets FILE`" + `, in the
[same schema](../target/target.go).

| target | runs | default | index | attestation | zstd | OCI types |
|---|---|---|---|---|---|---|
`)
	for _, t := range s.All() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s | %s | %s |\n", t.Name, t.Name,
			runs(t), preset(t), t.Accepts.Index, t.Accepts.Attestation, t.Accepts.Zstd, t.Accepts.OCI)
	}
	b.WriteString(`
*index*: an index of several platforms is accepted; *attestation*: an index whose
only platform comes with attestations, as buildx makes it by default; *zstd*:
layers compressed with zstd; *OCI types*: OCI media types beside Docker's.
`)
	for _, t := range s.All() {
		fmt.Fprintf(&b, "\n## %s\n\n%s", t.Name, t.Title)
		if len(t.Aliases) > 0 {
			fmt.Fprintf(&b, ", also `%s`", strings.Join(t.Aliases, "`, `"))
		}
		declared := "The platform is declared nowhere."
		if t.DeclaredIn != "" {
			declared = fmt.Sprintf("The platform is declared in `%s`.", t.DeclaredIn)
		}
		fmt.Fprintf(&b, ". %s\n", declared)
		if t.Accepts.MaxUncompressed > 0 {
			fmt.Fprintf(&b, "An image has at most %d bytes uncompressed.\n", t.Accepts.MaxUncompressed)
		}
		b.WriteString("\n")
		for _, f := range t.Facts {
			fmt.Fprintf(&b, "- **%s**: %s [%s](%s), %s\n", f.Topic, escape(f.Says), f.Source, link(f.Source), f.Checked)
		}
	}
	return b.String()
}

func runs(t *Target) string {
	if len(t.Runs) == 0 {
		return "depends"
	}
	return formats(t.Runs, "and")
}

func preset(t *Target) string {
	if t.Default == nil {
		return "–"
	}
	return platform.Format(*t.Default)
}

func link(source string) string {
	if strings.HasPrefix(source, "http://") {
		return source
	}
	return "https://" + source
}

func escape(s string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "<", "&lt;", "|", `\|`, "`", "\\`").Replace(s)
}
