// Package cachedir keeps bytes by name in a folder of bounded size: a file each. It is made for
// what can be had again: whatever goes wrong, a file is missing at worst.
//
// Any number of processes may use one folder. A file is written under another name and renamed,
// so it is there as a whole or not at all; what it holds is for the caller to verify.
package cachedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultMax is how many bytes a folder holds: a distribution's base takes some 300 KiB, so
	// it is a thousand bases and more.
	DefaultMax = 512 << 20
	// maxFile is the size of the largest file that is read or written: what a layer of several
	// hundred thousand files takes, with room.
	maxFile = 64 << 20
	// temporary is how the names of files start that are being written, and stale the age from
	// which on they are those of a process that ended without removing them.
	temporary = "tmp-"
	stale     = time.Hour
)

// names are those that files may have: nothing in them has a meaning to a file system.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,199}$`)

// Dir is a folder of files. It is for any number of goroutines.
type Dir struct {
	path string
	max  int64
	// mu keeps this process from tidying twice at once.
	mu sync.Mutex
	// put is how much may be put into it before it is looked at again.
	put int64
}

// New returns the folder at path, which is made when something is put into it. It holds at most
// max bytes; zero is [DefaultMax].
func New(path string, max int64) *Dir {
	if max == 0 {
		max = DefaultMax
	}
	return &Dir{path: path, max: max}
}

// Get returns what was put under a name, or nil where nothing was or it was removed to make
// room.
func (d *Dir) Get(name string) ([]byte, error) {
	file, err := d.file(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, err // what is none of ours is not there
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	// What is used last goes last. A folder that cannot be written to is good to read.
	now := time.Now()
	_ = os.Chtimes(file, now, now)
	return raw, nil
}

// Put keeps data under a name, in place of what was there, and removes what was not used for
// the longest time where there is too much.
func (d *Dir) Put(name string, data []byte) error {
	file, err := d.file(name)
	if err != nil {
		return err
	}
	if int64(len(data)) > min(maxFile, d.max) {
		return nil // it would be removed at once
	}
	if err := d.write(file, data); err != nil {
		return fmt.Errorf("writing the cache: %w", err)
	}
	if !d.due(int64(len(data))) {
		return nil
	}
	if err := d.tidy(); err != nil {
		return fmt.Errorf("making room in the cache: %w", err)
	}
	return nil
}

// due tells whether it is time to look at the whole folder again: at first, and each time that
// this process has put a share of the room into it. Many small files cost one look then.
func (d *Dir) due(size int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put -= size
	if d.put > 0 {
		return false
	}
	d.put = d.max / 64
	return true
}

func (d *Dir) file(name string) (string, error) {
	if !names.MatchString(name) || strings.HasPrefix(name, temporary) {
		return "", fmt.Errorf("%q is no name for a file of a cache", name)
	}
	return filepath.Join(d.path, name), nil
}

func (d *Dir) write(file string, data []byte) error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.path, temporary+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is of no use, and too old one day
	}
	return err
}

// tidy removes what was not used for the longest time until a tenth of the room is free, where
// there is none.
func (d *Dir) tidy() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	var files []fs.FileInfo
	var sum int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // removed meanwhile, or none of ours
		}
		if strings.HasPrefix(info.Name(), temporary) {
			if time.Since(info.ModTime()) > stale {
				_ = os.Remove(filepath.Join(d.path, info.Name())) // or another process does
			}
			continue
		}
		if names.MatchString(info.Name()) {
			files = append(files, info)
			sum += info.Size()
		}
	}
	if sum <= d.max {
		return nil
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range files {
		if sum <= d.max-d.max/10 {
			return nil
		}
		if err := os.Remove(filepath.Join(d.path, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		sum -= info.Size()
	}
	return nil
}
