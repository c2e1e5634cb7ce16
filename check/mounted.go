package check

import (
	"path"
	"strings"

	"berth/launch"
)

// withMounts is s as far as it holds where something is mounted over the image: a proof
// that looked at a file which is not there then says nothing about the start. s itself is
// that of other subjects too.
func (s *Start) withMounts(mounts []string) *Start {
	if s == nil || s.Proof == nil {
		return s
	}
	paths := make([]string, 0, len(s.Proof.Steps)+1)
	for _, step := range s.Proof.Steps {
		paths = append(paths, step.Path)
	}
	if s.Proof.Failure != nil {
		paths = append(paths, s.Proof.Failure.Path)
	}
	for _, name := range paths {
		for _, mount := range mounts {
			if !beneath(name, mount) {
				continue
			}
			proof := *s.Proof
			proof.Verdict, proof.Failure, proof.Derived, proof.Warnings = launch.Unknown, nil, nil, []launch.Warning{}
			proof.Reason = name + " lies beneath " + path.Clean(mount) + ", where something is mounted over the image"
			start := *s
			start.Proof = &proof
			return &start
		}
	}
	return s
}

// beneath tells whether name is mount, or in it.
func beneath(name, mount string) bool {
	mount = path.Clean(mount)
	return name == mount || mount == "/" || strings.HasPrefix(name, mount+"/")
}
