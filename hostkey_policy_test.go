package breakerhttp_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

func TestNormalKey(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"https://api.x.com", "https://api.x.com"},
		{"https://API.x.com:443/", "https://api.x.com"},
		{"HTTP://api.x.com", "http://api.x.com"},
		{"https://user:secret@api.x.com/v1?q", "https://api.x.com"},
		{"api.x.com", "https://api.x.com"},
		{"API.x.com./", "https://api.x.com"},
		{"api.x.com:443", "https://api.x.com"},
		{"api.x.com:80", "http://api.x.com"},
		{"api.x.com:080", "http://api.x.com"},
		{"api.x.com:8443", "https://api.x.com:8443"},
		{"https://API.x.com:80", "https://api.x.com:80"},
		{"localhost", "https://localhost"},
		{"MÜNCHEN.example", "https://münchen.example"},
		{"[::FFFF:127.0.0.1]:80", "http://127.0.0.1"},
		{"[0::1]:8080", "https://[::1]:8080"},
		{"http://[FE80::1%25eth0]/", "http://[fe80::1%eth0]"},
		{"http://[fe80::1%eth0]", "http://[fe80::1%eth0]"},
		{"http://[fe80::1%251]", "http://[fe80::1%251]"}, // interface 251, as Snapshot shows it

		{"", ""},
		{"payments queue", "payments queue"},
		{"ftp://api.x.com", "ftp://api.x.com"},
		{"/path", "/path"},
		{"api.x.com:99999", "api.x.com:99999"},
		{"//api.x.com", "//api.x.com"},
		{"*", "https://*"},
	} {
		if got := breakerhttp.NormalKey(c.typed); got != c.want {
			t.Errorf("normalKey(%q): got %q, want %q", c.typed, got, c.want)
		}
	}
}

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

func TestAddressOf(t *testing.T) {
	for _, c := range []struct {
		key, host string
		port      int
	}{
		{"https://api.x.com", "api.x.com", 443},
		{"http://api.x.com", "api.x.com", 80},
		{"http://api.x.com:443", "api.x.com", 443},
		{"https://api.x.com:0", "api.x.com", 0},
		{"http://[::1]:8080", "::1", 8080},
		{"http://[fe80::1%eth0]", "fe80::1%eth0", 80},
	} {
		if host, port, ok := breakerhttp.AddressOf(c.key); host != c.host || port != c.port || !ok {
			t.Errorf("addressOf(%q): got %q, %d, %v, want %q, %d", c.key, host, port, ok, c.host, c.port)
		}
	}
	for _, key := range []string{"", "tenant", "api.x.com", "api.x.com:443", "https://API.x.com", "https://api.x.com:443", "https://api.x.com/v1", "ftp://api.x.com", "://api.x.com", "https://"} {
		if host, port, ok := breakerhttp.AddressOf(key); ok {
			t.Errorf("addressOf(%q): got %q, %d, want none", key, host, port)
		}
	}
}
