package breakerhttp_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

// TestRefusedByNetHTTP: what net/http refuses to send is not the host's fault. Each
// row is a real refusal: none of the requests reaches the server as a whole.
func TestRefusedByNetHTTP(t *testing.T) {
	const http1, http2, proxied, clientConn, client = "HTTP/1.1", "HTTP/2", "through a proxy", "ClientConn", "http.Client"
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	upload := func(length int64) func(*http.Request) {
		return func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("five!")), length
		}
	}
	trailer := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			upload(-1)(r)
			r.Trailer = http.Header{name: {value}}
		}
	}
	method := func(r *http.Request) { r.Method = "G ET" }
	opaque := func(s string) func(*http.Request) { return func(r *http.Request) { r.URL.Opaque = s } }
	query := func(s string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = s } }
	seen := map[string]bool{}
	for _, tt := range []struct {
		over    string
		name    string
		change  func(*http.Request)
		refusal string
	}{
		{http1, "no Header", func(r *http.Request) { r.Header = nil }, "http: nil Request.Header"},
		{http1, "scheme", func(r *http.Request) { r.URL.Scheme = "ftp" }, "unsupported protocol scheme"},
		{http1, "no host", func(r *http.Request) { r.URL.Host = "" }, "http: no Host in request URL"},
		{http1, "method", method, "net/http: invalid method"},
		{http1, "method not in ASCII", func(r *http.Request) { r.Method = "GÉT" }, "net/http: invalid method"},
		{http1, "field name", header("a b", "x"), "net/http: invalid header"},
		{http1, "empty field name", header("", "x"), "net/http: invalid header"},
		{http1, "field value", header("A", "x", "y\nB: z"), "net/http: invalid header"},
		{http1, "DEL in a field value", header("A", "\x7f"), "net/http: invalid header"},
		{http1, "trailer", trailer("A", "\r"), "net/http: invalid trailer"},
		{http1, "forbidden trailer", trailer("Content-Length", "1"), "invalid Trailer key"},
		{http1, "length without a body", func(r *http.Request) { r.ContentLength = 1 }, "http: Request.ContentLength="},
		{http1, "body shorter than its length", upload(6), "http: ContentLength="},
		{http1, "body longer than its length", upload(4), "http: ContentLength="},
		{http1, "tab in the query", query("\t"), "net/http: can't write control character in Request.URL"},
		{http1, "line break in the query", query("a=\n"), "net/http: can't write control character in Request.URL"},
		{http1, "line break in the opaque part", opaque("//a.test/\n"), "net/http: can't write control character in Request.URL"},
		{http1, "Host no IDN", host("xn--ü"), "idna: "},
		{proxied, "Host", host("a/b"), "http: invalid Host header"},
		{clientConn, "method", method, "http: invalid method"},
		{clientConn, "field value", header("A", "\n"), "http: invalid header"},
		{clientConn, "trailer", trailer("A", "\n"), "http: invalid trailer"},
		{client, "RequestURI", func(r *http.Request) { r.RequestURI = "/" }, "http: Request.RequestURI can't be set in client requests"},
		{http2, "Host with @", host("ex@mple"), "http2: invalid Host header"},
		{http2, "Host with /", host("a/b"), "http2: invalid Host header"},
		{http2, `Host with "`, host(`a"b`), "http2: invalid Host header"},
		{http2, "Host with a space", host("a b"), "http2: invalid Host header"},
		{http2, "Host no IDN", host("xn--ü"), "idna: "},
		{http2, "path", func(r *http.Request) { r.URL.Path = "api/v1" }, "http2: invalid request :path"},
		{http2, "opaque path", opaque("foo"), "http2: invalid request :path"},
		{http2, "Upgrade", header("Upgrade", "h2c"), "http2: invalid Upgrade request header: "},
		{http2, "Transfer-Encoding", header("Transfer-Encoding", "gzip"), "http2: invalid Transfer-Encoding request header: "},
		{http2, "Connection", header("Connection", "foo"), "http2: invalid Connection request header: "},
		{http2, "Connection twice", header("Connection", "close", "close"), "http2: invalid Connection request header: "},
		{http2, "forbidden trailer", trailer("Content-Length", "1"), "http2: invalid Trailer key"},
		{http2, "large header", header("Cookie", strings.Repeat("x", 16<<10)), "request header list larger than peer's advertised limit"},
		{http2, "large trailer", trailer("A", strings.Repeat("x", 16<<10)), "request header list larger than peer's advertised limit"},
		{http2, "body longer than its length", upload(4), "http2: request body larger than specified content length"},
	} {
		t.Run(tt.over+"/"+tt.name, func(t *testing.T) {
			var hits atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				if _, _ = io.Copy(io.Discard, req.Body); req.ContentLength != 0 {
					<-req.Context().Done() // the end of the body is found out only then
					return
				}
				hits.Add(1)
			}))
			server.EnableHTTP2 = true
			server.Config.MaxHeaderBytes = 4 << 10
			if tt.over == http2 {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			transport := server.Client().Transport.(*http.Transport)
			var base http.RoundTripper = transport
			switch tt.over {
			case http2: // the peer's limits are known once it has answered
				if _, err := get(base, server.URL); err != nil {
					t.Fatal(err)
				}
			case proxied:
				transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(server.URL) }
			case clientConn:
				conn, err := transport.NewClientConn(t.Context(), "http", server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				base = conn
			case client:
				base = roundTripFunc(func(req *http.Request) (*http.Response, error) { return server.Client().Do(req) })
			}
			hits.Store(0)
			req := newRequest(t, t.Context(), server.URL)
			tt.change(req)
			var refusal error
			oneKey := breakerhttp.WithKey(func(*http.Request) string { return "one" }) // HostKey leaves some unguarded
			got := judged(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				refusal = err
				return resp, err
			}), req, oneKey)
			if diff := cmp.Diff(tally{"ignored": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			lost := tt.over != http2 && errors.Is(refusal, net.ErrClosed) // see TestLostRefusal
			if refusal == nil || !lost && !strings.Contains(refusal.Error(), tt.refusal) {
				t.Errorf("got error %v, want %q", refusal, tt.refusal)
			}
			if n := hits.Load(); n != 0 {
				t.Errorf("%d requests reached the server", n)
			}
			seen[tt.refusal] = true
		})
	}
	// These are not to be had of an http.Transport as it is today.
	for _, text := range []string{
		"http: nil Request.URL", // goes unguarded
		"http: Request.Write on Request with no Host or URL set",
		"http: Transport does not support unencrypted HTTP/2",
		"http2: Request.URL is nil",
		"http2: invalid HTTP header",
		"http2: invalid HTTP trailer",
		"http2: invalid :protocol header in non-CONNECT request",
		"http2: unencrypted HTTP/2 not enabled",
		"http2: unsupported scheme",
		"net/http: extended connect not supported by peer",
	} {
		seen[text] = true
	}
	for _, text := range breakerhttp.Refusals {
		if !seen[text] {
			t.Errorf("no request was refused with %q", text)
		}
	}
}

