// Package ecr knows what is special about Amazon ECR: logging in with the AWS
// credentials that are there anyway, and what to type when a repository is missing.
//
// Start with [New]. [Client.Credentials] is for registry.Options, and [Client.Wrap] for
// the repositories of the registry.Client. Everything else about ECR is as on any other
// registry.
package ecr

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

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
	client *Client
	at     Registry
	// creating is held by whoever creates the repository, created is what came of it.
	creating sync.Mutex
	created  bool
}

var (
	_ store.Source      = (*Repository)(nil)
	_ store.Destination = (*Repository)(nil)
)

// Wrap returns r as a [Repository], or false where it is not on ECR.
func (c *Client) Wrap(r *registry.Repository) (*Repository, bool) {
	at, ok := Parse(r.Host())
	return &Repository{Repository: r, client: c, at: at}, ok
}

// Manifest implements store.ManifestReader.
func (r *Repository) Manifest(ctx context.Context, reference string) (*store.Manifest, error) {
	manifest, err := r.Repository.Manifest(ctx, reference)
	return manifest, r.explain(err)
}

// PushBlob implements store.Pusher.
func (r *Repository) PushBlob(ctx context.Context, content store.Content) (outcome store.Outcome, err error) {
	err = r.push(ctx, func() error {
		outcome, err = r.Repository.PushBlob(ctx, content)
		return err
	})
	return outcome, err
}

// PushManifest implements store.Pusher.
func (r *Repository) PushManifest(ctx context.Context, desc store.Descriptor, raw []byte, tag string) error {
	return r.push(ctx, func() error { return r.Repository.PushManifest(ctx, desc, raw, tag) })
}

// push pushes, and once more where the repository was missing and is created.
func (r *Repository) push(ctx context.Context, push func() error) error {
	err := push()
	if r.client.options.Create != nil && missing(err) {
		if err := r.create(ctx); err != nil {
			return fmt.Errorf("creating %s: %w", r, err)
		}
		err = push()
	}
	return r.explain(err)
}

// missing tells whether a push failed because there is no such repository.
func missing(err error) bool {
	failed, ok := errors.AsType[*registry.Error](err)
	return ok && failed.Code == "NAME_UNKNOWN" && strings.HasPrefix(failed.Op, "pushing")
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
	case missing(err):
		return fmt.Errorf("%w; the repository must be there before a push: --create-repository creates it, or %s", err, r.command())
	case errors.Is(err, store.ErrImmutable):
		return fmt.Errorf("%w; write another tag, or let tags be moved: aws ecr put-image-tag-mutability --repository-name %s --image-tag-mutability MUTABLE --region %s", err, r.Name(), r.at.Region)
	case r.at.Public && errors.Is(err, store.ErrUnauthorized):
		return fmt.Errorf("%w; pushing to %s takes AWS credentials: %s", err, publicHost, logIn)
	}
	return err
}

// command is the command that creates the repository.
func (r *Repository) command() string {
	service := "ecr"
	if r.at.Public {
		service = "ecr-public"
	}
	return fmt.Sprintf("aws %s create-repository --repository-name %s --region %s", service, r.name(), r.at.Region)
}

// name is the repository's as the API has it. On ECR Public the first part of a name is
// the alias of the registry.
func (r *Repository) name() string {
	if r.at.Public {
		if _, rest, ok := strings.Cut(r.Name(), "/"); ok {
			return rest
		}
	}
	return r.Name()
}
