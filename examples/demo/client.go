package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/breakerhttp/breakerhttp"
)

// A client requests the pages of all hosts. Each client has servers of its own, so
// that clients do not affect each other.
type client struct {
	policy  string // its name
	http    http.Client
	breaker *breakerhttp.Transport // nil: there are no circuit breakers
	servers map[string]*server     // by host
}

// newClient starts the servers of a client. One whose policy has no options has no
// circuit breakers.
func (s *show) newClient(n network, p policy) (*client, error) {
	c := &client{policy: p.name, servers: map[string]*server{}}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.Proxy = nil
	base.MaxIdleConnsPerHost = 100
	base.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, _ := strings.Cut(address, ":")
		return c.servers[host].dial(ctx)
	}
	c.http = http.Client{Transport: base, Timeout: s.timeout}
	if p.opts != nil {
		hook := func(_ context.Context, t breakerhttp.Transition) { s.changed(c, t) }
		breaker, err := breakerhttp.New(base, append(p.opts, breakerhttp.WithName(p.name), breakerhttp.WithTransitionHook(hook))...)
		if err != nil {
			return nil, err
		}
		c.breaker, c.http.Transport = breaker, breaker
	}
	for _, h := range s.hosts {
		c.servers[h.name] = &server{network: n}
		if err := c.servers[h.name].start(); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *client) close() {
	c.http.CloseIdleConnections()
	for _, s := range c.servers {
		s.stop()
	}
}

func fetch(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
