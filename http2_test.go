package breakerhttp_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/breakerhttp/breakerhttp"
)

func newHTTP2Server(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

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
