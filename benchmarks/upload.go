package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"time"
)

const (
	namePost = "small POST without GetBody"
	namePut  = "PUT of a 32 MiB file"
)

const fileSize = 32 << 20

// An upload sends the same request with a body over and over, on loopback.
type upload struct {
	name   string
	method string
	slice  time.Duration
	body   func() (body io.ReadCloser, size int64)

	took   *field
	writes map[string]float64 // a request, by contender
}

// uploaders are compared with each other: the base, and breakerhttp.
var uploaders = []string{nameBase, nameOurs}

// uploaded measures requests that have bodies. A body that a guard wraps costs
// more writes: net/http looks at its type.
func uploaded(budget time.Duration) ([]*upload, error) {
	file, err := os.CreateTemp("", "upload")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := file.Truncate(fileSize); err != nil {
		return nil, err
	}
	small := bytes.Repeat([]byte("x"), 100)
	uploads := []*upload{
		{name: namePost, method: http.MethodPost, slice: slowSlice, body: func() (io.ReadCloser, int64) {
			return io.NopCloser(bytes.NewReader(small)), int64(len(small))
		}},
		{name: namePut, method: http.MethodPut, slice: 50 * time.Millisecond, body: func() (io.ReadCloser, int64) {
			f, err := os.Open(file.Name())
			must(err)
			return f, fileSize
		}},
	}
	for _, u := range uploads {
		u.measure(budget / time.Duration(len(uploads)))
	}
	return uploads, nil
}

func (u *upload) measure(budget time.Duration) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
	}))
	defer server.Close()
	u.took, u.writes = &field{}, map[string]float64{}
	for _, name := range uploaders {
		var writes atomic.Int64
		base := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{c.(*net.TCPConn), &writes}, nil
		}}
		defer base.CloseIdleConnections()
		rt := named(name).guard(base)
		send := func(n int) (failed int) {
			for range n {
				if u.send(rt, server.URL) != nil {
					failed++
				}
			}
			return failed
		}
		const counted = 10
		send(1) // dials
		before := writes.Load()
		send(counted)
		u.writes[name] = float64(writes.Load()-before) / counted
		u.took.add(subject{Name: name, send: send})
	}
	u.took.measure(budget, u.slice)
}

func (u *upload) send(rt http.RoundTripper, url string) error {
	req, err := http.NewRequestWithContext(context.Background(), u.method, url, nil)
	if err != nil {
		return err
	}
	req.Body, req.ContentLength = u.body()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// A countedConn counts writes, and the files that the system sends by itself,
// each once.
type countedConn struct {
	*net.TCPConn
	writes *atomic.Int64
}

// Write implements [net.Conn].
func (c *countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(b)
}

// ReadFrom implements [io.ReaderFrom] as that of a TCPConn is: the system sends
// what is a file, and everything else is written piece by piece.
func (c *countedConn) ReadFrom(r io.Reader) (int64, error) {
	part := r
	if l, ok := r.(*io.LimitedReader); ok {
		part = l.R
	}
	if _, ok := part.(*os.File); !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	c.writes.Add(1)
	return c.TCPConn.ReadFrom(r)
}
