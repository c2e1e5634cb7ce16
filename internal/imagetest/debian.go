package imagetest

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/platform"
)

// debianArchitectures are Debian's names. Debian 12 has no riscv64.
var debianArchitectures = map[string]string{
	"linux/amd64":   "amd64",
	"linux/arm64":   "arm64",
	"linux/arm/v5":  "armel",
	"linux/arm/v7":  "armhf",
	"linux/386":     "i386",
	"linux/ppc64le": "ppc64el",
	"linux/s390x":   "s390x",
}

// DebianFiles returns what packages install on a Debian machine of platform p,
// without what they depend on. The packages come from where the machine's apt
// finds its own; nothing is installed and apt's state stays as it is.
func DebianFiles(tb testing.TB, p platform.Platform, packages ...string) []File {
	tb.Helper()
	var files []File
	folders := map[string]bool{} // several packages bring /usr, and Docker refuses a layer that has a path twice
	each := DebianPackages(tb, p, packages...)
	for _, name := range packages {
		for _, f := range each[name] {
			if f.Type == tar.TypeDir {
				if folders[f.Name] {
					continue
				}
				folders[f.Name] = true
			}
			files = append(files, f)
		}
	}
	return files
}

// DebianPackages is [DebianFiles] by package. One call for many costs one update of apt's
// lists, which takes longer than most downloads.
func DebianPackages(tb testing.TB, p platform.Platform, packages ...string) map[string][]File {
	tb.Helper()
	aptGet, dpkgDeb := Program(tb, "apt-get", "apt"), Program(tb, "dpkg-deb", "dpkg")
	architecture, ok := debianArchitectures[platform.Format(p)]
	if !ok {
		tb.Fatalf("Debian has no packages for %s", platform.Format(p))
	}
	dir := tb.TempDir()
	for _, folder := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	apt := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(tb.Context(), aptGet, append([]string{
			"--quiet",
			"--option=Dir::State=" + dir,
			"--option=Dir::State::Lists=" + filepath.Join(dir, "lists"),
			"--option=Dir::State::status=" + filepath.Join(dir, "status"),
			"--option=Dir::Cache=" + dir,
			"--option=APT::Architecture=" + architecture,
			"--option=APT::Architectures=" + architecture,
			"--option=APT::Sandbox::User=", // the folder is ours alone
			"--option=Acquire::Languages=none",
			"--option=Acquire::Retries=3",
		}, args...)...)
		cmd.Dir = dir
		return cmd.CombinedOutput()
	}
	// One broken source among several fails an update that brought all we need.
	updated, _ := apt("update")
	if downloaded, err := apt(append([]string{"download"}, packages...)...); err != nil {
		Missing(tb, "Debian's "+strings.Join(packages, ", ")+" for "+architecture,
			fmt.Sprintf("apt-get must reach its package sources: %v\n%s%s", err, updated, downloaded))
	}

	archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(archives) != len(packages) {
		tb.Fatalf("apt-get download of %q left %q, %v", packages, archives, err)
	}
	files := map[string][]File{}
	for _, archive := range archives {
		raw, err := exec.CommandContext(tb.Context(), dpkgDeb, "--fsys-tarfile", archive).Output()
		if err != nil {
			tb.Fatalf("unpacking %s: %v", filepath.Base(archive), withStderr(err))
		}
		name, _, _ := strings.Cut(filepath.Base(archive), "_")
		files[name] = readTar(tb, raw)
	}
	return files
}

func readTar(tb testing.TB, raw []byte) []File {
	tb.Helper()
	var files []File
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			tb.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			tb.Fatal(err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if name == "" {
			continue // the root, which is no entry of a layer
		}
		files = append(files, File{Name: name, Mode: h.Mode, Body: string(body), Link: h.Linkname, Type: h.Typeflag, UID: h.Uid, GID: h.Gid})
	}
}
