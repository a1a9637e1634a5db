package breakerhttp_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

func TestNormalPattern(t *testing.T) {
	for _, c := range []struct{ pattern, want, wantCustom string }{
		{"api.x.com", "api.x.com", "api.x.com"},
		{"API.x.com.", "api.x.com", "API.x.com."},
		{"api.x.com/", "api.x.com", "api.x.com/"},
		{"api.x.com:0443", "api.x.com:443", "api.x.com:0443"},
		{"https://API.x.com:443/", "https://api.x.com", "https://API.x.com:443/"},
		{"https://api.x.com:8443", "https://api.x.com:8443", "https://api.x.com:8443"},
		{"[0::1]", "[::1]", "[0::1]"},
		{"[0::1]:80", "[::1]:80", "[0::1]:80"},
		{"*.X.com", "*.x.com", "*.x.com"},
		{"*.com.", "*.com", "*.com"},
		{"*.münchen.example", "*.münchen.example", "*.münchen.example"},

		{"payments queue", "", "payments queue"},
		{"a.*.b", "", "a.*.b"},
		{"https://*.x.com", "", "https://*.x.com"},
		{"https://api.x.com/v1", "", "https://api.x.com/v1"},
		{"https://user@api.x.com", "", "https://user@api.x.com"},
		{"ftp://api.x.com", "", "ftp://api.x.com"},
		{"api.x.com/v1", "", "api.x.com/v1"},
		{"api.x.com:99999", "", "api.x.com:99999"},
		{"https://", "", "https://"},
		{":80", "", ":80"},
		{"/", "", "/"},
		{"::1", "", "::1"},

		{"", "", ""},
		{"*", "", ""},
		{"*.", "", ""},
		{"*..", "", ""},
		{"*x.com", "", ""},
		{"*.*.com", "", ""},
		{"*..com", "", ""},
		{"*.x.com:443", "", ""},
		{"*.x.com/", "", ""},
		{"*.[::1]", "", ""},
		{"*.a b", "", ""},
	} {
		for customKey, want := range map[bool]string{false: c.want, true: c.wantCustom} {
			got, err := breakerhttp.NormalPattern(c.pattern, customKey)
			if got != want {
				t.Errorf("normalPattern(%q, %v): got %q, want %q", c.pattern, customKey, got, want)
			}
			if (err == nil) != (want != "") {
				t.Errorf("normalPattern(%q, %v): got the error %v", c.pattern, customKey, err)
			}
		}
	}
	for customKey, want := range map[bool]string{
		false: `pattern "*." is no host: want "host", "host:port", "https://host:port" or "*.domain"`,
		true:  `pattern "*." is no host: want an exact key, "host", "host:port" or "*.domain"`,
	} {
		if _, err := breakerhttp.NormalPattern("*.", customKey); err == nil || err.Error() != want {
			t.Errorf("normalPattern(\"*.\", %v): got the error %v, want %s", customKey, err, want)
		}
	}
}

func TestMatchPolicyTakesTheMostSpecific(t *testing.T) {
	for _, c := range []struct {
		key  string
		best []string // every pattern that matches, most specific first
	}{
		{"https://a.b.x.com", []string{"https://a.b.x.com", "a.b.x.com:443", "a.b.x.com", "*.b.x.com", "*.x.com", "*.com"}},
		{"http://a.b.x.com", []string{"http://a.b.x.com", "a.b.x.com:80", "a.b.x.com", "*.b.x.com", "*.x.com", "*.com"}},
		{"https://x.com:8443", []string{"https://x.com:8443", "x.com:8443", "x.com", "*.com"}},
		{"https://com", []string{"https://com", "com:443", "com"}},
		{"http://[::1]", []string{"http://[::1]", "[::1]:80", "[::1]"}},
		{"http://10.0.0.1:8080", []string{"http://10.0.0.1:8080", "10.0.0.1:8080", "10.0.0.1"}},
		// Keys of a custom KeyFunc.
		{"a.x.com", []string{"a.x.com", "*.x.com", "*.com"}},
		{"a.x.com:443", []string{"a.x.com:443", "a.x.com", "*.x.com", "*.com"}},
		{"tenant-A", []string{"tenant-A"}},
		{"A.x.com", []string{"A.x.com"}},
		{"https://A.x.com", []string{"https://A.x.com"}},
		{"https://a.x.com/v1", []string{"https://a.x.com/v1"}},
		{"a.x.com:0443", []string{"a.x.com:0443"}},
	} {
		patterns := map[string]string{}
		for _, other := range []string{
			"tenant-a", "a.x.com:80", "x.com:443", "b.x.com", "http://x.com:8443", "*.a.b.x.com", "*.x.com:8443", "*.org", "http", "*",
		} {
			if !slices.Contains(c.best, other) {
				patterns[other] = other
			}
		}
		for _, p := range c.best {
			patterns[p] = p
		}
		for _, want := range c.best {
			if got, ok := breakerhttp.MatchPolicy(patterns, c.key); got != want || !ok {
				t.Errorf("matchPolicy(%q): got %q, %v, want %q", c.key, got, ok, want)
			}
			delete(patterns, want)
		}
		if got, ok := breakerhttp.MatchPolicy(patterns, c.key); ok {
			t.Errorf("matchPolicy(%q): got %q, want none of %v", c.key, got, slices.Sorted(maps.Keys(patterns)))
		}
	}
}

func TestMatchPolicyOfManyLabels(t *testing.T) {
	key := "https://" + strings.Repeat("a.", 511) + "a"
	patterns := map[string]string{"*.a": "all"}
	if got, _ := breakerhttp.MatchPolicy(patterns, key); got != "all" {
		t.Errorf("matchPolicy(%.20q): got %q, want that of *.a", key, got)
	}
	if n := testing.AllocsPerRun(10, func() { breakerhttp.MatchPolicy(patterns, key) }); n > 8 {
		t.Errorf("matchPolicy of a host with 512 labels: got %v allocations, want a handful", n)
	}
}

// FuzzHostPattern: a pattern that is taken stays as it is when it is normalised
// again, and a host that it names is matched by it.
func FuzzHostPattern(f *testing.F) {
	for _, s := range []string{"a.test", "a.test:443", "https://a.test", "*.a.test", "[::1]:80", "HTTP://A.test:80/", "*.", "*", "", "a b", "münchen.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		opens := breakerhttp.Policy{ConsecutiveFailures: 1}
		tr, err := breakerhttp.New(respond(500), breakerhttp.WithHostPolicy(pattern, opens))
		if err != nil {
			return
		}
		if _, err := breakerhttp.New(nil, breakerhttp.WithHostPolicy(pattern, opens), breakerhttp.WithHostPolicy(pattern, opens)); err == nil {
			t.Errorf("%q is taken twice", pattern)
		}
		scheme, name, ok := strings.Cut(strings.TrimSuffix(pattern, "/"), "://")
		if !ok {
			scheme, name = "http", scheme
		}
		for _, name := range []string{name, "sub" + name[min(1, len(name)):]} { // of a wildcard, too
			req := &http.Request{URL: &url.URL{Scheme: scheme, Host: name}, Header: http.Header{}}
			_, _ = tr.RoundTrip(req)
		}
		for s := range tr.Snapshots() {
			if s.State == breakerhttp.StateOpen {
				return
			}
		}
		t.Errorf("%q matches no host", pattern)
	})
}
