package registry

import (
	"context"
	"io"
	"net"
	"sync"
)

// copyBuffer is what is read of a body and written to a connection at once. package
// io takes 32 KiB, and four times as many system calls.
const copyBuffer = 128 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// conn is a connection that is written to in large pieces.
type conn struct{ net.Conn }

// ReadFrom implements io.ReaderFrom, by which net/http sends bodies.
func (c conn) ReadFrom(from io.Reader) (int64, error) {
	buffer := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buffer)
	// The connection has a ReadFrom of its own, which would not take this buffer.
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, struct{ io.Reader }{from}, buffer[:])
}

// dialer makes such connections.
type dialer struct{ net.Dialer }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}
