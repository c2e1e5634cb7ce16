package report

import (
	"encoding/json"
	"io"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/target"
	"berth/transfer"
	"berth/workload"
)

// jsonFormat writes one document for each call. Its shapes are in docs/schema.
type jsonFormat struct{ w io.Writer }

func (f *jsonFormat) write(v any) error {
	e := json.NewEncoder(f.w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

type imageDocument struct {
	Schema    string             `json:"schema"`
	Reference string             `json:"reference"`
	Digest    digest.Digest      `json:"digest"`
	MediaType string             `json:"mediaType"`
	Index     bool               `json:"index"`
	Manifests []manifestDocument `json:"manifests"`
}

type manifestDocument struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Kind      image.Kind    `json:"kind"`
	// Declared and Configured are empty where there is none.
	Declared   string          `json:"declared,omitempty"`
	Configured string          `json:"configured,omitempty"`
	Attests    digest.Digest   `json:"attests,omitempty"`
	Size       int64           `json:"size"`
	Layers     []layerDocument `json:"layers"`
	Entrypoint []string        `json:"entrypoint,omitempty"`
	Cmd        []string        `json:"cmd,omitempty"`
	Error      string          `json:"error,omitempty"`
}

type layerDocument struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	CreatedBy string        `json:"createdBy,omitempty"`
}

func (f *jsonFormat) Image(o *Opened) error {
	doc := imageDocument{
		Schema: "berth/image/v1", Reference: o.Name, Digest: o.Image.Root.Descriptor.Digest,
		MediaType: o.Image.Root.Descriptor.MediaType, Index: o.Image.IsIndex, Manifests: []manifestDocument{},
	}
	for _, m := range o.Manifests {
		d := manifestDocument{
			Digest: m.Descriptor.Digest, MediaType: m.Descriptor.MediaType, Kind: m.Kind,
			Declared: formatOrEmpty(m.Declared), Configured: formatOrEmpty(m.Configured),
			Attests: m.Attests, Size: m.Size(), Layers: []layerDocument{},
			Entrypoint: m.Config.Config.Entrypoint, Cmd: m.Config.Config.Cmd, Error: errorText(m.Err),
		}
		createdBy := m.CreatedBy()
		for i, l := range m.Layers {
			d.Layers = append(d.Layers, layerDocument{l.Digest, l.MediaType, l.Size, createdBy[i]})
		}
		doc.Manifests = append(doc.Manifests, d)
	}
	return f.write(doc)
}

type proofsDocument struct {
	Schema    string          `json:"schema"`
	Reference string          `json:"reference"`
	Digest    digest.Digest   `json:"digest"`
	Proofs    []proofDocument `json:"proofs"`
}

type proofDocument struct {
	Platform   string        `json:"platform"`
	Configured string        `json:"configured,omitempty"`
	Manifest   digest.Digest `json:"manifest"`
	Host       string        `json:"host"`
	launch.Proof
	Bytes bytesDocument `json:"bytes"`
}

type bytesDocument struct {
	Fetched int64 `json:"fetched"`
	Total   int64 `json:"total"`
}

func (f *jsonFormat) Proofs(p *Proved) error {
	return f.write(proofsDocument{"berth/proof/v1", p.Name, p.Image.Root.Descriptor.Digest, proofDocuments(p.Starts)})
}

func proofDocuments(starts []*check.Start) []proofDocument {
	docs := []proofDocument{}
	for _, s := range starts {
		docs = append(docs, proofDocument{
			Platform: platform.Format(s.Manifest.Platform()), Configured: formatOrEmpty(s.Manifest.Configured),
			Manifest: s.Manifest.Descriptor.Digest, Host: platform.Format(s.Host.Platform),
			Proof: proofOf(s), Bytes: bytesDocument{s.Fetched, s.Total},
		})
	}
	return docs
}

