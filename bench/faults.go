package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/registry"
)

// patience is how long a copy of 2 MB may take while one thing goes wrong. Clients wait
// for a connection that stalls for half a minute or for ever.
const patience = 75 * time.Second

// What becomes of a copy in which one thing goes wrong.
const (
	survives = "survives"
	clear    = "clear error"
	unclear  = "error"
	hangs    = "hangs"
	wrong    = "**wrong**"
)

// faults prints what becomes of berth copy and its peers, one thing going wrong at a
// time. With a match it is the rows whose names contain that, and what the tools say
// goes to standard error.
func faults(ctx context.Context, match string) (err error) {
	fmt.Fprintln(os.Stderr, "building berth, the peers and the registry into bin/bench …")
	built, err := build(ctx)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "berth-faults-")
	if err != nil {
		return err
	}
	defer func() { err = firstOf(err, os.RemoveAll(folder)) }()
	c := &comparison{ctx: ctx, folder: folder, programs: built}
	p, err := c.start("plain", false)
	if err != nil {
		return err
	}
	defer p.end()
	m := &matrix{comparison: c, pair: p, image: imagetest.FaultImage()}
	if err := m.image.PushTo(ctx, c.repository(p.src.host, "app")); err != nil {
		return err
	}
	all := []contender{built.berth}
	for _, peer := range built.peers {
		if !strings.HasPrefix(peer.name, "skopeo") { // which is not to be had in a pinned version
			all = append(all, peer)
		}
	}
	var names []string
	for _, one := range all {
		names = append(names, one.name)
	}
	fmt.Printf("| what goes wrong | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	good := make([]int, len(all))
	rows := slices.DeleteFunc(imagetest.Faults(), func(f imagetest.Fault) bool { return !strings.Contains(f.Name, match) })
	m.verbose = match != ""
	for _, fault := range rows {
		outcomes := make([]string, len(all))
		failed := make([]error, len(all))
		var group sync.WaitGroup
		for i := range all {
			repository := c.unused()
			group.Go(func() { outcomes[i], failed[i] = m.run(&all[i], fault, repository) })
		}
		group.Wait()
		if err := errors.Join(failed...); err != nil {
			return fmt.Errorf("%s: %w", fault.Name, err)
		}
		for i, outcome := range outcomes {
			if outcome == survives || fault.Fails && outcome == clear {
				good[i]++
			}
		}
		name := fault.Name
		if fault.Fails {
			name += " †"
		}
		fmt.Printf("| %s | %s |\n", name, strings.Join(outcomes, " | "))
	}
	var sums []string
	for _, n := range good {
		sums = append(sums, fmt.Sprintf("**%d of %d**", n, len(rows)))
	}
	fmt.Printf("| as good as can be | %s |\n", strings.Join(sums, " | "))
	return nil
}

// matrix is the image of the matrix on two registries.
type matrix struct {
	*comparison
	pair  *pair
	image *imagetest.Memory
	// verbose shows what the tools say.
	verbose bool
}

// run lets one of them copy while one thing goes wrong.
func (m *matrix) run(one *contender, fault imagetest.Fault, repository string) (outcome string, err error) {
	from, to := m.pair.src.host, m.pair.dst.host
	if fault.Same {
		to = from
	}
	real := to
	before, err := m.prepare(fault.Tag, real, repository)
	if err != nil {
		return "", err
	}
	for host, middleware := range map[*string]func() imagetest.Middleware{&from: fault.Source, &to: fault.Destination} {
		if middleware == nil {
			continue
		}
		proxy, end, err := front(*host, middleware())
		if err != nil {
			return "", err
		}
		defer end()
		*host = proxy
	}
	if fault.Same {
		from = to
	}
	said, late, failed, err := m.attempt(one, from+"/app:v1", to+"/"+repository+":v1")
	if err != nil {
		return "", err
	}
	if m.verbose {
		fmt.Fprintf(os.Stderr, "%s: %s: %v\n%s\n", fault.Name, one.name, failed, said)
	}
	whole, now, err := m.whole(real, repository)
	switch {
	case err != nil:
		return "", err
	case late:
		return hangs, nil
	case failed == nil && whole:
		return survives, nil
	case failed == nil:
		return wrong + ": says it is done, and it is not", nil
	case now != before && !whole:
		return wrong + ": the tag is there, and not what it names", nil
	}
	end := from
	if fault.Destination != nil {
		end = to
	}
	if strings.Contains(said, end) || strings.Contains(said, "sha256:") {
		return clear, nil
	}
	return unclear, nil
}

