// Package faultserver has servers that fail, each in a way of its own. They
// listen on loopback and stop with the test.
package faultserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// A Fault is what a server does to a connection. The connection is closed when
// it returns.
type Fault func(net.Conn)

// New starts a server that does fault to every connection, and returns its
// address.
func New(t testing.TB, fault Fault) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("faultserver: %v", err)
	}
	s := &server{fault: fault, conns: map[net.Conn]bool{}}
	s.running.Go(func() { s.serve(l) })
	t.Cleanup(func() {
		_ = l.Close()
		s.stop()
	})
	return l.Addr().String()
}

type server struct {
	fault   Fault
	running sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	stopped bool
}

func (s *server) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if !s.track(conn) {
			_ = conn.Close()
			return
		}
		s.running.Go(func() {
			defer s.drop(conn)
			s.fault(conn)
		})
	}
}

func (s *server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = true
	return !s.stopped
}

func (s *server) drop(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *server) stop() {
	s.mu.Lock()
	s.stopped = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Refusing returns an address that refuses connections: that of a client, which
// nobody else can listen on.
func Refusing(t testing.TB) (addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", New(t, Stall))
	if err != nil {
		t.Fatalf("faultserver: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// Stall reads and never answers.
func Stall(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Hangup closes the connection where the response is due.
func Hangup(conn net.Conn) { readRequest(conn) }

// Reset resets the connection where the response is due.
func Reset(conn net.Conn) {
	readRequest(conn)
	reset(conn)
}

// Say says raw to whatever the client begins with, and closes the connection.
func Say(raw string) Fault {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 64<<10))
		_, _ = io.WriteString(conn, raw)
	}
}

// Reply answers with raw, and closes the connection.
func Reply(raw string) Fault {
	return func(conn net.Conn) {
		readRequest(conn)
		_, _ = io.WriteString(conn, raw)
	}
}

// ReplyAndReset answers with raw, and resets the connection once proceed is
// closed: what the client has not read by then may be lost.
func ReplyAndReset(raw string, proceed <-chan struct{}) Fault {
	return func(conn net.Conn) {
		Reply(raw)(conn)
		<-proceed
		reset(conn)
	}
}

// ReplyAndStall answers with raw, and then no more.
func ReplyAndStall(raw string) Fault {
	return func(conn net.Conn) {
		Reply(raw)(conn)
		Stall(conn)
	}
}

// readRequest reads all of a request: to close a connection with data unread
// would reset it.
func readRequest(conn net.Conn) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, req.Body)
}

// reset makes the close of the connection a reset.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
