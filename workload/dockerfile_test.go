package workload

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"pgregory.net/rapid"
)

// split is what an instruction is to both parsers.
type splitInstruction struct {
	Name       string
	Start, End int
	Flags      []string
	Heredocs   []string
}

// ours and theirs split a Dockerfile; ok is false where it is refused.
func ours(data []byte) (all []splitInstruction, ok bool) {
	f := NewFile("Dockerfile", data)
	instructions, _, bad := parseDockerfile(f)
	for _, i := range instructions {
		s := splitInstruction{Name: i.name, Start: i.start, End: i.end}
		for _, f := range i.flags {
			s.Flags = append(s.Flags, string(data[f.start:f.end]))
		}
		for _, h := range i.heredocs {
			s.Heredocs = append(s.Heredocs, h.text)
		}
		all = append(all, s)
	}
	return all, bad == "" && len(all) > 0
}

func theirs(data []byte) (all []splitInstruction, ok bool) {
	result, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, false
	}
	for _, n := range result.AST.Children {
		s := splitInstruction{Name: strings.ToUpper(n.Value), Start: n.StartLine, End: n.EndLine, Flags: append([]string(nil), n.Flags...)}
		for _, h := range n.Heredocs {
			s.Heredocs = append(s.Heredocs, h.Content)
		}
		all = append(all, s)
	}
	return all, true
}

// TestBuildKit holds how fixtures are split into instructions against BuildKit's parser.
func TestBuildKit(t *testing.T) {
	compared := 0
	for _, f := range fixtures(t) {
		if !isDockerfileName(f.path) {
			continue
		}
		got, ok := ours(f.data)
		if !ok {
			continue // each says why
		}
		want, ok := theirs(f.data)
		if !ok {
			t.Errorf("%s: BuildKit does not parse it", f.path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -BuildKit +ours\n%s", f.path, diff)
		}
		compared++
	}
	if compared < 7 {
		t.Errorf("only %d fixtures were compared", compared)
	}
}

// TestBuildKitRandom does it with lines in any order.
func TestBuildKitRandom(t *testing.T) {
	line := rapid.SampledFrom([]string{
		"FROM a", "FROM --platform=linux/amd64 a AS b", "from a as b", "RUN x", "RUN x \\", "  RUN --mount=type=bind,from=i x y", "RUN <<EOF", "RUN <<-'EOF' cat",
		"COPY <<A <<B /x", "EOF", "\tEOF", "A", "B", "ARG A=1", "ARG A=\"x y\" \\", "# comment", "   # comment", "# escape=`", "# syntax=x", "", "  ", "RUN a `", "RUN x \\\\",
		"\\", "ENV A <<EOF", "ONBUILD RUN <<EOF", "RUN echo '<<EOF'", "RUN a <<< b", "CMD [\"a\", \"b\"]", "RUN x \\  ", "CMD x\t",
	})
	refused, checked := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(line, 1, 12).Draw(t, "lines")
		eol := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "eol")
		data := []byte(strings.Join(lines, eol) + eol)
		want, valid := theirs(data)
		for _, s := range want {
			valid = valid && dockerInstructions[s.Name]
		}
		got, ok := ours(data)
		if checked++; !valid {
			refused++
			return
		}
		if !ok {
			t.Fatalf("it is refused, and BuildKit reads\n%v\n%s", want, data)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-BuildKit +ours\n%s\n%s", diff, data)
		}
	})
	if refused == checked {
		t.Error("nothing was compared")
	}
}

// TestDockerfileEdits makes the edits of each mistake: it is then gone, and no line but
// those of the edits has changed.
func TestDockerfileEdits(t *testing.T) {
	made := 0
	for _, f := range fixtures(t) {
		if !isDockerfileName(f.path) {
			continue
		}
		before := Read(NewFile(f.path, f.data), f.opts)
		for _, m := range before.Mistakes {
			if m.Edits == nil {
				continue
			}
			data, err := Apply(f.data, m.Edits)
			if err != nil {
				t.Fatal(err)
			}
			made++
			after := Read(NewFile(f.path, data), f.opts)
			if len(after.Mistakes) >= len(before.Mistakes) {
				t.Errorf("%s: the edit of %s leaves %d of %d mistakes\n%s", m.Pos, m.Rule, len(after.Mistakes), len(before.Mistakes), data)
			}
			if gone := linesGone(f.data, data); gone > len(m.Edits) {
				t.Errorf("%s: the edit of %s changed %d lines\n%s", m.Pos, m.Rule, gone, data)
			}
		}
	}
	if made < 5 {
		t.Errorf("only %d mistakes were mended", made)
	}
}

// TestDockerfileOnStdin: there is no name that tells what it is.
func TestDockerfileOnStdin(t *testing.T) {
	for text, want := range map[string]bool{
		"ARG A=1\nFROM alpine:$A\nRUN x\n": true, "FROM alpine\n": true, "select *\nFROM t\n": false, "RUN x\nFROM alpine\n": false, "a: |\n  FROM x\n": false, "": false,
	} {
		if got := Read(NewFile(Stdin, []byte(text)), Options{}).Format == dockerfile; got != want {
			t.Errorf("%q: a Dockerfile: %t", text, got)
		}
	}
}
