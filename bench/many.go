package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
)

const (
	// manyImages is how many images are copied in one go: a team's.
	manyImages = 200
	// manyPerRuntime of them have a runtime in common, and all of a platform their base.
	manyPerRuntime = 20
)

// many compares the copy of many images that share layers: berth in one go, each peer
// in a loop, once.
func (c *comparison) many() error {
	p, err := c.start("many", false)
	if err != nil {
		return err
	}
	defer p.end()
	if err := c.pushMany(p.src.host); err != nil {
		return err
	}
	fmt.Printf("\n%d images × 8 platforms × 3 layers, of which 2 are shared, to as many new repositories, loopback; once\n", manyImages)
	ways := []contender{{name: "berth --from-file"}}
	for _, peer := range c.programs.peers {
		if !strings.HasPrefix(peer.name, "skopeo") { // whose loop takes longer than all the rest
			ways = append(ways, peer)
		}
	}
	width := 0
	for _, one := range ways {
		width = max(width, len(one.name)+len(inALoop))
	}
	var first float64
	fmt.Printf("%-*s   SECONDS   × BERTH\n", width, "")
	for i := range ways {
		var took time.Duration
		name, to := ways[i].name, p.dst.host+"/"+c.unused()
		if i == 0 {
			took, err = c.inOneGo(p.src.host, to)
			first = took.Seconds()
		} else {
			took, err = c.inALoop(&ways[i], p.src.host, to)
			name += inALoop
		}
		if err != nil {
			return err
		}
		// At once, because the next takes minutes.
		fmt.Printf("%-*s   %-7.1f   %.1f\n", width, name, took.Seconds(), took.Seconds()/first)
	}
	return nil
}

const inALoop = ", in a loop"

// pushMany pushes the images as app0, app1 …
func (c *comparison) pushMany(host string) error {
	layers := map[string]imagetest.Layer{}
	layer := func(name string, size int) imagetest.Layer {
		if _, ok := layers[name]; !ok {
			layers[name] = imagetest.GzipLayer(imagetest.File{Name: "file", Body: noise(name, size)})
		}
		return layers[name]
	}
	for i := range manyImages {
		m := imagetest.New()
		var entries []store.Descriptor
		for _, name := range eight {
			img := imagetest.Image{Configured: platform.MustParse(name), Layers: []imagetest.Layer{
				layer("base "+name, 512<<10),
				layer(fmt.Sprint("runtime ", i/manyPerRuntime, name), 256<<10),
				imagetest.GzipLayer(imagetest.File{Name: "file", Body: noise(fmt.Sprint("app ", i, name), 16<<10)}),
			}}
			entries = append(entries, m.AddImage(img, ""))
		}
		m.AddIndex("v1", "", entries...)
		if err := m.PushTo(c.ctx, c.repository(host, fmt.Sprintf("app%d", i))); err != nil {
			return err
		}
	}
	return nil
}

// inOneGo copies them with a list.
func (c *comparison) inOneGo(from, to string) (time.Duration, error) {
	var list strings.Builder
	for i := range manyImages {
		fmt.Fprintf(&list, "%s/app%d:v1 %s/app%d:v1\n", from, i, to, i)
	}
	name := filepath.Join(c.folder, "list")
	if err := os.WriteFile(name, []byte(list.String()), 0o600); err != nil {
		return 0, err
	}
	berth := c.programs.berth.args("", "")[0]
	took, err := clock(c.ctx, c.folder, nil, berth, "copy", "--from-file", name)
	if err != nil {
		return 0, err
	}
	return took.Took, c.checkMany(from, to)
}

// inALoop copies one after the other.
func (c *comparison) inALoop(one *contender, from, to string) (time.Duration, error) {
	var sum time.Duration
	host, _, _ := strings.Cut(to, "/")
	env, err := settings(c.folder, from, host)
	if err != nil {
		return 0, err
	}
	for i := range manyImages {
		took, err := clock(c.ctx, c.folder, env, one.args(fmt.Sprintf("%s/app%d:v1", from, i), fmt.Sprintf("%s/app%d:v1", to, i))...)
		if err != nil {
			return 0, err
		}
		sum += took.Took
	}
	return sum, c.checkMany(from, to)
}

// checkMany checks that all of them arrived.
func (c *comparison) checkMany(from, to string) error {
	host, prefix, _ := strings.Cut(to, "/")
	for i := range manyImages {
		name := fmt.Sprintf("app%d", i)
		want, err := c.repository(from, name).Resolve(c.ctx, "v1")
		if err != nil {
			return err
		}
		got, err := c.repository(host, prefix+"/"+name).Resolve(c.ctx, "v1")
		if err != nil {
			return err
		}
		if got.Digest != want.Digest {
			return fmt.Errorf("%s/%s names %s, want %s", to, name, got.Digest, want.Digest)
		}
	}
	return nil
}
