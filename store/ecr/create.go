package ecr

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/smithy-go"
)

// Settings are those of a repository that is created. The zero value is what AWS gives
// a repository for which nothing was said: tags can be moved, and nothing is scanned.
type Settings struct {
	// ScanOnPush has images scanned for vulnerabilities when they are pushed. A
	// registry with a scanning configuration of its own goes by that.
	ScanOnPush bool
	// ImmutableTags lets no tag be moved.
	ImmutableTags bool
	// Created, where set, is told of each repository that was created, and how.
	Created func(repository, how string)
}

// create creates the repository, once. That somebody else was faster is as good.
func (r *Repository) create(ctx context.Context) error {
	r.creating.Lock()
	defer r.creating.Unlock()
	if r.created {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	settings := *r.client.options.Create
	loaded, err := r.client.config(bounded, r.at)
	if err != nil {
		return err
	}
	name := r.name()
	how, permission := "tags can be moved", "ecr:CreateRepository"
	if r.at.Public {
		if settings.ScanOnPush || settings.ImmutableTags {
			return errors.New("ECR Public neither scans what is pushed nor has immutable tags: leave out --scan-on-push and --immutable-tags")
		}
		permission = "ecr-public:CreateRepository"
		_, err = ecrpublic.NewFromConfig(loaded).CreateRepository(bounded, &ecrpublic.CreateRepositoryInput{RepositoryName: &name})
	} else {
		input := &ecr.CreateRepositoryInput{RepositoryName: &name, RegistryId: &r.at.Account}
		if settings.ImmutableTags {
			how, input.ImageTagMutability = "tags cannot be moved", types.ImageTagMutabilityImmutable
		}
		if settings.ScanOnPush {
			how += ", scanned on push"
			input.ImageScanningConfiguration = &types.ImageScanningConfiguration{ScanOnPush: true}
		}
		_, err = ecr.NewFromConfig(loaded).CreateRepository(bounded, input)
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "RepositoryAlreadyExistsException" {
		r.created = true
		return nil
	}
	if err != nil {
		return explain(err, fmt.Sprintf("asking Amazon ECR in %s", r.at.Region), permission)
	}
	r.created = true
	if settings.Created != nil {
		settings.Created(r.String(), how)
	}
	return nil
}
