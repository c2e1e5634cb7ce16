package rootfs

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"berth/store"
)

// ErrBudget is the category of every [BudgetError].
var ErrBudget = errors.New("over budget")

// BudgetError says that an answer would take more than is allowed: more than
// [Options.MaxFetch], or than a bound on what foreign bytes may cost.
type BudgetError struct {
	// Layer is the layer that was being read, or empty where it was all of them.
	Layer digest.Digest
	// Limit says which bound it was.
	Limit string
	// spent says that it was Options.MaxFetch, own that it was a bound of the file system that
	// read, which others of its pool may not be at.
	spent, own bool
}

func (e *BudgetError) Error() string {
	if e.Layer == "" {
		return e.Limit
	}
	return fmt.Sprintf("layer %s: %s", e.Layer, e.Limit)
}

// Is makes errors.Is(err, ErrBudget) true.
func (e *BudgetError) Is(target error) bool { return target == ErrBudget }

// UnpackError says that an engine refuses to unpack a layer, so that a container of this
// image is never created.
type UnpackError struct {
	Layer *Layer
	// Path is the entry, absolute and clean.
	Path string
	// Reason says what is wrong with it, and who says so where engines differ.
	Reason string
}

// refusal is an [UnpackError] of whichever image the layer is in.
type refusal struct{ path, reason string }

func (r *refusal) Error() string { return r.path + " " + r.reason }

func (e *UnpackError) Error() string {
	return fmt.Sprintf("layer %s cannot be unpacked: %s %s", e.Layer.Descriptor.Digest, store.Printable(e.Path), e.Reason)
}
