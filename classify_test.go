package breakerhttp_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

const (
	truncated      = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"
	truncatedChunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\npart"
)

// TestWhoseFault provokes each error for real and asks whose fault it was: by
// default, and with a classifier wrapped around the default one.
func TestWhoseFault(t *testing.T) {
	tests := []struct {
		name  string
		fault fault
		want  tally
	}{
		{"refused", at(faultserver.Refusing), tally{"failure connect": 1}},
		{"no route", at(named("127.0.0.1"), failing("connect", syscall.EHOSTUNREACH)), tally{"failure connect": 1}},
		{"dial timeout", at(named("127.0.0.1"), dialTimeout(1)), tally{"failure timeout": 1}},
		{"connect timeout of the kernel", at(named("127.0.0.1"), failing("connect", syscall.ETIMEDOUT)), tally{"failure timeout": 1}},
		{"reset", at(serving(faultserver.Reset)), tally{"failure connection": 1}},
		{"EOF before the response", at(serving(faultserver.Hangup)), tally{"failure connection": 1}},
		{"EOF within the headers", at(serving(faultserver.Reply("HTTP/1.1 200 OK\r\nContent-Le"))), tally{"failure connection": 1}},
		{"malformed response", at(serving(faultserver.Reply("220 mail.test ESMTP\r\n"))), tally{"failure connection": 1}},
		{"HTTP/2 RST_STREAM", at(serving(faultserver.StreamReset), speakHTTP2), tally{"failure connection": 1}},
		{"HTTP/2 GOAWAY", at(serving(faultserver.GoAway), speakHTTP2), tally{"failure connection": 1}},
		{"header timeout", at(serving(faultserver.Stall), headerTimeout), tally{"failure timeout": 1}},
		{"HTTP/2 header timeout", at(serving(faultserver.Stall), speakHTTP2, headerTimeout), tally{"failure timeout": 1}},
		{"EOF within the body", at(serving(faultserver.Reply(truncated))), tally{"success": 1, "failure body": 1}},
		{"EOF within a chunk", at(serving(faultserver.Reply(truncatedChunk))), tally{"success": 1, "failure body": 1}},
		{"HTTP/2 RST_STREAM within the body", at(serving(faultserver.BodyReset), speakHTTP2), tally{"success": 1, "failure body": 1}},

		{"no such name", at(named("a.test."), asking("udp", nxdomain, time.Minute)), tally{"failure dns": 1}},
		{"name server refuses", at(named("a.test."), asking("tcp", faultserver.Refusing, time.Minute)), tally{"failure dns": 1}},
		{"name server stalls", at(named("a.test."), asking("tcp", serving(faultserver.Stall), shortly)), tally{"failure timeout": 1}},

		{"unknown authority", overTLS(asIs, func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }), tally{"failure tls": 1}},
		{"wrong host name", overTLS(asIs, func(c *tls.Config) { c.ServerName = "a.test" }), tally{"failure tls": 1}},
		{"expired certificate", overTLS(asIs, func(c *tls.Config) { c.Time = inTheYear3000 }), tally{"failure tls": 1}},
		{"client certificate wanted", overTLS(wantCertificate, asIs), tally{"failure tls": 1}},
		{"no common TLS version", overTLS(asIs, tls10), tally{"failure tls": 1}},
		{"HTTP for TLS", secure(at(serving(faultserver.Say("HTTP/1.1 400 Bad Request\r\n\r\n")))), tally{"failure tls": 1}},
		{"TLS for HTTP", at(serving(faultserver.Reply("\x15\x03\x01\x00\x02\x02\x0a"))), tally{"failure connection": 1}},
		{"EOF within the handshake", secure(at(serving(faultserver.Say("")))), tally{"failure connection": 1}},
		{"handshake timeout", secure(at(serving(faultserver.Stall), handshakeTimeout)), tally{"failure timeout": 1}},

		{"proxy refuses", at(named("a.test"), throughProxy(faultserver.Refusing)), tally{"failure proxy": 1}},
		{"no such proxy", at(named("a.test"), asking("udp", nxdomain, time.Minute), throughProxy(named("proxy.test."))), tally{"failure dns": 1}},
		{"proxy gives no tunnel", secure(at(named("a.test"), throughProxy(serving(faultserver.Reply("HTTP/1.1 502 Bad Gateway\r\n\r\n"))))), tally{"failure connection": 1}},

		{"200", at(answering(200)), tally{"success": 1}},
		{"304", at(answering(304)), tally{"success": 1}},
		{"404", at(answering(404)), tally{"success": 1}},
		{"429", at(answering(429)), tally{"success": 1}},
		{"499", at(answering(499)), tally{"success": 1}},
		{"500", at(answering(500)), tally{"failure 500": 1}},
		{"503", at(answering(503)), tally{"failure 503": 1}},
		{"599", at(answering(599)), tally{"failure 599": 1}},

		{"an inner circuit refuses", behindOpenCircuit, tally{"ignored": 1}},
	}
	wrapped := breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
		return breakerhttp.DefaultClassifier(a)
	})
	for _, opts := range [][]breakerhttp.Option{nil, {wrapped}} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s/%d", tt.name, len(opts)), func(t *testing.T) {
				base, url := tt.fault(t)
				got := judged(t, base, newRequest(t, t.Context(), url), opts...)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func inTheYear3000() time.Time { return time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC) }

// wantCertificate demands a client certificate within the handshake: TLS 1.3
// would do so after it.
func wantCertificate(c *tls.Config) {
	c.ClientAuth = tls.RequireAnyClientCert
	c.MaxVersion = tls.VersionTLS12
}

func tls10(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }

// TestOtherScheme: a base may know schemes of its own. What the network says of
// them counts; nothing else tells a request that cannot be sent.
func TestOtherScheme(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want tally
	}{
		{&net.OpError{Op: "dial", Net: "unix", Err: syscall.ECONNREFUSED}, tally{"failure connect": 1}},
		{errors.New("unsupported protocol scheme"), tally{"ignored": 1}},
	} {
		base := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, tt.err })
		key := breakerhttp.WithKey(func(*http.Request) string { return "socket" })
		got := judged(t, base, newRequest(t, t.Context(), "unix:///var/run/a.sock"), key)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: counted (-want +got):\n%s", tt.err, diff)
		}
	}
}
