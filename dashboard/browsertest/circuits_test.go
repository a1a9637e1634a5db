package browsertest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/dashboard"
)

// circuits are those of a Transport, with a page of them below a prefix. A
// request says by its header how it is answered.
type circuits struct {
	*breakerhttp.Transport
	t      *testing.T
	server *httptest.Server
	url    string // of the page
}

func newCircuits(t *testing.T, opts ...breakerhttp.Option) *circuits {
	t.Helper()
	tr, err := breakerhttp.New(roundTripFunc(answer), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return &circuits{Transport: tr, t: t}
}

// answer fails with the error that the request asks for, waits if it asks for
// that, and succeeds.
func answer(req *http.Request) (*http.Response, error) {
	if err := req.Header.Get("Fail"); err != "" {
		return nil, errors.New(err)
	}
	if req.Header.Get("Hang") != "" {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	if code, err := strconv.Atoi(req.Header.Get("Status")); err == nil {
		resp, err := status(code)(req)
		resp.Header.Set("Retry-After", req.Header.Get("Retry-After"))
		return resp, err
	}
	if wait, err := time.ParseDuration(req.Header.Get("Slow")); err == nil {
		<-time.After(wait)
	}
	return status(http.StatusOK)(req)
}

// serve starts the server of the page.
func (c *circuits) serve(opts ...dashboard.Option) *circuits {
	c.t.Helper()
	return c.serveBy(func(h http.Handler) http.Handler { return h }, opts...)
}

// serveBy starts the server of the page, with something around its handler.
func (c *circuits) serveBy(wrap func(http.Handler) http.Handler, opts ...dashboard.Option) *circuits {
	c.t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/ops/circuits/", http.StripPrefix("/ops/circuits", wrap(dashboard.Handler(c.Transport, opts...))))
	c.server = httptest.NewServer(mux)
	c.t.Cleanup(func() {
		c.server.CloseClientConnections()
		c.server.Close()
	})
	c.url = c.server.URL + "/ops/circuits/"
	return c
}

// succeed makes a request that succeeds.
func (c *circuits) succeed(url string) { c.request(url, http.Header{}) }

// trip makes as many requests fail as open a circuit.
func (c *circuits) trip(url string) {
	for range 5 {
		c.request(url, http.Header{"Fail": {"no route"}})
	}
}

func (c *circuits) request(url string, header http.Header) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = header
	if resp, err := c.RoundTrip(req); err == nil {
		_ = resp.Body.Close()
	}
}

// hang begins a request that hangs until the returned function is called.
func (c *circuits) hang(address string) (release func()) {
	server, err := url.Parse(address)
	if err != nil {
		c.t.Fatal(err)
	}
	req := &http.Request{Method: http.MethodGet, URL: server, Header: http.Header{"Hang": {"yes"}}}
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = c.RoundTrip(req.WithContext(ctx)) })
	return func() {
		cancel()
		wg.Wait()
	}
}
