package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// savedManifest is the file that makes an archive one of docker save:
// https://github.com/moby/docker-image-spec/blob/main/v1.3/README.md#combined-image-json--filesystem-changeset-format
const savedManifest = "manifest.json"

// savedImage is an entry of that file.
type savedImage struct {
	Config   string   // the name of the config's file
	RepoTags []string // references, familiar (docker) or full (podman), or null
	Layers   []string // the names of the layers' files, lowest first
}

// DockerArchive is an archive that docker save wrote, opened for reading. It is a
// store.Source.
type DockerArchive struct {
	members    *members
	repository string
	// only stands for the only image of the archive, whatever that says of its name.
	only   string
	images []savedImage
	layout *index // of an archive that is an OCI layout too, else nil
	close  func() error

	mu    sync.Mutex
	known map[int]*described       // by position in images
	blobs map[digest.Digest]member // of images that are known
}

var _ store.Source = (*DockerArchive)(nil)

// OpenDockerArchive opens the archive in a file, or for the path "-" the one that
// comes from standard input. Tags are those of repository ("docker.io/library/app"),
// or where it is empty those of any.
//
// What counts is what docker load goes by: manifest.json. As it has no manifests,
// one is made for each image, of OCI's media types and with the layers as they are in
// the archive, which are uncompressed as a rule. Where the archive has the image's
// manifest too, because it is an OCI layout besides (Docker 25 and later) and the two
// agree, that is taken, and the index over it where all of it is there.
//
// It fails with store.ErrNotFound where there is no such file. The caller closes the
// archive.
func OpenDockerArchive(ctx context.Context, path, repository string, opts Options) (*DockerArchive, error) {
	where := "docker-archive " + path
	in, err := openInput(ctx, where, path, opts)
	if err != nil {
		return nil, err
	}
	return newDockerArchive(ctx, where, repository, in)
}

func newDockerArchive(ctx context.Context, where, repository string, in *input) (*DockerArchive, error) {
	a := &DockerArchive{repository: repository, close: in.close, known: map[int]*described{}, blobs: map[digest.Digest]member{}}
	var err error
	if a.members, err = readMembers(ctx, where, in, in.size); err == nil {
		err = a.read(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return a, nil
}

// read reads what images the archive has.
func (a *DockerArchive) read(ctx context.Context) error {
	m := a.members
	if !m.has(savedManifest) {
		switch {
		case m.has(v1.ImageLayoutFile):
			return fmt.Errorf("%s: it has no %s but an OCI layout: write oci-archive:FILE", m, savedManifest)
		case m.has("repositories"):
			return fmt.Errorf("%s: it has no %s: it is of a Docker before 1.10; load it into a current one and save it again", m, savedManifest)
		}
		return fmt.Errorf("%s: %s %w: it is not from docker save", m, savedManifest, store.ErrNotFound)
	}
	raw, err := readFile(ctx, m, savedManifest, store.MaxManifestSize)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &a.images); err != nil {
		return fmt.Errorf("%s: %s: %w", m, savedManifest, err)
	}
	if len(a.images) == 0 {
		return fmt.Errorf("%s: image %w: the archive is empty", m, store.ErrNotFound)
	}
	if !m.has(v1.ImageLayoutFile) || !m.has(v1.ImageIndexFile) {
		return nil
	}
	if err := readMarker(ctx, m); err != nil {
		return err
	}
	a.layout, err = readIndex(ctx, m)
	return err
}

// Close releases the archive. Nothing can be read from it any more.
func (a *DockerArchive) Close() error { return a.close() }

// Manifest returns what a tag of the repository stands for, or the digest of a
// manifest, or of a config (the image ID). The empty reference is the only image of
// the archive, and an error that lists them where there are several.
func (a *DockerArchive) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d := digest.Digest(reference); store.ValidDigest(d) == nil {
		m, err := a.byDigest(ctx, d)
		if m != nil || err != nil {
			return m, err
		}
	}
	at, err := a.find(reference)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.members, err)
	}
	image, err := a.describe(ctx, at)
	if err != nil {
		return nil, err
	}
	return &image.root, nil
}

// byDigest looks through all images and what they consist of. It returns nil where
// nothing has that digest but a reference may still stand for.
func (a *DockerArchive) byDigest(ctx context.Context, d digest.Digest) (*store.Manifest, error) {
	var failed error
	for at := range a.images {
		image, err := a.describe(ctx, at)
		if err != nil {
			failed = errors.Join(failed, err) // another one may be it
			continue
		}
		for _, m := range []store.Manifest{image.root, image.manifest} {
			if m.Descriptor.Digest == d {
				return &m, nil
			}
		}
		if image.config == d {
			return &image.root, nil
		}
	}
	if a.layout != nil && a.members.has(blobPath(d)) {
		return readManifest(ctx, a.members, a.layout, d.String())
	}
	if failed != nil || d.String() == a.only {
		return nil, failed
	}
	return nil, fmt.Errorf("%s: %s %w", a.members, d, store.ErrNotFound)
}

// find returns the position of the image that a tag stands for.
func (a *DockerArchive) find(tag string) (int, error) {
	if tag == "" || tag == a.only {
		if len(a.images) > 1 {
			return 0, fmt.Errorf("it has several images: name one of them, %s", a.names())
		}
		return 0, nil
	}
	found := -1
	for at, image := range a.images {
		if !slices.ContainsFunc(image.RepoTags, func(name string) bool { return a.is(name, tag) }) {
			continue
		}
		if found >= 0 && image.Config != a.images[found].Config {
			return 0, fmt.Errorf("tag %q stands for several images: name one by its image ID, @sha256:…", tag)
		}
		found = at
	}
	if found < 0 {
		name := tag
		if a.repository != "" {
			name = a.repository + ":" + tag
		}
		return 0, fmt.Errorf("%q %w: it has %s", name, store.ErrNotFound, a.names())
	}
	return found, nil
}

// is tells whether an entry of RepoTags is what tag stands for.
func (a *DockerArchive) is(name, tag string) bool {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	tagged, ok := named.(reference.Tagged)
	return ok && tagged.Tag() == tag && (a.repository == "" || a.repository == named.Name())
}

// names lists what a user could ask for.
func (a *DockerArchive) names() string {
	x := &index{}
	for _, image := range a.images {
		tags := image.RepoTags
		if len(tags) == 0 {
			tags = []string{"one without a name"}
		}
		for _, tag := range tags {
			x.entries = append(x.entries, entry{Descriptor: store.Descriptor{Annotations: map[string]string{v1.AnnotationRefName: tag}}})
		}
	}
	return x.names()
}

// Blob opens a config, a layer or what else the archive has by its digest, at an
// offset. Its size has to be what desc says.
func (a *DockerArchive) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := checkBlob(ctx, a.members, desc, offset); err != nil {
		return nil, err
	}
	a.mu.Lock()
	f, ok := a.blobs[desc.Digest]
	a.mu.Unlock()
	if ok {
		return a.members.file(f).from(ctx, a.members, desc, offset)
	}
	if !a.members.has(blobPath(desc.Digest)) {
		// It may be of an image that nobody asked for yet.
		if _, err := a.byDigest(ctx, desc.Digest); err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		a.mu.Lock()
		f, ok = a.blobs[desc.Digest]
		a.mu.Unlock()
		if ok {
			return a.members.file(f).from(ctx, a.members, desc, offset)
		}
	}
	return openBlob(ctx, a.members, desc, offset)
}
