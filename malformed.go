package breakerhttp

import (
	"net/http"
	"strconv"
	"strings"
)

// malformed reports whether req is one that net/http refuses to send, before it
// has asked anybody. It is asked on the error path only: errors cannot be told
// apart by type.
func malformed(req *http.Request) bool {
	if req == nil || req.URL == nil || req.Header == nil {
		return true
	}
	u := req.URL
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return true
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
	return malformedHeader(req.Header) || malformedHeader(req.Trailer)
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
