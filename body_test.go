package breakerhttp_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
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

// byPath answers as the path says.
func byPath(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/ok":
		_, _ = io.WriteString(w, "the whole body")
	case "/empty":
	case "/204":
		w.WriteHeader(http.StatusNoContent)
	case "/304":
		w.WriteHeader(http.StatusNotModified)
	case "/503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/half-a-second":
		select {
		case <-time.After(500 * time.Millisecond):
		case <-req.Context().Done():
		}
	case "/stall":
		hangInBody(w, req)
	case "/stall-of-known-length":
		w.Header().Set("Content-Length", "10")
		hangInBody(w, req)
	case "/late":
		time.Sleep(45 * time.Second) // longer than a probe may take, by default
		fallthrough
	case "/truncate":
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// failFourTimes brings a circuit with the default policy to the brink.
func failFourTimes(t *testing.T, tr *breakerhttp.Transport, url string) {
	t.Helper()
	for range 4 {
		_ = fetch(t, tr, t.Context(), url+"/503").Body.Close()
	}
	wantRun(t, tr, url, 4)
}

// wantRun checks the run of failures.
func wantRun(t *testing.T, tr *breakerhttp.Transport, key string, want int) {
	t.Helper()
	if got := snapshot(t, tr, key).Counts.ConsecutiveFailures; got != want {
		t.Errorf("%d failures in a row, want %d", got, want)
	}
}

// TestTruncatedBodiesOpen: a host that answers 200 and always breaks off must
// open its circuit, at the fifth time exactly.
func TestTruncatedBodiesOpen(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault fault
	}{
		{"Content-Length", at(serving(faultserver.Reply(truncated)))},
		{"chunk", at(serving(faultserver.Reply(truncatedChunk)))},
		{"chunk missing", at(serving(faultserver.Reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")))},
		{"malformed chunk", at(serving(faultserver.Reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\npart\r\n")))},
		{"HTTP/2", at(serving(faultserver.BodyReset), speakHTTP2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, url := tt.fault(t)
			tr := newTransport(t, base)
			client := &http.Client{Transport: tr}
			for i := range 5 {
				if i > 0 {
					wantRun(t, tr, url, i)
				}
				if err := readAll(client, url); err == nil || errors.Is(err, breakerhttp.ErrOpen) {
					t.Fatalf("call %d: got error %v, want that of the body", i+1, err)
				}
			}
			wantRefused(t, readAll(client, url))
			want := breakerhttp.Totals{Success: 5, Failure: 5, Refused: 1}
			if got := snapshot(t, tr, url).Totals; got != want {
				t.Errorf("got totals %+v, want %+v", got, want)
			}
		})
	}
}

// TestBodyResetByPeer: the same, by a reset once the headers have been read.
func TestBodyResetByPeer(t *testing.T) {
	proceed := make(chan struct{})
	addr := faultserver.New(t, faultserver.ReplyAndReset(truncated, proceed))
	option, collect := newTally(t)
	resp := fetch(t, newTransport(t, newBase(t), option), t.Context(), "http://"+addr)
	defer resp.Body.Close()
	close(proceed)
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the body of a connection that was reset has ended well")
	}
	if diff := cmp.Diff(tally{"success": 1, "failure body": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestBodyEnds: what ends a run of failures, and what does not.
func TestBodyEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		path string
		end  func(*http.Response, context.CancelFunc)
		run  int
		want tally // besides the four failures
	}{
		{"read to the end", "/ok", func(r *http.Response, _ context.CancelFunc) { _, _ = io.Copy(io.Discard, r.Body) }, 0, nil},
		{"closed unread", "/stall", func(r *http.Response, _ context.CancelFunc) { _ = r.Body.Close() }, 0, nil},
		{"exactly read and closed", "/ok", func(r *http.Response, _ context.CancelFunc) {
			_, _ = io.ReadFull(r.Body, make([]byte, len("the whole body")))
			_ = r.Body.Close()
		}, 0, nil},
		{"read after Close", "/stall", func(r *http.Response, _ context.CancelFunc) {
			_ = r.Body.Close()
			_, _ = io.Copy(io.Discard, r.Body)
		}, 0, nil},
		{"never ended", "/stall", func(*http.Response, context.CancelFunc) {}, 4, nil},
		{"partly read", "/stall", func(r *http.Response, _ context.CancelFunc) { _, _ = r.Body.Read(make([]byte, 4)) }, 4, nil},
		{"cancelled", "/stall", func(r *http.Response, cancel context.CancelFunc) {
			cancel()
			_, _ = io.Copy(io.Discard, r.Body)
		}, 4, nil},
		{"cancelled, then closed", "/stall", func(r *http.Response, cancel context.CancelFunc) {
			cancel()
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
		}, 4, nil},
		{"stalled until the deadline", "/stall", func(r *http.Response, _ context.CancelFunc) { _, _ = io.Copy(io.Discard, r.Body) }, 5, tally{"failure timeout": 1}},
		{"broken off, read again and again", "/truncate", func(r *http.Response, _ context.CancelFunc) {
			for range 3 {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_ = r.Body.Close()
		}, 5, tally{"failure body": 1}},
		{"there is none", "/empty", func(*http.Response, context.CancelFunc) {}, 0, nil},
		{"204", "/204", func(*http.Response, context.CancelFunc) {}, 0, nil},
		{"304", "/304", func(*http.Response, context.CancelFunc) {}, 0, nil},
	} {
		// With a window, a success is counted in another way.
		for name, ratio := range map[string]float64{"plain": 0, "windowed": 1} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				eachProtocol(t, func(t *testing.T, srv *pipetest.Server) {
					option, collect := newTally(t)
					tr := newTransport(t, srv.Transport, option, breakerhttp.WithPolicy(breakerhttp.Policy{
						ConsecutiveFailures: 6,
						FailureRatio:        ratio,
					}))
					failFourTimes(t, tr, srv.URL)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					resp := fetch(t, tr, ctx, srv.URL+tt.path)
					defer resp.Body.Close()
					tt.end(resp, cancel)
					wantRun(t, tr, srv.URL, tt.run)
					want := tally{"success": 1, "failure 503": 4}
					for what, n := range tt.want {
						want[what] = n
					}
					if diff := cmp.Diff(want, collect()); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// TestOnlyTheBodyIsReplaced: a response is the one that base returned, and of
// its fields only Body is another, where a body can still fail.
func TestOnlyTheBodyIsReplaced(t *testing.T) {
	for _, tt := range []struct {
		name    string
		method  string
		resp    http.Response
		watched bool
	}{
		{"200", http.MethodGet, http.Response{StatusCode: 200}, true},
		{"404", http.MethodPost, http.Response{StatusCode: 404}, true},
		{"CONNECT", http.MethodConnect, http.Response{StatusCode: 200}, true},
		{"HEAD", http.MethodHead, http.Response{StatusCode: 200}, false},
		{"no body", http.MethodGet, http.Response{StatusCode: 200, Body: http.NoBody}, false},
		{"204", http.MethodGet, http.Response{StatusCode: 204}, false},
		{"304", http.MethodGet, http.Response{StatusCode: 304}, false},
		{"empty, as over HTTP/2", http.MethodGet, http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, false},
		{"101", http.MethodGet, http.Response{StatusCode: 101}, false},
		{"failing status", http.MethodGet, http.Response{StatusCode: 503}, false},
		{"ignored by the classifier", http.MethodGet, http.Response{StatusCode: 418}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fromBase := tt.resp
			fromBase.Header, fromBase.Trailer = http.Header{"A": {"b"}}, http.Header{"C": nil}
			fromBase.TransferEncoding, fromBase.Uncompressed = []string{"chunked"}, true
			if fromBase.Body == nil {
				fromBase.Body, fromBase.ContentLength = io.NopCloser(iotest.ErrReader(errOwn)), -1
			}
			before := fromBase
			option, collect := newTally(t)
			tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
				before.Request, fromBase.Request = req, req
				return &fromBase, nil
			}), option, breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
				if a.Response.StatusCode == 418 {
					return breakerhttp.Ignored
				}
				return breakerhttp.DefaultClassifier(a)
			}))
			req := newRequest(t, t.Context(), "http://a.test")
			req.Method = tt.method
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatalf("RoundTrip: %v", err)
			}
			if resp != &fromBase {
				t.Error("got another response than base returned")
			}
			if watched := resp.Body != before.Body; watched != tt.watched {
				t.Errorf("the body was replaced: %t, want %t", watched, tt.watched)
			}
			if _, err := resp.Body.Read(nil); tt.resp.Body == nil && err != errOwn { //nolint:errorlint // as it is
				t.Errorf("got error %v of the body, want %v", err, errOwn)
			}
			if failed := collect()["failure body"] == 1; failed != tt.watched {
				t.Errorf("the body's error was counted: %t, want %t", failed, tt.watched)
			}
			after := *resp
			after.Body = before.Body
			if !reflect.DeepEqual(after, before) {
				t.Errorf("got response %+v, want %+v", after, before)
			}
		})
	}
}

// TestTrailers: announced or not, they arrive once the body has been read.
func TestTrailers(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Announced")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Announced", "a")
		w.Header().Set(http.TrailerPrefix+"Unannounced", "u")
	}
	for _, name := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(name, func(t *testing.T) {
			srv := pipetest.NewServer(t, http.HandlerFunc(handler))
			if name == "HTTP/2" {
				srv.UseHTTP2()
			}
			resp := fetch(t, newTransport(t, srv.Transport), t.Context(), srv.URL)
			defer resp.Body.Close()
			if diff := cmp.Diff(http.Header{"Announced": nil}, resp.Trailer); diff != "" {
				t.Errorf("before the end: trailers (-want +got):\n%s", diff)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatalf("body: %v", err)
			}
			want := http.Header{"Announced": {"a"}, "Unannounced": {"u"}}
			if diff := cmp.Diff(want, resp.Trailer); diff != "" {
				t.Errorf("trailers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCloseDuringRead: a body may be closed while it is read, and that is no
// failure.
func TestCloseDuringRead(t *testing.T) {
	for _, setting := range [][]setting{nil, {speakHTTP2}} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(hangInBody))
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetHTTP1(true)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		defer srv.Close()
		option, collect := newTally(t)
		tr := newTransport(t, newBase(t, setting...), option)
		const n = 20
		var wg sync.WaitGroup
		for range n {
			resp := fetch(t, tr, t.Context(), srv.URL)
			for range 2 {
				wg.Go(func() { _ = resp.Body.Close() })
			}
			wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		}
		wg.Wait()
		if diff := cmp.Diff(tally{"success": n}, collect()); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	}
}

// A pairedBody ends a Read by Close, which returns only after it.
type pairedBody struct{ closed, read chan struct{} }

func (b *pairedBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, errOwn
}

func (b *pairedBody) Close() error {
	close(b.closed)
	<-b.read
	return nil
}

// TestReadEndedByClose: a Read that fails by the Close of another goroutine has
// failed after it, though it returns before.
func TestReadEndedByClose(t *testing.T) {
	body := &pairedBody{make(chan struct{}), make(chan struct{})}
	option, collect := newTally(t)
	resp := fetch(t, newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: body, ContentLength: -1}, nil
	}), option), t.Context(), "http://a.test")
	go func() {
		defer close(body.read)
		_, _ = resp.Body.Read(make([]byte, 1))
	}()
	_ = resp.Body.Close()
	if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestLateFailureOfProbe: what a probe's body takes back is in the closed
// circuit that it led to, or, before that, the probe.
func TestLateFailureOfProbe(t *testing.T) {
	for _, tt := range []struct {
		name      string
		successes int
		before    breakerhttp.State
		after     breakerhttp.State
		run       int
	}{
		{"that closed the circuit", 1, breakerhttp.StateClosed, breakerhttp.StateClosed, 1},
		{"that is not enough", 2, breakerhttp.StateHalfOpen, breakerhttp.StateOpen, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, http.HandlerFunc(byPath))
				tr := newTransport(t, srv.Transport, breakerhttp.WithPolicy(breakerhttp.Policy{ProbeSuccesses: tt.successes}))
				failFourTimes(t, tr, srv.URL)
				_ = fetch(t, tr, t.Context(), srv.URL+"/503").Body.Close()
				wantState(t, tr, srv.URL, breakerhttp.StateOpen)
				time.Sleep(time.Minute)
				resp := fetch(t, tr, t.Context(), srv.URL+"/truncate")
				defer resp.Body.Close()
				wantState(t, tr, srv.URL, tt.before)
				if _, err := io.Copy(io.Discard, resp.Body); err == nil {
					t.Error("a truncated body has ended well")
				}
				wantState(t, tr, srv.URL, tt.after)
				wantRun(t, tr, srv.URL, tt.run)
			})
		})
	}
}

