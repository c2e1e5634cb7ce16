package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

// reading measures how fast whole layers are read and verified, and how much memory that takes: of one image,
// and of 8 platforms side by side that have no layer in common. A layer is much like a
// distribution's: many files that compress to a third, every tenth a program.
func (b *bench) reading(program string) error {
	src, err := serve()
	if err != nil {
		return err
	}
	defer src.close()
	home, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	m := imagetest.New()
	var entries []store.Descriptor
	var one imagetest.Layer
	for _, name := range startables {
		p := platform.MustParse(name)
		layer := baseLayer(p)
		if one.Raw == nil {
			one = layer
		}
		image := imagetest.Image{Configured: p, Config: v1.ImageConfig{Entrypoint: []string{"/app"}}, Layers: []imagetest.Layer{
			imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(p, ""))}), layer,
		}}
		entries = append(entries, m.AddImage(image, ""))
		if len(entries) == 1 {
			m.AddImage(image, "one")
		}
	}
	m.AddIndex("eight", "", entries...)
	if err := push(b.ctx, src, "reading", m); err != nil {
		return err
	}
	packed := filepath.Join(home, "layer.tar.gz")
	if err := os.WriteFile(packed, one.Raw, 0o600); err != nil {
		return err
	}
	run := func(args ...string) (cost, error) {
		var costs []cost
		for range 3 {
			c, err := clock(b.ctx, home, nil, args...)
			if err != nil {
				return cost{}, err
			}
			costs = append(costs, c)
		}
		slices.SortFunc(costs, func(a, b cost) int { return cmp.Compare(a.Took, b.Took) })
		return costs[1], nil
	}
	row := func(what string, bytes int, c cost) {
		fmt.Fprintf(b.out, "%s\t%.1f\t%.2f\t%.0f\t%.0f\n", what, float64(bytes)/1e6, c.Took.Seconds(), float64(bytes)/1e6/c.Took.Seconds(), float64(c.Peak)/1e6)
	}
	c, err := run(program, "prove", src.host+"/reading:one", "--strict", "--no-cache")
	if err != nil {
		return err
	}
	row("prove --strict, one layer", len(one.Raw), c)
	if _, err := exec.LookPath("gzip"); err == nil {
		if c, err = run("sh", "-c", "gzip -dc "+packed+" | tar -t >"+os.DevNull); err != nil {
			return err
		}
		row("gzip -dc | tar -t", len(one.Raw), c)
	}
	if c, err = run(program, "prove", src.host+"/reading:eight", "--strict", "--no-cache"); err != nil {
		return err
	}
	row("prove --strict, 8 platforms", 8*len(one.Raw), c)
	return nil
}

// startables are platforms of which there are programs that start.
var startables = []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/386", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"}

// baseLayer is a layer of 60 MB that compresses to 18.
func baseLayer(p platform.Platform) imagetest.Layer {
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog\n"), 200)
	random := noise(platform.Format(p), 16<<20)
	const size = 4 << 10
	var files []imagetest.File
	for i := range len(random) / size {
		f := imagetest.File{Name: fmt.Sprintf("usr/share/package-%d/file-%d", i/20, i), Mode: 0o644, Body: string(text) + random[i*size:(i+1)*size]}
		if i%10 == 0 {
			f.Name, f.Mode, f.Body = fmt.Sprintf("usr/bin/program-%d", i), 0o755, string(imagetest.ELF(p, ""))+f.Body
		}
		files = append(files, f)
	}
	return imagetest.GzipLayer(files...)
}

// startable pushes 8 platforms of 5 layers each, of 64 KiB: programs whose loader is in the
// lowest one.
func startable(b *bench, src *server) error {
	m := imagetest.New()
	var entries []store.Descriptor
	for _, name := range startables {
		p := platform.MustParse(name)
		img := imagetest.Image{Configured: p, Config: v1.ImageConfig{Entrypoint: []string{"/app"}}}
		for i := range 5 {
			files := []imagetest.File{{Name: "file", Body: noise(fmt.Sprint(name, i), 64<<10)}}
			switch i {
			case 0:
				files = append(files, imagetest.File{Name: "lib/ld.so", Mode: 0o755, Body: string(imagetest.ELF(p, ""))})
			case 4:
				files = append(files, imagetest.File{Name: "app", Mode: 0o755, Body: string(imagetest.ELF(p, "/lib/ld.so"))})
			}
			img.Layers = append(img.Layers, imagetest.GzipLayer(files...))
		}
		entries = append(entries, m.AddImage(img, ""))
	}
	m.AddIndex("v1", "", entries...)
	return push(b.ctx, src, "startable", m)
}
