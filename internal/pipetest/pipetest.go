// Package pipetest serves HTTP over net.Pipe: a network whose waits a
// testing/synctest bubble can see, so that time passes in it.
package pipetest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// A Server serves a handler to the clients of its Transport.
type Server struct {
	URL       string
	Transport *http.Transport // reaches the server, whatever the address
	server    http.Server
	listener  *listener
	done      chan struct{}
}

// NewServer starts a server for HTTP/1.1, or, with the client's protocols set
// so, HTTP/2 without TLS. It stops with the test.
func NewServer(t testing.TB, h http.Handler) *Server {
	t.Helper()
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &Server{
		URL:       "http://pipe.test",
		Transport: &http.Transport{DialContext: l.dial},
		server:    http.Server{Handler: h, Protocols: new(http.Protocols)},
		listener:  l,
		done:      make(chan struct{}),
	}
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l)
	}()
	t.Cleanup(s.Close)
	return s
}

// UseHTTP2 makes the Transport speak HTTP/2.
func (s *Server) UseHTTP2() {
	s.Transport.Protocols = new(http.Protocols)
	s.Transport.Protocols.SetUnencryptedHTTP2(true)
}

// Close stops the server and its connections.
func (s *Server) Close() {
	s.Transport.CloseIdleConnections()
	_ = s.server.Close()
	<-s.done
}

type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe.test:80" }
