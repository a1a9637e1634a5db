package breakerhttp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

// A fault returns a base RoundTripper, and a URL with which it fails.
type fault func(t testing.TB) (base http.RoundTripper, url string)

// An address of a server, or the lack of one.
type address func(testing.TB) string

// A setting of a base RoundTripper.
type setting func(testing.TB, *http.Transport)

func newBase(t testing.TB, settings ...setting) *http.Transport {
	base := &http.Transport{}
	for _, set := range settings {
		set(t, base)
	}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// at sends the request to addr.
func at(addr address, settings ...setting) fault {
	return func(t testing.TB) (http.RoundTripper, string) {
		return newBase(t, settings...), "http://" + addr(t)
	}
}

// secure sends the request by TLS.
func secure(f fault) fault {
	return func(t testing.TB) (http.RoundTripper, string) {
		base, url := f(t)
		return base, strings.Replace(url, "http:", "https:", 1)
	}
}

func serving(f faultserver.Fault) address {
	return func(t testing.TB) string { return faultserver.New(t, f) }
}

func named(name string) address { return func(testing.TB) string { return name } }

func answering(status int) address {
	return func(t testing.TB) string {
		srv := httptest.NewServer(newUpstream(status))
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
}

// overTLS is a server with TLS, and a client that would trust it, but for what
// the functions change.
func overTLS(server, client func(*tls.Config)) fault {
	return func(t testing.TB) (http.RoundTripper, string) {
		srv := httptest.NewUnstartedServer(newUpstream(http.StatusOK))
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes
		srv.TLS = &tls.Config{}
		server(srv.TLS)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		trusted := x509.NewCertPool()
		trusted.AddCert(srv.Certificate())
		base := newBase(t)
		base.TLSClientConfig = &tls.Config{RootCAs: trusted}
		client(base.TLSClientConfig)
		return base, srv.URL
	}
}

func asIs(*tls.Config) {}

// behindOpenCircuit is the base of a breaker around another one.
func behindOpenCircuit(t testing.TB) (http.RoundTripper, string) {
	const url = "http://a.test"
	inner, err := breakerhttp.New(respond(http.StatusOK))
	if err != nil {
		t.Fatal(err)
	}
	inner.ForceOpen(url)
	return inner, url
}

func speakHTTP2(_ testing.TB, base *http.Transport) {
	base.Protocols = new(http.Protocols)
	base.Protocols.SetUnencryptedHTTP2(true)
}

// The timeouts of a base are short: nothing else ends these requests.
const shortly = 10 * time.Millisecond

func headerTimeout(_ testing.TB, base *http.Transport) { base.ResponseHeaderTimeout = shortly }

func handshakeTimeout(_ testing.TB, base *http.Transport) { base.TLSHandshakeTimeout = shortly }

func dialTimeout(d time.Duration) setting {
	return func(_ testing.TB, base *http.Transport) {
		base.DialContext = (&net.Dialer{Timeout: d}).DialContext
	}
}

// failing makes a system call fail with errno, where a connection is made.
func failing(call string, errno syscall.Errno) setting {
	d := net.Dialer{Control: func(string, string, syscall.RawConn) error { return os.NewSyscallError(call, errno) }}
	return func(_ testing.TB, base *http.Transport) { base.DialContext = d.DialContext }
}

func throughProxy(addr address) setting {
	return func(t testing.TB, base *http.Transport) {
		base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: addr(t)})
	}
}

// asking resolves names by the name server at addr.
func asking(network string, addr address, patience time.Duration) setting {
	return func(t testing.TB, base *http.Transport) {
		server := addr(t)
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		}}
		base.DialContext = (&net.Dialer{Resolver: resolver, Timeout: patience}).DialContext
	}
}

// nxdomain is a name server that knows no name.
func nxdomain(t testing.TB) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			buf[2], buf[3] = 0x81, 0x83 // RFC 1035, section 4.1.1: a response, NXDOMAIN
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}
