// Package ecr knows what is special about Amazon ECR: logging in with the AWS
// credentials that are there anyway, and what to type when a repository is missing.
//
// Start with [Credentials], for registry.Options, and wrap repositories that are
// written to with [Wrap]. Everything else about ECR is as on any other registry.
package ecr

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"berth/store"
	"berth/store/registry"
)

// publicHost is the one registry of ECR Public, and publicRegion the one region of
// its API ("Amazon ECR Public endpoints and quotas", November 2026).
const (
	publicHost   = "public.ecr.aws"
	publicRegion = "us-east-1"
)

// Registry is an ECR registry, as its host name says.
type Registry struct {
	// Account is the AWS account's twelve digits; empty for ECR Public.
	Account string
	// Region is where its API is.
	Region string
	// FIPS is set where the host is a FIPS 140 endpoint.
	FIPS bool
	// Public is set for ECR Public.
	Public bool
}

// private is a private registry's host: ACCOUNT.dkr.ecr.REGION.amazonaws.com and
// its dual-stack form ACCOUNT.dkr-ecr.REGION.on.aws, both with -fips, and both
// under the names that China has ("Amazon ECR endpoints", November 2026). It is
// anchored on both sides, because such a host is given credentials.
var private = regexp.MustCompile(`^([0-9]{12})\.(?:dkr\.ecr|dkr-ecr)(-fips)?\.([a-z]{2,}(?:-[a-z]+)+-[0-9]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)$`)

// Parse recognises an ECR host.
func Parse(host string) (Registry, bool) {
	if host == publicHost {
		return Registry{Region: publicRegion, Public: true}, true
	}
	part := private.FindStringSubmatch(host)
	if part == nil {
		return Registry{}, false
	}
	return Registry{Account: part[1], FIPS: part[2] != "", Region: part[3]}, true
}

// Repository is a repository on ECR, whose errors say what to type.
type Repository struct {
	*registry.Repository
	at Registry
}

var (
	_ store.Source      = (*Repository)(nil)
	_ store.Destination = (*Repository)(nil)
)

// Wrap returns r as a [Repository], or false where it is not on ECR.
func Wrap(r *registry.Repository) (*Repository, bool) {
	at, ok := Parse(r.Host())
	return &Repository{r, at}, ok
}

// Manifest implements store.ManifestReader.
func (r *Repository) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	manifest, err := r.Repository.Manifest(ctx, reference)
	return manifest, r.explain(err)
}

// PushBlob implements store.Pusher.
func (r *Repository) PushBlob(ctx context.Context, content store.Content) (store.Outcome, error) {
	outcome, err := r.Repository.PushBlob(ctx, content)
	return outcome, r.explain(err)
}

// PushManifest implements store.Pusher.
func (r *Repository) PushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) error {
	return r.explain(r.Repository.PushManifest(ctx, desc, raw, tag))
}

// explain adds to an error what mends it.
func (r *Repository) explain(err error) error {
	failed, ok := errors.AsType[*registry.Error](err)
	switch {
	case !ok:
		return err
	case strings.Contains(failed.Message, "authorization token has expired"):
		// A docker login of more than twelve hours ago, which comes before the AWS
		// credentials.
		return fmt.Errorf("%w; `docker logout %s` lets berth log in with AWS credentials", err, r.Host())
	case failed.Code == "NAME_UNKNOWN" && strings.HasPrefix(failed.Op, "pushing"):
		return fmt.Errorf("%w; the repository must be there before a push: %s", err, r.create())
	case r.at.Public && errors.Is(err, store.ErrUnauthorized):
		return fmt.Errorf("%w; pushing to %s takes AWS credentials: %s", err, publicHost, logIn)
	}
	return err
}

// create is the command that creates the repository. On ECR Public the first part
// of a name is the alias of the registry, and not of the repository's name.
func (r *Repository) create() string {
	service, name := "ecr", r.Name()
	if r.at.Public {
		service = "ecr-public"
		if _, rest, ok := strings.Cut(name, "/"); ok {
			name = rest
		}
	}
	return fmt.Sprintf("aws %s create-repository --repository-name %s --region %s", service, name, r.at.Region)
}
