package workload

import (
	"strings"
	"testing"
)

func TestPositions(t *testing.T) {
	f := NewFile("f.yaml", []byte("\xef\xbb\xbfa: é\nbé: [x, yé, z]\n"))
	documents, err := f.Documents()
	if err != nil {
		t.Fatal(err)
	}
	z := documents[0].Get("bé").Items()[2]
	if got := z.Pos().String(); got != "f.yaml:2:13" {
		t.Errorf("z is at %s", got)
	}
	if got := string(f.Data[z.Offset() : z.Offset()+1]); got != "z" {
		t.Errorf("the byte of z is %q", got)
	}
	if got := f.PosAt(z.Offset()); got != z.Pos() {
		t.Errorf("the place of that byte is %s", got)
	}
	a := documents[0].Get("a")
	if got := string(f.Data[a.Offset() : a.Offset()+2]); got != "é" {
		t.Errorf("the bytes of é are %q", got)
	}
}

func TestBroken(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"syntax":   {"{\"a\": 1,\n \"b\" 2}", "f:2:6: did not find expected ',' or '}'"},
		"binary":   {"a: \x00", "f: it has bytes of zero in it"},
		"laughing": {"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + laugh('b', 'i'), "values, with aliases expanded"},
		"deep":     {strings.Repeat("[", 300) + strings.Repeat("]", 300), "nested more than 200 deep"},
	} {
		_, err := NewFile("f", []byte(c.text)).Documents()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// laugh writes keys that each name the one before ten times.
func laugh(from, to rune) string {
	var b strings.Builder
	for k := from; k <= to; k++ {
		before := "*" + string(k-1)
		b.WriteString(string(k) + ": &" + string(k) + " [" + strings.Repeat(before+",", 9) + before + "]\n")
	}
	return b.String()
}

func TestSurrogates(t *testing.T) {
	f := NewFile("f.json", []byte(`{"a": "\ud83d\ude00", "b": "\\ud83d", "image": "x"}`))
	documents, err := f.Documents()
	if err != nil {
		t.Fatal(err)
	}
	if got := documents[0].Get("image"); got.Text() != "x" || got.Pos().Column != 48 {
		t.Errorf("image is %q at %s", got.Text(), got.Pos())
	}
	if got := documents[0].Get("b").Text(); got != `\ud83d` {
		t.Errorf("b is %q", got)
	}
}

func TestMerge(t *testing.T) {
	f := NewFile("f.yaml", []byte("base: &base {image: x, arch: y}\nweb: {<<: *base, arch: z}\n"))
	documents, err := f.Documents()
	if err != nil {
		t.Fatal(err)
	}
	web := documents[0].Get("web")
	if got := web.Get("image").Text() + web.Get("arch").Text(); got != "xz" {
		t.Errorf("image and arch are %q", got)
	}
}

func TestApply(t *testing.T) {
	got, err := Apply([]byte("hello"), []Edit{{Start: 5, End: 5, New: "!"}, {Start: 0, End: 1, New: "J"}, {Start: 5, End: 5, New: "!"}})
	if err != nil || string(got) != "Jello!" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Apply([]byte("hello"), []Edit{{Start: 0, End: 3}, {Start: 2, End: 4}}); err == nil {
		t.Error("edits that overlap were made")
	}
}

func TestLineAtLeavesOutWhatNobodyReads(t *testing.T) {
	long := strings.Repeat("x", maxShownLine+1)
	f := NewFile("a", []byte("one\n"+long+"\nthree"))
	f.Beside = []*File{NewFile("b", []byte("beside\n"))}
	for pos, want := range map[Pos]string{
		{"a", 1, 1}: "one", {"a", 2, 5}: "", {"a", 3, 1}: "three", {"a", 4, 1}: "", {"a", 0, 0}: "", {"b", 1, 1}: "beside", {"c", 1, 1}: "",
	} {
		if got := f.LineAt(pos); got != want {
			t.Errorf("%s is %q, want %q", pos, got, want)
		}
	}
}
