package transfer

import (
	"fmt"

	"berth/store"
)

// End is one of the two ends of a copy.
type End string

// The ends.
const (
	Source      End = "source"
	Destination End = "destination"
)

// CopyError says which end failed, and over what.
type CopyError struct {
	End End
	// Descriptor is the blob, manifest or index that was being copied.
	Descriptor store.Descriptor
	// Err is what the store said; it names the host and repository.
	Err error
}

func (e *CopyError) Error() string {
	return fmt.Sprintf("copying %s: %s: %v", e.Descriptor.Digest, e.End, e.Err)
}

func (e *CopyError) Unwrap() error { return e.Err }