// TestLostRefusal: when http.Transport refuses a request, it closes its connection. If it then sees
// the closed connection first, which is a race in net/http, its error says only that.
func TestLostRefusal(t *testing.T) {
	upload := func(body io.Reader, length int64) func(*http.Request) {
		return func(r *http.Request) {
			r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(body), length
		}
	}
	failure, ignored := tally{"failure connection": 1}, tally{"ignored": 1}
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   tally
	}{
		{"length without a body", func(r *http.Request) { r.ContentLength = 1 }, ignored},
		{"line break in the query", func(r *http.Request) { r.URL.RawQuery = "a=\n" }, ignored},
		{"Host no IDN", func(r *http.Request) { r.Host = "xn--ü" }, ignored},
		{"Host through a proxy", func(r *http.Request) { r.Host = "a/b" }, ignored},
		{"forbidden trailer", func(r *http.Request) {
			upload(strings.NewReader("five!"), -1)(r)
			r.Trailer = http.Header{"Content-Length": {"1"}}
		}, ignored},
		{"trailer without chunks", func(r *http.Request) {
			upload(strings.NewReader("five!"), 5)(r)
			r.Trailer = http.Header{"A": {"1"}}
		}, failure},
		{"GET", func(*http.Request) {}, failure},
		{"no body", func(r *http.Request) { r.Method, r.Body = http.MethodPost, http.NoBody }, failure},
		{"small body", upload(strings.NewReader("five!"), 5), failure},
		{"stream", upload(io.MultiReader(strings.NewReader("five!")), -1), failure},
		{"stream of unknown length", upload(io.MultiReader(strings.NewReader("five!")), 0), failure},
		{"Expect", func(r *http.Request) {
			upload(strings.NewReader("five!"), 5)(r)
			r.Header.Set("Expect", "100-continue")
		}, failure},
	} {
		for _, closed := range []error{net.ErrClosed, io.ErrClosedPipe} { // of a socket, of a net.Pipe
			t.Run(tt.name+"/"+closed.Error(), func(t *testing.T) {
				req := newRequest(t, httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					WroteHeaders: func() { t.Error("httptrace was told of a request that nothing sends") },
				}), "http://a.test")
				tt.change(req)
				base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
					if req.Body != nil {
						defer req.Body.Close()
					}
					return nil, &net.OpError{Op: "read", Net: "tcp", Err: closed}
				})
				if diff := cmp.Diff(tt.want, judged(t, base, req)); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestRefusalsInGOROOT compares the list of refusals with all error texts of the
