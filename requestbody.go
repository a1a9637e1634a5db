package breakerhttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
)

// A requestBody watches the body of a request. It knows whether the body failed, and whether base
// was waiting for the body when the request's context ended.
type requestBody struct {
	io.ReadCloser
	ctx     context.Context
	length  int64       // ContentLength; 0 or less if it is unknown
	read    int64       // only Read and WriteTo use it
	whole   atomic.Bool // its end has been read, where it should be
	closed  atomic.Bool
	fault   atomic.Bool
	waiting atomic.Bool                 // base waits for a Read now, or did when the context ended
	again   atomic.Pointer[requestBody] // the latest that GetBody has returned
}

// watchRequestBody returns the request to send, and what watches its body, or nil if the body need
// not be watched.
func watchRequestBody(req *http.Request) (*http.Request, *requestBody) {
	body, watched := newRequestBody(req, req.Body)
	if body == nil {
		return req, nil
	}
	out := *req
	out.Body = watched
	if req.GetBody != nil {
		out.GetBody = func() (io.ReadCloser, error) { return body.getAgain(req) }
	}
	return &out, body
}

// watchedBody returns what watches the body of a request that watchRequestBody has returned, or
// nil.
func watchedBody(out *http.Request) *requestBody {
	switch body := out.Body.(type) {
	case *requestBody:
		return body
	case requestBodyWriterTo:
		return body.requestBody
	}
	return nil
}

// newRequestBody returns what watches a body, and the body that base gets. Base gets bodies in
// memory and files as they are, and nothing watches them, because net/http looks at their types.
func newRequestBody(req *http.Request, body io.ReadCloser) (*requestBody, io.ReadCloser) {
	if body == nil || body == http.NoBody || isInMemory(body, req.ContentLength) || isFile(body, req.ContentLength) {
		return nil, body
	}
	b := &requestBody{ReadCloser: body, ctx: req.Context(), length: req.ContentLength}
	if _, ok := body.(io.WriterTo); ok {
		return b, requestBodyWriterTo{b}
	}
	return b, b
}

// getAgain is the GetBody of the request to send.
func (b *requestBody) getAgain(req *http.Request) (io.ReadCloser, error) {
	body, err := req.GetBody()
	if err != nil {
		b.fault.Store(true)
		return body, err
	}
	again, watched := newRequestBody(req, body)
	b.waiting.Store(false)
	b.again.Store(again)
	return watched, nil
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.wait(true)
	n, err := b.ReadCloser.Read(p)
	b.wait(false)
	b.read += int64(n)
	if err != nil || b.length > 0 && b.read > b.length {
		b.end(err)
	}
	return n, err
}

// wait notes that a Read begins or ends. It changes nothing once the context should have ended, or
// base has closed the body because of that.
func (b *requestBody) wait(begins bool) {
	if !b.closed.Load() && !isOver(b.ctx) {
		b.waiting.Store(begins)
	}
}

// end judges the end of the body. A body that base has closed has not failed: base closes it when
// the host has failed.
func (b *requestBody) end(err error) {
	whole := err == io.EOF && (b.length <= 0 || b.read == b.length) //nolint:errorlint // the io.Reader contract: EOF itself
	switch {
	case whole:
		b.whole.Store(true)
	case !b.closed.Load():
		b.fault.Store(true)
	}
}

// Close closes the body. If that fails although the body is whole, net/http gives the request up
// over HTTP/1.
func (b *requestBody) Close() error {
	first := !b.closed.Swap(true)
	err := b.ReadCloser.Close()
	if err != nil && first && b.whole.Load() {
		b.fault.Store(true)
	}
	return err
}

// failed reports whether the request could not be sent because of its own body.
func (b *requestBody) failed() bool {
	return b != nil && (b.fault.Load() || b.again.Load().failed())
}

// keptWaiting reports whether base was waiting for the body when the context ended.
func (b *requestBody) keptWaiting() bool {
	return b != nil && (b.waiting.Load() || b.again.Load().keptWaiting())
}

// A requestBodyWriterTo is a requestBody with the WriteTo of the body.
type requestBodyWriterTo struct{ *requestBody }

func (b requestBodyWriterTo) WriteTo(w io.Writer) (int64, error) {
	to := &uploadWriter{w: w, body: b.requestBody}
	b.wait(true)
	n, err := b.ReadCloser.(io.WriterTo).WriteTo(to)
	b.wait(false)
	switch {
	case err == nil:
		b.end(io.EOF)
	case to.err == nil:
		b.end(err)
	}
	return n, err
}

// An uploadWriter notes that during each Write, base waits for the host and not for the body.
type uploadWriter struct {
	w    io.Writer
	body *requestBody
	err  error
}

func (u *uploadWriter) Write(p []byte) (n int, err error) {
	u.body.wait(false)
	n, u.err = u.w.Write(p)
	u.body.wait(true)
	u.body.read += int64(n)
	return n, u.err
}

// isInMemory reports whether a body has a type that net/http knows to be in memory, and as many
// bytes as promised. net/http sends such a body in fewer writes, and it cannot fail.
func isInMemory(body io.Reader, length int64) bool {
	for {
		if t := reflect.TypeOf(body); t != nopCloser && t != nopCloserWriterTo {
			break
		}
		body, _ = reflect.ValueOf(body).Field(0).Interface().(io.Reader)
	}
	left := -1
	switch b := body.(type) {
	case *bytes.Buffer:
		left = b.Len()
	case *bytes.Reader:
		left = b.Len()
	case *strings.Reader:
		left = b.Len()
	}
	return left >= 0 && (length <= 0 || int64(left) == length)
}

// The types that io.NopCloser returns, which net/http looks into.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(new(bytes.Reader)))
)

// isFile reports whether a body is a regular file, which package net sends by sendfile, and has as
// many bytes left as promised. Over HTTP/2, only the host would notice that some are missing. The
// errors of a file can be recognized: see ofFile.
func isFile(body io.Reader, length int64) bool {
	f, ok := body.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if length <= 0 {
		return true
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return err == nil && info.Size()-at == length
}

// ofFile reports whether reading the file that is the body of req caused err.
func ofFile(req *http.Request, err error) bool {
	if req == nil {
		return false
	}
	f, ok := req.Body.(*os.File)
	if !ok || f == nil {
		return false
	}
	failed, ok := errors.AsType[*fs.PathError](err)
	return ok && failed.Path == f.Name() || slices.ContainsFunc(unreadable, func(e error) bool { return errors.Is(err, e) })
}
