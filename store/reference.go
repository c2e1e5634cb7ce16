package store

import (
	_ "crypto/sha256" // go-digest knows an algorithm only where it is linked
	_ "crypto/sha512"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// The transports, in skopeo's words.
const (
	Docker        = "docker"         // a registry
	OCILayout     = "oci"            // an OCI image layout folder
	OCIArchive    = "oci-archive"    // an OCI image layout in a tar file
	DockerArchive = "docker-archive" // what docker save writes
	DockerDaemon  = "docker-daemon"  // the images of a Docker daemon
)

// Standard is the path that stands for standard input, and as a destination for
// standard output.
const Standard = "-"

// notYet are skopeo's other transports. Without this list "dir:app" would be read
// as tag app of docker.io/library/dir.
var notYet = []string{"containers-storage", "dir"}

// Reference names one image, or the place for one.
//
//	reference = registry | layout | archive | saved | daemon
//	registry  = ["docker://"] name ["@" digest]
//	layout    = "oci:" folder [":" tag] ["@" digest]
//	archive   = "oci-archive:" file [":" tag] ["@" digest]
//	saved     = "docker-archive:" file [":" name | "@" digest]
//	daemon    = "docker-daemon:" (name | repository "@" digest | digest)
//	name      = [host "/"] repository [":" tag]
//	file      = path without a colon | "-"
//
// A name is read as Docker reads it: grafana/grafana is
// docker.io/grafana/grafana:latest. A file may start with a Windows drive letter,
// and "-" is [Standard]. The tag of an OCI archive may be any name that the
// image-spec allows (org.opencontainers.image.ref.name in annotations.md), such as
// the localhost/app:v1 that podman writes. The digest alone is the image ID, or that
// of the manifest.
type Reference struct {
	Transport string
	// Host and Repository are set for [Docker], and where there is a name for
	// [DockerArchive] and [DockerDaemon]; Path for all but [Docker] and [DockerDaemon].
	Host, Repository string
	Path             string
	// Tag and Digest are what was asked for. A registry reference always has at
	// least one of them, and so has one to a daemon. Where both are given the digest
	// decides what is read.
	Tag    string
	Digest digest.Digest
}

// Name is host and repository, as engines write it, or empty.
func (r Reference) Name() string {
	if r.Repository == "" {
		return ""
	}
	return r.Host + "/" + r.Repository
}

// TakesIndex tells whether the place can hold an index. A docker-archive and a
// Docker daemon are written with one image of one platform.
func (r Reference) TakesIndex() bool {
	return r.Transport != DockerArchive && r.Transport != DockerDaemon
}

// String is the reference in the form that ParseReference reads.
func (r Reference) String() string {
	var s string
	switch r.Transport {
	case Docker:
		s = r.Name()
	case DockerDaemon:
		if r.Repository == "" {
			return r.Transport + ":" + r.Digest.String()
		}
		s = r.Transport + ":" + r.Name()
	case DockerArchive:
		s = r.Transport + ":" + r.Path
		if r.Repository != "" {
			s += ":" + r.Name()
		}
	default:
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
	if r.Transport == DockerArchive {
		r.Host, r.Repository = "", "" // it takes one or the other
	}
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
	transport, rest, ok := strings.Cut(s, ":")
	switch {
	case !ok:
	case transport == OCILayout:
		return parseLayout(s, rest)
	case transport == OCIArchive:
		return parseOCIArchive(s, rest)
	case transport == DockerArchive:
		return parseDockerArchive(s, rest)
	case transport == DockerDaemon:
		return parseDaemon(s, rest)
	case slices.Contains(notYet, transport):
		return Reference{}, fmt.Errorf("reference %q: %s: is not supported; berth reads and writes registries (HOST/REPOSITORY[:TAG]), OCI layouts (oci:DIR, oci-archive:FILE), docker-archive:FILE and docker-daemon:NAME", Printable(s), transport)
	}
	return parseRegistry(s, s)
}

func parseLayout(whole, rest string) (Reference, error) {
	r := Reference{Transport: OCILayout}
	r.Path, r.Digest = cutDigest(rest)
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
	r := Reference{Transport: Docker}
	if err := r.parseName(s); err != nil {
		return Reference{}, fmt.Errorf("reference %q: %w", Printable(whole), err)
	}
	return r, nil
}

// parseName reads what Docker calls a reference.
func (r *Reference) parseName(s string) error {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return errors.New(Printable(err.Error()) + referenceHint(s))
	}
	r.Host, r.Repository = reference.Domain(named), reference.Path(named)
	if tagged, ok := named.(reference.Tagged); ok {
		r.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		r.Digest = digested.Digest()
		if err := ValidDigest(r.Digest); err != nil {
			return err
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return nil
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
