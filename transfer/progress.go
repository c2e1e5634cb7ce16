package transfer

import "berth/store"

// EventKind is what an [Event] is about.
type EventKind string

const (
	// BlobStarted says that a blob's turn has come.
	BlobStarted EventKind = "blob started"
	// BlobRead says how far a blob has been read from the source.
	BlobRead EventKind = "blob read"
	// BlobDone says that a blob is in the destination.
	BlobDone EventKind = "blob done"
	// ManifestDone says that a manifest or index is in the destination.
	ManifestDone EventKind = "manifest done"
)

// Event tells how far a run has come. A run that fails ends without further events.
type Event struct {
	Kind       EventKind
	Descriptor store.Descriptor
	// Offset is set for [BlobRead]: the blob is read up to here. It goes back where
	// a destination asks for the content again.
	Offset int64
	// Outcome is set for [BlobDone].
	Outcome store.Outcome
}
