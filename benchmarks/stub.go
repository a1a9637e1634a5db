package main

import (
	"io"
	"net/http"
	"sync/atomic"
)

// A stub answers at once, by the response that a load has put into its request.
type stub struct{ body io.ReadCloser }

// RoundTrip implements [http.RoundTripper].
func (s *stub) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Response.Body = s.body // others have wrapped that of the last request
	return req.Response, nil
}

// emptyBody is empty, and not known to be so as http.NoBody is.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

// A failing upstream answers 503, and counts.
type failing struct{ hits atomic.Int64 }

// RoundTrip implements [http.RoundTripper].
func (f *failing) RoundTrip(req *http.Request) (*http.Response, error) {
	f.hits.Add(1)
	return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}
