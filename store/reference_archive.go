package store

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// refName is the grammar that the image-spec has for the annotation
// org.opencontainers.image.ref.name (annotations.md).
var refName = regexp.MustCompile(`^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$`)

// parseOCIArchive reads FILE[:TAG][@DIGEST]. As skopeo does it takes the first
// colon for the end of the file's name, because a tag may have colons.
func parseOCIArchive(whole, rest string) (Reference, error) {
	r := Reference{Transport: OCIArchive}
	rest, r.Digest = cutDigest(rest)
	path, tag, tagged := cutFile(rest)
	r.Path, r.Tag = path, tag
	if tagged && !refName.MatchString(tag) && !tagPattern.MatchString(tag) {
		return Reference{}, fmt.Errorf("reference %q: %q is not a tag; write oci-archive:FILE[:TAG], and no colon in FILE", Printable(whole), Printable(tag))
	}
	return r.withFile(whole)
}

// parseDockerArchive reads FILE[:NAME] and FILE@DIGEST.
func parseDockerArchive(whole, rest string) (Reference, error) {
	r := Reference{Transport: DockerArchive}
	rest, d := cutDigest(rest)
	path, name, named := cutFile(rest)
	r.Path = path
	if named {
		if err := r.parseName(name); err != nil {
			return Reference{}, fmt.Errorf("reference %q: %w; write docker-archive:FILE[:REPOSITORY:TAG], and no colon in FILE", Printable(whole), err)
		}
		if d != "" || r.Digest != "" {
			return Reference{}, fmt.Errorf("reference %q: a docker-archive knows images by name or by digest: write one of them", Printable(whole))
		}
	}
	r.Digest = d
	return r.withFile(whole)
}

// parseDaemon reads NAME, REPOSITORY@DIGEST, and the digest that is an image ID.
func parseDaemon(whole, rest string) (Reference, error) {
	r := Reference{Transport: DockerDaemon}
	// sha256:… could be a tag of docker.io/library/sha256. Neither Docker nor skopeo
	// allows that name.
	if d := digest.Digest(rest); d.Validate() == nil {
		if d.Algorithm() != digest.Canonical {
			return Reference{}, fmt.Errorf("reference %q: an image ID is a %s digest", Printable(whole), digest.Canonical)
		}
		r.Digest = d
		return r, nil
	}
	if err := r.parseName(rest); err != nil {
		return Reference{}, fmt.Errorf("reference %q: %w", Printable(whole), err)
	}
	if named, err := reference.ParseNormalizedNamed(rest); err == nil && reference.FamiliarName(named) == digest.Canonical.String() {
		return Reference{}, fmt.Errorf("reference %q: %q is no image ID: it has sha256: and 64 hexadecimal digits", Printable(whole), Printable(rest))
	}
	if r.Tag != "" && r.Digest != "" {
		return Reference{}, fmt.Errorf("reference %q: a Docker daemon knows images by tag or by digest: write one of them", Printable(whole))
	}
	return r, nil
}

// cutDigest takes a digest from the end of s.
func cutDigest(s string) (string, digest.Digest) {
	if before, d, ok := strings.Cut(s, "@sha"); ok && ValidDigest(digest.Digest("sha"+d)) == nil {
		return before, digest.Digest("sha" + d)
	}
	return s, ""
}

// cutFile cuts s at the first colon that is not a drive letter's.
func cutFile(s string) (path, name string, found bool) {
	drive := 0
	if driveLetter.MatchString(s) {
		drive = 2
	}
	path, name, found = strings.Cut(s[drive:], ":")
	return s[:drive] + path, name, found
}

// withFile is r, unless its path is none.
func (r Reference) withFile(whole string) (Reference, error) {
	if r.Path == "" {
		return Reference{}, fmt.Errorf("reference %q names no file: write %s:FILE, or - for standard input", Printable(whole), r.Transport)
	}
	if strings.ContainsRune(r.Path, 0) {
		return Reference{}, fmt.Errorf("reference %q has a NUL in its path", Printable(whole))
	}
	return r, nil
}
