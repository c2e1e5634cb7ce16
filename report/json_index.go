package report

import (
	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/platform"
)

type indexDocument struct {
	Schema      string          `json:"schema"`
	Destination string          `json:"destination"`
	Digest      digest.Digest   `json:"digest"`
	MediaType   string          `json:"mediaType"`
	DryRun      bool            `json:"dryRun"`
	Entries     []entryDocument `json:"entries"`
	Planned     plannedCopy     `json:"planned"`
	Result      *copyResult     `json:"result,omitempty"`
	Proofs      []proofDocument `json:"proofs"`
	Requests    int64           `json:"requests"`
	Seconds     float64         `json:"seconds"`
}

type entryDocument struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Kind      image.Kind    `json:"kind"`
	// Platform is empty for what is not an image.
	Platform string        `json:"platform,omitempty"`
	Attests  digest.Digest `json:"attests,omitempty"`
	Source   string        `json:"source"`
}

func (f *jsonFormat) Index(x *Indexed) error {
	doc := indexDocument{
		Schema: "berth/index/v1", Destination: x.Destination, Digest: x.Plan.Root.Digest, MediaType: x.Plan.Root.MediaType,
		DryRun: x.DryRun, Entries: []entryDocument{},
		Planned: plannedCopy{len(x.Plan.Manifests), len(x.Plan.Blobs), x.Plan.Bytes()},
		Proofs:  proofDocuments(x.Starts), Requests: x.Requests, Seconds: x.Seconds,
	}
	for _, m := range x.Selection.Manifests {
		d := entryDocument{Digest: m.Descriptor.Digest, MediaType: m.Descriptor.MediaType, Kind: m.Kind, Attests: m.Attests, Source: x.From[m.Descriptor.Digest]}
		if m.Kind == image.KindImage {
			d.Platform = platform.Format(m.Platform())
		}
		doc.Entries = append(doc.Entries, d)
	}
	if r := x.Result; r != nil {
		doc.Result = &copyResult{r.Unchanged, r.Manifests, r.Copied, r.Mounted, r.Present, r.Skipped}
	}
	return f.write(doc)
}