// TestBodyOfLateProbe: a probe that has been given up has failed, whatever it
// answers then, and however that ends.
func TestBodyOfLateProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := pipetest.NewServer(t, http.HandlerFunc(byPath))
		option, collect := newTally(t)
		tr := newTransport(t, srv.Transport, option)
		failFourTimes(t, tr, srv.URL)
		_ = fetch(t, tr, t.Context(), srv.URL+"/503").Body.Close()
		time.Sleep(time.Minute)
		resp := fetch(t, tr, t.Context(), srv.URL+"/late")
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("a truncated body has ended well")
		}
		wantState(t, tr, srv.URL, breakerhttp.StateOpen)
		if diff := cmp.Diff(tally{"failure 503": 5, "failure timeout": 1}, collect()); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// TestLateFailureInWindow: a late failure turns a counted success into a
// failure, until that has left the window; and changes nothing in a later state.
func TestLateFailureInWindow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		reset bool
		want  breakerhttp.Counts
	}{
		{"at once", 0, false, breakerhttp.Counts{Requests: 2, Failures: 1, ConsecutiveFailures: 1}},
		{"after the window", 20 * time.Second, false, breakerhttp.Counts{ConsecutiveFailures: 1}},
		{"after a reset", 0, true, breakerhttp.Counts{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, http.HandlerFunc(byPath))
				tr := newTransport(t, srv.Transport, breakerhttp.WithPolicy(breakerhttp.Policy{FailureRatio: 1}))
				if _, err := get(tr, srv.URL+"/ok"); err != nil {
					t.Fatal(err)
				}
				resp := fetch(t, tr, t.Context(), srv.URL+"/truncate")
				defer resp.Body.Close()
				time.Sleep(tt.after)
				if tt.reset {
					tr.Reset(srv.URL)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				s := snapshot(t, tr, srv.URL)
				if s.Counts != tt.want {
					t.Errorf("got counts %+v, want %+v", s.Counts, tt.want)
				}
				if want := (breakerhttp.Totals{Success: 2, Failure: 1}); s.Totals != want {
					t.Errorf("got totals %+v, want %+v", s.Totals, want)
				}
			})
		})
	}
}

