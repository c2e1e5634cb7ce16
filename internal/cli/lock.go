package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"berth/check"
	"berth/store"
)

// lock is the file of --lock: the digests that were checked, so that they are checked
// again and can be deployed.
type lock struct {
	Schema string `json:"schema"`
	// Images are digests by reference, as Docker spells it in full.
	Images map[string]digest.Digest `json:"images"`

	name  string
	fresh bool // something was added
}

const lockSchema = "berth/lock/v1"

// readLock reads a lock file; one that is not there is empty.
func readLock(name string) (*lock, error) {
	l := &lock{Schema: lockSchema, Images: map[string]digest.Digest{}, name: name}
	data, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		l.fresh = true
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("lock file %s: %w", name, err)
	}
	if l.Schema != lockSchema {
		return nil, fmt.Errorf("lock file %s: schema %q is not %s", name, l.Schema, lockSchema)
	}
	for ref, d := range l.Images {
		if err := store.ValidDigest(d); err != nil {
			return nil, fmt.Errorf("lock file %s: %s: %w", name, ref, err)
		}
	}
	return l, nil
}

// locks tells whether a reference can mean another image tomorrow.
func locks(ref store.Reference) bool { return ref.Transport == store.Docker && ref.Digest == "" }

// apply has the subjects that are locked look at their digests.
func (l *lock) apply(subjects []*check.Subject) {
	for _, s := range subjects {
		if s.Open == "" && s.Err == nil && locks(s.Reference) {
			s.Locked = l.Images[s.Reference.String()]
		}
	}
}

// take adds what was found and is not locked yet. What this run did not look at stays.
func (l *lock) take(subjects []*check.Subject) {
	for _, s := range subjects {
		key := s.Reference.String()
		if s.Image != nil && locks(s.Reference) && l.Images[key] == "" {
			l.Images[key], l.fresh = s.Image.Root.Descriptor.Digest, true
		}
	}
}

// write writes the file where it has changed, as a whole or not at all.
func (l *lock) write() error {
	if !l.fresh {
		return nil
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(l.name, append(data, '\n'), 0o644)
}

// replaceFile writes a file beside name and renames it, so that a reader sees the old
// one or the new one. A symbolic link stays one.
func replaceFile(name string, data []byte, mode fs.FileMode) error {
	if to, err := filepath.EvalSymlinks(name); err == nil {
		name = to
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
