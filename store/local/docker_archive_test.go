package local_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/local"
)

const app = "docker.io/library/app"

func openDocker(t *testing.T, path, repository string) *local.DockerArchive {
	t.Helper()
	a, err := local.OpenDockerArchive(t.Context(), path, repository, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, a) })
	return a
}

// savedDocker is one image of m as a docker-archive that berth wrote.
func savedDocker(t *testing.T, m *imagetest.Memory, tag, repository string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	w, err := local.CreateDockerArchive(path, repository, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	copyAll(t, m, w, tag)
	closeIt(t, w)
	return path
}

// layer is a layer as docker save writes it, and as registries have it.
func layer(name string) (raw string, l imagetest.Layer) {
	f := imagetest.File{Name: name, Body: strings.Repeat(name, 1000)}
	return string(imagetest.Tar(f)), imagetest.GzipLayer(f)
}

// config is a config with these layers.
func config(layers ...string) string {
	c := v1.Image{Platform: platform.MustParse("linux/amd64"), RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString(l))
	}
	return toJSON(c)
}

func toJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// item is an entry of manifest.json.
type item struct {
	Config           string
	RepoTags, Layers []string
}

func manifestJSON(items ...item) imagetest.File {
	return imagetest.File{Name: "manifest.json", Body: toJSON(items)}
}

// image is what a manifest of src says.
func image(t *testing.T, src store.Source, reference string) (*store.Manifest, v1.Manifest) {
	t.Helper()
	m, err := src.Manifest(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	var doc v1.Manifest
	if err := json.Unmarshal(m.Raw, &doc); err != nil {
		t.Fatal(err)
	}
	return m, doc
}

func TestDockerArchiveRoundTrip(t *testing.T) {
	m := sample()
	path := savedDocker(t, m, "single", app)
	_, want := image(t, m, "single")
	a := openDocker(t, path, app)
	got, doc := image(t, a, "single")
	if doc.Config.Digest != want.Config.Digest {
		t.Errorf("the image ID is %s, want %s", doc.Config.Digest, want.Config.Digest)
	}
	if doc.Layers[0].MediaType != v1.MediaTypeImageLayer || doc.Layers[0].Digest != digest.FromBytes(imagetest.Tar(imagetest.File{Name: "etc/motd", Body: "docker"})) {
		t.Errorf("layer %+v", doc.Layers[0])
	}
	for _, reference := range []string{"", got.Descriptor.Digest.String(), doc.Config.Digest.String()} {
		if again, err := a.Manifest(t.Context(), reference); err != nil || again.Descriptor.Digest != got.Descriptor.Digest {
			t.Errorf("Manifest(%q) = %+v, %v", reference, again, err)
		}
	}
	// And on into another store, which verifies everything.
	back := imagetest.New()
	copyAll(t, a, back, "single")
	// An archive of that is the same, and so is its manifest.
	if again, _ := image(t, openDocker(t, savedDocker(t, back, "single", app), app), "single"); again.Descriptor.Digest != got.Descriptor.Digest {
		t.Errorf("written again it is %s, want %s", again.Descriptor.Digest, got.Descriptor.Digest)
	}
}

// The archives of several tools, and what is special about each.
func TestDockerArchiveReads(t *testing.T) {
	rawA, gzA := layer("a")
	rawB, _ := layer("b")
	one, two := config(rawA, rawB, rawA), config(rawA)
	hex := func(s string) string { return digest.FromString(s).Encoded() }
	old := item{hex(one) + ".json", []string{"app:v1", "app:latest"}, []string{"x/layer.tar", "y/layer.tar", "z/layer.tar"}}
	oldFiles := []imagetest.File{
		{Name: hex(one) + ".json", Body: one},
		{Name: "x/", Type: '5'},
		{Name: "x/VERSION", Body: "1.0"},
		{Name: "x/layer.tar", Body: rawA},
		{Name: "y/layer.tar", Body: rawB},
		{Name: "z/layer.tar", Link: "../x/layer.tar"},
		manifestJSON(old),
	}
	crane := []imagetest.File{
		{Name: "sha256:" + hex(two), Body: two},
		{Name: "layer.tar.gz", Body: string(gzA.Raw)},
		manifestJSON(item{"sha256:" + hex(two), []string{"app:v1"}, []string{"layer.tar.gz"}}),
	}
	hard := []imagetest.File{
		{Name: "./c.json", Body: two},
		{Name: "./a", Body: rawA},
		{Name: "./b", Link: "./a", Type: '1'},
		{Name: "./manifest.json", Body: toJSON([]item{{"c.json", nil, []string{"b"}}})},
	}
	several := append(oldFiles[:len(oldFiles)-1:len(oldFiles)-1],
		imagetest.File{Name: "c.json", Body: two}, manifestJSON(old, item{"c.json", []string{"localhost/other:v1"}, []string{"x/layer.tar"}}))
	for _, c := range []struct {
		name                        string
		files                       []imagetest.File
		repository, reference, want string
		layers                      int
	}{
		{"Docker before 25, with a link for a layer that occurs twice", oldFiles, app, "v1", one, 3},
		{"another tag of it", oldFiles, app, "latest", one, 3},
		{"any repository", oldFiles, "", "v1", one, 3},
		{"an image ID", oldFiles, "", digest.FromString(one).String(), one, 3},
		{"crane, whose layers are compressed", crane, app, "v1", two, 1},
		{"tar, with hard links and names that start with ./", hard, "", "", two, 1},
		{"the second of several", several, "localhost/other", "v1", two, 1},
		{"the first of several", several, app, "v1", one, 3},
		{"the second by its image ID", several, "", digest.FromString(two).String(), two, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := openDocker(t, archive(t, c.files...), c.repository)
			m, doc := image(t, a, c.reference)
			mediaType := v1.MediaTypeImageLayer
			if strings.HasPrefix(c.name, "crane") {
				mediaType = v1.MediaTypeImageLayerGzip
			}
			if doc.Config.Digest != digest.FromString(c.want) || len(doc.Layers) != c.layers || doc.Layers[0].MediaType != mediaType {
				t.Errorf("got %s", m.Raw)
			}
			back := imagetest.New()
			copyAll(t, a, back, m.Descriptor.Digest.String())
		})
	}
}

