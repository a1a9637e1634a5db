package breakerhttp_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/breakerhttp/breakerhttp"
)

func TestHostKey(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"HTTP://Example.COM/", "http://example.com"},
		{"http://example.com:80/", "http://example.com"},
		{"http://example.com:/", "http://example.com"},
		{"http://example.com:080/", "http://example.com"},
		{"http://example.com./", "http://example.com"},
		{"http://example.com.:80/", "http://example.com"},
		{"https://example.com:0443/", "https://example.com"},
		{"https://user:secret@example.com/a?b#c", "https://example.com"},
		{"http://example.com:443/", "http://example.com:443"},
		{"https://example.com:80/", "https://example.com:80"},
		{"https://example.com:0/", "https://example.com:0"},
		{"https://example.com:65535/", "https://example.com:65535"},
		{"https://example.com:" + strings.Repeat("0", 2000) + "8443/", "https://example.com:8443"},
		{"http://a_b.example/", "http://a_b.example"},
		{"http://10.0.0.1:8080/", "http://10.0.0.1:8080"},
		{"http://[0:0:0:0:0:0:0:1]/", "http://[::1]"},
		{"http://[::1]:080/", "http://[::1]"},
		{"http://[2001:DB8::0:1]:8080/", "http://[2001:db8::1]:8080"},
		{"http://[::FFFF:127.0.0.1]:8080/", "http://127.0.0.1:8080"},
		{"http://[::ffff:7f00:1%25eth0]/", "http://127.0.0.1"},
		{"http://[FE80::1%25eth0]/", "http://[fe80::1%eth0]"},
		{"http://[fe80::1%25Ethernet%202]:81/", "http://[fe80::1%Ethernet 2]:81"},
		{"http://MÜNCHEN.example/", "http://münchen.example"},
		{"http://M%C3%9CNCHEN.example/", "http://münchen.example"},
		{"http://xn--mnchen-3ya.example/", "http://xn--mnchen-3ya.example"},
		{"https://" + strings.Repeat("a", 1024) + "/", "https://" + strings.Repeat("a", 1024)},

		{"https://" + strings.Repeat("a", 1025) + "/", ""},
		{"https://" + strings.Repeat("Ⱥ", 500) + "/", ""}, // its lower case takes half as much again
		{"http://[fe80::1%25" + strings.Repeat("a", 1024) + "]/", ""},
		{"ftp://example.com/", ""},
		{"//example.com/", ""},
		{"/path", ""},
		{"", ""},
		{"http:///path", ""},
		{"http://:80/", ""},
		{"http://./", ""},
		{"http://example.com../", ""},
		{"http://a..example/", ""},
		{"http://.example/", ""},
		{"http:example.com", ""},
		{"mailto:a@example.com", ""},
		{"https://example.com:65536/", ""},
		{"https://example.com:99999999999999999999/", ""},
		{"http://%FF.example/", ""},
		{"http://a%25b.example/", ""},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Errorf("url.Parse(%.80q): %v", c.url, err)
			continue
		}
		if got := breakerhttp.HostKey(&http.Request{URL: u}); got != c.want {
			t.Errorf("HostKey(%.80q): got %.80q, want %.80q", c.url, got, c.want)
		}
	}
}

func TestHostKeyOfURLMadeByHand(t *testing.T) {
	for _, c := range []struct {
		url  url.URL
		want string
	}{
		{url.URL{Scheme: "HTTPS", Host: "API.example"}, "https://api.example"},
		{url.URL{Scheme: "http", Opaque: "//other.example/path", Host: "example.com"}, "http://example.com"},
		{url.URL{Scheme: "http", Opaque: "//other.example/path"}, ""},
		{url.URL{Scheme: "httpſ", Host: "example.com"}, ""}, // unicode folds ſ to s
		{url.URL{Host: "example.com"}, ""},
	} {
		if got := breakerhttp.HostKey(&http.Request{URL: &c.url}); got != c.want {
			t.Errorf("HostKey(%#v): got %q, want %q", c.url, got, c.want)
		}
	}
	for _, host := range []string{
		"user@example.com", "example.com/path", "example.com?q", "example.com#f", `example.com\path`,
		"exa mple.com", "exa\tmple.com", "example.com\r\nX: y", "example.com\x00", "example.com\x7f",
		"a%b", "a|b", "a^b", "a`b", "{host}", "example.com:http", "example.com:+80", "example.com:-1", "example.com:8_0",
		"a:b:80", ":", "::", "::1", "[", "[]", "[]:80", "[::1", "[::1:80", "::1]", "[::1]80", "[::1]x:80", "x[::1]", "[[::1]]",
		"[127.0.0.1]", "[example.com]", "[::1%]", "[fe80::1%a/b]", "[fe80::1%a@b]", "[fe80::1%a]b]", "[fe80::1%a\nb]", "[fe80::1%\xff]",
	} {
		if got := breakerhttp.HostKey(&http.Request{URL: &url.URL{Scheme: "http", Host: host}}); got != "" {
			t.Errorf("HostKey of the host %q: got %q, want none", host, got)
		}
	}
}

func TestHostKeyWithoutURL(t *testing.T) {
	for _, req := range []*http.Request{nil, {}, {Host: "example.com"}, {URL: &url.URL{Scheme: "http"}, Host: "example.com"}} {
		if got := breakerhttp.HostKey(req); got != "" {
			t.Errorf("HostKey(%v): got %q, want none", req, got)
		}
	}
}

