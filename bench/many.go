package main

import (
	"context"
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
	// manyImages is how many images are copied in one go, unless said otherwise: a team's.
	manyImages = 200
	// manyPerRuntime of them have a runtime in common, and all of a platform their base.
	manyPerRuntime = 20
)

// many prints how long berth takes for many images that share layers, in one go, and how
// long each peer does in a loop.
func many(ctx context.Context, images int) error {
	return compareWith(ctx, 1, func(c *comparison) error { return c.many(images) })
}

// many compares them on loopback and at a distance, once.
func (c *comparison) many(images int) error {
	p, err := c.start("many", false)
	if err != nil {
		return err
	}
	defer p.end()
	if err := c.pushMany(p.src.host, images); err != nil {
		return err
	}
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
	fmt.Printf("\n%d images × 8 platforms × 3 layers, of which 2 are shared, to as many new repositories; once\n", images)
	for _, rtt := range []time.Duration{0, delay} {
		from, to, where := p.src.host, p.dst.host, "loopback"
		if p.setRTT(rtt); rtt > 0 {
			from, to, where = p.src.line.host(), p.dst.line.host(), fmt.Sprintf("%d ms", rtt.Milliseconds())
		}
		fmt.Printf("%-*s   SECONDS   × BERTH\n", width, where)
		var first float64
		for i := range ways {
			var took time.Duration
			name, prefix := ways[i].name, to+"/"+c.unused()
			if i == 0 {
				took, err = c.inOneGo(from, prefix, images)
				first = took.Seconds()
			} else {
				took, err = c.inALoop(&ways[i], from, prefix, images)
				name += inALoop
			}
			if err != nil {
				return err
			}
			// At once, because the next takes minutes.
			fmt.Printf("%-*s   %-7.1f   %.1f\n", width, name, took.Seconds(), took.Seconds()/first)
		}
	}
	return nil
}

const inALoop = ", in a loop"

// pushMany pushes the images as app0, app1 …
func (c *comparison) pushMany(host string, images int) error {
	layers := map[string]imagetest.Layer{}
	layer := func(name string, size int) imagetest.Layer {
		if _, ok := layers[name]; !ok {
			layers[name] = imagetest.GzipLayer(imagetest.File{Name: "file", Body: noise(name, size)})
		}
		return layers[name]
	}
	for i := range images {
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
func (c *comparison) inOneGo(from, to string, images int) (time.Duration, error) {
	var list strings.Builder
	for i := range images {
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
	return took.Took, c.checkMany(from, to, images)
}

// inALoop copies one after the other.
func (c *comparison) inALoop(one *contender, from, to string, images int) (time.Duration, error) {
	var sum time.Duration
	host, _, _ := strings.Cut(to, "/")
	env, err := settings(c.folder, from, host)
	if err != nil {
		return 0, err
	}
	for i := range images {
		took, err := clock(c.ctx, c.folder, env, one.args(fmt.Sprintf("%s/app%d:v1", from, i), fmt.Sprintf("%s/app%d:v1", to, i))...)
		if err != nil {
			return 0, err
		}
		sum += took.Took
	}
	return sum, c.checkMany(from, to, images)
}

// checkMany checks that all of them arrived.
func (c *comparison) checkMany(from, to string, images int) error {
	host, prefix, _ := strings.Cut(to, "/")
	for i := range images {
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
