package breakerhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
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
	case "/204":
		w.WriteHeader(http.StatusNoContent)
	case "/503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/stall":
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

// eachProtocol runs f in a bubble, with a server that answers byPath.
func eachProtocol(t *testing.T, f func(t *testing.T, srv *pipetest.Server)) {
	t.Helper()
	for _, name := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := pipetest.NewServer(t, http.HandlerFunc(byPath))
				if name == "HTTP/2" {
					srv.UseHTTP2()
				}
				f(t, srv)
			})
		})
	}
}

// fetch returns a response with its body unread.
func fetch(t *testing.T, rt http.RoundTripper, ctx context.Context, url string) *http.Response {
	t.Helper()
	resp, err := rt.RoundTrip(newRequest(t, ctx, url))
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return resp
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
		{"there is none", "/204", func(r *http.Response, _ context.CancelFunc) {
			if r.Body != http.NoBody { // net/http has another one for HTTP/2
				_ = r.Body.Close()
			}
		}, 0, nil},
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