// prepare lets the tag name what it is to name before the copy, and returns its digest.
func (m *matrix) prepare(tag, host, repository string) (string, error) {
	if tag == "" {
		return "", nil
	}
	to := m.repository(host, repository)
	if err := m.image.PushTo(m.ctx, to); err != nil {
		return "", err
	}
	if tag == "other" {
		other, err := m.image.Manifest(m.ctx, "other")
		if err != nil {
			return "", err
		}
		if err := to.PushManifest(m.ctx, other.Descriptor, other.Raw, "v1"); err != nil {
			return "", err
		}
	}
	named, err := to.Resolve(m.ctx, "v1")
	return named.Digest.String(), err
}

// attempt runs a copy. It returns what was said, whether it took too long, and how it
// failed.
func (m *matrix) attempt(one *contender, from, to string) (said string, late bool, failed, err error) {
	home, err := os.MkdirTemp(m.folder, "home-")
	if err != nil {
		return "", false, nil, err
	}
	env, err := settings(home, ends(from).Host, ends(to).Host)
	if err != nil {
		return "", false, nil, err
	}
	ctx, cancel := context.WithTimeout(m.ctx, patience)
	defer cancel()
	args := one.args(from, to)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(strangers(home), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed = cmd.Run()
	if m.ctx.Err() != nil {
		return "", false, nil, context.Cause(m.ctx)
	}
	return out.String(), ctx.Err() != nil, failed, os.RemoveAll(home)
}

// whole tells whether the tag v1 names the image and all of that is there, bit for bit,
// and which digest it names.
func (m *matrix) whole(host, repository string) (whole bool, named string, err error) {
	to := m.repository(host, repository)
	want, err := m.image.Manifest(m.ctx, "v1")
	if err != nil {
		return false, "", err
	}
	found, err := to.Resolve(m.ctx, "v1")
	if errors.Is(err, store.ErrNotFound) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	return found.Digest == want.Descriptor.Digest && m.holds(to, want.Raw), found.Digest.String(), nil
}

// holds tells whether all that a manifest refers to is there.
func (m *matrix) holds(to *registry.Repository, raw []byte) bool {
	var manifest struct {
		v1.Manifest
		Manifests []store.Descriptor
	}
	if json.Unmarshal(raw, &manifest) != nil {
		return false
	}
	for _, d := range manifest.Manifests {
		child, err := to.Manifest(m.ctx, d.Digest.String())
		if err != nil || !m.holds(to, child.Raw) {
			return false
		}
	}
	blobs := manifest.Layers
	if manifest.Config.Digest != "" {
		blobs = append(blobs, manifest.Config)
	}
	for _, d := range blobs {
		if _, err := store.ReadBlob(m.ctx, to, d, d.Size); err != nil {
			return false
		}
	}
	return true
}

// front puts a middleware in front of a registry, and returns the host to use instead.
func front(host string, middleware imagetest.Middleware) (proxy string, end func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	through := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	quiet := log.New(io.Discard, "", 0) // connections that end are what this is about
	through.ErrorLog = quiet
	server := &http.Server{Handler: middleware(through), ErrorLog: quiet}
	go func() { _ = server.Serve(listener) }() // ends with end
	return listener.Addr().String(), func() { _ = server.Close() }, nil
}
