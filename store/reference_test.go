package store

import (
	"strings"
	"testing"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseReference(t *testing.T) {
	for in, want := range map[string]string{
		"alpine":                                     "docker.io/library/alpine:latest",
		"alpine:3.20":                                "docker.io/library/alpine:3.20",
		"grafana/grafana":                            "docker.io/grafana/grafana:latest",
		"index.docker.io/library/alpine":             "docker.io/library/alpine:latest",
		"docker://alpine":                            "docker.io/library/alpine:latest",
		"localhost:5000/app":                         "localhost:5000/app:latest",
		"localhost/app:1":                            "localhost/app:1",
		"127.0.0.1:5000/a/b/c:v1":                    "127.0.0.1:5000/a/b/c:v1",
		"[::1]:5000/app:v1":                          "[::1]:5000/app:v1",
		"ghcr.io/o/r@" + someDigest:                  "ghcr.io/o/r@" + someDigest,
		"ghcr.io/o/r:v1@" + someDigest:               "ghcr.io/o/r:v1@" + someDigest,
		"oci:out":                                    "oci:out",
		"oci:out:v1":                                 "oci:out:v1",
		"oci:/tmp/some dir/out:v1":                   "oci:/tmp/some dir/out:v1",
		"oci:out@" + someDigest:                      "oci:out@" + someDigest,
		`oci:C:\images\app`:                          `oci:C:\images\app`,
		`oci:C:\images\app:v1`:                       `oci:C:\images\app:v1`,
		"oci":                                        "docker.io/library/oci:latest",
		"docker-archive":                             "docker.io/library/docker-archive:latest",
		"oci-archive:x.tar":                          "oci-archive:x.tar",
		"oci-archive:-":                              "oci-archive:-",
		"oci-archive:-:v1":                           "oci-archive:-:v1",
		"oci-archive:a b/x.tar:v1":                   "oci-archive:a b/x.tar:v1",
		`oci-archive:C:\x.tar:v1`:                    `oci-archive:C:\x.tar:v1`,
		"oci-archive:x.tar:localhost/app:latest":     "oci-archive:x.tar:localhost/app:latest",
		"oci-archive:x.tar@" + someDigest:            "oci-archive:x.tar@" + someDigest,
		"docker-archive:x.tar":                       "docker-archive:x.tar",
		"docker-archive:-":                           "docker-archive:-",
		"docker-archive:x.tar:alpine":                "docker-archive:x.tar:docker.io/library/alpine:latest",
		"docker-archive:x.tar:localhost:5000/app:v1": "docker-archive:x.tar:localhost:5000/app:v1",
		"docker-archive:x.tar:[::1]:5000/app:v1":     "docker-archive:x.tar:[::1]:5000/app:v1",
		`docker-archive:C:\x.tar:app:v1`:             `docker-archive:C:\x.tar:docker.io/library/app:v1`,
		"docker-archive:x.tar@" + someDigest:         "docker-archive:x.tar@" + someDigest,
		"docker-daemon:app":                          "docker-daemon:docker.io/library/app:latest",
		"docker-daemon:ghcr.io/o/r:v1":               "docker-daemon:ghcr.io/o/r:v1",
		"docker-daemon:ghcr.io/o/r@" + someDigest:    "docker-daemon:ghcr.io/o/r@" + someDigest,
		"docker-daemon:" + someDigest:                "docker-daemon:" + someDigest,
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
		"oci:":                                   "no folder",
		"oci:out:":                               "not a tag",
		"oci:out:a b":                            "not a tag",
		"dir:app":                                "dir: is not supported",
		"containers-storage:app":                 "not supported",
		"oci-archive:":                           "names no file: write oci-archive:FILE",
		"oci-archive::v1":                        "names no file",
		"oci-archive:x.tar:":                     "not a tag",
		"oci-archive:x.tar:@1":                   "not a tag",
		"oci-archive:a:b/x.tar:c d":              "no colon in FILE",
		"oci-archive:a\x00b":                     "NUL",
		"docker-archive:":                        "names no file: write docker-archive:FILE",
		"docker-archive:x.tar:":                  "invalid reference format",
		"docker-archive:x.tar:@1":                "invalid reference format",
		"docker-archive:x.tar:App":               "did you mean app",
		"docker-archive:x.tar:app@" + someDigest: "write one of them",
		"docker-daemon:":                         "invalid reference format",
		"docker-daemon:sha256:12":                "no image ID",
		"docker-daemon:sha512:" + strings.Repeat("a", 128): "digest",
		"docker-daemon:app:v1@" + someDigest:               "write one of them",
		"\x1b[2J":                                          "invalid reference format",
		strings.Repeat("a", 5000):                          "at most 4096",
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

func TestWithDigest(t *testing.T) {
	for in, want := range map[string]string{
		"alpine:3.20":              "docker.io/library/alpine@" + someDigest,
		"oci-archive:x.tar:v1":     "oci-archive:x.tar@" + someDigest,
		"docker-archive:x.tar:app": "docker-archive:x.tar@" + someDigest,
		"docker-daemon:app:v1":     "docker-daemon:docker.io/library/app@" + someDigest,
	} {
		r, err := ParseReference(in)
		if err != nil {
			t.Fatal(err)
		}
		got := r.WithDigest(someDigest)
		if again, err := ParseReference(got.String()); got.String() != want || err != nil || again != got {
			t.Errorf("%s with a digest = %s (read back as %+v, %v), want %s", in, got, again, err, want)
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
	for _, s := range []string{
		"alpine", "oci:x:y", "docker://h:1/r:t@" + someDigest, "oci:a@" + someDigest, "https://x", "\x00",
		"oci-archive:-:v1", "oci-archive:a@" + someDigest + "@" + someDigest, "docker-archive:C:/x:[::1]:5/app", "docker-archive:x@" + someDigest, "docker-daemon:" + someDigest, "docker-daemon:a@" + someDigest,
	} {
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
