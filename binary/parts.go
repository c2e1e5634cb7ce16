package binary

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Parts are pieces of a file.
type Parts interface {
	// From returns the bytes from an offset on, as many as there are in one of the pieces; none
	// where the offset is in none.
	From(offset int64) []byte
}

// Head is the first piece of a file, and the only one.
type Head []byte

// From implements [Parts].
func (h Head) From(offset int64) []byte {
	if offset >= int64(len(h)) {
		return nil
	}
	return h[offset:]
}

// Part is where a piece of a file is.
type Part struct{ Offset, Length int64 }

// apart is how far pieces are apart at least: to keep what is between nearer ones costs less than
// to keep them apart.
const apart = 64

// LoaderParts are the pieces of an ELF file that [Program.DynamicOf] reads, by their offsets: about
// 1 KiB of a library. They are none where a loader reads nothing that is understood. A
// [*NeedError] says that head has to be longer.
func LoaderParts(head []byte, size int64) ([]Part, error) {
	format, ok := identifyELF(head)
	if !ok || len(head) < headerSize64 {
		return nil, nil
	}
	if _, known := formats[format.Platform.Architecture]; !known {
		return nil, nil
	}
	var parts []Part
	p := &Program{Arch: format.Platform.Architecture}
	_, err := p.dynamic(Head(head), size, func(offset, n int64) { parts = append(parts, Part{offset, n}) })
	var need *NeedError
	if errors.As(err, &need) {
		return nil, need
	}
	if err != nil {
		return nil, nil // a loader does something that is not modelled, whatever is read
	}
	slices.SortFunc(parts, func(a, b Part) int { return cmp.Compare(a.Offset, b.Offset) })
	merged := parts[:0]
	for _, part := range parts {
		last := len(merged) - 1
		if last < 0 || part.Offset > merged[last].Offset+merged[last].Length+apart {
			merged = append(merged, part)
			continue
		}
		merged[last].Length = max(merged[last].Length, part.Offset+part.Length-merged[last].Offset)
	}
	return merged, nil
}

// sliceOf is [slice] of a file in pieces.
func sliceOf(parts Parts, size int64, offset, n uint64, what string) ([]byte, error) {
	// What is wrong about the place is wrong wherever the pieces are.
	if _, err := slice(nil, size, offset, n, what); err != nil && !isNeed(err) {
		return nil, err
	}
	if piece := parts.From(int64(offset)); uint64(len(piece)) >= n {
		return piece[:n], nil
	}
	return nil, &NeedError{Bytes: int(offset + n)}
}

func isNeed(err error) bool {
	var need *NeedError
	return errors.As(err, &need)
}

// stringAt is the string at an offset of a file, which ends before limit.
func stringAt(parts Parts, offset, limit uint64, what string) ([]byte, error) {
	n := min(limit-offset, pathMax)
	piece := parts.From(int64(offset))
	if uint64(len(piece)) > n {
		piece = piece[:n]
	}
	if end := bytes.IndexByte(piece, 0); end >= 0 {
		return piece[:end], nil
	}
	if uint64(len(piece)) < n {
		return nil, &NeedError{Bytes: int(offset + n)}
	}
	return nil, &UnmodelledError{fmt.Sprintf("its %s does not have a name that it uses", what)}
}
