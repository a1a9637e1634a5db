package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// A web stands in for the internet: any number of hosts on two loopback listeners.
// One answers, the other does not.
type web struct {
	hosts   []string
	healthy *http.Server
	address string       // of the healthy hosts
	dead    net.Listener // whose connections nobody accepts
}

func newWeb(p plan) (*web, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &web{address: listener.Addr().String(), dead: dead}
	w.healthy = &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(rw, "a page of "+req.Host)
	})}
	go func() { _ = w.healthy.Serve(listener) }()
	for i := range p.hosts {
		kind := "healthy"
		if i*p.dead/p.hosts != (i+1)*p.dead/p.hosts { // spread evenly
			kind = "dead"
		}
		w.hosts = append(w.hosts, fmt.Sprintf("%s-%d.example", kind, i))
	}
	return w, nil
}

// transport reaches the hosts of the web.
func (w *web) transport() *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true, // thousands of hosts, one page at a time
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := w.address
			if strings.HasPrefix(addr, "dead-") {
				to = w.dead.Addr().String()
			}
			var d net.Dialer
			return d.DialContext(ctx, network, to)
		},
	}
}

func (w *web) close() {
	_ = w.healthy.Close()
	_ = w.dead.Close()
}
