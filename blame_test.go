package breakerhttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
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
		{"malformed certificate", overTLS(malformedCertificate, asIs), tally{"failure tls": 1}},
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

func malformedCertificate(c *tls.Config) {
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		malformed := tls.Certificate{Certificate: [][]byte{[]byte("malformed")}, PrivateKey: key}
		return &tls.Config{Certificates: []tls.Certificate{malformed}}, err
	}
}

func tls10(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }

// TestCauseOfASibling: errgroup cancels a group with the error of one of its
// requests as the cause. The timeout of a dead host says nothing about another one
// that was asked at the same time, be it before its headers or within its body.
func TestCauseOfASibling(t *testing.T) {
	eachProtocol(t, func(t *testing.T, healthy *pipetest.Server) {
		dead := pipetest.NewServer(t, http.HandlerFunc(hang))
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "dead.test" {
				return dead.Transport.RoundTrip(req)
			}
			return healthy.Transport.RoundTrip(req)
		}))
		ask := func(ctx context.Context, url string) error {
			_, err := do(tr, newRequest(t, ctx, url))
			return err
		}
		tr.ForceClosed("http://dead.test") // it is to be asked in each round
		for _, path := range slices.Concat(slices.Repeat([]string{"/half-a-second"}, 5), slices.Repeat([]string{"/stall-of-known-length"}, 5)) {
			group, cancel := context.WithCancelCause(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				ctx, stop := context.WithTimeout(group, 300*time.Millisecond)
				defer stop()
				cancel(fmt.Errorf("dead host: %w", ask(ctx, "http://dead.test")))
			})
			wg.Go(func() {
				if err := ask(group, healthy.URL+path); err == nil || errors.Is(err, breakerhttp.ErrOpen) {
					t.Errorf("got error %v, want that of a cancelled request", err)
				}
			})
			wg.Wait()
		}
		if got, want := snapshot(t, tr, healthy.URL).Totals, (breakerhttp.Totals{Ignored: 5, Success: 5}); got != want {
			t.Errorf("healthy host: got totals %+v, want %+v", got, want)
		}
		if got, want := snapshot(t, tr, "http://dead.test").Totals, (breakerhttp.Totals{Failure: 10}); got != want {
			t.Errorf("dead host: got totals %+v, want %+v", got, want)
		}
	})
}

// TestClientTimeout: http.Client.Timeout ends requests in one of many ways, by
// chance. Each is the host's failure; none is missed in a thousand.
func TestClientTimeout(t *testing.T) {
	const n = 1000
	for _, tt := range []struct {
		name     string
		settings []setting
	}{
		{"HTTP/1.1", nil},
		{"HTTP/2", []setting{speakHTTP2}},
		{"dialing", []setting{blackHole}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(hang))
			srv.Config.Protocols = new(http.Protocols)
			srv.Config.Protocols.SetHTTP1(true)
			srv.Config.Protocols.SetUnencryptedHTTP2(true)
			srv.Start()
			defer srv.Close()
			base := newBase(t, tt.settings...)
			var late atomic.Int64
			option, collect := newTally(t)
			tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if deadline, _ := req.Context().Deadline(); !time.Now().Before(deadline) {
					late.Add(1)
				}
				return base.RoundTrip(req)
			}), option)
			tr.ForceClosed(srv.URL)
			timeOut(t, &http.Client{Transport: tr, Timeout: 50 * time.Millisecond}, srv.URL, n)

			got := collect()
			if ignored := got["ignored"]; ignored > 0 && ignored <= late.Load() {
				// The machine was so busy that they were late before they were sent.
				t.Logf("%d requests had no chance", ignored)
				got["failure timeout"] += ignored
				delete(got, "ignored")
			}
			if diff := cmp.Diff(tally{"failure timeout": n}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// timeOut sends n requests, many at once, which must all time out.
func timeOut(t *testing.T, client *http.Client, url string, n int) {
	t.Helper()
	const workers = 100
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range n / workers {
				if err := readAll(client, url); !isTimeout(err) {
					t.Errorf("got %v, want a timeout", err)
				}
			}
		})
	}
	wg.Wait()
}

