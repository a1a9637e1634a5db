package breakerhttp_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

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

// hangInBody begins a body and does not end it.
func hangInBody(w http.ResponseWriter, req *http.Request) {
	_, _ = io.WriteString(w, "part")
	_ = http.NewResponseController(w).Flush()
	<-req.Context().Done()
}

// blackHole dials what never answers.
func blackHole(_ testing.TB, base *http.Transport) {
	base.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}
