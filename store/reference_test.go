package store

import (
	"strings"
	"testing"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseReference(t *testing.T) {
	for in, want := range map[string]string{
		"alpine":                         "docker.io/library/alpine:latest",
		"alpine:3.20":                    "docker.io/library/alpine:3.20",
		"grafana/grafana":                "docker.io/grafana/grafana:latest",
		"index.docker.io/library/alpine": "docker.io/library/alpine:latest",
		"docker://alpine":                "docker.io/library/alpine:latest",
		"localhost:5000/app":             "localhost:5000/app:latest",
		"localhost/app:1":                "localhost/app:1",
		"127.0.0.1:5000/a/b/c:v1":        "127.0.0.1:5000/a/b/c:v1",
		"[::1]:5000/app:v1":              "[::1]:5000/app:v1",
		"ghcr.io/o/r@" + someDigest:      "ghcr.io/o/r@" + someDigest,
		"ghcr.io/o/r:v1@" + someDigest:   "ghcr.io/o/r:v1@" + someDigest,
		"oci:out":                        "oci:out",
		"oci:out:v1":                     "oci:out:v1",
		"oci:/tmp/some dir/out:v1":       "oci:/tmp/some dir/out:v1",
		"oci:out@" + someDigest:          "oci:out@" + someDigest,
		`oci:C:\images\app`:              `oci:C:\images\app`,
		`oci:C:\images\app:v1`:           `oci:C:\images\app:v1`,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1",
	} {
		r, err := ParseReference(in)
		if err != nil {
			t.Errorf("ParseReference(%q): %v", in, err)
		} else if r.String() != want {
			t.Errorf("ParseReference(%q) = %s, want %s", in, r, want)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for in, says := range map[string]string{
		"":                    "empty",
		"Alpine":              "did you mean alpine",
		"https://ghcr.io/o/r": "https:// is not part",
		"a b":                 "invalid reference format",
		"alpine:":             "invalid reference format",
		"alpine:a:b":          "invalid reference format",
		"alpine@sha256:12":    "invalid reference format",
		"alpine@md5:d41d8cd98f00b204e9800998ecf8427e": "digest",
		"oci:":                    "no folder",
		"oci:out:":                "not a tag",
		"oci:out:a b":             "not a tag",
		"oci-archive:x.tar":       "not supported",
		"docker-daemon:app":       "not supported",
		"\x1b[2J":                 "invalid reference format",
		strings.Repeat("a", 5000): "at most 4096",
	} {
		r, err := ParseReference(in)
		if err == nil {
			t.Errorf("ParseReference(%q) = %s, want an error", in, r)
			continue
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("ParseReference(%q): %q does not say %q", in, err, says)
		}
		if strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("ParseReference(%q): the error carries a control character", in)
		}
	}
}

func TestVerify(t *testing.T) {
	good := Descriptor{Digest: someDigest, Size: 0}
	if err := Verify(good, nil); err != nil {
		t.Error(err)
	}
	if err := Verify(good, []byte("x")); err == nil || !strings.Contains(err.Error(), "1 bytes") {
		t.Errorf("wrong size: %v", err)
	}
	if err := Verify(Descriptor{Digest: someDigest, Size: 1}, []byte("x")); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("wrong content: %v", err)
	}
	if err := Verify(Descriptor{Digest: "md5:x"}, nil); err == nil {
		t.Error("an unknown digest algorithm was verified")
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "oci:x:y", "docker://h:1/r:t@" + someDigest, "oci:a@" + someDigest, "https://x", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again != r {
			t.Fatalf("ParseReference(%q) = %+v, read back as %+v, %v", s, r, again, err)
		}
	})
}