// inBody answers as the path says; a caller then waits for the body until a deadline.
func inBody(w http.ResponseWriter, req *http.Request) {
	flush := http.NewResponseController(w).Flush
	switch req.URL.Path {
	case "/known", "/silent known":
		w.Header().Set("Content-Length", "100")
	case "/events", "/silent events":
		w.Header().Set("Content-Type", "Text/Event-Stream; charset=utf-8")
	case "/large":
		w.Header().Set("Content-Length", strconv.Itoa(2*len(large)))
		_, _ = w.Write(large)
	}
	_ = flush()
	for !strings.HasPrefix(req.URL.Path, "/silent") {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = flush()
		if req.URL.Path != "/events" {
			break
		}
		select {
		case <-time.After(time.Second):
		case <-req.Context().Done():
			return
		}
	}
	<-req.Context().Done()
}

var large = make([]byte, 1<<20)

// TestDeadlineInBody: a deadline that ends a body is the host's fault only if the
// host owed bytes while the caller waited for them.
func TestDeadlineInBody(t *testing.T) {
	const patience = 30 * time.Second
	atOnce := func(body io.Reader) { _, _ = io.Copy(io.Discard, body) }
	slowly := func(body io.Reader) {
		_, _ = io.ReadFull(body, make([]byte, 10))
		time.Sleep(patience)
		_, _ = io.Copy(io.Discard, body)
	}
	for _, tt := range []struct {
		name  string
		path  string
		read  func(io.Reader)
		fault bool // of the host
	}{
		{"known length, stalled", "/known", atOnce, true},
		{"known length, nothing came", "/silent known", atOnce, true},
		{"unknown length, nothing came", "/silent", atOnce, true},
		{"unknown length, stalled", "/chunks", atOnce, false},
		{"event stream", "/events", atOnce, false},
		{"event stream, nothing came", "/silent events", atOnce, false},
		{"known length, the caller was busy", "/large", slowly, false},
		{"unknown length, the caller was busy", "/chunks", slowly, false},
	} {
		for _, opt := range []struct {
			name string
			opts []breakerhttp.Option
		}{
			{"default", nil},
			{"classifier", []breakerhttp.Option{breakerhttp.WithClassifier(breakerhttp.FailureStatus(418))}},
		} {
			for _, by := range []string{"context", "Client.Timeout"} {
				t.Run(tt.name+"/"+opt.name+"/"+by, func(t *testing.T) {
					eachProtocolOf(t, inBody, func(t *testing.T, srv *pipetest.Server) {
						option, collect := newTally(t)
						tr := newTransport(t, srv.Transport, append(opt.opts, option)...)
						client := &http.Client{Transport: tr}
						if by == "Client.Timeout" {
							client.Timeout = patience
						}
						for range 20 {
							ctx, cancel := context.WithTimeout(t.Context(), patience)
							if by == "Client.Timeout" {
								ctx = t.Context()
							}
							resp, err := client.Do(newRequest(t, ctx, srv.URL+tt.path))
							if err == nil {
								tt.read(resp.Body)
								_ = resp.Body.Close()
							}
							cancel()
						}
						want := tally{"success": 20}
						if tt.fault {
							want = tally{"success": 5, "failure timeout": 5, "refused": 15}
						}
						if diff := cmp.Diff(want, collect()); diff != "" {
							t.Errorf("counted (-want +got):\n%s", diff)
						}
					})
				})
			}
		}
	}
}