// proofOf is the proof of s, or one that says why there is none.
func proofOf(s *check.Start) launch.Proof {
	p := launch.Proof{Verdict: launch.Unknown, Evidence: launch.Configured}
	if s.Proof != nil {
		p = *s.Proof
	} else if s.Err != nil {
		p.Reason = s.Err.Error()
	}
	if p.Steps == nil {
		p.Steps = []launch.Step{}
	}
	if p.Warnings == nil {
		p.Warnings = []launch.Warning{}
	}
	return p
}

type reportDocument struct {
	Schema  string           `json:"schema"`
	Results []resultDocument `json:"results"`
	Files   []fileDocument   `json:"files"`
}

type fileDocument struct {
	File     string            `json:"file"`
	Format   string            `json:"format,omitempty"`
	Findings []check.Finding   `json:"findings"`
	Problems []problemDocument `json:"problems"`
}

type problemDocument struct {
	Position workload.Pos `json:"position"`
	Message  string       `json:"message"`
	// Open says that the file leaves it open by its nature, and is not broken.
	Open bool `json:"open"`
}

type resultDocument struct {
	Reference string `json:"reference"`
	// Position is where a deployment file names the image, Workload and Container what for.
	Position  *workload.Pos   `json:"position,omitempty"`
	Format    string          `json:"format,omitempty"`
	Workload  string          `json:"workload,omitempty"`
	Container string          `json:"container,omitempty"`
	Digest    digest.Digest   `json:"digest,omitempty"`
	Target    string          `json:"target,omitempty"`
	Needed    string          `json:"needed,omitempty"`
	Why       string          `json:"why,omitempty"`
	Verdict   check.Verdict   `json:"verdict"`
	Findings  []check.Finding `json:"findings"`
	Unknowns  []string        `json:"unknowns"`
	Proof     *proofDocument  `json:"proof,omitempty"`
}

func (f *jsonFormat) Check(report *check.Report) error {
	doc := reportDocument{Schema: "berth/report/v1", Results: []resultDocument{}, Files: fileDocuments(report.Files)}
	for _, r := range report.Results {
		s := r.Subject
		d := resultDocument{
			Reference: s.Name, Why: s.Need.Why,
			Verdict: r.Verdict, Findings: findings(r.Findings), Unknowns: append([]string{}, r.Unknowns...),
		}
		if platform.Known(s.Need.Platform) {
			d.Needed = platform.Format(s.Need.Platform)
		}
		if o := s.Origin; o != nil {
			d.Position, d.Format, d.Workload, d.Container = &o.Container.Image.Pos, o.Workload.Format, o.Workload.String(), o.Container.Name
		}
		if s.Image != nil {
			d.Digest = s.Image.Root.Descriptor.Digest
		}
		if s.Need.Target != nil {
			d.Target = s.Need.Target.Name
		}
		if s.Start != nil {
			d.Proof = &proofDocuments([]*check.Start{s.Start})[0]
		}
		doc.Results = append(doc.Results, d)
	}
	return f.write(doc)
}

// findings has lists where there are none, as the schema says.
func findings(all []check.Finding) []check.Finding {
	all = append([]check.Finding{}, all...)
	for i := range all {
		all[i].Fixes = append([]check.Fix{}, all[i].Fixes...)
	}
	return all
}

func fileDocuments(files []check.FileResult) []fileDocument {
	docs := []fileDocument{}
	for _, f := range files {
		d := fileDocument{File: f.Reading.File.Name, Findings: findings(f.Findings), Problems: []problemDocument{}}
		if f.Reading.Format != nil {
			d.Format = f.Reading.Format.Name
		}
		for _, p := range f.Reading.Problems {
			d.Problems = append(d.Problems, problemDocument{p.Pos, p.Message, p.Open})
		}
		docs = append(docs, d)
	}
	return docs
}

