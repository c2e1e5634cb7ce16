package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/platform"
)

// proofs measures what prove reads of a static program on a large base, and of a dynamic
// one whose loader is in the base: for the first time, and of what was seen before.
func (b *bench) proofs() error {
	src, err := serve()
	if err != nil {
		return err
	}
	defer src.close()
	cache, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	if err := os.Setenv("BERTH_CACHE", cache); err != nil {
		return err
	}
	amd64 := platform.MustParse("linux/amd64")
	base := []imagetest.File{{Name: "usr/lib64/", Type: '5'}, {Name: "lib64", Link: "usr/lib64"}}
	for i := range 400 {
		base = append(base, imagetest.File{Name: fmt.Sprintf("usr/share/data%03d", i), Body: noise(fmt.Sprint(i), 100<<10)})
		if i == 320 { // in Debian's base the loader lies at about four fifths
			base = append(base, imagetest.File{Name: "usr/lib64/ld-linux-x86-64.so.2", Mode: 0o755, Body: string(imagetest.ELF(amd64, ""))})
		}
	}
	big := imagetest.GzipLayer(base...)
	static, err := imagetest.CompileGo(b.ctx, amd64, "package main\n\nfunc main() {}\n")
	if err != nil {
		return err
	}
	dynamic := string(imagetest.ELF(amd64, "/lib64/ld-linux-x86-64.so.2"))
	m := imagetest.New()
	for tag, program := range map[string]string{"static": string(static), "dynamic": dynamic, "other": dynamic + "\x00"} {
		top := imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: program})
		m.AddImage(imagetest.Image{Configured: amd64, Config: v1.ImageConfig{Entrypoint: []string{"/app"}}, Layers: []imagetest.Layer{big, top}}, tag)
	}
	if err := push(b.ctx, src, "proof", m); err != nil {
		return err
	}
	for _, proof := range []struct{ what, tag, flag string }{
		{"static Go program on a base of 40 MB", "static", "--no-cache"},
		{"dynamic program, its loader in the base", "dynamic", "--no-cache"},
		{"the same, and it is remembered", "dynamic", "--quiet"},
		{"another program on the base that was seen", "other", "--quiet"},
		{"an image that was seen", "dynamic", "--quiet"},
	} {
		if err := b.proof(proof.what, src.host+"/proof:"+proof.tag, proof.flag); err != nil {
			return err
		}
	}
	return nil
}

// proof prints what one proof reads.
func (b *bench) proof(what, ref, flag string) error {
	var out, complaints bytes.Buffer
	cli.Main(b.ctx, []string{"prove", ref, "-o", "json", flag}, strings.NewReader(""), &out, &complaints)
	var doc struct {
		Proofs []struct {
			Verdict string
			Bytes   struct{ Fetched, Total int64 }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		return fmt.Errorf("%w: %s", err, complaints.String())
	}
	p := doc.Proofs[0]
	_, err := fmt.Fprintf(b.out, "%s\t%d\t%d\t%.1f%%\t%s\n", what, p.Bytes.Fetched, p.Bytes.Total, 100*float64(p.Bytes.Fetched)/float64(p.Bytes.Total), p.Verdict)
	return err
}

// noise is n bytes that do not compress, always the same for a seed.
func noise(seed string, n int) string {
	var out bytes.Buffer
	block := sha256.Sum256([]byte(seed))
	for out.Len() < n {
		out.Write(block[:])
		block = sha256.Sum256(block[:])
	}
	out.Truncate(n)
	return out.String()
}