// TestDeadlineThatEndsNothing: the deadline of a context that never ends is no excuse for a host whose
// body breaks off after it.
func TestDeadlineThatEndsNothing(t *testing.T) {
	option, collect := newTally(t)
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		body := io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
		return &http.Response{StatusCode: 200, ContentLength: 10, Body: body, Request: req}, nil
	}), option)
	ctx := lateContext{context.WithoutCancel(t.Context()), time.Now()}
	_, _ = do(tr, newRequest(t, ctx, host))
	if diff := cmp.Diff(tally{"success": 1, "failure timeout": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestCancelledInBody: a call that was cancelled before its deadline is no timeout, though the Read
// of its body returns only after the deadline.
func TestCancelledInBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
		defer stop()
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		base := roundTripFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, ContentLength: 10, Body: io.NopCloser(slowReader{ctx})}, nil
		})
		got := judged(t, base, newRequest(t, ctx, host))
		if diff := cmp.Diff(tally{"success": 1}, got); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// A slowReader returns the context's error after a minute.
type slowReader struct{ ctx context.Context }

func (r slowReader) Read([]byte) (int, error) {
	time.Sleep(time.Minute)
	return 0, r.ctx.Err()
}

// TestReadTimeoutInBody: the same holds for a deadline of the base's own.
func TestReadTimeoutInBody(t *testing.T) {
	for _, tt := range []struct {
		name, reply string
		want        tally
	}{
		{"known length", truncated, tally{"success": 1, "failure timeout": 1}},
		{"unknown length", truncatedChunk, tally{"success": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, url := at(serving(faultserver.ReplyAndStall(tt.reply)), impatient)(t)
			if diff := cmp.Diff(tt.want, judged(t, base, newRequest(t, t.Context(), url))); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

// impatient makes the connections of a base time out on their own.
func impatient(_ testing.TB, base *http.Transport) {
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		}
		return conn, err
	}
}

// TestClassifierAtTheEnd: what a classifier of the user's says when a body has
// ended counts in place of the default.
func TestClassifierAtTheEnd(t *testing.T) {
	read := func(r *http.Response, _ context.CancelFunc) {
		for range 2 { // the second time must not matter
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}
	cancelled := func(r *http.Response, cancel context.CancelFunc) {
		cancel()
		_, _ = io.Copy(io.Discard, r.Body)
	}
	closed := func(r *http.Response, _ context.CancelFunc) { _ = r.Body.Close() }
	const notAsked = breakerhttp.Outcome(100)
	for _, tt := range []struct {
		name string
		path string
		end  func(*http.Response, context.CancelFunc)
		says breakerhttp.Outcome
		run  int
		want string // besides the four failures and the success; "" for nothing
	}{
		{"whole, success", "/ok", read, breakerhttp.Success, 0, ""},
		{"whole, failure", "/ok", read, breakerhttp.Failure, 5, "failure _OTHER"},
		{"whole, ignored", "/ok", read, breakerhttp.Ignored, 4, ""},
		{"whole, unknown outcome", "/ok", read, 77, 4, ""},
		{"broken off, success", "/truncate", read, breakerhttp.Success, 0, ""},
		{"broken off, failure", "/truncate", read, breakerhttp.Failure, 5, "failure body"},
		{"broken off, ignored", "/truncate", read, breakerhttp.Ignored, 4, ""},
		{"deadline, success", "/stall", read, breakerhttp.Success, 0, ""},
		{"deadline, failure", "/stall", read, breakerhttp.Failure, 5, "failure timeout"},
		{"cancelled, success", "/stall", cancelled, breakerhttp.Success, 0, ""},
		{"cancelled, failure", "/stall", cancelled, breakerhttp.Failure, 5, "failure _OTHER"},
		{"cancelled, ignored", "/stall", cancelled, breakerhttp.Ignored, 4, ""},
		{"closed early", "/stall", closed, notAsked, 0, ""},
		{"never ended", "/stall", func(*http.Response, context.CancelFunc) {}, notAsked, 4, ""},
		{"no body", "/empty", read, notAsked, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, srv *pipetest.Server) {
				option, collect := newTally(t)
				asked := 0
				tr := newTransport(t, srv.Transport, option,
					breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 6}),
					breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
						if !a.Ended {
							return breakerhttp.DefaultClassifier(a)
						}
						asked++
						return tt.says
					}))
				failFourTimes(t, tr, srv.URL)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				resp := fetch(t, tr, ctx, srv.URL+tt.path)
				defer resp.Body.Close()
				tt.end(resp, cancel)
				if want := map[bool]int{true: 1}[tt.says != notAsked]; asked != want {
					t.Errorf("asked %d times at the end, want %d", asked, want)
				}
				wantRun(t, tr, srv.URL, tt.run)
				want := tally{"success": 1, "failure 503": 4}
				if tt.want != "" {
					want[tt.want] = 1
				}
				if diff := cmp.Diff(want, collect()); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAttemptAtTheEnd: what a classifier is told when a body has ended.
func TestAttemptAtTheEnd(t *testing.T) {
	slow := func(w http.ResponseWriter, req *http.Request) {
		time.Sleep(3 * time.Second)
		w.Header().Set("Trailer", "Checksum")
		byPath(w, req)
		w.Header().Set("Checksum", "abc")
	}
	for path, whole := range map[string]bool{"/ok": true, "/truncate": false} {
		eachProtocolOf(t, slow, func(t *testing.T, srv *pipetest.Server) {
			var told []breakerhttp.Attempt
			tr := newTransport(t, srv.Transport, breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
				if got := a.Response.Trailer.Get("Checksum"); a.Ended && whole && got != "abc" {
					t.Errorf("got trailer %q, want it complete", got)
				}
				told = append(told, a)
				return breakerhttp.Success
			}))
			req := post(t, srv.URL+path, strings.NewReader("x"), 1)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			time.Sleep(time.Second)
			_, err = io.Copy(io.Discard, resp.Body)
			if (err == nil) != whole || len(told) != 2 {
				t.Fatalf("%s: got error %v, asked %d times; want twice", path, err, len(told))
			}
			for i, a := range told {
				if a.Request != req || a.Response != resp || a.Duration != 3*time.Second || a.Ended != (i == 1) {
					t.Errorf("%s: told %+v, want the caller's request and response, 3s, ended: %t", path, a, i == 1)
				}
			}
			if told[0].Err != nil || told[1].Err != err { //nolint:errorlint // the very same is wanted
				t.Errorf("%s: told %v, then %v; want none, then %v", path, told[0].Err, told[1].Err, err)
			}
		})
	}
}

