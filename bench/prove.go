package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/cli"
	"berth/internal/imagetest"
	"berth/platform"
)

// proofs measures what prove reads of a static program on a large base, and of a
// dynamic one whose loader is in the base.
func (b *bench) proofs() error {
	src, err := serve()
	if err != nil {
		return err
	}
	defer src.close()
	base := []imagetest.File{{Name: "usr/lib64/", Type: '5'}, {Name: "lib64", Link: "usr/lib64"}}
	for i := range 400 {
		base = append(base, imagetest.File{Name: fmt.Sprintf("usr/share/data%03d", i), Body: noise(fmt.Sprint(i), 100<<10)})
		if i == 320 { // in Debian's base the loader lies at about four fifths
			base = append(base, imagetest.File{Name: "usr/lib64/ld-linux-x86-64.so.2", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse("linux/amd64"), ""))})
		}
	}
	big := imagetest.GzipLayer(base...)
	static, err := imagetest.CompileGo(b.ctx, platform.MustParse("linux/amd64"), "package main\n\nfunc main() {}\n")
	if err != nil {
		return err
	}
	for _, image := range []struct {
		name   string
		layers []imagetest.Layer
	}{
		{"static Go program on a base of 40 MB", []imagetest.Layer{big, imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(static)})}},
		{"dynamic program, its loader in the base", []imagetest.Layer{big, imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(platform.MustParse("linux/amd64"), "/lib64/ld-linux-x86-64.so.2"))})}},
	} {
		m := imagetest.New()
		m.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64"), Config: v1.ImageConfig{Entrypoint: []string{"/app"}}, Layers: image.layers}, "v1")
		if err := push(b.ctx, src, "proof", m); err != nil {
			return err
		}
		var out, complaints bytes.Buffer
		cli.Main(b.ctx, []string{"prove", src.host + "/proof:v1", "-o", "json", "--no-cache"}, strings.NewReader(""), &out, &complaints)
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
		fmt.Fprintf(b.out, "%s\t%d\t%d\t%.1f%%\t%s\n", image.name, p.Bytes.Fetched, p.Bytes.Total, 100*float64(p.Bytes.Fetched)/float64(p.Bytes.Total), p.Verdict)
	}
	return nil
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
