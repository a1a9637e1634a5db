package breakerhttp

import (
	"fmt"
	"net/url"
	"strings"
)

// normalPattern returns the pattern of a host policy as matchPolicy looks for it:
// "https://host:port", without the port if it is the scheme's own, "host:port", "host" or
// "*.domain". A custom KeyFunc may return anything, so with one a pattern other than "*.domain"
// stays as it is. The error lacks the package's prefix.
func normalPattern(pattern string, customKey bool) (string, error) {
	normal := ""
	switch domain, wildcard := strings.CutPrefix(pattern, "*."); {
	case wildcard:
		if host, port, ok := splitHost(domain); ok && port < 0 && host[0] != '[' && !strings.Contains(host, "*") {
			normal = "*." + host
		}
	case strings.HasPrefix(pattern, "*"):
	case customKey:
		normal = pattern
	case strings.Contains(pattern, "*"):
	case strings.Contains(pattern, "://"):
		scheme, host, _ := strings.Cut(strings.TrimSuffix(pattern, "/"), "://")
		normal = origin(&url.URL{Scheme: scheme, Host: host})
	default:
		if host, port, ok := splitHost(strings.TrimSuffix(pattern, "/")); ok {
			normal = string(appendHost(nil, host, port))
		}
	}
	if normal != "" {
		return normal, nil
	}
	want := `"host", "host:port", "https://host:port" or "*.domain"`
	if customKey {
		want = `an exact key, "host", "host:port" or "*.domain"`
	}
	return "", fmt.Errorf("pattern %q is no host: want %s", pattern, want)
}

// matchPolicy returns the value of the most specific of the normal patterns that
// match a circuit's key: the key itself, its host and port, its host, its longest
// wildcard. A custom key that reads as a canonical host, or host and port, has
// the last three too.
func matchPolicy[V any](patterns map[string]V, key string) (v V, ok bool) {
	if len(patterns) == 0 {
		return v, false
	}
	if v, ok = patterns[key]; ok {
		return v, true
	}
	host, port, ok := splitOrigin(key)
	if !ok {
		host, port, ok = splitHost(key)
		if !ok || string(appendHost(nil, host, port)) != key {
			return v, false
		}
	}
	b := appendHost(nil, host, port)
	for _, pattern := range [][]byte{b, b[:len(host)]} {
		if v, ok = patterns[string(pattern)]; ok {
			return v, true
		}
	}
	// Each wildcard overwrites the byte before its dot, which no later one needs. So even a name
	// with many labels is copied only once.
	for i, c := range []byte(host) {
		if c == '.' {
			b[i-1] = '*'
			if v, ok = patterns[string(b[i-1:len(host)])]; ok {
				return v, true
			}
		}
	}
	return v, false
}
