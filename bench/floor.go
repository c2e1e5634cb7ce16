package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// floorAtOnce is how many blobs the floor has in flight: all of the comparison's image.
const floorAtOnce = 32

// floor moves an index as fast as HTTP allows: manifests side by side, then GET beside
// POST and a PUT for each blob, then the manifests. It checks nothing, resumes nothing,
// retries nothing and asks nobody who is there: what a copy costs more than this is
// what its tool costs.
func floor(ctx context.Context, from, to string) error {
	f := &bare{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * floorAtOnce, DisableCompression: true}}}
	var tag, toTag string
	f.src, tag = split(from)
	f.dst, toTag = split(to)
	root, rootType, err := f.manifest(ctx, tag)
	if err != nil {
		return err
	}
	var index v1.Index
	if err := json.Unmarshal(root, &index); err != nil {
		return err
	}
	children := make([][]byte, len(index.Manifests))
	group, inner := errgroup.WithContext(ctx)
	for i, d := range index.Manifests {
		group.Go(func() (err error) {
			children[i], _, err = f.manifest(inner, d.Digest.String())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	group, inner = errgroup.WithContext(ctx)
	group.SetLimit(floorAtOnce)
	for _, raw := range children {
		var manifest v1.Manifest
		if err := json.Unmarshal(raw, &manifest); err != nil {
			return err
		}
		for _, d := range append(manifest.Layers, manifest.Config) {
			group.Go(func() error { return f.blob(inner, d) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	group, inner = errgroup.WithContext(ctx)
	for i, d := range index.Manifests {
		group.Go(func() error { return f.put(inner, d.Digest.String(), d.MediaType, children[i]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return f.put(ctx, toTag, rootType, root)
}

// bare moves blobs and manifests, and nothing else.
type bare struct {
	client   *http.Client
	src, dst string // http://HOST/v2/REPOSITORY
}

// split cuts HOST/REPOSITORY:TAG.
func split(reference string) (base, tag string) {
	host, rest, _ := strings.Cut(reference, "/")
	repository, tag, _ := strings.Cut(rest, ":")
	return "http://" + host + "/v2/" + repository, tag
}

func (f *bare) do(ctx context.Context, method, address string, header http.Header, body io.Reader, size int64, want int) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	request.Header, request.ContentLength = header, size
	response, err := f.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != want {
		_ = response.Body.Close() // its status says enough
		return nil, fmt.Errorf("%s %s: %s", method, address, response.Status)
	}
	return response, nil
}

func (f *bare) manifest(ctx context.Context, reference string) ([]byte, string, error) {
	response, err := f.do(ctx, http.MethodGet, f.src+"/manifests/"+reference, http.Header{"Accept": {v1.MediaTypeImageIndex, v1.MediaTypeImageManifest}}, nil, 0, http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return raw, response.Header.Get("Content-Type"), err
}

func (f *bare) blob(ctx context.Context, d v1.Descriptor) error {
	var from, session *http.Response
	var group errgroup.Group
	group.Go(func() (err error) {
		from, err = f.do(ctx, http.MethodGet, f.src+"/blobs/"+d.Digest.String(), http.Header{}, nil, 0, http.StatusOK)
		return err
	})
	group.Go(func() (err error) {
		session, err = f.do(ctx, http.MethodPost, f.dst+"/blobs/uploads/", http.Header{}, nil, 0, http.StatusAccepted)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	defer from.Body.Close()
	location, err := session.Location()
	if err := firstOf(err, session.Body.Close()); err != nil {
		return err
	}
	location.RawQuery += "&digest=" + url.QueryEscape(d.Digest.String())
	stored, err := f.do(ctx, http.MethodPut, location.String(), http.Header{"Content-Type": {"application/octet-stream"}}, from.Body, d.Size, http.StatusCreated)
	if err != nil {
		return err
	}
	return stored.Body.Close()
}

func (f *bare) put(ctx context.Context, reference, mediaType string, raw []byte) error {
	stored, err := f.do(ctx, http.MethodPut, f.dst+"/manifests/"+reference, http.Header{"Content-Type": {mediaType}}, strings.NewReader(string(raw)), int64(len(raw)), http.StatusCreated)
	if err != nil {
		return err
	}
	return stored.Body.Close()
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
