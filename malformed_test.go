package breakerhttp_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

// TestRefusedByHTTP2: what HTTP/2 does not send is not the host's fault.
func TestRefusedByHTTP2(t *testing.T) {
	server := newHTTP2Server(t)
	tr := newTransport(t, server.Client().Transport)
	for name, change := range map[string]func(*http.Request){
		"upgrade":           func(r *http.Request) { r.Header.Set("Upgrade", "h2c") },
		"transfer encoding": func(r *http.Request) { r.Header.Set("Transfer-Encoding", "gzip") },
		"connection":        func(r *http.Request) { r.Header.Set("Connection", "foo") },
		"two connections":   func(r *http.Request) { r.Header["Connection"] = []string{"close", "close"} },
		"host":              func(r *http.Request) { r.Host = "a b" },
		"path":              func(r *http.Request) { r.URL.Opaque = "foo" },
		"trailer":           func(r *http.Request) { r.Trailer = http.Header{"Content-Length": nil} },
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		change(req)
		before, _ := tr.Snapshot(server.URL)
		if resp, err := tr.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: HTTP/2 sends it", name)
		}
		after, _ := tr.Snapshot(server.URL)
		if after.Totals.Ignored != before.Totals.Ignored+1 {
			t.Errorf("%s: totals are %+v, were %+v, want one more ignored", name, after.Totals, before.Totals)
		}
	}
}

// TestUpgradesThroughAProxy: clients of a gateway cannot open the circuit of an
// HTTP/2 upstream by what they ask for.
func TestUpgradesThroughAProxy(t *testing.T) {
	upstream := newHTTP2Server(t)
	tr := newTransport(t, upstream.Client().Transport)
	to, _ := url.Parse(upstream.URL)
	gateway := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport:    tr,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	defer gateway.Close()
	for range 10 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway.URL, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "h2c")
		resp, err := gateway.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	wantState(t, tr, upstream.URL, breakerhttp.StateClosed)
}

// TestBrokenUpgrades: a host that breaks connections is at fault also where an
// upgrade was asked for.
func TestBrokenUpgrades(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if req.URL.Path == "/reset" {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_, _ = io.WriteString(conn, req.URL.Query().Get("say"))
		_ = conn.Close()
	}))
	defer server.Close()
	tr := newTransport(t, nil)
	for i, c := range []struct{ upgrade, path string }{
		{"websocket", "/"}, {"websocket", "/reset"}, {"websocket", "/?say=HTTP/1.1"}, {"h2c", "/"}, {"h2c", "/reset"},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+c.path, nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", c.upgrade)
		if resp, err := tr.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%v has an answer", c)
		}
		if got, _ := tr.Snapshot(server.URL); got.Totals.Failure != uint64(i+1) {
			t.Errorf("%v: totals are %+v, want %d failures", c, got.Totals, i+1)
		}
	}
}

// TestMalformedRequest: what net/http refuses to send is the caller's fault.
func TestMalformedRequest(t *testing.T) {
	up := newUpstream(http.StatusOK)
	srv := httptest.NewServer(up)
	defer srv.Close()
	oneKey := breakerhttp.WithKey(func(*http.Request) string { return "one" }) // HostKey leaves some unguarded
	for _, tt := range []struct {
		name string
		make func(*http.Request)
	}{
		{"no Header", func(r *http.Request) { r.Header = nil }},
		{"scheme", func(r *http.Request) { r.URL.Scheme = "ftp" }},
		{"no host", func(r *http.Request) { r.URL.Host = "" }},
		{"port", func(r *http.Request) { r.URL.Host = "127.0.0.1:65536" }},
		{"method", func(r *http.Request) { r.Method = "G ET" }},
		{"method not in ASCII", func(r *http.Request) { r.Method = "GÉT" }},
		{"field name", func(r *http.Request) { r.Header["a b"] = []string{"x"} }},
		{"empty field name", func(r *http.Request) { r.Header[""] = []string{"x"} }},
		{"field value", func(r *http.Request) { r.Header["A"] = []string{"x", "y\nB: z"} }},
		{"DEL in a field value", func(r *http.Request) { r.Header["A"] = []string{"\x7f"} }},
		{"trailer", func(r *http.Request) { r.Trailer = http.Header{"A": {"\r"}} }},
		{"length without a body", func(r *http.Request) { r.ContentLength = 1 }},
		{"tab in the query", func(r *http.Request) { r.URL.RawQuery = "\t" }},
		{"line break in the query", func(r *http.Request) { r.URL.RawQuery = "a=\n" }},
		{"line break in the opaque part", func(r *http.Request) { r.URL.Opaque = "//a.test/\n" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := newRequest(t, t.Context(), srv.URL)
			tt.make(req)
			got := judged(t, newBase(t), req, oneKey)
			if diff := cmp.Diff(tally{"ignored": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
	if n := up.hits.Load(); n != 0 {
		t.Errorf("%d malformed requests reached the server", n)
	}
}

// TestWellFormedRequest: unusual is not malformed, and the host's failure counts.
func TestWellFormedRequest(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(*http.Request)
	}{
		{"no method", func(r *http.Request) { r.Method = "" }},
		{"own method", func(r *http.Request) { r.Method = "M-SEARCH" }},
		{"every token character", func(r *http.Request) { r.Header["!#$%&'*+-.^_`|~09azAZ"] = nil }},
		{"tab and UTF-8 in a field value", func(r *http.Request) { r.Header["A"] = []string{"\tü \xff"} }},
		{"empty field value", func(r *http.Request) { r.Header["A"] = []string{""} }},
		{"length of an empty body", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a=ü%0a" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, url := at(faultserver.Refusing)(t)
			req := newRequest(t, t.Context(), url)
			tt.make(req)
			got := judged(t, base, req)
			if diff := cmp.Diff(tally{"failure connect": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}
