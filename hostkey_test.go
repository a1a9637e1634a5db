package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

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
		{"http://[2001:DB8::1%25any]/", "http://[2001:db8::1]"},
		{"http://[::1%25any]:81/", "http://[::1]:81"},
		{"http://[fd00::1%25eth0]/", "http://[fd00::1]"},
		{"http://[febf::1%25eth0]/", "http://[febf::1%eth0]"},
		{"http://[fec0::1%25eth0]/", "http://[fec0::1]"},
		{"http://[FF02::1%25eth0]/", "http://[ff02::1%eth0]"},
		{"http://[ff05::1%25eth0]/", "http://[ff05::1]"},
		{"http://MÜNCHEN.example/", "http://münchen.example"},
		{"http://ΑΘΉΝΑ.example/", "http://αθήνα.example"},
		{"http://МОСКВА.Example/", "http://москва.example"},
		{"http://A-1.MÜNCHEN/", "http://a-1.münchen"},
		{"http://ႠA.example/", "http://Ⴀa.example"}, // IDNA refuses these, and net/http takes them as they are
		{"http://Ä_B.example/", "http://Ä_b.example"},
		{"http://-Ä.example/", "http://-Ä.example"},
		{"http://Ä-.example/", "http://Ä-.example"},
		{"http://Ä.XN--A/", "http://Ä.xn--a"},
		{"http://ÄӀ.example/", "http://ÄӀ.example"},
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
	var addr string
	tr := &http.Transport{DialContext: func(_ context.Context, _, a string) (net.Conn, error) {
		addr = a
		return nil, errors.New("not dialed")
	}}
	dialed := func(host string) string {
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
	names := []string{
		"%s.example", "a%sz.example", "%sz.example", "a.%s", "%[1]s%[1]s", "%s.xn--mnchen-3ya",
		"Ä%s", "%sÄ", "א%s", "%sא", "%s_", "-%s", "%s-", "a-%s", "a--%s", "ab--%s", "xn--%s", "%s.xn--99999", "%s.example。", "%s\u0301", "\u0301%s",
		"%s\u200d", "1%s1", "%sß", "%sς", "%s·", "l%sl", "%sſ", "K%s",
	}
	cased := 0
	for r := range unicode.MaxRune {
		low := unicode.ToLower(r)
		if r < utf8.RuneSelf || low == r {
			continue
		}
		cased++
		for _, name := range names {
			a, b := fmt.Sprintf(name, string(r)), strings.Map(unicode.ToLower, fmt.Sprintf(name, string(low)))
			if key(a) != key(b) {
				continue
			}
			if x, y := dialed(a), dialed(b); x != y {
				t.Errorf("%q and %q have the key %q: net/http dials %q and %q", a, b, key(a), x, y)
			}
		}
	}
	if cased < 1000 {
		t.Errorf("tried %d letters, want those of Unicode that have a lower case", cased)
	}
	for r := rune(utf8.RuneSelf); r < unicode.MaxRune; r++ {
		if !unicode.IsLetter(r) || unicode.In(r, unicode.Han, unicode.Hangul) {
			continue // there are many, and they are treated alike
		}
		a, b := "Ä"+string(r)+".example", "ä"+string(r)+".example"
		if key(a) != "" && key(a) == key(b) && dialed(a) != dialed(b) {
			t.Errorf("%q and %q have the key %q: net/http dials %q and %q", a, b, key(a), dialed(a), dialed(b))
		}
	}
}

// TestZonesOfOneHost: a zone that means nothing makes no circuit of its own.
func TestZonesOfOneHost(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip(err) // no IPv6 here
	}
	srv := httptest.NewUnstartedServer(newUpstream(http.StatusServiceUnavailable))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	tr := newTransport(t, newBase(t))
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for i := range 5 {
		if _, err := get(tr, fmt.Sprintf("http://[::1%%25any%d]:%s/", i, port)); err != nil {
			t.Fatal(err)
		}
	}
	wantState(t, tr, "http://[::1]:"+port, breakerhttp.StateOpen)
	if n := circuits(tr); n != 1 {
		t.Errorf("got %d circuits, want 1", n)
	}
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
