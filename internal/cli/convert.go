package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/store"
	"berth/target"
	"berth/transfer"
)

// form is what the targets demand of the image's form, and who does.
func (c *choice) form() (form transfer.Form, who []string) {
	for _, need := range c.needs {
		t := need.Target
		if t == nil || t.Accepts.Zstd != target.No && t.Accepts.OCI != target.No {
			continue
		}
		form.Gzip = form.Gzip || t.Accepts.Zstd == target.No
		form.Docker = form.Docker || t.Accepts.OCI == target.No
		who = append(who, t.Title)
	}
	return form, who
}

// convert brings a selection into the form that the targets demand, where that is asked
// for. dst takes what is packed on the way, and may be nil.
func (c *copying) convert(ctx context.Context, selection *image.Selection, dst store.Destination) (*transfer.Converted, error) {
	form, _ := c.choice.form()
	if !c.flags.convert || form == (transfer.Form{}) {
		return nil, nil
	}
	whole := *selection
	whole.Manifests = c.opening.Configs(ctx, selection.Manifests)
	opts := transfer.ConvertOptions{}
	if taker, ok := dst.(store.StreamPusher); ok {
		opts.To = taker
	}
	if folder := c.app.cacheFolder("converted"); folder != nil {
		opts.Known, opts.Keep = conversions{folder}.known, conversions{folder}.keep
	}
	return transfer.Convert(ctx, c.opening, &whole, form, opts)
}

// convertible is a source together with what was converted of it.
type convertible struct {
	store.BlobReader
	converted []*transfer.Converted
}

// Blob implements store.BlobReader.
func (c *convertible) Blob(ctx context.Context, desc store.Descriptor, offset int64) (io.ReadCloser, error) {
	for _, converted := range c.converted {
		if converted.Has(desc.Digest) {
			return converted.Blob(ctx, desc, offset)
		}
	}
	return c.BlobReader.Blob(ctx, desc, offset)
}

// conversions remember what layers became, so that they are not packed once more to find
// out.
type conversions struct{ *folderCache }

// convertedName is a file's. What made the digest is part of it: the packing may change
// with the version of what packs.
func convertedName(from digest.Digest) string {
	return digest.FromString("gzip " + version() + " " + from.String()).Encoded()
}

func (c conversions) known(from digest.Digest) (store.Descriptor, bool) {
	var to store.Descriptor
	if json.Unmarshal(c.Get(convertedName(from)), &to) != nil || store.ValidDigest(to.Digest) != nil || to.Size <= 0 {
		return store.Descriptor{}, false
	}
	return store.Descriptor{Digest: to.Digest, Size: to.Size}, true
}

func (c conversions) keep(from digest.Digest, to store.Descriptor) {
	if raw, err := json.Marshal(to); err == nil { // which cannot fail
		c.Put(convertedName(from), raw)
	}
}

// convertHint says what --convert would do about a refusal.
func (c *choice) convertHint(flags copyFlags, err error) error {
	var refused *refusal
	form, _ := c.form()
	if flags.convert || form == (transfer.Form{}) || !errors.As(err, &refused) {
		return err
	}
	for _, f := range refused.result.Findings {
		if f.Name == "compression-refused" || f.Name == "media-type-refused" {
			return fmt.Errorf("%w\n  fix: convert it on the way, which gives it another digest: add --convert", err)
		}
	}
	return err
}

// sayConverting says what takes a while.
func (c *copying) sayConverting(selection *image.Selection) {
	form, _ := c.choice.form()
	if c.app.quiet {
		return
	}
	n, bytes := form.Again(selection)
	if n > 0 {
		// That nobody can be told is no reason not to do it.
		_, _ = fmt.Fprintf(c.app.stderr, "converting %s (%s) to gzip\n", english.Plural(n, "layer", ""), humanize.Bytes(uint64(bytes)))
	}
}
