package rootfs

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"berth/store"
)

// A table of contents is what eStargz and zstd:chunked layers end with: the names and modes of what
// is in the layer, and where each file's content starts. It is a claim of whoever made the
// layer: engines without lazy pulling unpack the tar, which may say something else, and the digest of
// the layer does not tell. So an answer that stands on one is sampled, and it is read only where
// there is a budget, which makes answers sampled anyway, or unknown.
//
// The formats are those of github.com/containerd/stargz-snapshotter, docs/estargz.md, and of
// github.com/containers/storage, docs/containers-storage-zstd-chunked.md. The parser is our own: the
// reference's indexes into a footer before it looks at its length.

// The annotations of a layer's descriptor. The table is used only where they have its digest.
const (
	stargzDigest = "containerd.io/snapshot/stargz/toc.digest" // of the JSON
	// chunkedDigest is that of the compressed JSON, chunkedPosition its place:
	// OFFSET:LENGTH:UNCOMPRESSED:1. Stargz-snapshotter writes them without "github.".
	chunkedDigest   = "io.github.containers.zstd-chunked.manifest-checksum"
	chunkedPosition = "io.github.containers.zstd-chunked.manifest-position"
)

const (
	// leastTOC is the size from which on a layer's table is worth its requests.
	leastTOC = 1 << 20
	// maxTOC bounds a compressed table, and maxTOCText what it unpacks to: 280,000 entries, as
	// many as there may be, at 200 bytes each. It is not held in memory.
	maxTOC     = 8 << 20
	maxTOCText = 64 << 20
	// maxTOCWindow bounds the window of a table's zstd frame, which is memory: encoders use 8 MiB
	// at their usual levels, or all of a text that they know the size of.
	maxTOCWindow = 32 << 20
	// maxTOCEntry is what an entry takes at most: two paths, extended attributes of 64 KiB as
	// base64 (XATTR_SIZE_MAX of include/uapi/linux/limits.h), and some more of those.
	maxTOCEntry = 1 << 20
	// stargzFooter is a gzip member without content, which has the table's offset in its header.
	stargzFooter = 51
)

// errTOC says that a layer has no table that can be used.
var errTOC = errors.New("no table of contents")

// claim is where a layer's table is, as its descriptor says. It is comparable, as a part of
// what makes layers the same; its zero value is none.
type claim struct {
	digest digest.Digest
	// offset and length are those of a zstd:chunked table; zero for eStargz.
	offset, length int64
}

// claimOf is the table that a layer's descriptor has annotations of.
func claimOf(d store.Descriptor) claim {
	if d.Size < leastTOC {
		return claim{}
	}
	if toc := digest.Digest(d.Annotations[stargzDigest]); store.ValidDigest(toc) == nil {
		return claim{digest: toc}
	}
	for _, prefix := range []string{"io.github.", "io."} {
		name := func(s string) string { return prefix + strings.TrimPrefix(s, "io.github.") }
		toc, place := digest.Digest(d.Annotations[name(chunkedDigest)]), strings.Split(d.Annotations[name(chunkedPosition)], ":")
		if store.ValidDigest(toc) != nil || len(place) != 4 || place[3] != "1" {
			continue
		}
		offset, err := strconv.ParseInt(place[0], 10, 64)
		length, also := strconv.ParseInt(place[1], 10, 64)
		if err == nil && also == nil && offset > 0 && length > 0 && length <= maxTOC && offset <= d.Size-length {
			return claim{toc, offset, length}
		}
	}
	return claim{}
}

// readTOC takes the tree from the layer's table, where it has one. The caller has the turn. What
// is wrong with a table is no error: the layer is then read.
func (c *content) readTOC(ctx context.Context) error {
	if c.claim == (claim{}) || c.tried {
		return nil
	}
	c.tried = true
	made := newContent(c.pool, c.key)
	made.reader = c.reader
	err := made.takeTOC(ctx, c.reader)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return nil // whatever it is, reading the layer says it too
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table, c.offsets = made.table, made.offsets
	c.tables.Store(made.tables.Load())
	c.claimed.Store(true)
	c.done.Store(true)
	return nil
}

