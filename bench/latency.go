package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// chunk is what is read of a connection at once.
	chunk = 64 << 10
	// inFlight bounds the chunks on their way in one direction of a connection: 4 MiB
	// or 160 MB/s at 50 ms, about what Linux lets a TCP window grow to by default.
	inFlight = 64
)

// line is a long way to a server: what goes through arrives later, unchanged and at
// any speed. It works on TCP and knows nothing of HTTP. Connecting takes no time.
type line struct {
	listener net.Listener
	to       string
	rtt      atomic.Int64

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

// newLine leads to a server from a loopback port that the kernel chooses.
func newLine(to string) (*line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &line{listener: listener, to: to, open: map[net.Conn]bool{}}
	go l.accept()
	return l, nil
}

func (l *line) host() string { return l.listener.Addr().String() }

// setRTT sets how long it takes there and back.
func (l *line) setRTT(d time.Duration) { l.rtt.Store(int64(d)) }

func (l *line) close() {
	_ = l.listener.Close() // accept ends with it
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.open {
		_ = c.Close() // whoever reads it ends with it
	}
}

func (l *line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil || !l.keep(near, far) {
			_ = near.Close()
			continue
		}
		go func() {
			var ways sync.WaitGroup
			ways.Go(func() { l.carry(far.(*net.TCPConn), near.(*net.TCPConn)) })
			ways.Go(func() { l.carry(near.(*net.TCPConn), far.(*net.TCPConn)) })
			ways.Wait()
			l.forget(near, far)
		}()
	}
}

func (l *line) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.open[c] = true
	}
	return !l.closed
}

func (l *line) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(l.open, c)
	}
}

// parcel is what was read at once, and when it is to arrive.
type parcel struct {
	bytes   []byte
	arrives time.Time
}

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// carry moves bytes one way until they end, and half of the round-trip time later.
func (l *line) carry(to, from *net.TCPConn) {
	parcels := make(chan parcel, inFlight)
	go func() {
		defer close(parcels)
		for {
			buffer := *chunks.Get().(*[]byte)
			n, err := from.Read(buffer)
			if n > 0 {
				parcels <- parcel{buffer[:n], time.Now().Add(time.Duration(l.rtt.Load() / 2))}
			}
			if err != nil {
				return
			}
		}
	}()
	failed := false
	for p := range parcels {
		if !failed {
			time.Sleep(time.Until(p.arrives))
			_, err := to.Write(p.bytes)
			failed = err != nil
		}
		buffer := p.bytes[:cap(p.bytes)]
		chunks.Put(&buffer)
	}
	if failed {
		// Nobody takes what comes: the sender is to know.
		_, _ = from.Close(), to.Close()
		return
	}
	_ = to.CloseWrite() // the other end may be gone already
}
