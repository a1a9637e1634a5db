package breakerhttp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
)

// A halfCloser is a connection whose ways can be closed one by one.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// newUpgradeServer returns a server that switches to what talk does.
func newUpgradeServer(t *testing.T, talk func(halfCloser)) *httptest.Server {
	var talking sync.WaitGroup // a server does not wait for hijacked connections
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		talking.Add(1)
		defer talking.Done()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // a test that fails must end
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n")
		talk(conn.(*net.TCPConn))
	}))
	t.Cleanup(func() {
		srv.Close()
		talking.Wait()
	})
	return srv
}

// TestUpgrade switches protocols through a Transport, by itself and within
// httputil.ReverseProxy, and closes one way of the connection after the other.
func TestUpgrade(t *testing.T) {
	dials := map[string]func(*testing.T, *httptest.Server, *breakerhttp.Transport) halfCloser{
		"client": upgrade,
		"proxy": func(t *testing.T, srv *httptest.Server, tr *breakerhttp.Transport) halfCloser {
			target, _ := url.Parse(srv.URL)
			proxy := httptest.NewServer(&httputil.ReverseProxy{
				Transport: tr,
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
			})
			t.Cleanup(proxy.Close)
			return upgradeRaw(t, proxy.Listener.Addr().String())
		},
	}
	talks := map[string]struct{ server, client func(*testing.T, halfCloser) }{
		"client closes first": {listen, speak},
		"server closes first": {speak, listen},
	}
	for through, dial := range dials {
		for name, talk := range talks {
			t.Run(through+"/"+name, func(t *testing.T) {
				srv := newUpgradeServer(t, func(conn halfCloser) { talk.server(t, conn) })
				option, collect := newTally(t)
				tr := newTransport(t, newBase(t), option)
				conn := dial(t, srv, tr)
				talk.client(t, conn)
				_ = conn.Close()
				if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// speak says something, closes its way, and still hears the answer.
func speak(t *testing.T, conn halfCloser) {
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Errorf("speaker: Write: %v", err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Errorf("speaker: CloseWrite: %v", err)
	}
	if got, err := io.ReadAll(conn); string(got) != "pong" || err != nil {
		t.Errorf("speaker heard %q, %v; want pong", got, err)
	}
}

// listen hears all there is to hear, and answers only then.
func listen(t *testing.T, conn halfCloser) {
	if got, err := io.ReadAll(conn); string(got) != "ping" || err != nil {
		t.Errorf("listener heard %q, %v; want ping", got, err)
	}
	if _, err := io.WriteString(conn, "pong"); err != nil {
		t.Errorf("listener: Write: %v", err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Errorf("listener: CloseWrite: %v", err)
	}
}

// upgrade switches protocols by the Transport itself.
func upgrade(t *testing.T, srv *httptest.Server, tr *breakerhttp.Transport) halfCloser {
	req := newRequest(t, t.Context(), srv.URL)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "talk")
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatalf("upgrade: %v", err)
	}
	conn, ok := resp.Body.(halfCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		t.Fatalf("got status %s with a %T, want 101 with a connection", resp.Status, resp.Body)
	}
	return conn
}

// upgradeRaw switches protocols as a client of a proxy.
func upgradeRaw(t *testing.T, addr string) halfCloser {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v; want 101", resp, err)
	}
	return &bufferedConn{conn.(*net.TCPConn), r}
}

type bufferedConn struct {
	*net.TCPConn
	r *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// TestInformationalResponses: 1xx are none of the breaker's business.
func TestInformationalResponses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(w, req.Body) // which sends 100 Continue
	}))
	defer srv.Close()
	var got []int
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			got = append(got, code)
			return nil
		},
	})
	req := post(t, srv.URL, strings.NewReader("echo"), 4).WithContext(ctx)
	req.Header.Set("Expect", "100-continue")
	option, collect := newTally(t)
	resp, err := newTransport(t, newBase(t), option).RoundTrip(req)
	if err != nil {
		t.Fatalf("RoundTrip: %v", err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "echo" || err != nil {
		t.Errorf("got body %q, %v; want echo", body, err)
	}
	if diff := cmp.Diff([]int{103, 100}, got); diff != "" {
		t.Errorf("informational responses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}
