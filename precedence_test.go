package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// errRefused is what a dialer returns.
var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// errOwn is a caller's.
var errOwn = errors.New("enough")

// timeoutError is a caller's own too, though it looks like one of the network.
type timeoutError struct{}

func (timeoutError) Error() string   { return "own timeout" }
func (timeoutError) Timeout() bool   { return true }
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
		{"a deadline is the cause", cancelled(during, fmt.Errorf("gave up: %w", context.DeadlineExceeded)), errOwn, tally{"failure timeout": 1}},
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

// TestCancelled: net/http returns the cause of a cancelled context itself, and
// errors of its own for Request.Cancel. A deadline that has passed at that very
// moment, as http.Client.Timeout makes it, is a timeout all the same.
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

// hang answers when the client is gone.
func hang(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }

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
