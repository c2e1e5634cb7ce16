// Package local reads and writes images on this machine: OCI image layouts in
// folders and in tar archives, as the image-spec's image-layout.md has them and as
// skopeo, crane, podman and buildx write them; the archives of docker save; and the
// images of a Docker daemon.
//
// Start with [OpenLayout], [OpenOCIArchive], [OpenDockerArchive] or [OpenDaemon] for
// a source, and with [CreateLayout], [CreateOCIArchive], [CreateDockerArchive] or
// [CreateDaemon] for a destination.
//
// Nothing is read or written outside of the folder or the archive, whatever an
// index, a name in an archive or a link says: what is in an archive is read where
// it is and never unpacked under a name of its own. What is written is complete at
// any moment: in a folder, content appears under its digest only when it is whole
// and verified, and a tag only when everything that it stands for is there; an
// archive appears, or replaces the one that was there, only when it is whole.
//
// An archive that comes from a pipe, that is compressed, or that is written to a
// pipe or a daemon, is kept in a temporary file that has no name where the system
// allows it, and is gone when it is closed or when the process ends.
//
// A manifest keeps its media type. skopeo finds only OCI ones in a layout, and not
// an image whose manifest is Docker's; crane and berth find both.
//
// Several goroutines may use what this package returns. Several [Layout]s, of this
// process or of others, may write the same folder on Linux, macOS and the BSDs,
// where a tag is set under an advisory lock of the folder; elsewhere, and on file
// systems without such locks, only one process at a time must write a layout.
package local

import (
	"io"
)

// Options is what archives and daemons need of the process. The zero value is
// without standard streams.
type Options struct {
	// Stdin and Stdout are what the path "-" stands for.
	Stdin  io.Reader
	Stdout io.Writer
	// TempDir is where temporary files are; empty means the system's folder for
	// them (os.TempDir: $TMPDIR on Unix).
	TempDir string
}
