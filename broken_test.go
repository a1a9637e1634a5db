package breakerhttp_test

import (
	"errors"
	"go/build"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/faultserver"
)

// TestBrokenConnections: requests that fail together are one failure in the run if
// their connections broke; otherwise they are one each.
func TestBrokenConnections(t *testing.T) {
	const n = 4
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
		{"closed before TLS", secure(at(serving(faultserver.Hangup))), true},
		{"closed while idle", failingWith(errors.New("http: server closed idle connection")), true},
		{"HTTP/2 GOAWAY", at(serving(faultserver.GoAway), speakHTTP2), true},
		{"HTTP/2 stream reset", at(serving(faultserver.StreamReset), speakHTTP2), true},
		{"HTTP/2 stream reset within the body", at(serving(faultserver.BodyReset), speakHTTP2), true},
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
	others := []string{
		"http2: client conn could not be established",
		"http2: client connection force closed via ClientConn.Close",
	}
	about := regexp.MustCompile(`(?:errors\.New|fmt\.Errorf)\("([^"]*(?:GOAWAY|client conn|connection lo|closed idle)[^"]*)"`)
	for _, found := range about.FindAllStringSubmatch(sources.String(), -1) {
		known := slices.ContainsFunc(breakerhttp.BrokenTexts, func(text string) bool { return strings.Contains(found[1], text) })
		if !known && !slices.Contains(others, found[1]) {
			t.Errorf("net/http says %q: is that a broken connection?", found[1])
		}
	}
}
