package breakerhttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// refusals are the beginnings of the errors with which net/http refuses to send a
// request. These errors have no type. Errors that mean a broken host often have none
// either, so only the text distinguishes them. A test compares the list with the
// sources of net/http.
var refusals = []string{
	"http: nil Request.URL",
	"http: nil Request.Header",
	"http: Request.RequestURI can't be set in client requests",
	"http: no Host in request URL",
	"http: Request.Write on Request with no Host or URL set",
	"http: invalid Host header",
	"http: invalid method",
	"http: invalid header",
	"http: invalid trailer",
	"http: Request.ContentLength=", // and no body
	"http: ContentLength=",         // and a body of another length
	"net/http: invalid method",
	"net/http: invalid header",
	"net/http: invalid trailer",
	"net/http: can't write control character in Request.URL",
	"net/http: extended connect not supported by peer",
	"unsupported protocol scheme",
	"invalid Trailer key",
	"request header list larger than peer's advertised limit", // of HTTP/2; also of a trailer
	"idna: ", // a host name

	"http2: Request.URL is nil",
	"http2: invalid Host header",
	"http2: invalid request :path",
	"http2: invalid :protocol header in non-CONNECT request",
	"http2: invalid HTTP header",
	"http2: invalid HTTP trailer",
	"http2: invalid Trailer key",
	"http2: invalid Connection request header: ",
	"http2: invalid Transfer-Encoding request header: ",
	"http2: invalid Upgrade request header: ",
	"http2: request body larger than specified content length",
	"http: Transport does not support unencrypted HTTP/2",
	"http2: unencrypted HTTP/2 not enabled",
	"http2: unsupported scheme",
}

// malformed reports whether net/http refused to send req. Over HTTP/1, http.Transport closes its
// connection then. If the closed connection is what it sees first, that is the error.
func malformed(req *http.Request, err error) bool {
	return wraps(err, isRefusal) ||
		hasBadPort(req) && (is[*net.AddrError](err) || is[*net.DNSError](err)) ||
		(errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)) && isUnwritable(req)
}

func isRefusal(err error) bool {
	text := err.Error()
	return slices.ContainsFunc(refusals, func(start string) bool { return strings.HasPrefix(text, start) })
}

// hasBadPort reports whether req has a port that package net refuses to dial. The error alone does
// not say so: other addresses and look-ups fail with errors of the same types.
func hasBadPort(req *http.Request) bool {
	if req == nil || req.URL == nil || req.URL.Port() == "" {
		return false
	}
	_, err := strconv.ParseUint(req.URL.Port(), 10, 16)
	return err != nil
}

// isUnwritable reports whether net/http refuses to write req over HTTP/1, whatever its body is. It
// writes the request once more, to nowhere.
func isUnwritable(req *http.Request) bool {
	if req == nil || req.URL == nil { // made by hand
		return false
	}
	again := req.WithContext(context.Background()) // its httptrace hooks are not to be called
	if again.Body != nil {
		again.Body, again.ContentLength = io.NopCloser(strings.NewReader("")), -1
	}
	return again.WriteProxy(io.Discard) != nil // it refuses what Write refuses, and an invalid Host
}