func TestDockerArchiveRefuses(t *testing.T) {
	raw, _ := layer("a")
	c := config(raw)
	good := []imagetest.File{{Name: "c.json", Body: c}, {Name: "a.tar", Body: raw}}
	with := func(more ...imagetest.File) []imagetest.File { return append(good[:2:2], more...) }
	one := manifestJSON(item{"c.json", []string{"app:v1"}, []string{"a.tar"}})
	for _, c := range []struct {
		name, repository, reference string
		files                       []imagetest.File
		says                        string
		is                          error
	}{
		{"nothing in it", "", "", nil, "the archive is empty", nil},
		{"some other archive", "", "", good, "manifest.json not found: it is not from docker save", store.ErrNotFound},
		{"an OCI archive", "", "", with(imagetest.File{Name: "oci-layout", Body: marker}), "write oci-archive:FILE", nil},
		{"of a very old Docker", "", "", with(imagetest.File{Name: "repositories", Body: "{}"}), "before 1.10", nil},
		{"no JSON", "", "", with(imagetest.File{Name: "manifest.json", Body: "["}), "manifest.json: unexpected end", nil},
		{"no image", "", "", with(manifestJSON()), "the archive is empty", store.ErrNotFound},
		{"two manifest.json", "", "", with(one, one), "manifest.json is in it twice", store.ErrCorrupt},
		{"a tag that is not there", app, "v2", with(one), `"docker.io/library/app:v2" not found: it has app:v1`, store.ErrNotFound},
		{"another repository", "ghcr.io/o/r", "v1", with(one), `it has app:v1`, store.ErrNotFound},
		{"a digest that is not there", "", digest.FromString("no").String(), with(one), "not found", store.ErrNotFound},
		{"several images and no name", "", "", with(manifestJSON(item{"c.json", []string{"app:v1"}, []string{"a.tar"}}, item{"c.json", nil, []string{"a.tar"}})), `several images: name one of them, "one without a name" and app:v1`, nil},
		{"a tag for two images", app, "v1", with(imagetest.File{Name: "d.json", Body: config(raw) + " "}, manifestJSON(item{"c.json", []string{"app:v1"}, []string{"a.tar"}}, item{"d.json", []string{"app:v1"}, []string{"a.tar"}})), "stands for several images", nil},
		{"no config", "", "", with(manifestJSON(item{"d.json", nil, []string{"a.tar"}})), "d.json not found", store.ErrNotFound},
		{"a config outside", "", "", with(manifestJSON(item{"../../etc/passwd", nil, []string{"a.tar"}})), "etc/passwd not found", store.ErrNotFound},
		{"a config that is no JSON", "", "", with(manifestJSON(item{"a.tar", nil, []string{"a.tar"}})), "config a.tar: invalid character", nil},
		{"no layer", "", "", with(manifestJSON(item{"c.json", nil, []string{"b.tar"}})), "b.tar not found", store.ErrNotFound},
		{"fewer layers than the config says", "", "", with(manifestJSON(item{"c.json", nil, nil})), "manifest.json has 0 layers and the config c.json 1", store.ErrCorrupt},
		{"a layer that is a link to itself", "", "", with(imagetest.File{Name: "l", Link: "l"}, manifestJSON(item{"c.json", nil, []string{"l"}})), "more than 8 links", store.ErrCorrupt},
		{"a layer that is a link to the outside", "", "", with(imagetest.File{Name: "l", Link: "/etc/passwd"}, manifestJSON(item{"c.json", nil, []string{"l"}})), "etc/passwd not found", store.ErrNotFound},
		{"a layer that is a device", "", "", with(imagetest.File{Name: "l", Type: '3'}, manifestJSON(item{"c.json", nil, []string{"l"}})), "l is not a regular file", store.ErrCorrupt},
		{"a diff ID that is none", "", "", with(imagetest.File{Name: "d.json", Body: `{"rootfs":{"diff_ids":["sha256:../x"]}}`}, manifestJSON(item{"d.json", nil, []string{"a.tar"}})), "diff ID", nil},
		{"a name with an escape sequence", app, "v2", with(manifestJSON(item{"c.json", []string{"a\x1b[2J"}, []string{"a.tar"}})), `it has "a\x1b[2J"`, store.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := archive(t, c.files...)
			a, err := local.OpenDockerArchive(t.Context(), path, c.repository, local.Options{})
			if err == nil {
				defer closeIt(t, a)
				_, err = a.Manifest(t.Context(), c.reference)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v does not say %q and the file", err, c.says)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if err != nil && strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("%q carries a control character", err)
			}
		})
	}
}