// Who can choose the host must not be able to charge another host's circuit.
func TestHostsDialedApartHaveKeysApart(t *testing.T) {
	dialed := func(host string) (addr string) {
		tr := &http.Transport{DialContext: func(_ context.Context, _, a string) (net.Conn, error) {
			addr = a
			return nil, errors.New("not dialed")
		}}
		req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: host}, Header: http.Header{}}
		if resp, err := tr.RoundTrip(req); err == nil {
			resp.Body.Close()
			t.Fatalf("RoundTrip to %q: got no error, want one", host)
		}
		return addr
	}
	key := func(host string) string {
		return breakerhttp.HostKey(&http.Request{URL: &url.URL{Scheme: "http", Host: host}})
	}
	cased := 0
	for r := range unicode.MaxRune {
		low := unicode.ToLower(r)
		if r < utf8.RuneSelf || low == r {
			continue
		}
		cased++
		a, b := "a"+string(r)+"z.example", "a"+string(low)+"z.example"
		if key(a) != key(b) {
			continue
		}
		// IDNA refuses some capitals: net/http then dials the name as it is, which resolves nowhere.
		if x, y := dialed(a), dialed(b); x != y && isASCII(x) {
			t.Errorf("%q and %q have the key %q: net/http dials %q and %q", a, b, key(a), x, y)
		}
	}
	if cased < 1000 {
		t.Errorf("tried %d letters, want those of Unicode that have a lower case", cased)
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

func TestOriginAllocatesOnce(t *testing.T) {
	for _, want := range []string{
		"https://api.example.com", "http://api.example.com:8080", "https://münchen.example", "http://10.0.0.1:8080",
		"http://[2001:db8:1111:2222:3333:4444:5555:6666]:8080", "https://" + strings.Repeat("a.", 126) + "a:65535",
	} {
		u, err := url.Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if n := testing.AllocsPerRun(100, func() { got = breakerhttp.Origin(u) }); n > 1 {
			t.Errorf("origin(%q): got %v allocations, want 1", want, n)
		}
		if got != want {
			t.Errorf("origin(%q): got %q, want it unchanged", want, got)
		}
	}
}

func FuzzHostKey(f *testing.F) {
	for _, s := range []string{
		"HTTP://Example.COM:080/", "https://user:secret@example.com./a?b#c", "http://[::FFFF:127.0.0.1]:8080/", "http://[FE80::1%25eth0]/",
		"http://MÜNCHEN.example/", "example.com:443", "[fe80::1%eth0]:80", "user@example.com", "http:opaque", "gİthub.com", "a..b", "\xff", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := url.Parse(s); err == nil {
			checkHostKey(t, u)
		}
		checkHostKey(t, &url.URL{Scheme: "http", Host: s})
		checkHostKey(t, &url.URL{Scheme: "HTTPS", Host: s, User: url.UserPassword("user", "secret"), Path: "/path", RawQuery: "q"})
	})
}

func checkHostKey(t *testing.T, u *url.URL) {
	t.Helper()
	key := breakerhttp.HostKey(&http.Request{URL: u})
	parsed, err := url.Parse((&url.URL{Scheme: "http", Host: u.Host}).String())
	if key == "" {
		scheme := strings.ToLower(u.Scheme)
		if err == nil && (scheme == "http" || scheme == "https") && len(u.Port()) < 5 && plainName.MatchString(parsed.Hostname()) {
			t.Errorf("HostKey(%q, %q): got none, want a key", u.Scheme, u.Host)
		}
		return
	}
	if err != nil {
		t.Errorf("HostKey(%q, %q): got %q, want none: url.Parse says %v", u.Scheme, u.Host, key, err)
	}
	scheme, host, _ := strings.Cut(key, "://")
	if scheme != "http" && scheme != "https" {
		t.Errorf("HostKey(%q, %q): got %q, want http or https", u.Scheme, u.Host, key)
	}
	if len(key) > 1100 || !utf8.ValidString(key) || strings.ContainsAny(host, "/?#@\\") {
		t.Errorf("HostKey(%q, %q): got %q, want a short origin", u.Scheme, u.Host, key)
	}
	again, err := url.Parse((&url.URL{Scheme: scheme, Host: host}).String())
	if err != nil {
		t.Fatalf("HostKey(%q, %q): got %q, which does not parse: %v", u.Scheme, u.Host, key, err)
	}
	if got := breakerhttp.HostKey(&http.Request{URL: again}); got != key {
		t.Errorf("HostKey(%q): got %q, want it unchanged", key, got)
	}
	if got := breakerhttp.NormalKey(key); got != key {
		t.Errorf("normalKey(%q): got %q, want it unchanged", key, got)
	}
	if addr, port, ok := breakerhttp.AddressOf(key); !ok || addr == "" || port < 0 || port > 65535 {
		t.Errorf("addressOf(%q): got %q, %d, %v, want an address", key, addr, port, ok)
	}
	swapped := &url.URL{Scheme: u.Scheme, Host: swapCase(u.Host)}
	if got := breakerhttp.HostKey(&http.Request{URL: swapped}); got != key {
		t.Errorf("HostKey(%q): got %q, want %q as for %q", swapped.Host, got, key, u.Host)
	}
}

// plainName is what nobody would call a strange host.
var plainName = regexp.MustCompile(`^[0-9A-Za-zÀ-ʯ_-]{1,63}(\.[0-9A-Za-zÀ-ʯ_-]{1,63}){0,3}\.?$`)

// swapCase changes the case of all letters of ASCII but those of a zone.
func swapCase(host string) string {
	b := []byte(host)
	for i, c := range b {
		if c == '%' {
			break
		}
		if 'a' <= c|0x20 && c|0x20 <= 'z' {
			b[i] ^= 0x20
		}
	}
	return string(b)
}
