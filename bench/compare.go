package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/registry"
)

// comparison is berth and its peers, copying in turn.
type comparison struct {
	ctx      context.Context
	folder   string
	rounds   int
	programs *programs
	runs     int // so far, for names that were never used
}

// compare prints how long berth copy and its peers take for the same work.
func compare(ctx context.Context, rounds int) error {
	return compareWith(ctx, rounds, (*comparison).transfers, (*comparison).roundTrips)
}

// compareWith prints some of the parts.
func compareWith(ctx context.Context, rounds int, parts ...func(*comparison) error) (err error) {
	fmt.Println("building berth, the peers and the registry into bin/bench …")
	built, err := build(ctx)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, os.RemoveAll(folder)) }()
	c := &comparison{ctx: ctx, folder: folder, rounds: rounds, programs: built}
	fmt.Printf("%d rounds on %d processors, medians; each copy into a repository of a new name, unless said otherwise\n", rounds, runtime.NumCPU())
	if built.missing != "" {
		fmt.Println(built.missing)
	}
	for _, part := range parts {
		if err := part(c); err != nil {
			return err
		}
	}
	return nil
}

// transfers compares times of the large image.
func (c *comparison) transfers() error {
	p, err := c.start("plain", false)
	if err != nil {
		return err
	}
	defer p.end()
	if err := pushLarge(c.ctx, c.repository(p.src.host, "app"), "v1"); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bare := contender{name: "floor", args: func(from, to string) []string { return []string{self, "floor", from, to} }}
	all := append([]contender{bare, c.programs.berth}, c.programs.peers...)
	fmt.Println("\n8 platforms × 4 blobs, 274 MB, loopback")
	near := func(*contender) (string, string) {
		return p.src.host + "/app:v1", p.dst.host + "/" + c.unused() + ":v1"
	}
	if err := c.table(all, near); err != nil {
		return err
	}
	fmt.Printf("\nThe same at %d ms round-trip time\n", delay.Milliseconds())
	p.setRTT(delay)
	far := func(*contender) (string, string) {
		return p.src.line.host() + "/app:v1", p.dst.line.host() + "/" + c.unused() + ":v1"
	}
	return c.table(all, far)
}

// table runs all in turn and prints what they cost, beside the first of them.
func (c *comparison) table(all []contender, ends func(*contender) (from, to string)) error {
	costs := make([][]cost, len(all))
	for range c.rounds {
		for i := range all {
			from, to := ends(&all[i])
			took, err := c.copy(&all[i], from, to)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], took)
		}
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(out, "\tSECONDS\t× FLOOR\tCPU, S\tPEAK, MB")
	for i, one := range all {
		ratios := make([]float64, c.rounds) // to the floor of the same round
		for round := range ratios {
			ratios[round] = costs[i][round].Took.Seconds() / costs[0][round].Took.Seconds()
		}
		fmt.Fprintf(out, "%s\t%.2f\t%.2f\t%.2f\t%.0f\n", one.name,
			median(costs[i], func(c cost) float64 { return c.Took.Seconds() }), median(ratios, func(f float64) float64 { return f }),
			median(costs[i], func(c cost) float64 { return c.CPU.Seconds() }), median(costs[i], func(c cost) float64 { return float64(c.Peak) / 1e6 }))
	}
	return out.Flush()
}

// roundTrips compares how often they wait for an answer.
func (c *comparison) roundTrips() error {
	p, err := c.start("guarded", true)
	if err != nil {
		return err
	}
	defer p.end()
	lone := imagetest.New()
	lone.AddImage(small("linux/amd64", 10), "v1")
	for name, m := range map[string]*imagetest.Memory{"lone": lone, "app": attested("v1")} {
		if err := m.PushTo(c.ctx, c.repository(p.src.host, name)); err != nil {
			return err
		}
	}
	src, dst := named(p.src.line.host()), named(p.dst.line.host())
	work := []struct {
		what, from string
		to         func(*contender) string
	}{
		{"one image of 10 small layers", "/lone:v1", func(*contender) string { return dst + "/" + c.unused() + ":v1" }},
		{"8 platforms × 5 small layers + 8 attestations", "/app:v1", func(*contender) string { return dst + "/" + c.unused() + ":v1" }},
		{"the same, to another repository of the same registry", "/app:v1", func(*contender) string { return src + "/" + c.unused() + ":v1" }},
		{"the same, nothing changed", "/app:v1", func(*contender) string { return dst + "/kept:v1" }},
	}
	if err := attested("v1").PushTo(c.ctx, c.repository(p.dst.host, "kept")); err != nil {
		return err
	}
	all := append([]contender{c.programs.berth}, c.programs.peers...)
	fmt.Printf("\nRound trips: the time at %d ms less that at none, in %d ms. The registries want tokens, and connecting is free\n", delay.Milliseconds(), delay.Milliseconds())
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	for _, one := range all {
		fmt.Fprintf(out, "\t%s", one.name)
	}
	fmt.Fprintln(out)
	for _, w := range work {
		fmt.Fprint(out, w.what)
		trips := make([][]float64, len(all))
		for range c.rounds {
			for i := range all {
				var took [2]time.Duration
				for j, rtt := range []time.Duration{0, delay} {
					p.setRTT(rtt)
					one, err := c.copy(&all[i], src+w.from, w.to(&all[i]))
					if err != nil {
						return err
					}
					took[j] = one.Took
				}
				trips[i] = append(trips[i], float64(took[1]-took[0])/float64(delay))
			}
		}
		for i := range all {
			fmt.Fprintf(out, "\t%.1f", median(trips[i], func(f float64) float64 { return f }))
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// start starts two registries with their data in a folder of that name.
func (c *comparison) start(name string, guarded bool) (*pair, error) {
	folder := filepath.Join(c.folder, name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	return startPair(c.ctx, c.programs.registry, folder, guarded)
}

// copy runs one copy, with a home folder that was never used, and checks that it did
// its work.
func (c *comparison) copy(one *contender, from, to string) (took cost, err error) {
	home, err := os.MkdirTemp(c.folder, "home-")
	if err != nil {
		return cost{}, err
	}
	defer func() { err = firstOf(err, os.RemoveAll(home)) }()
	src, dst := ends(from), ends(to)
	env, err := settings(home, src.Host, dst.Host)
	if err != nil {
		return cost{}, err
	}
	if took, err = clock(c.ctx, home, env, one.args(from, to)...); err != nil {
		return cost{}, err
	}
	want, err := c.repository(src.Host, src.Repository).Resolve(c.ctx, src.Tag)
	if err != nil {
		return cost{}, err
	}
	got, err := c.repository(dst.Host, dst.Repository).Resolve(c.ctx, dst.Tag)
	if err == nil && got.Digest != want.Digest {
		err = fmt.Errorf("%s left %s at %s, and the source has %s", one.name, got.Digest, to, want.Digest)
	}
	return took, err
}

// ends reads a reference that this program made.
func ends(reference string) store.Reference {
	r, err := store.ParseReference(reference)
	if err != nil {
		panic(err)
	}
	return r
}

func (c *comparison) repository(host, name string) *registry.Repository {
	return registry.New(registry.Options{}).Repository(host, name)
}

// unused is the name of a repository that is not there yet.
func (c *comparison) unused() string {
	c.runs++
	return fmt.Sprintf("run%d", c.runs)
}

func median[T any](all []T, of func(T) float64) float64 {
	var sorted []float64
	for _, one := range all {
		sorted = append(sorted, of(one))
	}
	slices.Sort(sorted)
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
