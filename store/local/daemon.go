package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

// maxLoadAnswer bounds what a daemon says about a load. Without progress it is some
// lines.
const maxLoadAnswer = 1 << 20

// OpenDaemon reads an image of the Docker daemon that DOCKER_HOST names, and
// DOCKER_TLS_VERIFY, DOCKER_CERT_PATH and DOCKER_API_VERSION, as for the docker
// command; without them of the one that the system has. Contexts of the docker
// command are not looked at. The version of the API is negotiated.
//
// The image is named by repository ("docker.io/library/app") and tag or digest, or by
// its image ID alone. It is saved into a temporary file and read as
// [OpenDockerArchive] has it; Manifest takes the same tag or digest. A daemon that
// keeps images as they were pulled (the containerd image store, which is the default
// since Docker 29) gives them back so, and an index where it has all of it.
//
// It fails with store.ErrNotFound where the daemon has no such image. The caller
// closes the archive.
func OpenDaemon(ctx context.Context, repository, tagOrDigest string, opts Options) (*DockerArchive, error) {
	docker, where, err := dial()
	if err != nil {
		return nil, err
	}
	in, err := save(ctx, docker, where, nameOf(repository, tagOrDigest), opts)
	if err := errors.Join(err, docker.Close()); err != nil {
		return nil, err
	}
	a, err := newDockerArchive(ctx, where, "", in)
	if err != nil {
		return nil, err
	}
	a.only = tagOrDigest
	return a, nil
}

// nameOf is what a daemon calls an image.
func nameOf(repository, tagOrDigest string) string {
	switch d := digest.Digest(tagOrDigest); {
	case repository == "":
		return tagOrDigest
	case d.Validate() == nil:
		return repository + "@" + tagOrDigest
	}
	return repository + ":" + tagOrDigest
}

func dial() (docker *client.Client, where string, err error) {
	docker, err = client.New(client.FromEnv)
	if err != nil {
		return nil, "", fmt.Errorf("finding the Docker daemon: %w; DOCKER_HOST names it, for example unix:///var/run/docker.sock", err)
	}
	return docker, "Docker daemon at " + docker.DaemonHost(), nil
}

func save(ctx context.Context, docker *client.Client, where, name string, opts Options) (*input, error) {
	saved, err := docker.ImageSave(ctx, []string{name})
	if errdefs.IsNotFound(err) {
		saved, err = saveOther(ctx, docker, name, err)
	}
	if err != nil {
		return nil, daemonError(where, name, err)
	}
	in, err := spool(ctx, where, saved, opts)
	if closed := saved.Close(); err == nil && closed != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", where, closed), in.close())
	}
	return in, err
}

// saveOther saves the platforms that the daemon has. Without being told which, one with
// the containerd image store looks for its own in an index, and fails where another one
// was pulled.
func saveOther(ctx context.Context, docker *client.Client, name string, failed error) (client.ImageSaveResult, error) {
	found, err := docker.ImageInspect(ctx, name, client.ImageInspectWithManifests(true))
	if err != nil {
		return nil, failed
	}
	var has []v1.Platform
	for _, m := range found.Manifests {
		if m.Available && m.Kind == image.ManifestKindImage && m.ImageData != nil {
			has = append(has, m.ImageData.Platform)
		}
	}
	if len(has) == 0 {
		return nil, failed
	}
	saved, err := docker.ImageSave(ctx, []string{name}, client.ImageSaveWithPlatforms(has...))
	if err != nil {
		return nil, fmt.Errorf("saving %s: %s; and of its platforms alone: %s", name, failed, err)
	}
	return saved, nil
}

// CreateDaemon opens the daemon that [OpenDaemon] speaks of as a destination for one
// image of one platform, under a tag of repository. It gets the image when it is
// whole; until then it is in a temporary file. The caller closes the writer.
func CreateDaemon(ctx context.Context, repository string, opts Options) (*DockerArchiveWriter, error) {
	docker, where, err := dial()
	if err != nil {
		return nil, err
	}
	// Better now than after the download.
	if _, err := docker.Ping(ctx, client.PingOptions{}); err != nil {
		return nil, errors.Join(daemonError(where, "", err), docker.Close())
	}
	out := &output{where: where, opts: opts, send: func(ctx context.Context, archive io.Reader, _ int64) error {
		return load(ctx, docker, archive)
	}}
	w := newDockerArchiveWriter(out, repository)
	w.closeToo = docker.Close
	w.arrived = func(ctx context.Context, tag string, diffIDs []digest.Digest) error {
		return loaded(ctx, docker, where, repository+":"+tag, diffIDs)
	}
	return w, nil
}

// load sends an archive to a daemon.
func load(ctx context.Context, docker *client.Client, archive io.Reader) error {
	answer, err := docker.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return daemonError("", "", err)
	}
	defer answer.Close()
	// A daemon answers 200 before it knows, and tells failures in what follows.
	lines := json.NewDecoder(io.LimitReader(answer, maxLoadAnswer))
	for {
		var line struct {
			Error string `json:"error"`
		}
		err := lines.Decode(&line)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading what it says about the image: %w", err)
		case line.Error != "":
			return fmt.Errorf("it refuses the image: %s", store.Printable(line.Error))
		}
	}
}

// loaded tells whether the daemon has the image under its name.
func loaded(ctx context.Context, docker *client.Client, where, name string, diffIDs []digest.Digest) error {
	found, err := docker.ImageInspect(ctx, name)
	if err != nil {
		return daemonError(where, name, err)
	}
	var layers []string
	for _, d := range diffIDs {
		layers = append(layers, d.String())
	}
	if !slices.Equal(found.RootFS.Layers, layers) {
		return fmt.Errorf("%s: %s is not the image that was loaded: someone else may be writing it", where, name)
	}
	return nil
}

// daemonError names the daemon of an error, its category, and what helps.
func daemonError(where, name string, err error) error {
	if where != "" {
		where += ": "
	}
	switch {
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%simage %s %w; docker image ls lists what is there", where, name, store.ErrNotFound)
	case client.IsErrConnectionFailed(err) && strings.Contains(err.Error(), "permission denied"): // it has no type
		return fmt.Errorf("%s%w: %w; be root or in the group docker, or set DOCKER_HOST to a daemon of your own", where, store.ErrDenied, err)
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("%s%w; start Docker, or set DOCKER_HOST to where it is: docker context inspect --format '{{.Endpoints.docker.Host}}' says so", where, err)
	}
	return fmt.Errorf("%s%w", where, err)
}