func readAll(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error) //nolint:errorlint // what callers of http.Client do
	return ok && timeout.Timeout()
}

// blackHole dials what never answers.
func blackHole(_ testing.TB, base *http.Transport) {
	base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

// errRefused is what a dialer returns.
var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// errOwn is a caller's.
var errOwn = errors.New("enough")

// timeoutError is a caller's own too, though it looks like one of the network.
type timeoutError struct{}

func (timeoutError) Error() string { return "own timeout" }

func (timeoutError) Timeout() bool { return true }

func (timeoutError) Temporary() bool { return true }

// TestContextFirst: whatever the error of base is, the context and the clock
// tell first. All base does is to let some time pass, and to return err.
func TestContextFirst(t *testing.T) {
	background := func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }
	deadline := func(d time.Duration) contextFunc {
		return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
	}
	cancelled := func(d time.Duration, cause error) contextFunc {
		return func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			if d == 0 {
				cancel(cause)
			}
			stop := time.AfterFunc(d, func() { cancel(cause) }).Stop
			return ctx, func() { stop(); cancel(nil) }
		}
	}
	const before, during, never = 0, time.Second, time.Hour
	refusal := fmt.Errorf("base: %w", &breakerhttp.OpenError{})
	tests := []struct {
		name string
		ctx  contextFunc
		err  error
		want tally
	}{
		{"nothing happened", background, errRefused, tally{"failure connect": 1}},
		{"deadline far away", deadline(never), errRefused, tally{"failure connect": 1}},
		{"deadline passes", deadline(during), errRefused, tally{"failure timeout": 1}},
		{"deadline passes, base calls it cancelled", deadline(during), context.Canceled, tally{"failure timeout": 1}},
		{"deadline had passed", deadline(before), context.DeadlineExceeded, tally{"ignored": 1}},
		{"deadline had passed, refused", deadline(before), errRefused, tally{"ignored": 1}},
		{"deadline had passed, its timer is late", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return lateContext{ctx, time.Now()}, func() {}
		}, errRefused, tally{"ignored": 1}},
		{"deadline passes, its timer is late", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return lateContext{ctx, time.Now().Add(during)}, func() {}
		}, errRefused, tally{"failure timeout": 1}},
		{"deadline had passed, and can end nothing", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return lateContext{context.WithoutCancel(ctx), time.Now()}, func() {}
		}, errRefused, tally{"failure timeout": 1}},
		{"deadline with a cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, during, errOwn)
		}, errOwn, tally{"failure timeout": 1}},
		{"deadline of a parent, child cancelled later", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, during)
			ctx, cancelChild := cancelled(during+1, errOwn)(ctx)
			return ctx, func() { cancelChild(); cancel() }
		}, errRefused, tally{"failure timeout": 1}},
		{"cancelled, and refused", cancelled(during, nil), errRefused, tally{"ignored": 1}},
		{"cancelled before", cancelled(before, nil), context.Canceled, tally{"ignored": 1}},
		{"cancelled with a cause", cancelled(during, errOwn), errOwn, tally{"ignored": 1}},
		{"cancelled with a timeout of the caller's", cancelled(during, timeoutError{}), timeoutError{}, tally{"ignored": 1}},
		{"cancelled before a deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, never)
			ctx, cancelChild := cancelled(during, nil)(ctx)
			return ctx, func() { cancelChild(); cancel() }
		}, context.Canceled, tally{"ignored": 1}},
		{"cancelled before a deadline that passes before base returns", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, during+1)
			ctx, cancelChild := cancelled(during, nil)(ctx)
			return ctx, func() { cancelChild(); cancel() }
		}, context.Canceled, tally{"ignored": 1}},
		{"a deadline is the cause", cancelled(during, fmt.Errorf("gave up: %w", context.DeadlineExceeded)), errOwn, tally{"ignored": 1}},
		{"a deadline is the cause, and the error", cancelled(during, context.DeadlineExceeded), context.DeadlineExceeded, tally{"ignored": 1}},
		{"a deadline was the cause", cancelled(before, context.DeadlineExceeded), errRefused, tally{"ignored": 1}},
		{"context.Canceled without a cause in the context", background, context.Canceled, tally{"failure connection": 1}},
		{"inner refusal, deadline passes", deadline(during), refusal, tally{"ignored": 1}},
		{"inner refusal", background, refusal, tally{"ignored": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := tt.ctx(t.Context())
				defer cancel()
				base := roundTripFunc(func(*http.Request) (*http.Response, error) {
					time.Sleep(during + 2)
					return nil, tt.err
				})
				got := judged(t, base, newRequest(t, ctx, "http://a.test"))
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A lateContext does not end at its deadline.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

type contextFunc func(context.Context) (context.Context, context.CancelFunc)

// TestTypePrecedence: where an error is of many types, the first row counts.
func TestTypePrecedence(t *testing.T) {
	proxyconnect := func(err error) error { return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: err} }
	dns := &net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}
	slowDNS := &net.DNSError{Err: "i/o timeout", Name: "a.test", IsTimeout: true}
	short := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	wrapped := func(err error) error { return fmt.Errorf("wrapped: %w", err) }
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	tests := []struct {
		name string
		err  error
		want tally
	}{
		{"short for a proxy", proxyconnect(short), tally{"ignored": 1}},
		{"timeout of DNS", &net.OpError{Op: "dial", Net: "tcp", Err: slowDNS}, tally{"failure timeout": 1}},
		{"timeout of a proxy", proxyconnect(&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}), tally{"failure timeout": 1}},
		{"DNS of a proxy", proxyconnect(&net.OpError{Op: "dial", Net: "tcp", Err: dns}), tally{"failure dns": 1}},
		{"proxy before dial", proxyconnect(errRefused), tally{"failure proxy": 1}},
		{"a timeout of base's own", context.DeadlineExceeded, tally{"failure timeout": 1}},
		{"wrapped by a base", fmt.Errorf("base: %w", errRefused), tally{"failure connect": 1}},
		{"text tells nothing", errors.New("dial tcp: lookup a.test: no such host; context canceled; i/o timeout"), tally{"failure connection": 1}},
		{"EOF", io.EOF, tally{"failure connection": 1}},
		{"timeout within a url.Error", &url.Error{Op: "Get", URL: "http://a.test", Err: wrapped(os.ErrDeadlineExceeded)}, tally{"failure timeout": 1}},
		{"timeout within a dial", dial(wrapped(os.ErrDeadlineExceeded)), tally{"failure timeout": 1}},
		{"timeout within a read", &net.OpError{Op: "read", Net: "tcp", Err: wrapped(syscall.ETIMEDOUT)}, tally{"failure timeout": 1}},
		{"timeout of a context within a dial", dial(wrapped(context.DeadlineExceeded)), tally{"failure timeout": 1}},
		{"timeout among others", errors.Join(io.EOF, errRefused, os.ErrDeadlineExceeded), tally{"failure timeout": 1}},
		{"alert of a proxy", proxyconnect(&net.OpError{Op: "remote error", Err: tls.AlertError(40)}), tally{"failure tls": 1}},
		{"old alert of a proxy", proxyconnect(&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}), tally{"failure tls": 1}},
		{"dial within another operation", &net.OpError{Op: "socks connect", Net: "tcp", Err: errRefused}, tally{"failure connect": 1}},
		{"proxy within another operation", &net.OpError{Op: "connect", Err: proxyconnect(errRefused)}, tally{"failure proxy": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, tt.err })
			got := judged(t, base, newRequest(t, t.Context(), "http://a.test"))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnreadableError: the methods of an error may panic, as those of a typed nil
