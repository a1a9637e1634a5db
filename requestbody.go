package breakerhttp

import (
	"io"
	"net/http"
	"sync/atomic"
)

// A requestBody tells whether a request failed by its own body.
type requestBody struct {
	io.ReadCloser
	length int64 // promised; 0 or less if none is
	read   int64 // only Read uses it
	closed atomic.Bool
	fault  atomic.Bool
}

// watchRequestBody returns the request to send, and its body if that must be
// watched. A request that can be sent again is left alone: net/http may do so,
// and knows its body by GetBody.
func watchRequestBody(req *http.Request) (*http.Request, *requestBody) {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return req, nil
	}
	body := &requestBody{ReadCloser: req.Body, length: req.ContentLength}
	watched := *req
	watched.Body = body
	return &watched, body
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if b.closed.Load() {
		return n, err // base closes the body when the host has failed
	}
	broken := err != nil && err != io.EOF
	short := err == io.EOF && b.read < b.length
	long := b.length > 0 && b.read > b.length
	if broken || short || long {
		b.fault.Store(true)
	}
	return n, err
}

// failed reports whether the request cannot be sent, and that is the caller's own
// fault.
func (b *requestBody) failed() bool { return b != nil && b.fault.Load() }

func (b *requestBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}
