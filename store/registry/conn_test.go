package registry

import (
	"bytes"
	"net"
	"slices"
	"testing"
)

// recorder is a connection that keeps what is written to it.
type recorder struct {
	net.Conn
	bytes  bytes.Buffer
	pieces []int
}

func (r *recorder) Write(p []byte) (int, error) {
	r.pieces = append(r.pieces, len(p))
	return r.bytes.Write(p)
}

func TestConnectionIsWrittenToInLargePieces(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), (2*copyBuffer+32)/16)
	to := new(recorder)
	n, err := conn{to}.ReadFrom(bytes.NewReader(content))
	if err != nil || n != int64(len(content)) || !bytes.Equal(to.bytes.Bytes(), content) {
		t.Fatalf("%d of %d bytes, %v", n, len(content), err)
	}
	if want := []int{copyBuffer, copyBuffer, 32}; !slices.Equal(to.pieces, want) {
		t.Errorf("pieces of %d, want %d", to.pieces, want)
	}
}
