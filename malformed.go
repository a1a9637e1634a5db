package breakerhttp

import (
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// malformed reports whether req is one that net/http refuses to send, before it
// has asked anybody, where err is what came of it. It is asked on the error path
// only: errors cannot be told apart by type.
func malformed(req *http.Request, err error) bool {
	if req == nil || req.URL == nil || req.Header == nil {
		return true
	}
	u := req.URL
	if (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") && !is[*net.OpError](err) {
		return true // but for a base that knows another scheme
	}
	if req.Method != "" && !isToken(req.Method) || strings.ContainsFunc(u.RequestURI(), isControl) {
		return true
	}
	if req.ContentLength != 0 && req.Body == nil {
		return true
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return true
		}
	}
	for name := range req.Trailer {
		if slices.Contains(noTrailers, http.CanonicalHeaderKey(name)) {
			return true
		}
	}
	return malformedHeader(req.Header) || malformedHeader(req.Trailer) || malformedHTTP2(req) && untyped(err)
}

// noTrailers must not be sent as trailers: RFC 9110, section 6.5.1.
var noTrailers = []string{"Content-Length", "Trailer", "Transfer-Encoding"}

// malformedHTTP2 reports whether HTTP/2 refuses what HTTP/1 sends: RFC 9113,
// sections 8.2.2 and 8.3.1. For a WebSocket, net/http sends no HTTP/2.
func malformedHTTP2(req *http.Request) bool {
	h := req.Header
	if strings.EqualFold(h.Get("Upgrade"), "websocket") {
		return false
	}
	connection := h["Connection"]
	return h.Get("Upgrade") != "" || h.Get("Transfer-Encoding") != "" || len(connection) > 1 ||
		len(connection) == 1 && !slices.Contains([]string{"", "close", "keep-alive"}, strings.ToLower(connection[0])) ||
		req.URL.Opaque != "" || strings.ContainsFunc(req.Host, func(r rune) bool { return r == ' ' || isControl(r) })
}

// untyped reports an error that is but a text, as HTTP/2 gives it for a request
// that it refuses: what the network says has types.
func untyped(err error) bool {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return reflect.TypeOf(err) == reflect.TypeOf(io.EOF) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}

func malformedHeader(h http.Header) bool {
	for name, values := range h {
		if !isToken(name) {
			return true
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(r rune) bool { return r != '\t' && isControl(r) }) {
				return true
			}
		}
	}
	return false
}

// isToken is RFC 9110, section 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// isControl reports characters that neither a request line nor, but for the tab,
// a field value may have: RFC 9112, section 3, and RFC 9110, section 5.5.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }
