package cli

import (
	"errors"

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
	case errors.Is(err, image.ErrSchema1):
		return "docker pull and docker push of a current version write a manifest that has a platform"
	}
	return ""
}
