package breakerhttp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/faultserver"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestRequestBodyFault: a body that fails, or is not as long as it says, is the
// caller's fault, though it is the server or net/http that complains.
func TestRequestBodyFault(t *testing.T) {
	wantWhole := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if string(body) != "whole" {
			<-req.Context().Done() // no answer that could come before the fault is found
		}
	})
	broken := func() io.Reader { return io.MultiReader(strings.NewReader("part"), iotest.ErrReader(errOwn)) }
	for _, tt := range []struct {
		name   string
		body   func() io.Reader
		length int64
		want   tally
	}{
		{"whole", func() io.Reader { return strings.NewReader("whole") }, 5, tally{"success": 1}},
		{"whole, of unknown length", func() io.Reader { return strings.NewReader("whole") }, -1, tally{"success": 1}},
		{"whole, EOF with the data", func() io.Reader { return iotest.DataErrReader(strings.NewReader("whole")) }, 5, tally{"success": 1}},
		{"broken", broken, 10, tally{"ignored": 1}},
		{"broken, of unknown length", broken, -1, tally{"ignored": 1}},
		{"broken at once", func() io.Reader { return iotest.ErrReader(errOwn) }, 0, tally{"ignored": 1}},
		{"too short", func() io.Reader { return strings.NewReader("part") }, 5, tally{"ignored": 1}},
		{"too long", func() io.Reader { return strings.NewReader("too long") }, 5, tally{"ignored": 1}},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(tt.name+"/"+proto, func(t *testing.T) {
				srv := pipetest.NewServer(t, wantWhole)
				if proto == "HTTP/2" {
					srv.UseHTTP2()
				}
				got := judged(t, srv.Transport, post(t, srv.URL, tt.body(), tt.length))
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestRequestBodyFaultAndResponse: a host that answers all the same is judged by
// its answer.
func TestRequestBodyFaultAndResponse(t *testing.T) {
	for status, want := range map[int]tally{413: {"success": 1}, 503: {"failure 503": 1}} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				_, err := io.Copy(io.Discard, req.Body)
				if !errors.Is(err, errOwn) {
					t.Errorf("base read %v, want the body's own error", err)
				}
				return respond(status)(req)
			})
			got := judged(t, base, post(t, "http://a.test", iotest.ErrReader(errOwn), -1))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestBodyFaultAfterHeaders: nor is it the host's fault if the caller's
// body fails while that of the response is being read.
func TestRequestBodyFaultAfterHeaders(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		both := http.NewResponseController(w)
		_ = both.EnableFullDuplex()
		_ = both.Flush()
		if _, err := io.Copy(w, req.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			srv := pipetest.NewServer(t, echo)
			if proto == "HTTP/2" {
				srv.UseHTTP2()
			}
			option, collect := newTally(t)
			tr := newTransport(t, srv.Transport, option)
			body, w := io.Pipe()
			resp, err := tr.RoundTrip(post(t, srv.URL, body, -1))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_ = w.CloseWithError(errOwn)
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the response's body has ended well, want it broken off")
			}
			if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// An endlessBody waits in Read until it is closed, and then returns err.
type endlessBody struct {
	err    error
	closed chan struct{}
}

func newEndlessBody(err error) *endlessBody { return &endlessBody{err, make(chan struct{})} }

func (b *endlessBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, b.err
}

func (b *endlessBody) Close() error {
	close(b.closed)
	return nil
}

// TestRequestBodyClosedByBase: when the host has failed, base closes the body.
// What that makes a Read return is not the caller's fault.
func TestRequestBodyClosedByBase(t *testing.T) {
	for _, err := range []error{errOwn, io.EOF} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			req := post(t, "http://a.test", nil, 10)
			req.Body = newEndlessBody(err)
			base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
				read := make(chan error)
				go func() {
					_, err := req.Body.Read(make([]byte, 1))
					read <- err
				}()
				_ = req.Body.Close()
				if got := <-read; got != err { //nolint:errorlint // as it is
					t.Errorf("base read %v, want %v", got, err)
				}
				return nil, &net.OpError{Op: "read", Err: errors.New("reset")}
			})
			got := judged(t, base, req)
			if diff := cmp.Diff(tally{"failure connection": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHostFailsDuringUpload: the same, by a server that hangs up on an upload.
func TestHostFailsDuringUpload(t *testing.T) {
	hangUp := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4<<10)) }
	for name, length := range map[string]int64{"known length": 1 << 20, "unknown length": -1} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			go func() {
				_, err := w.Write(make([]byte, 1<<20)) // until base closes r
				_ = w.CloseWithError(err)
			}()
			base, url := at(serving(hangUp))(t)
			got := judged(t, base, post(t, url, r, length))
			_ = r.Close()
			if diff := cmp.Diff(tally{"failure connection": 1}, got); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRequestIsTheCallersOwn: base gets the very request, if its body is none or
// can be had again; else a copy, and the caller sees none of that.
func TestRequestIsTheCallersOwn(t *testing.T) {
	up := newUpstream(http.StatusOK)
	srv := pipetest.NewServer(t, up)
	var got atomic.Pointer[http.Request]
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		got.Store(req)
		return srv.Transport.RoundTrip(req)
	}))
	withGetBody := post(t, srv.URL, strings.NewReader("x"), 1)
	withGetBody.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }
	noBody := post(t, srv.URL, nil, 0)
	noBody.Body = http.NoBody
	for _, tt := range []struct {
		name string
		req  *http.Request
		own  bool
	}{
		{"no body", newRequest(t, t.Context(), srv.URL), true},
		{"http.NoBody", noBody, true},
		{"GetBody", withGetBody, true},
		{"no GetBody", post(t, srv.URL, strings.NewReader("x"), 1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := *tt.req
			resp, err := tr.RoundTrip(tt.req)
			if err != nil {
				t.Fatalf("RoundTrip: %v", err)
			}
			_ = resp.Body.Close()
			if own := got.Load() == tt.req; own != tt.own {
				t.Errorf("base got the caller's own request: %t, want %t", own, tt.own)
			}
			if resp.Request != tt.req {
				t.Errorf("got response to request %p, want the caller's own, %p", resp.Request, tt.req)
			}
			if tt.req.Body != before.Body || tt.req.ContentLength != before.ContentLength || tt.req.Context() != before.Context() {
				t.Error("the caller's request was modified")
			}
		})
	}
}

// TestFaultBehindGetBody: a body that can be had again is not watched.
func TestFaultBehindGetBody(t *testing.T) {
	base, url := at(serving(faultserver.Hangup))(t)
	req := post(t, url, iotest.ErrReader(errOwn), 5)
	req.GetBody = func() (io.ReadCloser, error) { return nil, errOwn }
	got := judged(t, base, req)
	if diff := cmp.Diff(tally{"failure connection": 1}, got); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestForeignResponseRequest: a base that answers another request, as one that
// follows redirects does, keeps that in the response.
func TestForeignResponseRequest(t *testing.T) {
	other := newRequest(t, t.Context(), "http://b.test")
	tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) {
		return respond(http.StatusOK)(other)
	}))
	resp, err := tr.RoundTrip(post(t, "http://a.test", strings.NewReader("x"), 1))
	if err != nil {
		t.Fatalf("RoundTrip: %v", err)
	}
	defer resp.Body.Close()
	if resp.Request != other {
		t.Errorf("got the response's Request %v, want base's own", resp.Request)
	}
}
