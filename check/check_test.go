package check

import (
	"context"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/image"
	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
)

// a target of each persuasion
var (
	indexTarget  = &target.Target{Name: "takesall", Title: "Takes All", Runs: ps("linux/amd64", "linux/arm64"), Default: pp("linux/amd64"), DeclaredIn: "runtime.arch", Accepts: accepts(target.Yes)}
	strictTarget = &target.Target{
		Name: "strict", Title: "Strict", Runs: ps("linux/amd64"), Default: pp("linux/amd64"), Accepts: target.Accepts{Index: target.No, Attestation: target.No, Zstd: target.No, OCI: target.No, MaxUncompressed: 100},
		Facts: []target.Fact{{Topic: "index", Says: "no index", Source: "example.com/strict", Checked: "2026-11-21"}},
	}
	vagueTarget = &target.Target{Name: "vague", Title: "Vague", Runs: ps("linux/amd64"), Default: pp("linux/amd64"), Accepts: accepts(target.Unknown)}
)

func accepts(a target.Answer) target.Accepts {
	return target.Accepts{Index: a, Attestation: a, Zstd: a, OCI: a}
}

func ps(list ...string) []platform.Platform {
	var out []platform.Platform
	for _, s := range list {
		out = append(out, platform.MustParse(s))
	}
	return out
}

func pp(s string) *platform.Platform {
	p := platform.MustParse(s)
	return &p
}

func layered(p string, layers ...imagetest.Layer) imagetest.Image {
	if layers == nil {
		layers = []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "app", Body: p})}
	}
	return imagetest.Image{Configured: platform.MustParse(p), Layers: layers}
}

