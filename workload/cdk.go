package workload

import (
	"path"
	"regexp"
	"strings"

	"berth/platform"
)

// maxAssetFiles bounds how many manifests of assets are read in a folder of cdk synth:
// one a stack.
const maxAssetFiles = 200

// cdkAsset is an image that cdk deploy will build and push.
type cdkAsset struct {
	name  string          // for people, "Shop/Image"
	tags  map[string]bool // that it is pushed as
	build *Build
}

// cdkTag is the end of a reference to an asset: its tag is a hash, maybe after a prefix.
var cdkTag = regexp.MustCompile(`:([A-Za-z0-9._-]*[0-9a-f]{64})$`)

// asset says of a container how its image is built, where that is an asset of the files of
// cdk synth beside this one.
func (s *stack) asset(c *Container) {
	m := cdkTag.FindStringSubmatch(c.Image.Text)
	if m == nil || s.ReadFile == nil || !strings.HasSuffix(s.Name, ".template.json") {
		return
	}
	if !s.looked {
		s.looked = true
		s.readAssets()
	}
	for _, a := range s.assets {
		if !a.tags[m[1]] {
			continue
		}
		c.Build = a.build
		if !c.Image.Known() { // a name that is made of parameters and a hash tells nobody which it is
			c.Image.Text, c.Image.Unknown = "asset "+a.name, "cdk deploy builds and pushes it; "+c.Image.Unknown
		}
		return
	}
}

// readAssets reads the manifests beside the template: its own, or where a stack is nested
// in another, that one's.
func (s *stack) readAssets() {
	names := []string{strings.TrimSuffix(path.Base(s.Name), ".template.json") + ".assets.json"}
	if s.ReadDir != nil {
		all, err := s.ReadDir(path.Dir(s.Name))
		if err != nil {
			return // a folder that cannot be read is said where it is walked
		}
		for _, name := range all {
			if strings.HasSuffix(name, ".assets.json") && name != names[0] && len(names) < maxAssetFiles {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		data, err := s.ReadFile(s.beside(name))
		if err != nil {
			continue // a stack without assets has no manifest
		}
		f := NewFile(s.beside(name), data)
		s.File.Beside = append(s.File.Beside, f)
		documents, err := f.Documents()
		if err != nil {
			s.broken(Pos{File: f.Name}, "the manifest of assets cannot be read: %v", err)
			continue
		}
		for _, n := range documents {
			for _, e := range n.Get("dockerImages").Entries() {
				s.assets = append(s.assets, s.readAsset(e))
			}
		}
	}
}

// readAsset reads one, in the schema of cloud-assembly-schema (DockerImageAsset).
func (s *stack) readAsset(e Entry) cdkAsset {
	a := cdkAsset{name: e.Value.Get("displayName").Text(), tags: map[string]bool{e.Key.Text(): true}}
	if a.name == "" {
		a.name = e.Key.Text()
	}
	for _, d := range e.Value.Get("destinations").Entries() {
		a.tags[d.Value.Get("imageTag").Text()] = true
	}
	source := e.Value.Get("source")
	a.build = &Build{Pos: source.Pos()}
	if !source.Exists() {
		a.build.Pos = e.Key.Pos()
	}
	if folder := source.Get("directory").Text(); folder != "" {
		name := source.Get("dockerFile").Text()
		if name == "" {
			name = "Dockerfile"
		}
		a.build.Dockerfile = path.Join(folder, name)
	}
	if n := source.Get("platform"); n.Text() != "" {
		a.build.Pos = n.Pos()
		p, err := platform.Parse(n.Text())
		if err != nil {
			s.broken(n.Pos(), "the platform of an asset: %v", err)
			return a
		}
		a.build.Platforms = []platform.Platform{platform.Normalize(p)}
	}
	return a
}
