package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A network is where servers listen and clients dial.
type network struct {
	listen func() (net.Listener, error) // at an address of its own
	dial   func(ctx context.Context, address string) (net.Conn, error)
}

// loopback is this machine.
var loopback = network{
	listen: func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	dial: func(ctx context.Context, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	},
}

// A fault is a way to fail.
type fault struct {
	begins, ends string                                            // for people
	answer       func(*server, http.ResponseWriter, *http.Request) // nil: nobody listens
}

var (
	overloaded = fault{
		begins: "its server is overloaded and answers everything with 503",
		ends:   "its server has room again",
		answer: func(_ *server, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
		},
	}
	dead = fault{
		begins: "its server dies: connections are refused",
		ends:   "its server has been restarted",
	}
	hanging = fault{
		begins: "its server hangs: it takes requests and answers none",
		ends:   "its server answers again",
		answer: func(_ *server, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	truncating = fault{
		begins: "its server breaks answers off: 200 OK, then half of the body",
		ends:   "its server completes its answers again",
		answer: func(_ *server, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 500)) // net/http closes a connection that owes bytes
		},
	}
	slowing = fault{
		begins: "its server can answer a third of the requests, and the others with 503",
		ends:   "its server can answer all requests again",
		answer: func(s *server, w http.ResponseWriter, _ *http.Request) {
			const work, longest = 30 * time.Millisecond, 200 * time.Millisecond
			wait, ok := s.queue(work, longest)
			if !ok {
				http.Error(w, "overloaded", http.StatusServiceUnavailable)
				return
			}
			time.Sleep(wait)
			_, _ = fmt.Fprintln(w, "hello")
		},
	}
)

// A server can be given a fault. Only ServeHTTP and dial may be called
// concurrently.
type server struct {
	network network
	fault   atomic.Pointer[fault]
	address atomic.Value // string
	http    *http.Server // nil: nobody listens
	serving sync.WaitGroup

	mu   sync.Mutex
	free time.Time // when the work of all requests so far is done
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := s.fault.Load(); f != nil {
		f.answer(s, w, r)
		return
	}
	select {
	case <-time.After(latency + rand.N(latency)):
	case <-r.Context().Done():
	}
	_, _ = fmt.Fprintln(w, "hello")
}

const latency = 10 * time.Millisecond // at least, of a healthy server

// queue adds work to that of the requests before, and returns when it will be done.
// It does not if there is more to do than longest.
func (s *server) queue(work, longest time.Duration) (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = max(time.Until(s.free), 0) + work
	if wait > longest {
		return 0, false
	}
	s.free = time.Now().Add(wait)
	return wait, true
}

// start makes s listen, at an address that is new each time.
func (s *server) start() error {
	listener, err := s.network.listen()
	if err != nil {
		return err
	}
	s.address.Store(listener.Addr().String())
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Second}
	s.serving.Go(func() { _ = server.Serve(listener) })
	s.http = server
	return nil
}

// stop closes the listener and all connections, which ends hanging requests.
func (s *server) stop() {
	if s.http == nil {
		return
	}
	_ = s.http.Close()
	s.serving.Wait()
	s.http = nil
}

// suffer gives s a fault, or repairs it if f is nil.
func (s *server) suffer(f *fault) error {
	if f != nil && f.answer == nil {
		s.stop()
		return nil
	}
	s.fault.Store(f)
	if s.http == nil {
		return s.start()
	}
	return nil
}

func (s *server) dial(ctx context.Context) (net.Conn, error) {
	return s.network.dial(ctx, s.address.Load().(string))
}
