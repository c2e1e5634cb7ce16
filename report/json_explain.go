package report

import (
	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/explain"
	"berth/launch"
	"berth/platform"
)

type explanationDocument struct {
	Schema     string             `json:"schema"`
	Conclusion explain.Conclusion `json:"conclusion"`
	Summary    string             `json:"summary"`
	Log        logDocument        `json:"log"`
	Said       []saidDocument     `json:"said"`
	Causes     []causeDocument    `json:"causes"`
	Conflicts  []string           `json:"conflicts"`
	Next       []check.Fix        `json:"next"`
	Images     []explainedImage   `json:"images"`
}

// logDocument is what the log says of itself.
type logDocument struct {
	Reference string        `json:"reference,omitempty"`
	Digest    digest.Digest `json:"digest,omitempty"`
	Target    string        `json:"target,omitempty"`
	Cut       bool          `json:"cut"`
}

type saidDocument struct {
	ID       string       `json:"id"`
	By       string       `json:"by"`
	Stage    launch.Stage `json:"stage"`
	Errno    string       `json:"errno,omitempty"`
	ExitCode int          `json:"exitCode,omitempty"`
	Weight   string       `json:"weight"`
	Meaning  string       `json:"meaning"`
	Line     string       `json:"line"`
	Number   int          `json:"number"`
	Times    int          `json:"times"`
	Path     string       `json:"path,omitempty"`
	Object   string       `json:"object,omitempty"`
	Wanted   string       `json:"wanted,omitempty"`
	Found    string       `json:"found,omitempty"`
	Source   string       `json:"source"`
}

type causeDocument struct {
	Cause    string          `json:"cause"`
	Title    string          `json:"title"`
	Status   explain.Status  `json:"status"`
	Evidence launch.Evidence `json:"evidence,omitempty"`
	Why      string          `json:"why"`
	Platform string          `json:"platform,omitempty"`
	Failure  *launch.Failure `json:"failure,omitempty"`
}

type explainedImage struct {
	Reference string        `json:"reference"`
	Digest    digest.Digest `json:"digest,omitempty"`
	Target    string        `json:"target,omitempty"`
	Needed    string        `json:"needed"`
	// Assumed says that needed is the image's own platform, because nobody named one.
	Assumed bool           `json:"assumed"`
	Error   string         `json:"error,omitempty"`
	Proof   *proofDocument `json:"proof,omitempty"`
	// Named is the proof of the program that the text names, where that is another.
	Named *proofDocument `json:"named,omitempty"`
}

var weights = map[explain.Weight]string{explain.Exact: "exact", explain.Telling: "telling", explain.Vague: "vague"}

func (f *jsonFormat) Explanation(e *explain.Explanation) error {
	r := e.Reading
	doc := explanationDocument{
		Schema: "berth/explanation/v1", Conclusion: e.Conclusion, Summary: e.Summary,
		Log:  logDocument{r.Reference, r.Digest, r.Target, r.Cut},
		Said: []saidDocument{}, Causes: []causeDocument{}, Conflicts: e.Conflicts, Next: e.Next, Images: []explainedImage{},
	}
	for _, s := range r.Said {
		doc.Said = append(doc.Said, saidDocument{
			ID: s.Text.ID, By: s.Form.Who, Stage: s.Text.Stage, Errno: s.Text.Errno, ExitCode: s.Text.ExitCode,
			Weight: weights[s.Text.Weight], Meaning: s.Text.Meaning, Line: s.Line, Number: s.Number, Times: s.Times,
			Path: s.Path, Object: s.Object, Wanted: knownOrEmpty(s.Wanted), Found: knownOrEmpty(s.Found), Source: s.Form.Source,
		})
	}
	for _, c := range e.Causes {
		doc.Causes = append(doc.Causes, causeDocument{c.Cause, c.Title, c.Status, c.Evidence, c.Why, knownOrEmpty(c.Platform), c.Failure})
	}
	for _, s := range e.Subjects {
		d := explainedImage{Reference: s.Name, Needed: platform.Format(s.Need.Platform), Assumed: s.Assumed, Error: errorText(s.Err)}
		if s.Image != nil {
			d.Digest = s.Image.Root.Descriptor.Digest
		}
		if s.Need.Target != nil {
			d.Target = s.Need.Target.Name
		}
		if s.Start != nil {
			d.Proof = &proofDocuments([]*check.Start{s.Start})[0]
		}
		if s.Named != nil {
			d.Named = &proofDocuments([]*check.Start{s.Named})[0]
		}
		doc.Images = append(doc.Images, d)
	}
	return f.write(doc)
}

func knownOrEmpty(p platform.Platform) string {
	if !platform.Known(p) {
		return ""
	}
	return platform.Format(p)
}