type copyDocument struct {
	Schema      string        `json:"schema"`
	Source      string        `json:"source"`
	Destination string        `json:"destination"`
	Digest      digest.Digest `json:"digest"`
	MediaType   string        `json:"mediaType"`
	DryRun      bool          `json:"dryRun"`
	Platforms   []string      `json:"platforms"`
	// Rewritten says that the digest is that of a new index, Dropped how many
	// manifests of the source are not in it.
	Rewritten bool            `json:"rewritten"`
	Dropped   int             `json:"dropped"`
	Planned   plannedCopy     `json:"planned"`
	Result    *copyResult     `json:"result,omitempty"`
	Proofs    []proofDocument `json:"proofs"`
	// Converted is absent where that was not asked for, or no target demands a form.
	Converted *[]conversionDocument `json:"converted,omitempty"`
	// Referrers is absent where they were not asked for.
	Referrers *[]referrerDocument `json:"referrers,omitempty"`
	Requests  int64               `json:"requests"`
	Seconds   float64             `json:"seconds"`
}

// conversionDocument is what was made of a manifest.
type conversionDocument struct {
	Platform string        `json:"platform"`
	From     digest.Digest `json:"from"`
	To       digest.Digest `json:"to"`
	Layers   int           `json:"layers"`
	Docker   bool          `json:"docker"`
}

func conversionDocuments(c *Copied) *[]conversionDocument {
	if c.Converted == nil {
		return nil
	}
	docs := []conversionDocument{}
	for _, one := range c.Converted.Conversions {
		docs = append(docs, conversionDocument{platform.Format(one.Platform), one.From, one.To, one.Layers, one.Docker})
	}
	return &docs
}

