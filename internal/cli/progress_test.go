package cli

import (
	"bytes"
	"testing"
	"time"

	"berth/store"
	"berth/transfer"
)

// A log hears of a long copy now and then, and nothing of a short one.
func TestProgressLines(t *testing.T) {
	large := store.Descriptor{Digest: "sha256:large", Size: 90_000_000}
	small := store.Descriptor{Digest: "sha256:small", Size: 10_000_000}
	plan := &transfer.Plan{Blobs: []store.Descriptor{large, small}}
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	p := (&app{stderr: &out}).progress(nil, plan)
	p.now = func() time.Time { return clock }
	p.started, p.last = clock, clock
	tell := p.of(0)
	at := func(d time.Duration, e transfer.Event) {
		clock = time.Unix(0, 0).Add(d)
		tell(e)
	}
	at(time.Second, transfer.Event{Kind: transfer.BlobRead, Descriptor: large, Offset: 5_000_000})
	at(5*time.Second, transfer.Event{Kind: transfer.BlobDone, Descriptor: small})
	if out.Len() > 0 {
		t.Errorf("after five seconds: %s", &out)
	}
	at(10*time.Second, transfer.Event{Kind: transfer.BlobRead, Descriptor: large, Offset: 40_000_000})
	at(11*time.Second, transfer.Event{Kind: transfer.BlobRead, Descriptor: large, Offset: 41_000_000})
	// The destination asked for it again.
	at(25*time.Second, transfer.Event{Kind: transfer.BlobRead, Descriptor: large, Offset: 15_000_000})
	at(40*time.Second, transfer.Event{Kind: transfer.BlobDone, Descriptor: large})
	p.end()
	const want = `copying: 50 MB of 100 MB, 1 of 2 blobs, 5.0 MB/s, 10s left
copying: 25 MB of 100 MB, 1 of 2 blobs, 1.0 MB/s, 1m15s left
copying: 100 MB of 100 MB, 2 of 2 blobs, 2.5 MB/s
`
	if out.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", &out, want)
	}
	out.Reset()
	quiet := (&app{stderr: &out, quiet: true}).progress(nil, plan)
	quiet.of(0)(transfer.Event{Kind: transfer.BlobDone, Descriptor: large})
	quiet.end()
	if out.Len() > 0 {
		t.Errorf("although it is to be quiet: %s", &out)
	}
}
