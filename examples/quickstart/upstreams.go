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

// An upstream is a server that can be given a fault. Only ServeHTTP may be
// called concurrently.
type upstream struct {
	name    string
	network network
	latency time.Duration
	fault   atomic.Pointer[fault]
	address atomic.Value // string
	server  *http.Server // nil: nobody listens
	serving sync.WaitGroup
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := u.fault.Load(); f != nil {
		f.answer(w, r)
		return
	}
	select {
	case <-time.After(u.latency + rand.N(u.latency)):
	case <-r.Context().Done():
	}
	_, _ = fmt.Fprintf(w, "hello from %s\n", u.name)
}

// start makes u listen, at an address that is new each time.
func (u *upstream) start() error {
	listener, err := u.network.listen()
	if err != nil {
		return fmt.Errorf("%s cannot listen: %w", u.name, err)
	}
	u.address.Store(listener.Addr().String())
	server := &http.Server{Handler: u, ReadHeaderTimeout: time.Second}
	u.serving.Go(func() { _ = server.Serve(listener) })
	u.server = server
	return nil
}

// stop closes the listener and all connections, which ends hanging requests.
func (u *upstream) stop() {
	if u.server == nil {
		return
	}
	_ = u.server.Close()
	u.serving.Wait()
	u.server = nil
}

// suffer gives u a fault, or heals it if f is nil.
func (u *upstream) suffer(f *fault) error {
	if f != nil && f.answer == nil {
		u.stop()
		return nil
	}
	u.fault.Store(f)
	if u.server == nil {
		return u.start()
	}
	return nil
}

// upstreams are servers by host name.
type upstreams map[string]*upstream

// startUpstreams starts a server for each host of the scenario.
func startUpstreams(n network, s scenario) (upstreams, error) {
	us := upstreams{}
	for _, h := range s.hosts {
		u := &upstream{name: h.name, network: n, latency: s.latency}
		if err := u.start(); err != nil {
			us.stop()
			return nil, err
		}
		us[h.name] = u
	}
	return us, nil
}

func (us upstreams) stop() {
	for _, u := range us {
		u.stop()
	}
}

// dial is in place of DNS: it connects to the upstream that an address names.
func (us upstreams) dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	u, ok := us[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return u.network.dial(ctx, u.address.Load().(string))
}