func (c *content) takeTOC(ctx context.Context, l *layer) error {
	at, length := c.claim.offset, c.claim.length
	if at == 0 {
		footer, err := c.fetchRange(ctx, l, c.size-stargzFooter, stargzFooter)
		if err != nil {
			return err
		}
		if at, err = parseStargzFooter(footer); err != nil || at <= 0 || at >= c.size-stargzFooter || c.size-stargzFooter-at > maxTOC {
			return errTOC
		}
		length = c.size - stargzFooter - at
	}
	raw, err := c.fetchRange(ctx, l, at, length)
	if err != nil {
		return err
	}
	text, err := c.openTOC(raw)
	if err != nil {
		return err
	}
	defer text.Close()
	hash := c.claim.digest.Algorithm().Digester()
	if c.claim.offset != 0 {
		_, _ = hash.Hash().Write(raw) // never fails
		if hash.Digest() != c.claim.digest {
			return errTOC
		}
		return c.parseTOC(io.LimitReader(text, maxTOCText))
	}
	bounded := io.TeeReader(io.LimitReader(text, maxTOCText), hash.Hash())
	if err := c.parseTOC(bounded); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, bounded); err != nil || hash.Digest() != c.claim.digest {
		return errTOC
	}
	return nil
}

// openTOC unpacks a table: a zstd frame of JSON, or a gzip member with a tar of one file.
func (c *content) openTOC(raw []byte) (io.ReadCloser, error) {
	if c.claim.offset != 0 {
		r, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxTOCWindow))
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(io.LimitReader(z, maxTOCText))
	if h, err := t.Next(); err != nil || h.Name != "stargz.index.json" {
		return nil, errTOC
	}
	return io.NopCloser(t), nil
}

// parseStargzFooter returns the offset that a footer has in the extra field of its gzip header
// (RFC 1952, 2.3.1.1): "SG", the length 22, 16 hexadecimal digits and "STARGZ".
func parseStargzFooter(footer []byte) (int64, error) {
	const start, digits, magic = 16, 16, "STARGZ"
	if len(footer) != stargzFooter || !bytes.HasPrefix(footer, []byte{0x1f, 0x8b, 8, 4}) ||
		!bytes.Equal(footer[10:start], []byte{26, 0, 'S', 'G', 22, 0}) || string(footer[start+digits:start+digits+len(magic)]) != magic {
		return 0, errTOC
	}
	return strconv.ParseInt(string(footer[start:start+digits]), 16, 64)
}

// tocEntry is an entry of a table, of which both formats have what CRFS (github.com/google/crfs)
// had.
type tocEntry struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Size        int64  `json:"size"`
	LinkName    string `json:"linkName"`
	Mode        int64  `json:"mode"`
	UID         int    `json:"uid"`
	GID         int    `json:"gid"`
	DevMajor    int    `json:"devMajor"`
	DevMinor    int    `json:"devMinor"`
	Offset      int64  `json:"offset"`
	InnerOffset int64  `json:"innerOffset"`
}

var tocTypes = map[string]byte{
	"reg": tar.TypeReg, "dir": tar.TypeDir, "symlink": tar.TypeSymlink, "hardlink": tar.TypeLink,
	"char": tar.TypeChar, "block": tar.TypeBlock, "fifo": tar.TypeFifo,
}

// located is where the content of an entry is: the byte of the layer at which a frame starts, and
// how far into what that unpacks to.
type located struct {
	entry     uint32
	at, inner int64
}

func byEntry(a, b located) int { return cmp.Compare(a.entry, b.entry) }

