package local

import (
	"bytes"
	"context"
)

// OCIArchiveOf and DockerArchiveOf read an archive in memory, for fuzzing.
func OCIArchiveOf(raw []byte) (*OCIArchive, error) {
	return newOCIArchive(context.Background(), "memory", memory(raw))
}

func DockerArchiveOf(raw []byte) (*DockerArchive, error) {
	return newDockerArchive(context.Background(), "memory", "", memory(raw))
}

func memory(raw []byte) *input {
	return &input{bytes.NewReader(raw), int64(len(raw)), func() error { return nil }}
}