// subject opens what build makes and selects from it as Gather does.
func subject(t *testing.T, need target.Need, build func(*imagetest.Memory)) *Subject {
	t.Helper()
	m := imagetest.New()
	build(m)
	im, err := image.Open(context.Background(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := store.ParseReference("example.com/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	s := &Subject{Reference: ref, Name: "example.com/app:v1", Need: need, Image: im}
	s.Selected, _ = im.Select(need.Platform)
	return s
}

func on(t *target.Target, p string) target.Need {
	return target.Need{Target: t, Platform: platform.MustParse(p), Why: "because"}
}

// started adds a proof to s.
func started(s *Subject, verdict launch.Verdict, arch string) *Subject {
	proof := &launch.Proof{Verdict: verdict, Evidence: launch.Proven}
	proof.Steps = []launch.Step{{Path: "/app", Kind: "elf", Platform: arch, Layer: s.Selected.Layers[0].Digest}}
	if verdict == launch.Fails {
		proof.Failure = &launch.Failure{Stage: launch.StageExec, Errno: "ENOEXEC", Message: "exec /app: exec format error", Detail: "it is what it is", Fix: "mend it"}
	}
	if verdict == launch.Unknown {
		proof.Reason = "no idea"
	}
	s.Start = &Start{Manifest: s.Selected, Host: HostOf(s.Need), Proof: proof}
	return s
}

func index(images ...imagetest.Image) func(*imagetest.Memory) {
	return func(m *imagetest.Memory) {
		var entries []store.Descriptor
		for _, img := range images {
			entries = append(entries, m.AddImage(img, ""))
		}
		m.AddIndex("v1", "", entries...)
	}
}

func lone(img imagetest.Image) func(*imagetest.Memory) {
	return func(m *imagetest.Memory) { m.AddImage(img, "v1") }
}

func attested(m *imagetest.Memory) {
	d := m.AddImage(layered("linux/amd64"), "")
	m.AddIndex("v1", "", d, m.AddAttestation(d))
}

func TestRules(t *testing.T) {
	amd64, arm64 := layered("linux/amd64"), layered("linux/arm64")
	docker := amd64
	docker.Docker = true
	lying := layered("linux/amd64")
	lying.Declared = platform.MustParse("linux/arm64")
	zstd := layered("linux/amd64", imagetest.Layer{MediaType: "application/vnd.oci.image.layer.v1.tar+zstd", Raw: []byte("z"), DiffID: "sha256:" + v1DiffID})
	big := layered("linux/amd64", imagetest.Layer{MediaType: v1.MediaTypeImageLayerGzip, Raw: []byte(strings.Repeat("x", 101)), DiffID: "sha256:" + v1DiffID})
	both := []imagetest.Layer{imagetest.GzipLayer(imagetest.File{Name: "app", Body: "same"})}

	for _, c := range []struct {
		name    string
		subject *Subject
		ids     string // of the findings, in order
		verdict Verdict
		says    string // of the first finding or unknown
		command string // in a fix of the first finding
	}{
		{
			"all is well", started(subject(t, on(indexTarget, "linux/amd64"), index(amd64, arm64)), launch.Starts, "linux/amd64"),
			"", Runs, "", "",
		},
		{
			"the platform is missing", subject(t, on(vagueTarget, "linux/amd64"), lone(arm64)),
			"BER001", RunsNot, "has only linux/arm64, and Vague needs linux/amd64", "berth copy SOURCE-IMAGE example.com/app:v1 --for vague",
		},
		{
			"the target could run what is there", subject(t, on(indexTarget, "linux/amd64"), lone(arm64)),
			"BER001", RunsNot, "has only linux/arm64", "berth check example.com/app:v1 --for takesall/arm64",
		},
		{
			"an index for a target that takes none", started(subject(t, on(strictTarget, "linux/amd64"), func(m *imagetest.Memory) {
				m.AddIndex("v1", imagetest.DockerList, m.AddImage(docker, ""), m.AddImage(arm64, ""))
			}), launch.Starts, "linux/amd64"),
			"BER002 BER010", RunsNot, "an index of 2 platforms", "berth copy example.com/app:v1 example.com/app:v1-amd64 --for strict",
		},
		{
			"an attestation makes it an index", subject(t, on(&target.Target{Name: "n", Title: "N", Accepts: target.Accepts{Index: target.No}}, "linux/amd64"), attested),
			"BER003", RunsNot, "its build attestation makes it an index", "--provenance=false",
		},
		{
			"an attestation where they are welcome", subject(t, on(indexTarget, "linux/amd64"), attested),
			"", Runs, "", "",
		},
		{
			"the labels disagree", subject(t, on(indexTarget, "linux/arm64"), index(lying)),
			"BER004", Runs, "the index says linux/arm64 and the config of that manifest says linux/amd64", "",
		},
		{
			"the label and the bytes disagree", started(subject(t, on(indexTarget, "linux/arm64"), index(arm64)), launch.Fails, "linux/amd64"),
			"BER005", RunsNot, "is labelled linux/arm64, and its executable is for linux/amd64", "",
		},
		{
			"it does not start", started(subject(t, on(indexTarget, "linux/arm64"), index(arm64)), launch.Fails, "linux/arm64"),
			"BER006", RunsNot, "does not start on linux/arm64: exec /app: exec format error", "",
		},
		{
			"one program for two platforms", started(subject(t, on(indexTarget, "linux/amd64"), index(layered("linux/amd64", both...), layered("linux/arm64", both...))), launch.Starts, "linux/amd64"),
			"BER007", Runs, "is the same for linux/amd64 and linux/arm64", "",
		},
		{
			"the same layers for two platforms, unread", subject(t, on(indexTarget, "linux/amd64"), index(layered("linux/amd64", both...), layered("linux/arm64", both...))),
			"BER007", Runs, "all layers of linux/amd64 and linux/arm64 are the same", "berth prove example.com/app:v1",
		},
		{
			"one program for two variants of a machine", started(subject(t, on(indexTarget, "linux/amd64"), index(layered("linux/amd64", both...), layered("linux/amd64/v3", both...))), launch.Starts, "linux/amd64"),
			"", Runs, "", "",
		},
		{
			"OCI media types refused", subject(t, on(&target.Target{Title: "D", Accepts: target.Accepts{OCI: target.No}}, "linux/amd64"), lone(amd64)),
			"BER008", RunsNot, "takes Docker's media types only", "oci-mediatypes=false",
		},
		{
			"Docker media types where OCI is refused", subject(t, on(&target.Target{Title: "D", Accepts: target.Accepts{OCI: target.No}}, "linux/amd64"), lone(docker)),
			"", Runs, "", "",
		},
		{
			"zstd refused", subject(t, on(&target.Target{Title: "Z", Accepts: target.Accepts{Zstd: target.No}}, "linux/amd64"), lone(zstd)),
			"BER009", RunsNot, "compressed with zstd", "compression=gzip",
		},
		{
			"too large", subject(t, on(&target.Target{Title: "S", Accepts: target.Accepts{MaxUncompressed: 100}}, "linux/amd64"), lone(big)),
			"BER010", RunsNot, "101 B", "",
		},
		{
			"a fallback", subject(t, on(indexTarget, "linux/amd64"), index(layered("linux/386"))),
			"BER011", Runs, "the engine takes linux/386", "docker buildx build --platform linux/amd64",
		},
		{
			"nothing is known of indexes", subject(t, on(vagueTarget, "linux/amd64"), index(amd64, arm64)),
			"", Runs, "whether Vague accepts a multi-platform index", "",
		},
		{
			"an unknown proof", started(subject(t, on(indexTarget, "linux/amd64"), index(amd64)), launch.Unknown, ""),
			"", Unknown, "whether it starts: no idea", "",
		},
		{
			"an unread entry may be the one", subject(t, on(indexTarget, "linux/amd64"), func(m *imagetest.Memory) {
				d := m.AddImage(amd64, "")
				d.Platform = nil
				m.AddIndex("v1", "", d, m.AddImage(arm64, ""))
				m.Remove(d.Digest)
			}),
			"", Unknown, "may be the one that is needed", "",
		},
		{
			"the entry that is needed is unread", subject(t, on(indexTarget, "linux/amd64"), func(m *imagetest.Memory) {
				d := m.AddImage(amd64, "")
				m.AddIndex("v1", "", d)
				m.Remove(d.Digest)
			}),
			"", Unknown, "the manifest for linux/amd64 could not be read", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Run([]*Subject{c.subject})[0]
			var ids, said, commands []string
			for _, f := range r.Findings {
				ids = append(ids, f.Rule)
				said = append(said, f.Message)
				for _, fix := range f.Fixes {
					commands = append(commands, fix.Command)
				}
			}
			said = append(said, r.Unknowns...)
			if got := strings.Join(ids, " "); got != c.ids {
				t.Errorf("findings %q, want %q: %q", got, c.ids, said)
			}
			if r.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s: %q", r.Verdict, c.verdict, said)
			}
			if c.says != "" && (len(said) == 0 || !strings.Contains(said[0], c.says)) {
				t.Errorf("%q does not say %q", said, c.says)
			}
			if !strings.Contains(strings.Join(commands, "\n"), c.command) {
				t.Errorf("no fix has the command %q: %q", c.command, commands)
			}
		})
	}
}

const v1DiffID = "0000000000000000000000000000000000000000000000000000000000000000"

func TestRunKeepsAnUnreadImageUnknown(t *testing.T) {
	r := Run([]*Subject{{Name: "x", Err: store.ErrUnauthorized}})[0]
	if r.Verdict != Unknown || len(r.Unknowns) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestForFlag(t *testing.T) {
	for _, c := range []struct {
		need target.Need
		want string
	}{
		{on(indexTarget, "linux/amd64"), "takesall"},
		{on(indexTarget, "linux/arm64"), "takesall/arm64"},
		{on(indexTarget, "linux/arm/v7"), "takesall/arm/v7"},
		{on(indexTarget, "windows/amd64"), "takesall/windows/amd64"},
		{on(nil, "linux/arm64"), "linux/arm64"},
	} {
		s := Subject{Need: c.need}
		if got := s.forFlag(); got != c.want {
			t.Errorf("--for %s, want %s", got, c.want)
		}
	}
}

func TestDestination(t *testing.T) {
	for in, want := range map[string]string{
		"example.com/app:v1":                 "example.com/app:v1-amd64",
		"example.com/app@sha256:" + v1DiffID: "example.com/app:TAG",
		"oci:dir":                            "oci:dir:TAG",
		"oci-archive:-":                      "HOST/REPOSITORY:TAG",
		"docker-daemon:app:v1":               "HOST/REPOSITORY:TAG",
		"oci:dir:v1":                         "oci:dir:v1-amd64",
	} {
		ref, err := store.ParseReference(in)
		if err != nil {
			t.Fatal(err)
		}
		s := Subject{Reference: ref}
		if got := s.destination("-amd64"); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