// parseTOC puts the entries into the tree one after the other, as those of a tar.
func (c *content) parseTOC(r io.Reader) error {
	bounded := &entryReader{r: r, left: maxTOCEntry}
	decoder := json.NewDecoder(bounded)
	if err := toEntries(decoder); err != nil {
		return err
	}
	for decoder.More() {
		bounded.left = maxTOCEntry
		var e tocEntry
		if err := decoder.Decode(&e); err != nil {
			return errTOC
		}
		typ, ok := tocTypes[e.Type]
		if e.Type == "chunk" {
			continue // more of the file before it
		}
		if !ok || e.Size < 0 || e.UID < 0 || e.GID < 0 {
			return errTOC
		}
		c.ordinal++
		h := &tar.Header{Typeflag: typ, Name: e.Name, Linkname: e.LinkName, Mode: e.Mode, Uid: e.UID, Gid: e.GID, Size: e.Size, Devmajor: int64(e.DevMajor), Devminor: int64(e.DevMinor)}
		i, err := c.unpack(h)
		if err != nil {
			return err
		}
		if i == none || typ != tar.TypeReg || e.Size == 0 {
			continue
		}
		if e.Offset <= 0 || e.Offset >= c.size || e.InnerOffset < 0 || e.InnerOffset > maxRead {
			return errTOC
		}
		c.offsets = append(c.offsets, located{i, e.Offset, e.InnerOffset})
		c.tables.Add(offsetCost)
	}
	// The table is all there: what More takes for the end may be where it was cut.
	if t, err := decoder.Token(); err != nil || t != json.Delim(']') {
		return errTOC
	}
	slices.SortFunc(c.offsets, byEntry)
	return nil
}

// entryReader gives the decoder so much at most until it has an entry: it holds what it reads
// of one.
type entryReader struct {
	r    io.Reader
	left int
}

func (e *entryReader) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, errTOC
	}
	n, err := e.r.Read(p[:min(len(p), e.left)])
	e.left -= n
	return n, err
}

// offsetCost is what knowing where a file's content is takes.
const offsetCost = 64

// toEntries goes to the first element of the member "entries" of a JSON object.
func toEntries(decoder *json.Decoder) error {
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return errTOC
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return errTOC
		}
		if name == "entries" {
			if t, err := decoder.Token(); err != nil || t != json.Delim('[') {
				return errTOC
			}
			return nil
		}
		var other json.Number // "version"
		if err := decoder.Decode(&other); err != nil {
			return errTOC
		}
	}
	return errTOC
}

// fetchRange reads n bytes of the layer, on behalf of l.
func (c *content) fetchRange(ctx context.Context, l *layer, offset, n int64) ([]byte, error) {
	if allowance := l.fs.bounds.fetch; allowance > 0 && l.fs.fetched.Load()+n > allowance {
		return nil, &BudgetError{Layer: c.digest, Limit: fmt.Sprintf("the budget of %d bytes ended", allowance), spent: true, own: true}
	}
	if offset < 0 || n < 0 || offset > c.size-n {
		return nil, errTOC
	}
	body, err := l.Open(ctx, offset)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", c.digest, err)
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, n))
	l.fs.fetched.Add(int64(len(raw)))
	if err == nil && int64(len(raw)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", c.digest, err)
	}
	return raw, nil
}

// readClaimed reads the first n bytes of entry i from where the table says they are.
func (c *content) readClaimed(ctx context.Context, l *layer, i uint32, n int) ([]byte, error) {
	c.mu.RLock()
	found, ok := slices.BinarySearchFunc(c.offsets, located{entry: i}, byEntry)
	var where located
	if ok {
		where = c.offsets[found]
	}
	c.mu.RUnlock()
	switch {
	case n <= 0:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("layer %s: its table of contents does not say where a file is", c.digest)
	}
	s := &stream{content: c, reader: l, again: true, claimed: true}
	s.ctx, s.cancel = context.WithCancel(ctx)
	var err error
	if s.body, err = l.Open(s.ctx, where.at); err != nil {
		s.cancel()
		return nil, fmt.Errorf("layer %s: %w", c.digest, err)
	}
	defer func() { _ = s.close() }() // nothing more is wanted of it
	if s.unpacked, err = s.unpack(); err != nil {
		return nil, s.failure(err)
	}
	if _, err := io.CopyN(io.Discard, s.unpacked, where.inner); err != nil {
		return nil, s.failure(err)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(s.unpacked, head); err != nil {
		return nil, s.failure(err)
	}
	c.keepHead(&c.again, i, head, l.fs)
	return head, nil
}