// do. It is a failure, and returned as it is.
func TestUnreadableError(t *testing.T) {
	for name, err := range map[string]error{
		"OpError":          (*net.OpError)(nil),
		"DNSError":         (*net.DNSError)(nil),
		"url.Error":        (*url.Error)(nil),
		"PathError":        (*fs.PathError)(nil),
		"SyscallError":     (*os.SyscallError)(nil),
		"certificate":      (*tls.CertificateVerificationError)(nil),
		"wrapped":          fmt.Errorf("base: %w", (*net.OpError)(nil)),
		"joined":           errors.Join(io.EOF, (*net.DNSError)(nil)),
		"within a dial":    &net.OpError{Op: "dial", Net: "tcp", Err: (*net.DNSError)(nil)},
		"Error panics":     panickingError{},
		"a dial's timeout": &net.OpError{Op: "dial", Net: "tcp", Err: panickingError{}},
		"As panics":        asError{},
		"As gives nil":     nilError{},
	} {
		t.Run(name, func(t *testing.T) {
			for _, opts := range [][]breakerhttp.Option{nil, {breakerhttp.WithClassifier(breakerhttp.DefaultClassifier)}} {
				base := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, err })
				got := judged(t, base, post(t, "http://a.test", iotest.ErrReader(io.EOF), -1), opts...)
				if diff := cmp.Diff(tally{"failure connection": 1}, got); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			}
		})
	}
}

