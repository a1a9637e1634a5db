package torture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

// A hostileHTTP1 does to its clients whatever can be done over a socket, until it is healthy.
type hostileHTTP1 struct {
	addr    string
	healthy atomic.Bool
}

// goodResponse is what a healthy server answers. A hostile one cuts it off anywhere.
const goodResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\nX-Field: value\r\n\r\nhello world"

func newHostileHTTP1(t *testing.T) *hostileHTTP1 {
	s := &hostileHTTP1{}
	s.addr = faultserver.New(t, s.talk)
	return s
}

// talk answers one request badly, or many requests well.
func (s *hostileHTTP1) talk(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_ = req.Body.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if !s.healthy.Load() {
			faults[rand.IntN(len(faults))](conn.(*net.TCPConn))
			return
		}
		if !say(conn, goodResponse) {
			return
		}
	}
}

// faults each end the connection.
var faults = []func(*net.TCPConn){
	resetAnywhere, resetAnywhere, resetAnywhere, // at every byte of the response
	func(c *net.TCPConn) { drip(c, goodResponse, 3*time.Millisecond) },
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
	func(c *net.TCPConn) { say(c, goodResponse) },
}

func say(c net.Conn, s string) bool {
	_, err := c.Write([]byte(s))
	return err == nil
}

// resetAnywhere ends with a RST within the response.
func resetAnywhere(c *net.TCPConn) {
	say(c, goodResponse[:rand.IntN(len(goodResponse))])
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

// hostileHTTP2 resets streams, and says GOAWAY, until it is healthy.
type hostileHTTP2 struct {
	addr    string
	healthy atomic.Bool
}

func newHostileHTTP2(t *testing.T) *hostileHTTP2 {
	t.Helper()
	h := &hostileHTTP2{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	server := &http.Server{Handler: h, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return h
}

func (h *hostileHTTP2) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if h.healthy.Load() {
		_, _ = io.WriteString(w, "hello")
		return
	}
	switch rand.IntN(6) {
	case 0:
		panic(http.ErrAbortHandler) // RST_STREAM before the headers
	case 1:
		_, _ = io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler) // and within the body
	case 2:
		w.Header().Set("Connection", "close") // GOAWAY
	case 3:
		w.WriteHeader(503)
	case 4:
		select {
		case <-req.Context().Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	_, _ = io.WriteString(w, "answer")
}
