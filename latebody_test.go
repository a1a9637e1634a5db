package breakerhttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

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
		{"no body", http.MethodGet, http.Response{StatusCode: 204, Body: http.NoBody}, false},
		{"101", http.MethodGet, http.Response{StatusCode: 101}, false},
		{"failing status", http.MethodGet, http.Response{StatusCode: 503}, false},
		{"ignored by the classifier", http.MethodGet, http.Response{StatusCode: 418}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fromBase := tt.resp
			fromBase.Header, fromBase.Trailer = http.Header{"A": {"b"}}, http.Header{"C": nil}
			fromBase.ContentLength, fromBase.TransferEncoding, fromBase.Uncompressed = -1, []string{"chunked"}, true
			if fromBase.Body == nil {
				fromBase.Body = io.NopCloser(iotest.ErrReader(errOwn))
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
		return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
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
