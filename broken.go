package breakerhttp

import (
	"errors"
	"io"
	"slices"
	"strings"
)

// isBroken reports whether err says that the connection broke, or that the peer closed it. Such
// errors come together: one restart of a host breaks all connections to it, and all requests that
// share a connection. A malformed response breaks its connection too, but is a failure of its own.
func isBroken(err error) bool {
	err = readable(err)
	switch {
	case err == nil, wraps(err, isTimeout):
		return false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), wraps(err, isOp("read")), wraps(err, isOp("write")):
		return true
	}
	return slices.ContainsFunc(brokenTexts, func(text string) bool { return strings.Contains(err.Error(), text) })
}

// brokenTexts are parts of the texts of errors that nothing else identifies:
// net/http does not export them, or they are the operating system's (Windows has
// other texts, and its errors are found by their operation).
var brokenTexts = []string{
	"connection reset by peer",
	"broken pipe",
	"server closed idle connection",
	"cannot rewind body after connection loss",
	"GOAWAY",
	"http2: client connection lost",
	"http2: client conn is closed",
	"http2: client conn not usable",
	"received from peer", // an HTTP/2 stream that the peer has reset
}