// Docker 25 and later write an OCI layout beside manifest.json, and Docker with the
// containerd image store an index in that.
func TestDockerArchiveWithLayout(t *testing.T) {
	raw, _ := layer("a")
	otherRaw, _ := layer("b")
	cfg, otherConfig := config(raw), config(otherRaw)
	manifest := func(config, layer string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s],"annotations":{"kept":"yes"}}`, oci, line(v1.MediaTypeImageConfig, config, ""), line(v1.MediaTypeImageLayer, layer, ""))
	}
	right, wrong := manifest(cfg, raw), manifest(otherConfig, otherRaw)
	tree := func(children ...string) string {
		var lines []string
		for _, c := range children {
			lines = append(lines, line(oci, c, ""))
		}
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, v1.MediaTypeImageIndex, strings.Join(lines, ","))
	}
	named := func(mediaType, content, name string) string {
		return strings.Replace(line(mediaType, content, "v1"), `{"org`, `{"io.containerd.image.name":"`+name+`","org`, 1)
	}
	saved := item{blobFile(cfg).Name, []string{"app:v1"}, []string{blobFile(raw).Name}}
	for _, c := range []struct {
		name, index, want string
		blobs             []string
	}{
		{"a manifest", index(named(oci, right, app+":v1")), right, []string{right}},
		{"a manifest without a name", index(line(oci, right, "")), right, []string{right}},
		{"another image", index(named(oci, wrong, app+":v1")), "", []string{wrong, otherConfig, otherRaw}},
		{"another image first", index(named(oci, wrong, app+":v1"), named(oci, right, app+":v1")), right, []string{wrong, right, otherConfig, otherRaw}},
		{"a manifest that is not there", index(named(oci, right, app+":v1")), "", nil},
		{"a manifest with another content", index(named(oci, right, app+":v1")), "", []string{"x"}},
		{"an index that is whole", index(named(v1.MediaTypeImageIndex, tree(wrong, right), app+":v1")), tree(wrong, right), []string{tree(wrong, right), right, wrong, otherConfig, otherRaw}},
		{"an index without another platform", index(named(v1.MediaTypeImageIndex, tree(wrong, right), app+":v1")), right, []string{tree(wrong, right), right}},
		{"an index without a layer of another platform", index(named(v1.MediaTypeImageIndex, tree(wrong, right), app+":v1")), right, []string{tree(wrong, right), right, wrong, otherConfig}},
		{"an index under another name", index(named(v1.MediaTypeImageIndex, tree(right), "docker.io/library/other:v1")), right, []string{tree(right), right}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := []imagetest.File{{Name: "oci-layout", Body: marker}, {Name: "index.json", Body: c.index}, blobFile(cfg), blobFile(raw), manifestJSON(saved)}
			for _, b := range c.blobs {
				files = append(files, blobFile(b))
			}
			a := openDocker(t, archive(t, files...), app)
			m, err := a.Manifest(t.Context(), "v1")
			if err != nil {
				t.Fatal(err)
			}
			if c.want != "" && string(m.Raw) != c.want {
				t.Errorf("got %s, want %s", m.Raw, c.want)
			}
			if c.want == "" && (strings.Contains(string(m.Raw), "kept") || !strings.Contains(string(m.Raw), digest.FromString(cfg).Encoded())) {
				t.Errorf("got %s, want one that was made", m.Raw)
			}
			copyAll(t, a, imagetest.New(), m.Descriptor.Digest.String())
			if again, err := a.Manifest(t.Context(), digest.FromString(cfg).String()); err != nil || again.Descriptor.Digest != m.Descriptor.Digest {
				t.Errorf("by its image ID: %+v, %v", again, err)
			}
		})
	}
}
