package local

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/store"
)

const (
	// maxMembers bounds the entries of an archive. docker save before version 25
	// writes four for each of at most 127 layers, so this is some 250 images.
	maxMembers = 1 << 17
	// maxMemberName bounds the name of an entry: PATH_MAX of Linux. Those of images
	// have less than 160 bytes.
	maxMemberName = 4096
	// maxMemberNames bounds all names together, which are kept in memory: 128 bytes
	// for each of maxMembers.
	maxMemberNames = 128 * maxMembers
	// maxLinks bounds how many links lead to a file. docker save has one.
	maxLinks = 8
)

// members are the files of a tar archive, found by reading its headers once. They
// are read where they are; nothing is ever unpacked.
type members struct {
	where string // names the archive in errors
	at    io.ReaderAt
	size  int64
	named map[string]member // by cleaned name, without the folders
}

// member is a file of an archive, or a link to one.
type member struct {
	offset, size int64
	link         string // the cleaned name of the link's target
	kind         byte   // tar's type flag
	twice        bool   // another entry of that name came before
}

// readMembers reads the headers of the archive.
func readMembers(ctx context.Context, where string, at io.ReaderAt, size int64) (*members, error) {
	m := &members{where: where, at: at, size: size, named: map[string]member{}}
	at0 := &position{ctx: ctx, at: at, size: size}
	r := tar.NewReader(at0)
	names := 0
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			if n == 0 {
				return nil, fmt.Errorf("%s: the archive is empty", where)
			}
			return m, nil
		}
		if err != nil {
			return nil, m.headerError(ctx, err, n)
		}
		if n == maxMembers {
			return nil, fmt.Errorf("%s: %w: more than %d entries", where, store.ErrTooLarge, maxMembers)
		}
		if len(h.Name) > maxMemberName || len(h.Linkname) > maxMemberName {
			return nil, fmt.Errorf("%s: %w: an entry with a name of more than %d bytes", where, store.ErrTooLarge, maxMemberName)
		}
		if names += len(h.Name) + len(h.Linkname); names > maxMemberNames {
			return nil, fmt.Errorf("%s: %w: entries whose names have more than %d bytes in all", where, store.ErrTooLarge, maxMemberNames)
		}
		m.add(h, at0.offset)
	}
}

func (m *members) add(h *tar.Header, offset int64) {
	name := cleanName(h.Name)
	f := member{offset: offset, size: h.Size, kind: h.Typeflag}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return
	case tar.TypeLink:
		f.link = cleanName(h.Linkname)
	case tar.TypeSymlink:
		f.link = cleanName(h.Linkname)
		if !strings.HasPrefix(h.Linkname, "/") {
			f.link = cleanName(path.Join(path.Dir(name), h.Linkname))
		}
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			f.kind = tar.TypeGNUSparse
		}
	}
	_, f.twice = m.named[name]
	m.named[name] = f
}

// headerError says what is wrong with the archive after n entries.
func (m *members) headerError(ctx context.Context, err error, n int) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, tar.ErrHeader) && n == 0, m.size < blockSize:
		return fmt.Errorf("%s: it is no tar archive", m.where)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: the archive ends in the middle, after %d bytes and %d entries: %w; it was not written or not copied to its end", m.where, m.size, n, err)
	}
	return fmt.Errorf("%s: after %d entries: %w", m.where, n, err)
}

// cleanName is a name as if the archive were unpacked in the root folder, without
// the slash that it starts with.
func cleanName(name string) string {
	return path.Clean("/" + name)[1:]
}

func (m *members) String() string { return m.where }

// has tells whether there is a file or a link of that name.
func (m *members) has(name string) bool {
	_, ok := m.named[cleanName(name)]
	return ok
}

// find follows links to a regular file.
func (m *members) find(name string) (member, error) {
	at := cleanName(name)
	for range maxLinks {
		f, ok := m.named[at]
		switch {
		case !ok:
			return member{}, fmt.Errorf("%s: %s %w", m.where, printableName(at), store.ErrNotFound)
		case f.twice && !strings.HasPrefix(at, v1.ImageBlobsDir+"/"):
			// What is named by its digest is the same each time, or found out. Of anything else,
			// some tools take the first and some the last.
			return member{}, fmt.Errorf("%s: %w: %s is in it twice", m.where, store.ErrCorrupt, printableName(at))
		case f.kind == tar.TypeReg:
			return f, nil
		case f.kind != tar.TypeLink && f.kind != tar.TypeSymlink:
			return member{}, fmt.Errorf("%s: %s is not a regular file: %w", m.where, printableName(at), store.ErrCorrupt)
		}
		at = f.link
	}
	return member{}, fmt.Errorf("%s: %s: %w: more than %d links to follow", m.where, printableName(cleanName(name)), store.ErrCorrupt, maxLinks)
}

// open opens a regular file.
func (m *members) open(name string) (*file, error) {
	f, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return m.file(f), nil
}

// file is f, which find returned.
func (m *members) file(f member) *file {
	return &file{io.NewSectionReader(m.at, f.offset, f.size), nothing{}, f.size}
}

// nothing is to be closed.
type nothing struct{}

func (nothing) Close() error { return nil }

// maxShownName bounds what an error shows of a name.
const maxShownName = 200

func printableName(name string) string {
	if len(name) > maxShownName {
		name = name[:maxShownName] + "…"
	}
	return store.Printable(name)
}

// position reads an archive from front to back and skips what package tar does not
// want to see. It knows where the file of the current header starts, because
// package tar reads no byte that it does not need.
type position struct {
	ctx          context.Context
	at           io.ReaderAt
	offset, size int64
}

func (p *position) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	if p.offset >= p.size {
		return 0, io.EOF
	}
	n, err := p.at.ReadAt(b[:min(int64(len(b)), p.size-p.offset)], p.offset)
	p.offset += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

func (p *position) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 || p.offset+offset < 0 {
		return 0, errors.New("seeking where package tar has no need to")
	}
	p.offset += offset
	return p.offset, nil
}
