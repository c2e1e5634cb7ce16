package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"berth/image"
	"berth/platform"
	"berth/report"
)

func (a *app) inspect() *cobra.Command {
	var platformFlag, format string
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show what an image claims: platforms, digests, sizes, attestations",
		Long: `Show what an image claims: each platform of its index as declared there and as
configured in the image itself, with digests, sizes and attestations.

--format takes a Go template over the fields of docker inspect (.Os, .Architecture,
.Variant, .Config, .Created …), for a single image or the one that --platform selects.`,
		Example: `berth inspect grafana/grafana
berth inspect oci:build --platform linux/arm64 --format '{{.Os}}/{{.Architecture}}'
berth inspect grafana/grafana -o json`,
		Args: arguments(1, 1, "an IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			tmpl, err := parseTemplate(format)
			if err != nil {
				return err
			}
			_, im, err := a.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			shown := im.Manifests
			if platformFlag != "" {
				p, err := platform.Parse(platformFlag)
				if err != nil {
					return usageError{err}
				}
				m, err := im.Select(p)
				if err != nil {
					return usageError{fmt.Errorf("%s: %w", args[0], err)}
				}
				shown = []*image.Manifest{m}
			}
			if tmpl == nil {
				err = f.Image(&report.Opened{Name: args[0], Image: im, Manifests: shown})
			} else {
				err = a.render(tmpl, args[0], im, shown)
			}
			if err != nil {
				return err
			}
			for _, m := range shown {
				if m.Err != nil {
					return errUnknown
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&platformFlag, "platform", "", "show what an engine of this platform would take (os/arch[/variant])")
	cmd.Flags().StringVarP(&format, "format", "f", "", "Go template over the fields of docker inspect")
	return cmd
}

func parseTemplate(text string) (*template.Template, error) {
	if text == "" {
		return nil, nil
	}
	tmpl, err := template.New("--format").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			raw, err := json.Marshal(v)
			return string(raw), err
		},
		"join":  strings.Join,
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
	}).Parse(text)
	if err != nil {
		return nil, usagef("--format: %w", err)
	}
	return tmpl, nil
}

// inspected has the names that docker inspect gives an image's fields.
type inspected struct {
	ID            string `json:"Id"`
	RepoDigests   []string
	Created       *time.Time
	Author        string
	Architecture  string
	Variant       string
	Os            string
	OsVersion     string
	Size          int64
	Config        v1.ImageConfig
	RootFS        v1.RootFS
	History       []v1.History
	Digest        digest.Digest
	MediaType     string
	Layers        []v1.Descriptor
	Declared      string
	ConfigDigest  digest.Digest
	Attestations  int
	ManifestBytes int64
}

func (a *app) render(tmpl *template.Template, name string, im *image.Image, shown []*image.Manifest) error {
	if len(shown) != 1 {
		return usagef("%s is an index of %d manifests, and --format is for one: add --platform (it has %s)", name, len(shown), formats(im.Platforms()))
	}
	m := shown[0]
	if m.Err != nil {
		return m.Err
	}
	view := inspected{
		ID: m.ConfigDescriptor.Digest.String(), RepoDigests: []string{m.Descriptor.Digest.String()},
		Created: m.Config.Created, Author: m.Config.Author,
		Size: m.Size(), Config: m.Config.Config, RootFS: m.Config.RootFS, History: m.Config.History,
		Digest: m.Descriptor.Digest, MediaType: m.Descriptor.MediaType, Layers: m.Layers,
		ConfigDigest: m.ConfigDescriptor.Digest, Attestations: len(im.Attestations(m.Descriptor.Digest)),
		ManifestBytes: int64(len(m.Raw)),
	}
	if m.Configured != nil {
		view.Architecture, view.Variant, view.Os, view.OsVersion = m.Configured.Architecture, m.Configured.Variant, m.Configured.OS, m.Configured.OSVersion
	}
	if m.Declared != nil {
		view.Declared = platform.Format(*m.Declared)
	}
	var out strings.Builder
	if err := tmpl.Execute(&out, view); err != nil {
		return usagef("--format: %w", err)
	}
	_, err := fmt.Fprintln(a.stdout, out.String())
	return err
}
