package transfer

import "berth/store"

// Result is what a run did. Its JSON form is part of berth/copy/v1.
type Result struct {
	// Root is what the destination names now.
	Root store.Descriptor `json:"root"`
	// Unchanged says that it did so before, and that nothing was sent.
	Unchanged bool `json:"unchanged"`
	// Rewritten says that the root is an index that the source does not have.
	Rewritten bool `json:"rewritten"`
	// Dropped is how many of the image's manifests were not to be copied.
	Dropped int `json:"dropped"`
	// Manifests is how many manifests and indexes were pushed.
	Manifests int `json:"manifests"`
	// The blobs, by how they came to be there.
	Copied  Tally `json:"copied"`
	Mounted Tally `json:"mounted"`
	Present Tally `json:"present"`
	// Skipped are non-distributable layers, left where their urls say.
	Skipped Tally `json:"skipped"`
	// Referrers are what was done with those of the plan, in its order; as many as the
	// run came to.
	Referrers []Attached `json:"-"`
}

// Attached is what was done with a referrer.
type Attached struct {
	*Referrer
	// Outcome is [store.Copied] or [store.Present], or empty where Err says why the
	// destination does not have it.
	Outcome store.Outcome
	Err     error
}

// Tally is a number of blobs and the sum of their sizes.
type Tally struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

func (t *Tally) add(d store.Descriptor) {
	t.Blobs++
	t.Bytes += d.Size
}

// count adds a blob that is in the destination now.
func (r *Result) count(d store.Descriptor, outcome store.Outcome) {
	switch outcome {
	case store.Mounted:
		r.Mounted.add(d)
	case store.Present:
		r.Present.add(d)
	default:
		r.Copied.add(d)
	}
}
