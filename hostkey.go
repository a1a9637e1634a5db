package breakerhttp

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A KeyFunc names the circuit that guards a request. Requests with the same key
// share a circuit. A request with the key "" is sent without one. A KeyFunc is called
// concurrently, and must neither change the request nor read its body.
type KeyFunc func(*http.Request) string

// HostKey is the default [KeyFunc]. It returns the origin of req.URL as RFC 6454
// writes it: scheme and host in lower case, the port only if it is not the
// scheme's own, as in "https://api.example.com" or "http://10.0.0.1:8080".
// IPv6 addresses are in their canonical form, with a zone only if they are
// link-local, and one trailing dot is dropped.
//
// A name in Unicode stays in Unicode: each of the many spellings that net/http
// sends to one host has a key of its own, and so has its Punycode. Pass the hosts
// of URLs that strangers choose through idna.Lookup.ToASCII of golang.org/x/net
// first. An IPv4 address stays as it is written, too.
//
// HostKey returns "" if there is no origin that a request could be sent to: a
// scheme other than http and https, no host or one that [url.Parse] would
// refuse, an empty label in it, a port over 65535. The same goes for a host
// longer than 1024 bytes, four times the longest DNS name. req.Host plays no part.
func HostKey(req *http.Request) string {
	if req == nil {
		return ""
	}
	return origin(req.URL)
}

// maxHost bounds the memory that a key takes.
const maxHost = 1024

// origin returns the origin of u as RFC 6454 writes it, or "".
func origin(u *url.URL) string {
	if u == nil {
		return ""
	}
	key, _, _ := appendOrigin(make([]byte, 0, maxDNS), u.Scheme, u.Host)
	return string(key)
}

// maxDNS is the length of a key of the longest DNS name. Such keys are built on the stack.
const maxDNS = 288

// appendOrigin appends the origin of a URL with this scheme and this host to b, if there is one. It
// also returns its canonical name and its port.
func appendOrigin(b []byte, scheme, hostPort string) (key []byte, host string, port int) {
	scheme = strings.ToLower(scheme)
	std := defaultPort(scheme)
	host, port, ok := splitHost(hostPort)
	if std == 0 || !ok {
		return b, "", 0
	}
	b = append(b, scheme...)
	b = append(b, "://"...)
	if port < 0 || port == std {
		return appendHost(b, host, -1), host, std
	}
	return appendHost(b, host, port), host, port
}

// appendHost appends a canonical name and its port to b. It has none if port is -1.
func appendHost(b []byte, host string, port int) []byte {
	b = append(b, host...)
	if port < 0 {
		return b
	}
	return strconv.AppendInt(append(b, ':'), int64(port), 10)
}

func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}

// splitHost splits the host of a URL into its canonical name, an IPv6 address in
// brackets, and its port, -1 if it has none.
func splitHost(s string) (host string, port int, ok bool) {
	host, port = s, -1
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host = s[:i]
		if digits := s[i+1:]; digits != "" {
			n, err := strconv.ParseUint(digits, 10, 16)
			if err != nil {
				return "", 0, false
			}
			port = int(n)
		}
	}
	if strings.HasPrefix(host, "[") {
		host, ok = canonicalIPv6(host)
	} else {
		host, ok = canonicalName(host)
	}
	return host, port, ok && len(host) <= maxHost
}

// canonicalName returns a DNS name or an IPv4 address in lower case.
func canonicalName(name string) (string, bool) {
	if !without(name, " #%/:?@[\\]^`{|}") {
		return "", false
	}
	name = lower(strings.TrimSuffix(name, "."))
	// Without its last dot, "example.com.." would share the circuit of another name.
	if name == "" || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return "", false
	}
	return name, true
}

// lower returns a name in lower case. It changes letters outside ASCII only in names in which IDNA,
// and so net/http, changes them in the same way. If IDNA refuses a name, net/http looks it up as it
// is written, so "Ⴀ.example" must not share the circuit of "ⴀ.example".
func lower(name string) string {
	if isPlain(name) {
		return strings.ToLower(name)
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, name)
}

// isPlain reports whether a name consists of letters, digits and single hyphens within
// labels, as in DNS. Its letters may be of any script that has capitals and small
// letters.
func isPlain(name string) bool {
	last := '.'
	for _, r := range name {
		switch {
		case r == '-' && (last == '-' || last == '.'), r == '.' && last == '-':
			return false
		case r == '-', r == '.', '0' <= r && r <= '9', 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z':
		case strings.ContainsRune(uneven, r), !unicode.IsLetter(r), !unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic):
			return false
		}
		last = r
	}
	return last != '-'
}

// uneven are the letters of these scripts that IDNA refuses, or does not map to their small
// letters.
const uneven = "İẞͺӀℲↃ"

// canonicalIPv6 returns an IPv6 address in brackets as RFC 5952 writes it, or the IPv4 address that
// it stands for. A link-local address keeps its zone. For other addresses a zone means nothing (RFC
// 4007, section 6), and callers could make up any number of zones for one host.
func canonicalIPv6(s string) (string, bool) {
	inner, closed := strings.CutSuffix(s[1:], "]")
	addr, err := netip.ParseAddr(inner)
	if !closed || err != nil || addr.Is4() || !without(addr.Zone(), "#/?@[\\]^`{|}") {
		return "", false
	}
	if !addr.IsLinkLocalUnicast() && !addr.IsLinkLocalMulticast() {
		addr = addr.WithZone("")
	}
	var buf [64]byte
	b := buf[:0]
	if addr = addr.Unmap(); addr.Is4() {
		b = addr.AppendTo(b)
	} else {
		b = append(addr.AppendTo(append(b, '[')), ']')
	}
	if string(b) == s {
		return s, true
	}
	return string(b), true
}

// without reports whether s is valid UTF-8 that has no control characters and none of chars, as
// url.Parse demands of a host.
func without(s, chars string) bool {
	isControl := func(r rune) bool { return r < ' ' || r == 0x7f }
	return utf8.ValidString(s) && !strings.ContainsAny(s, chars) && !strings.ContainsFunc(s, isControl)
}

// splitOrigin splits a key that HostKey has returned into its host and its port, which is the
// scheme's own if the key has none. ok is false for any other key.
func splitOrigin(key string) (host string, port int, ok bool) {
	scheme, rest, _ := strings.Cut(key, "://")
	origin, host, port := appendOrigin(make([]byte, 0, maxDNS), scheme, rest)
	return host, port, key != "" && string(origin) == key
}

// addressOf returns server.address and server.port of a key that is an origin.
func addressOf(key string) (host string, port int, ok bool) {
	host, port, ok = splitOrigin(key)
	return strings.Trim(host, "[]"), port, ok
}

// normalKey returns the origin of what a person typed for a key: any URL that the circuit guards,
// or its host alone, with or without a port. A host alone means http if the port is 80, and https
// otherwise. What has no origin is returned as it is.
func normalKey(typed string) string {
	if _, _, ok := splitOrigin(typed); ok {
		return typed // as in a Snapshot, where the zone of an address is not escaped
	}
	rawURL := typed
	if !strings.Contains(typed, "://") {
		rawURL = "https://" + typed
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return typed
	}
	if _, port, _ := splitHost(u.Host); port == 80 && rawURL != typed {
		u.Scheme = "http"
	}
	if key := origin(u); key != "" {
		return key
	}
	return typed
}

// isLocal reports whether a key names this machine or a host on its link. Such a key can name
// another host in each process. A key that is no origin may be a host, or a host and a port.
func isLocal(key string) bool {
	_, host, ok := strings.Cut(key, "://")
	if !ok {
		host = key
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		return ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