type panickingError struct{}

func (panickingError) Error() string { panic("Error") }

func (panickingError) Timeout() bool { panic("Timeout") }

func (panickingError) Temporary() bool { panic("Temporary") }

// nilError says that it is a *net.DNSError, but leaves the target nil.
type nilError struct{}

func (nilError) Error() string { return "nil" }

func (nilError) As(target any) bool {
	_, ok := target.(**net.DNSError)
	return ok
}

// asError takes each target for its own type.
type asError struct{}

func (asError) Error() string { return "as" }

func (e asError) As(target any) bool {
	*target.(*asError) = e
	return true
}

// TestCancelled: net/http returns the cause of a cancelled context itself, and
// errors of its own for Request.Cancel. A deadline that has passed at that very
// moment, as http.Client.Timeout makes it, is still a timeout.
func TestCancelled(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cancel   func(cancel context.CancelCauseFunc, legacy chan struct{})
		deadline time.Duration
		want     tally
	}{
		{"context", func(cancel context.CancelCauseFunc, _ chan struct{}) { cancel(nil) }, time.Hour, tally{"ignored": 1}},
		{"context with a cause", func(cancel context.CancelCauseFunc, _ chan struct{}) { cancel(errOwn) }, time.Hour, tally{"ignored": 1}},
		{"Request.Cancel", func(_ context.CancelCauseFunc, legacy chan struct{}) { close(legacy) }, time.Hour, tally{"ignored": 1}},
		{"Request.Cancel at the deadline", func(_ context.CancelCauseFunc, legacy chan struct{}) { close(legacy) }, time.Second, tally{"failure timeout": 1}},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(tt.name+"/"+proto, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := pipetest.NewServer(t, http.HandlerFunc(hang))
					if proto == "HTTP/2" {
						srv.UseHTTP2()
					}
					ctx, stop := context.WithTimeout(t.Context(), tt.deadline)
					defer stop()
					ctx, cancel := context.WithCancelCause(ctx)
					defer cancel(nil)
					req := newRequest(t, ctx, srv.URL)
					legacy := make(chan struct{})
					//lint:ignore SA1019 http.Client uses it still
					req.Cancel = legacy
					time.AfterFunc(time.Second, func() { tt.cancel(cancel, legacy) })
					got := judged(t, srv.Transport, req)
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// TestBrokenConnections: requests that fail together are one failure in the run if
// their connections broke; otherwise they are one each.
func TestBrokenConnections(t *testing.T) {
	const n = 4
	noTrailer := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n"
	malformedChunk := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\npart\r\n"
	for _, tt := range []struct {
		name  string
		fault fault
		once  bool
	}{
		{"closed", at(serving(faultserver.Hangup)), true},
		{"reset", at(serving(faultserver.Reset)), true},
		{"reset, of a base that hides the system call", failingWith(syscall.ECONNRESET), true},
		{"closed while the request is written", failingWith(syscall.EPIPE), true},
		{"closed within the header", at(serving(faultserver.Reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"))), true},
		{"closed within the body", at(serving(faultserver.Reply(truncated))), true},
		{"closed within a chunk", at(serving(faultserver.Reply(truncatedChunk))), true},
		{"closed before the trailer", at(serving(faultserver.Reply(noTrailer))), true},
		{"closed before TLS", secure(at(serving(faultserver.Hangup))), true},
		{"closed while idle", failingWith(errors.New("http: server closed idle connection")), true},
		{"HTTP/2 connection error", at(serving(faultserver.ConnectionError), speakHTTP2), true},
		{"HTTP/2 GOAWAY", at(serving(faultserver.GoAway), speakHTTP2), true},
		{"HTTP/2 stream reset", at(serving(faultserver.StreamReset), speakHTTP2), true},
		{"HTTP/2 stream reset within the body", at(serving(faultserver.BodyReset), speakHTTP2), true},
		{"HTTP/2 connection closed at once", failingWith(errors.New("http2: client conn could not be established")), true},
		{"HTTP/2 connection lost", at(serving(faultserver.Stall), speakHTTP2, pinging), true},

		{"malformed response", at(serving(faultserver.Reply("garbage\r\n\r\n"))), false},
		{"malformed header", at(serving(faultserver.Reply("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"))), false},
		{"malformed chunk", at(serving(faultserver.Reply(malformedChunk))), false},
		{"refused", at(faultserver.Refusing), false},
		{"header timeout", at(serving(faultserver.Stall), headerTimeout), false},
		{"read timeout", at(serving(faultserver.Stall), impatient), false},
		{"read timeout within the body", at(serving(faultserver.ReplyAndStall(truncated)), impatient), false},
		{"TLS alert", secure(at(serving(faultserver.Say("\x15\x03\x01\x00\x02\x02\x28")))), false},
		{"no such name", at(named("a.test"), asking("udp", nxdomain, time.Second)), false},
		{"status", at(answering(503)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, url := tt.fault(t)
			resp, err := base.RoundTrip(newRequest(t, t.Context(), url))
			switch {
			case err == nil && resp.StatusCode == 200:
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				resp.Body = io.NopCloser(iotest.ErrReader(err))
			case err == nil:
				_ = resp.Body.Close()
			}
			tr := newTransport(t, together(n, resp, err), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 2 * n}))
			failTogether(t, tr, host, n)
			want := breakerhttp.Counts{Requests: n, Failures: n, ConsecutiveFailures: n}
			if tt.once {
				want.ConsecutiveFailures = 1
			}
			if got := snapshot(t, tr, host).Counts; got != want {
				t.Errorf("after %d times %q: got counts %+v, want %+v", n, err, got, want)
			}
		})
	}
}

// pinging finds out soon that nobody answers.
func pinging(_ testing.TB, base *http.Transport) {
	base.HTTP2 = &http.HTTP2Config{SendPingTimeout: shortly, PingTimeout: shortly}
}

func failingWith(err error) fault {
	return func(testing.TB) (http.RoundTripper, string) {
		return roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, err }), host
	}
}

// together answers once n requests have come, all alike.
func together(n int, resp *http.Response, err error) http.RoundTripper {
	var all sync.WaitGroup
	all.Add(n)
	return roundTripFunc(func(*http.Request) (*http.Response, error) {
		all.Done()
		all.Wait()
		if resp == nil || resp.StatusCode != 200 {
			return resp, err
		}
		own := *resp
		return &own, nil
	})
}

// failTogether sends n requests at once, and reads the answers once all are there.
func failTogether(t *testing.T, rt http.RoundTripper, url string, n int) {
	t.Helper()
	var headers, ends sync.WaitGroup
	headers.Add(n)
	for range n {
		ends.Go(func() {
			resp, err := rt.RoundTrip(newRequest(t, t.Context(), url))
			headers.Done()
			if err != nil {
				return
			}
			defer resp.Body.Close()
			headers.Wait()
			if _, err := io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode == 200 {
				t.Error("a body that should fail has ended well")
			}
		})
	}
	ends.Wait()
}

// TestRestart: a server that goes down with many requests in flight has failed
// once, by whatever protocol, with headers sent or not.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings []setting
	}{
		{"HTTP/1.1", nil},
		{"HTTP/2", []setting{speakHTTP2}},
	} {
		for _, path := range []string{"/watch", "/wait"} {
			t.Run(tt.name+path, func(t *testing.T) {
				const n = 8
				var all sync.WaitGroup
				all.Add(n)
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/watch" {
						_, _ = io.WriteString(w, "event")
						_ = http.NewResponseController(w).Flush()
					}
					all.Done()
					<-req.Context().Done()
				}))
				srv.Config.Protocols = new(http.Protocols)
				srv.Config.Protocols.SetHTTP1(true)
				srv.Config.Protocols.SetUnencryptedHTTP2(true)
				srv.Start()
				defer srv.Close()
				tr := newTransport(t, newBase(t, tt.settings...))
				go func() {
					all.Wait()
					srv.CloseClientConnections()
				}()
				failTogether(t, tr, srv.URL+path, n)
				s := snapshot(t, tr, srv.URL)
				if s.Totals.Failure != n || s.Counts.ConsecutiveFailures != 1 || s.State != breakerhttp.StateClosed {
					t.Errorf("%d failures, %d in a row, %v; want %d, 1, closed", s.Totals.Failure, s.Counts.ConsecutiveFailures, s.State, n)
				}
			})
		}
	}
}