// HTTP client in this Go release. Those that are no refusals are in testdata.
func TestRefusalsInGOROOT(t *testing.T) {
	const list = "testdata/net-http-errors.txt"
	content, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		if text, err := strconv.Unquote(strings.TrimSpace(line)); err == nil {
			known[text] = true
		}
	}
	found := map[string]bool{} // of the refusals
	for text, file := range errorTexts(t) {
		refused := false
		for _, refusal := range breakerhttp.Refusals {
			if strings.HasPrefix(text, refusal) || strings.HasPrefix(text, "http2: "+refusal) { // which wraps it
				found[refusal], refused = true, true
			}
		}
		if !refused && !known[text] {
			t.Errorf("%s has a new error: does net/http refuse a request with it? Add it to refusals, or else to %s:\n%q", file, list, text)
		}
	}
	for _, refusal := range breakerhttp.Refusals {
		if !found[refusal] {
			t.Errorf("net/http says nothing that begins with %q", refusal)
		}
	}
}

// errorTexts returns the texts of the errors that net/http makes for a client, and
// the file of each.
func errorTexts(t *testing.T) map[string]string {
	t.Helper()
	src := os.DirFS(filepath.Join(build.Default.GOROOT, "src"))
	texts := map[string]string{}
	collect := func(name string) {
		content, err := fs.ReadFile(src, name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, content, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if text, ok := errorText(call); ok {
					if path.Base(path.Dir(name)) == "httpcommon" {
						text = "http2: " + text // by its only caller
					}
					texts[text] = name
				}
			}
			return true
		})
	}
	ofServers := []string{"cookie.go", "csrf.go", "fs.go", "pattern.go", "server.go"}
	for _, root := range []string{"net/http", "net/http/internal", "vendor/golang.org/x/net/idna"} {
		err := fs.WalkDir(src, root, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && root == "net/http" && name != root:
				return fs.SkipDir
			case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !slices.Contains(ofServers, d.Name()):
				collect(name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return texts
}

// errorText returns the text of an error that is made by a call.
func errorText(call *ast.CallExpr) (text string, ok bool) {
	var fun bytes.Buffer
	switch f := call.Fun.(type) {
	case *ast.Ident:
		fun.WriteString(f.Name)
	case *ast.SelectorExpr:
		fmt.Fprintf(&fun, "%v.%s", f.X, f.Sel.Name)
	}
	makers := []string{"errors.New", "fmt.Errorf", "badStringError", "fmt.Sprintf"}
	if !slices.Contains(makers, fun.String()) || len(call.Args) == 0 {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// TestBadPort: package net refuses to dial such a port.
func TestBadPort(t *testing.T) {
	oneKey := breakerhttp.WithKey(func(*http.Request) string { return "one" })
	for _, port := range []string{"65536", "99999999999999999999"} {
		req := newRequest(t, t.Context(), "http://127.0.0.1")
		req.URL.Host += ":" + port
		if diff := cmp.Diff(tally{"ignored": 1}, judged(t, newBase(t), req, oneKey)); diff != "" {
			t.Errorf("port %s: counted (-want +got):\n%s", port, diff)
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
		req := newRequest(t, t.Context(), gateway.URL)
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

// TestUnusualRequest: unusual is not malformed. A dead host is at fault whatever it
// was asked, and by whatever scheme: many errors of net/http have no type.
func TestUnusualRequest(t *testing.T) {
	requests := map[string]func(*http.Request){
		"nothing":                    func(*http.Request) {},
		"no method":                  func(r *http.Request) { r.Method = "" },
		"own method":                 func(r *http.Request) { r.Method = "M-SEARCH" },
		"every token character":      func(r *http.Request) { r.Header["!#$%&'*+-.^_`|~09azAZ"] = nil },
		"tab and UTF-8":              func(r *http.Request) { r.Header["A"] = []string{"\tü \xff", ""} },
		"length of an empty body":    func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 },
		"query":                      func(r *http.Request) { r.URL.RawQuery = "a=ü%0a" },
		"Host":                       func(r *http.Request) { r.Host = "ex@mple" },
		"Transfer-Encoding: chunked": func(r *http.Request) { r.Header.Set("Transfer-Encoding", "chunked") },
		"Transfer-Encoding: gzip":    func(r *http.Request) { r.Header.Set("Transfer-Encoding", "gzip") },
		"Connection: TE":             func(r *http.Request) { r.Header.Set("Connection", "TE") },
		"Connection twice":           func(r *http.Request) { r.Header["Connection"] = []string{"close", "close"} },
		"Upgrade: tcp":               upgradeTo("tcp"),
		"Upgrade: h2c":               upgradeTo("h2c"),
		"Upgrade: websocket":         upgradeTo("websocket"),
		"URL.Opaque":                 func(r *http.Request) { r.URL.Opaque = "//a.test/x" },
		"URL.Opaque without a slash": func(r *http.Request) { r.URL.Opaque = "x" },
	}
	hosts := map[string]struct {
		fault address
		want  string
	}{
		"refuses":               {faultserver.Refusing, "connect"},
		"hangs up":              {serving(faultserver.Hangup), "connection"},
		"resets":                {serving(faultserver.Reset), "connection"},
		"garbage":               {serving(faultserver.Reply("220 mail.test ESMTP\r\n")), "connection"},
		"part of a status line": {serving(faultserver.Reply("HTTP/1.1")), "connection"},
		"part of a header":      {serving(faultserver.Reply("HTTP/1.1 200 OK\r\nContent-Le")), "connection"},
		"no header":             {serving(faultserver.Reply("HTTP/1.1 200 OK\r\nno colon\r\n\r\n")), "connection"},
		"bad status":            {serving(faultserver.Reply("HTTP/1.1 2x0 OK\r\n\r\n")), "connection"},
		"bad Content-Length":    {serving(faultserver.Reply("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")), "connection"},
		"two lengths":           {serving(faultserver.Reply("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")), "connection"},
		"bad Transfer-Encoding": {serving(faultserver.Reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\n")), "connection"},
		"no headers in time":    {serving(faultserver.Stall), "timeout"},
	}
	schemes := map[string]func(base *http.Transport, addr string) (http.RoundTripper, string){
		"http": func(base *http.Transport, addr string) (http.RoundTripper, string) { return base, "http://" + addr },
		"own": func(base *http.Transport, addr string) (http.RoundTripper, string) {
			return roundTripFunc(func(req *http.Request) (*http.Response, error) {
				out := req.Clone(req.Context())
				out.URL.Scheme, out.URL.Host = "http", addr
				return base.RoundTrip(out)
			}), "unix:///var/run/a.sock"
		},
	}
	oneKey := breakerhttp.WithKey(func(*http.Request) string { return "one" })
	for how, host := range hosts {
		for what, change := range requests {
			for scheme, through := range schemes {
				t.Run(how+"/"+what+"/"+scheme, func(t *testing.T) {
					base := newBase(t)
					if how == "no headers in time" {
						headerTimeout(t, base)
					}
					rt, url := through(base, host.fault(t))
					req := newRequest(t, t.Context(), url)
					change(req)
					got := judged(t, rt, req, oneKey)
					if diff := cmp.Diff(tally{"failure " + host.want: 1}, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
				})
			}
		}
	}
}

func upgradeTo(protocol string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", protocol)
	}
}

// TestUnusualRequestOverHTTP2: the same by HTTP/2, where a length without a body
// is sent, and the host resets the stream.
func TestUnusualRequestOverHTTP2(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"nothing":                    func(*http.Request) {},
		"length without a body":      func(r *http.Request) { r.ContentLength = 10 },
		"Transfer-Encoding: chunked": func(r *http.Request) { r.Header.Set("Transfer-Encoding", "chunked") },
		"Upgrade: chunked":           func(r *http.Request) { r.Header.Set("Upgrade", "chunked") },
		"Connection: keep-alive":     func(r *http.Request) { r.Header.Set("Connection", "keep-alive") },
		"URL.Opaque":                 func(r *http.Request) { r.URL.Opaque = "/x" },
	} {
		for how, fault := range map[string]faultserver.Fault{"reset": faultserver.StreamReset, "GOAWAY": faultserver.GoAway} {
			t.Run(name+"/"+how, func(t *testing.T) {
				base, url := at(serving(fault), speakHTTP2)(t)
				req := newRequest(t, t.Context(), url)
				change(req)
				if diff := cmp.Diff(tally{"failure connection": 1}, judged(t, base, req)); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestRefusalsAreNotHearsay: a host cannot say by what it sends that net/http has
// refused the request.
func TestRefusalsAreNotHearsay(t *testing.T) {
	for _, text := range breakerhttp.Refusals {
		for name, say := range map[string]string{
			"status line": text + "\r\n\r\n",
			"field":       "HTTP/1.1 200 OK\r\n" + text + "\r\n\r\n",
			"length":      "HTTP/1.1 200 OK\r\nContent-Length: " + text + "\r\n\r\n",
		} {
			base, url := at(serving(faultserver.Reply(say)))(t)
			got := judged(t, base, newRequest(t, t.Context(), url))
			if got["ignored"] != 0 {
				t.Errorf("%q as %s: counted %v", text, name, got)
			}
		}
	}
}