// TestEndedByHand: DefaultClassifier answers for attempts that tests make up.
func TestEndedByHand(t *testing.T) {
	req, resp := newRequest(t, t.Context(), host), &http.Response{StatusCode: 200}
	for _, tt := range []struct {
		name    string
		attempt breakerhttp.Attempt
		want    breakerhttp.Outcome
	}{
		{"whole", breakerhttp.Attempt{Request: req, Response: resp}, breakerhttp.Success},
		{"broken off", breakerhttp.Attempt{Request: req, Response: resp, Err: io.ErrUnexpectedEOF}, breakerhttp.Failure},
		{"no response", breakerhttp.Attempt{}, breakerhttp.Success},
		{"an error alone", breakerhttp.Attempt{Err: io.ErrUnexpectedEOF}, breakerhttp.Failure},
		{"out of memory", breakerhttp.Attempt{Request: req, Response: resp, Err: syscall.ENOMEM}, breakerhttp.Ignored},
	} {
		tt.attempt.Ended = true
		if got := breakerhttp.DefaultClassifier(tt.attempt); got != tt.want {
			t.Errorf("%s: got outcome %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestClassifierPanicsAtTheEnd: the panic goes to the caller who reads, and the
// body has ended all the same.
func TestClassifierPanicsAtTheEnd(t *testing.T) {
	srv := pipetest.NewServer(t, http.HandlerFunc(byPath))
	option, collect := newTally(t)
	tr := newTransport(t, srv.Transport, option, breakerhttp.WithClassifier(func(a breakerhttp.Attempt) breakerhttp.Outcome {
		if a.Ended {
			panic("classifier")
		}
		return breakerhttp.Success
	}))
	resp := fetch(t, tr, t.Context(), srv.URL+"/truncate")
	defer resp.Body.Close()
	func() {
		defer func() {
			if got := recover(); got != "classifier" {
				t.Errorf("recovered %v, want the classifier's panic", got)
			}
		}()
		_, _ = io.Copy(io.Discard, resp.Body)
	}()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("the next Read does not fail as the body does")
	}
	if diff := cmp.Diff(tally{"success": 1}, collect()); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// TestWatchedBodyCosts: one small allocation, and none where there is no body.
func TestWatchedBodyCosts(t *testing.T) {
	if size := breakerhttp.ResponseBodySize; strconv.IntSize == 64 && size > 80 {
		t.Errorf("a watched body takes %d bytes, want 80 or less", size)
	}
	if raceEnabled {
		t.Skip("allocations are not what they are without the race detector")
	}
	body := io.NopCloser(strings.NewReader(""))
	resp := &http.Response{StatusCode: 200}
	tr := newTransport(t, roundTripFunc(func(*http.Request) (*http.Response, error) {
		resp.Body = body
		return resp, nil
	}))
	for length, want := range map[int64]float64{0: 0, -1: 1, 10: 1} {
		resp.ContentLength = length
		req := newRequest(t, t.Context(), host)
		got := testing.AllocsPerRun(1000, func() {
			resp, _ := tr.RoundTrip(req)
			_, _ = resp.Body.Read(nil)
			_ = resp.Body.Close()
		})
		if got != want {
			t.Errorf("length %d: %v allocations, want %v", length, got, want)
		}
	}
}

// TestClientTimeoutInBody: a host that stalls in the middle is as guilty.
func TestClientTimeoutInBody(t *testing.T) {
	const n = 1000
	for _, name := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, http.HandlerFunc(hangInBody))
				if name == "HTTP/2" {
					srv.UseHTTP2()
				}
				option, collect := newTally(t)
				tr := newTransport(t, srv.Transport, option)
				tr.ForceClosed(srv.URL)
				timeOut(t, &http.Client{Transport: tr, Timeout: time.Second}, srv.URL, n)
				if diff := cmp.Diff(tally{"success": n, "failure timeout": n}, collect()); diff != "" {
					t.Errorf("counted (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// hangInBody begins a body and does not end it.
func hangInBody(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Length", "10")
	_, _ = io.WriteString(w, "part")
	_ = http.NewResponseController(w).Flush()
	<-req.Context().Done()
}

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
