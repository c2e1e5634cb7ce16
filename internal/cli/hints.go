package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"berth/image"
	"berth/store"
)

// hintFor is what to do about an error, where its own text does not say so.
func hintFor(err error) string {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return "--prove=never writes the tag all the same"
	case errors.Is(err, store.ErrUnauthorized):
		return "log in with docker login HOST, or set credentials in ~/.docker/config.json; for ECR the AWS credential chain is enough"
	case errors.Is(err, store.ErrRateLimited):
		return "docker login HOST raises the limit of anonymous pulls; a mirror takes pulls off it (mirrors: in the file given with --registry-config)"
	case errors.Is(err, image.ErrSchema1):
		return "docker pull and docker push of a current version write a manifest that has a platform"
	}
	return ""
}

// quotas says of which registries few pulls are left.
func (a *app) quotas() {
	a.stores.mu.Lock()
	client := a.stores.client
	a.stores.mu.Unlock()
	if client == nil || a.quiet {
		return
	}
	quotas := client.Quotas()
	for _, host := range slices.Sorted(maps.Keys(quotas)) {
		if q := quotas[host]; q.Low() {
			fmt.Fprintf(a.stderr, "%s: %s; docker login %s raises the limit of anonymous pulls\n", host, q, host)
		}
	}
}
