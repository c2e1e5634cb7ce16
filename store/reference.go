package store

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// The transports, in skopeo's words.
const (
	Docker    = "docker" // a registry
	OCILayout = "oci"    // an OCI image layout folder
)

// notYet are skopeo's other transports. Without this list "oci-archive:app" would
// be read as tag app of docker.io/library/oci-archive.
var notYet = []string{"oci-archive", "docker-archive", "docker-daemon", "containers-storage", "dir"}

// Reference names one image, or the place for one.
//
//	reference = registry | layout
//	registry  = ["docker://"] [host "/"] repository [":" tag] ["@" digest]
//	layout    = "oci:" folder [":" tag] ["@" digest]
//
// A registry reference is read as Docker reads it: grafana/grafana is
// docker.io/grafana/grafana:latest.
type Reference struct {
	Transport string
	// Host and Repository are set for [Docker], Path for [OCILayout].
	Host, Repository string
	Path             string
	// Tag and Digest are what was asked for. A registry reference always has at
	// least one of them. Where both are given the digest decides what is read.
	Tag    string
	Digest digest.Digest
}

// String is the reference in the form that ParseReference reads.
func (r Reference) String() string {
	var s string
	if r.Transport == Docker {
		s = r.Host + "/" + r.Repository
	} else {
		s = r.Transport + ":" + r.Path
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// Identifier is what a store is asked for: the digest where there is one, else the tag.
func (r Reference) Identifier() string {
	if r.Digest != "" {
		return r.Digest.String()
	}
	return r.Tag
}

// WithDigest is the same place, naming exactly d.
func (r Reference) WithDigest(d digest.Digest) Reference {
	r.Tag, r.Digest = "", d
	return r
}

// tagPattern is the distribution-spec's, "Pulling manifests".
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// driveLetter starts a Windows path, whose colon is no tag separator.
var driveLetter = regexp.MustCompile(`^[A-Za-z]:[\\/]`)

// maxReference bounds a reference: a path, or a name of 255 characters with a
// tag of 128 and a sha512 digest.
const maxReference = 4096

// ParseReference reads a reference. It touches neither network nor disk.
func ParseReference(s string) (Reference, error) {
	if len(s) > maxReference {
		return Reference{}, fmt.Errorf("reference of %d characters: at most %d are allowed", len(s), maxReference)
	}
	if s == "" {
		return Reference{}, fmt.Errorf("an image reference is empty: write one such as alpine:3.20 or oci:DIR")
	}
	if rest, ok := strings.CutPrefix(s, "docker://"); ok {
		return parseRegistry(s, rest)
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return Reference{}, fmt.Errorf("reference %q: %s:// is not part of an image reference; write HOST/REPOSITORY[:TAG]", Printable(s), Printable(scheme))
	}
	// oci:1 could be docker.io/library/oci:1. skopeo reads it as a layout, and so do we.
	if rest, ok := strings.CutPrefix(s, OCILayout+":"); ok {
		return parseLayout(s, rest)
	}
	for _, transport := range notYet {
		if strings.HasPrefix(s, transport+":") {
			return Reference{}, fmt.Errorf("reference %q: %s: is not supported; berth reads and writes registries (HOST/REPOSITORY[:TAG]) and OCI layout folders (oci:DIR[:TAG])", Printable(s), transport)
		}
	}
	return parseRegistry(s, s)
}

func parseLayout(whole, rest string) (Reference, error) {
	r := Reference{Transport: OCILayout, Path: rest}
	if path, d, ok := strings.Cut(rest, "@sha"); ok && ValidDigest(digest.Digest("sha"+d)) == nil {
		r.Path, r.Digest = path, digest.Digest("sha"+d)
	}
	if colon := strings.LastIndexByte(r.Path, ':'); colon >= 0 && !(colon == 1 && driveLetter.MatchString(r.Path)) {
		r.Path, r.Tag = r.Path[:colon], r.Path[colon+1:]
		if !tagPattern.MatchString(r.Tag) {
			return Reference{}, fmt.Errorf("reference %q: %q is not a tag; write oci:DIR[:TAG]", Printable(whole), Printable(r.Tag))
		}
	}
	if r.Path == "" {
		return Reference{}, fmt.Errorf("reference %q names no folder: write oci:DIR[:TAG]", Printable(whole))
	}
	if strings.ContainsRune(r.Path, 0) {
		return Reference{}, fmt.Errorf("reference %q has a NUL in its path", Printable(whole))
	}
	return r, nil
}

func parseRegistry(whole, s string) (Reference, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, fmt.Errorf("reference %q: %s%s", Printable(whole), Printable(err.Error()), referenceHint(s))
	}
	r := Reference{Transport: Docker, Host: reference.Domain(named), Repository: reference.Path(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		r.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		r.Digest = digested.Digest()
		if err := ValidDigest(r.Digest); err != nil {
			return Reference{}, fmt.Errorf("reference %q: %w", Printable(whole), err)
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, nil
}

func referenceHint(s string) string {
	if lower := strings.ToLower(s); lower != s {
		if _, err := reference.ParseNormalizedNamed(lower); err == nil {
			return fmt.Sprintf("; did you mean %s?", lower)
		}
	}
	return ""
}

// Printable keeps control characters of foreign text off the terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}