// TestLostConnectionFoundByAWrite: an HTTP/2 connection that carries six watches is
// lost. A write finds that out, and net/http closes the connection itself.
func TestLostConnectionFoundByAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipetest.NewServer(t, http.HandlerFunc(hangInBody))
		srv.UseHTTP2()
		var lost atomic.Bool
		dial := srv.Transport.DialContext
		srv.Transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return oneWayConn{conn, &lost}, err
		}
		tr := newTransport(t, srv.Transport)
		const n = 6
		var watches []*http.Response
		for range n {
			watches = append(watches, fetch(t, tr, t.Context(), srv.URL))
		}
		lost.Store(true)
		if _, err := get(tr, srv.URL); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got error %v, want that of the write", err)
		}
		for _, resp := range watches {
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("a watch has ended well, want it broken off")
			}
			_ = resp.Body.Close()
		}
		s := snapshot(t, tr, srv.URL)
		if s.Totals.Failure != n+1 || s.Counts.ConsecutiveFailures != 1 || s.State != breakerhttp.StateClosed {
			t.Errorf("%d failures, %d in a row, %v; want %d, 1, closed", s.Totals.Failure, s.Counts.ConsecutiveFailures, s.State, n+1)
		}
	})
}

// A oneWayConn is silent once it is lost, except that writes fail.
type oneWayConn struct {
	net.Conn
	lost *atomic.Bool
}

