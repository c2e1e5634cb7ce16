package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
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
	// manyRTT is how far away they are copied to. At 50 ms a loop takes an hour.
	manyRTT = 10 * time.Millisecond
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
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Printf("\n%d images × 8 platforms × 3 layers, of which 2 are shared, to as many new repositories; once\n", manyImages)
	fmt.Fprintf(out, "\tSECONDS, LOOPBACK\t× BERTH\tSECONDS, %d ms\t× BERTH\n", manyRTT.Milliseconds())
	ways := []contender{{name: "berth --from-file"}}
	for _, peer := range c.programs.peers {
		if !strings.HasPrefix(peer.name, "skopeo") { // whose loop takes longer than all the rest
			ways = append(ways, peer)
		}
	}
	var first [2]float64
	for i := range ways {
		var took [2]time.Duration
		for j, rtt := range []time.Duration{0, manyRTT} {
			from, to := p.src.host, p.dst.host
			if p.setRTT(rtt); rtt > 0 {
				from, to = p.src.line.host(), p.dst.line.host()
			}
			to += "/" + c.unused()
			if i == 0 {
				took[j], err = c.inOneGo(from, to)
			} else {
				took[j], err = c.inALoop(&ways[i], from, to)
			}
			if err != nil {
				return err
			}
		}
		if i == 0 {
			first = [2]float64{took[0].Seconds(), took[1].Seconds()}
		}
		fmt.Fprintf(out, "%s\t%.1f\t%.1f\t%.1f\t%.1f\n", ways[i].name, took[0].Seconds(), took[0].Seconds()/first[0], took[1].Seconds(), took[1].Seconds()/first[1])
	}
	return out.Flush()
}

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
