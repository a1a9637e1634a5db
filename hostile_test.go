package breakerhttp_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A hostileServer does to its clients what can be done over a socket, until it
// is told to be well.
type hostileServer struct {
	listener net.Listener
	well     atomic.Bool
	wg       sync.WaitGroup
}

// wellResponse is what a connection gets once the server is well, and what is
// cut off anywhere before.
const wellResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\nX-Field: value\r\n\r\nhello world"

func newHostileServer() (*hostileServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &hostileServer{listener: l}
	s.wg.Go(s.serve)
	return s, nil
}

func (s *hostileServer) close() {
	_ = s.listener.Close()
	s.wg.Wait()
}

func (s *hostileServer) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer conn.Close()
			s.talk(conn.(*net.TCPConn))
		})
	}
}

// talk answers one request, badly, or many if the server is well.
func (s *hostileServer) talk(conn *net.TCPConn) {
	r := bufio.NewReader(conn)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_ = req.Body.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if !s.well.Load() {
			cruelties[rand.IntN(len(cruelties))](conn)
			return
		}
		if _, err := conn.Write([]byte(wellResponse)); err != nil {
			return
		}
	}
}

// cruelties each end the connection.
var cruelties = []func(*net.TCPConn){
	resetAnywhere, resetAnywhere, resetAnywhere, // at every byte of the response
	func(c *net.TCPConn) { drip(c, wellResponse, 3*time.Millisecond) },
	func(c *net.TCPConn) {
		drip(c, "HTTP/1.1 200 OK\r\nX-Slow: "+strings.Repeat("x", 1000), 5*time.Millisecond)
	},
	func(c *net.TCPConn) { // garbage
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		_, _ = c.Write(b)
	},
	func(c *net.TCPConn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") },
	func(c *net.TCPConn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nlong and longer") },
	func(c *net.TCPConn) {
		say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx")
	},
	func(c *net.TCPConn) { // giant headers
		say(c, "HTTP/1.1 200 OK\r\n")
		for i := range 300 {
			if !say(c, fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("g", 8192))) {
				return
			}
		}
	},
	func(c *net.TCPConn) { // endless 1xx
		for range 200 {
			if !say(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {
				return
			}
		}
	},
	func(c *net.TCPConn) { // an upgrade that is half closed
		say(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		_ = c.CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, _ = c.Read(make([]byte, 1))
	},
	func(c *net.TCPConn) { // hangs
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, _ = c.Read(make([]byte, 1))
	},
	func(c *net.TCPConn) {
		say(c, fmt.Sprintf("HTTP/1.1 %d No\r\nContent-Length: 0\r\nRetry-After: %s\r\nDate: %s\r\n\r\n", 500+rand.IntN(500),
			[]string{"99999999999999999999", "-1", "x", "Fri, 31 Dec 9999 23:59:59 GMT", "0"}[rand.IntN(5)],
			[]string{"Thu, 01 Jan 1970 00:00:00 GMT", "x"}[rand.IntN(2)]))
	},
	func(c *net.TCPConn) { say(c, wellResponse) },
}

func say(c net.Conn, s string) bool {
	_, err := c.Write([]byte(s))
	return err == nil
}

// resetAnywhere ends with a RST within the response.
func resetAnywhere(c *net.TCPConn) {
	say(c, wellResponse[:rand.IntN(len(wellResponse))])
	_ = c.SetLinger(0)
}

func drip(c net.Conn, s string, pause time.Duration) {
	for i := range s {
		if !say(c, s[i:i+1]) {
			return
		}
		time.Sleep(pause)
	}
}