func (c oneWayConn) Write(p []byte) (int, error) {
	if c.lost.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}
	}
	return c.Conn.Write(p)
}

// TestBrokenTextsInGOROOT: the texts by which broken connections are told are those
// of net/http, and all of them.
func TestBrokenTextsInGOROOT(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(build.Default.GOROOT, "src", "net", "http", "*.go"))
	if err != nil || len(files) == 0 {
		t.Skipf("the sources of net/http are not here: %v", err)
	}
	var sources strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			sources.Write(b)
		}
	}
	for _, text := range breakerhttp.BrokenTexts {
		ofSystem := strings.Contains(syscall.ECONNRESET.Error()+syscall.EPIPE.Error(), text)
		if !ofSystem && !strings.Contains(sources.String(), text) {
			t.Errorf("net/http says %q no more", text)
		}
	}
	about := regexp.MustCompile(`(?:errors\.New|fmt\.Errorf)\("([^"]*(?:GOAWAY|client conn|connection lo|closed idle|unexpected EOF)[^"]*)"`)
	for _, found := range about.FindAllStringSubmatch(sources.String(), -1) {
		if !slices.ContainsFunc(breakerhttp.BrokenTexts, func(text string) bool { return strings.Contains(found[1], text) }) {
			t.Errorf("net/http says %q: is that a broken connection?", found[1])
		}
	}
}