// referrerDocument is something about the image.
type referrerDocument struct {
	Digest  digest.Digest `json:"digest,omitempty"`
	Subject digest.Digest `json:"subject,omitempty"`
	Type    string        `json:"type,omitempty"`
	Tag     string        `json:"tag,omitempty"`
	// Outcome is planned, copied, present, left-out or failed; the last two have a reason.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

func referrerDocuments(c *Copied) *[]referrerDocument {
	a := c.Attachments
	if a == nil {
		return nil
	}
	docs := []referrerDocument{}
	for i, one := range a.Found {
		d := referrerDocument{Digest: one.Image.Root.Descriptor.Digest, Subject: one.Subject, Type: one.Type, Tag: one.Tag, Outcome: "planned"}
		if c.Result != nil && i < len(c.Result.Referrers) {
			r := c.Result.Referrers[i]
			d.Outcome = string(r.Outcome)
			if r.Err != nil {
				d.Outcome, d.Reason = "failed", r.Err.Error()
			}
		}
		docs = append(docs, d)
	}
	for _, one := range a.Left {
		docs = append(docs, referrerDocument{
			Digest: one.Image.Root.Descriptor.Digest, Subject: one.Subject, Type: one.Type, Tag: one.Tag,
			Outcome: "left-out", Reason: "it is about the source's index, which is not what is copied",
		})
	}
	for _, err := range a.Unread {
		docs = append(docs, referrerDocument{Outcome: "left-out", Reason: err.Error()})
	}
	return &docs
}

type plannedCopy struct {
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"`
	Bytes     int64 `json:"bytes"`
}

type copyResult struct {
	Unchanged bool           `json:"unchanged"`
	Manifests int            `json:"manifests"`
	Copied    transfer.Tally `json:"copied"`
	Mounted   transfer.Tally `json:"mounted"`
	Present   transfer.Tally `json:"present"`
	Skipped   transfer.Tally `json:"skipped"`
}

// copiesDocument is a copy to several destinations: each as berth/copy/v1 has it, or
// why it is not written.
type copiesDocument struct {
	Schema   string         `json:"schema"`
	Source   string         `json:"source"`
	Copies   []copyDocument `json:"copies"`
	Failures []copyFailure  `json:"failures"`
	Requests int64          `json:"requests"`
	Seconds  float64        `json:"seconds"`
}

type copyFailure struct {
	Destination string `json:"destination"`
	Error       string `json:"error"`
}

func (f *jsonFormat) Copy(c *Copied) error { return f.write(copyDocumentOf(c)) }

func (f *jsonFormat) Copies(c *Copies) error {
	doc := copiesDocument{
		Schema: "berth/copies/v1", Source: c.Source, Copies: []copyDocument{}, Failures: []copyFailure{},
		Requests: c.Requests, Seconds: c.Seconds,
	}
	for _, copied := range c.Copies {
		if copied.Err != nil {
			doc.Failures = append(doc.Failures, copyFailure{copied.Destination, copied.Err.Error()})
			continue
		}
		doc.Copies = append(doc.Copies, copyDocumentOf(copied))
	}
	return f.write(doc)
}

func copyDocumentOf(c *Copied) copyDocument {
	doc := copyDocument{
		Schema: "berth/copy/v1", Source: c.Source, Destination: c.Destination,
		Digest: c.Plan.Root.Digest, MediaType: c.Plan.Root.MediaType, DryRun: c.DryRun, Platforms: []string{},
		Rewritten: c.Plan.Rewritten, Dropped: c.Plan.Dropped,
		Planned: plannedCopy{len(c.Plan.Manifests), len(c.Plan.Blobs), c.Plan.Bytes()},
		Proofs:  proofDocuments(c.Starts), Requests: c.Requests, Seconds: c.Seconds,
		Converted: conversionDocuments(c), Referrers: referrerDocuments(c),
	}
	names, _ := kinds(c.Selection.Manifests)
	doc.Platforms = append(doc.Platforms, names...)
	if r := c.Result; r != nil {
		doc.Result = &copyResult{r.Unchanged, r.Manifests, r.Copied, r.Mounted, r.Present, r.Skipped}
	}
	return doc
}

type targetsDocument struct {
	Schema  string           `json:"schema"`
	Targets []targetDocument `json:"targets"`
}

type targetDocument struct {
	Name       string   `json:"name"`
	Title      string   `json:"title"`
	Aliases    []string `json:"aliases"`
	Runs       []string `json:"runs"`
	Default    string   `json:"default,omitempty"`
	DeclaredIn string   `json:"declaredIn,omitempty"`
	Accepts    struct {
		Index           target.Answer `json:"index"`
		Attestation     target.Answer `json:"attestation"`
		Zstd            target.Answer `json:"zstd"`
		OCI             target.Answer `json:"oci"`
		MaxUncompressed int64         `json:"maxUncompressed,omitempty"`
	} `json:"accepts"`
	Facts []factDocument `json:"facts"`
}

type factDocument struct {
	Topic   string `json:"topic"`
	Says    string `json:"says"`
	Source  string `json:"source"`
	Checked string `json:"checked"`
}

func (f *jsonFormat) Targets(targets []*target.Target) error {
	doc := targetsDocument{Schema: "berth/targets/v1", Targets: []targetDocument{}}
	for _, t := range targets {
		d := targetDocument{
			Name: t.Name, Title: t.Title, Aliases: append([]string{}, t.Aliases...), Runs: []string{},
			Default: formatOrEmpty(t.Default), DeclaredIn: t.DeclaredIn, Facts: []factDocument{},
		}
		for _, p := range t.Runs {
			d.Runs = append(d.Runs, platform.Format(p))
		}
		d.Accepts.Index, d.Accepts.Attestation = t.Accepts.Index, t.Accepts.Attestation
		d.Accepts.Zstd, d.Accepts.OCI = t.Accepts.Zstd, t.Accepts.OCI
		d.Accepts.MaxUncompressed = t.Accepts.MaxUncompressed
		for _, fact := range t.Facts {
			d.Facts = append(d.Facts, factDocument(fact))
		}
		doc.Targets = append(doc.Targets, d)
	}
	return f.write(doc)
}

func formatOrEmpty(p *platform.Platform) string {
	if p == nil {
		return ""
	}
	return platform.Format(*p)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
