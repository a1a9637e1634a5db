package retryable_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// An upstream answers with a status that tests change, echoes the request's
// body, and counts requests and connections.
type upstream struct {
	url    string
	status atomic.Int64
	hits   atomic.Int64
	conns  atomic.Int64

	mu     sync.Mutex
	bodies []string
}

func newUpstream(t *testing.T, status int) *upstream {
	t.Helper()
	u := &upstream{}
	u.status.Store(int64(status))
	srv := httptest.NewUnstartedServer(u)
	srv.Config.ConnState = u.connState
	srv.Start()
	t.Cleanup(srv.Close)
	u.url = srv.URL
	return u
}

func (u *upstream) connState(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		u.conns.Add(1)
	}
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	u.hits.Add(1)
	body, _ := io.ReadAll(req.Body)
	u.mu.Lock()
	u.bodies = append(u.bodies, string(body))
	u.mu.Unlock()
	w.WriteHeader(int(u.status.Load()))
	_, _ = io.WriteString(w, "answer to "+string(body))
}

// newClient is retryablehttp.NewClient without its log, with a transport of its
// own, and a Backoff that takes no time and counts.
func newClient(t *testing.T) (*retryablehttp.Client, *atomic.Int64) {
	t.Helper()
	tr := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(tr.CloseIdleConnections)
	rc := retryablehttp.NewClient()
	rc.Logger = nil
	rc.HTTPClient = &http.Client{Transport: tr}
	backoffs := new(atomic.Int64)
	rc.Backoff = func(time.Duration, time.Duration, int, *http.Response) time.Duration {
		backoffs.Add(1)
		return 0
	}
	return rc, backoffs
}

// guard is Guard for a client and options that are right.
func guard(t *testing.T, rc *retryablehttp.Client, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr, err := retryable.Guard(rc, opts...)
	if err != nil {
		t.Fatalf("Guard: %v", err)
	}
	return tr
}

// failures is a policy that opens at the nth failure in a row.
func failures(n int) breakerhttp.Option {
	return breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: n})
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("response body: %v", err)
	}
	return string(body)
}

func wantRefused(t *testing.T, resp *http.Response, err error) {
	t.Helper()
	var open *breakerhttp.OpenError
	if !errors.Is(err, breakerhttp.ErrOpen) || !errors.As(err, &open) {
		t.Errorf("got error %v, want a refusal", err)
	}
	if resp != nil {
		t.Errorf("got a response (%s) with a refusal", resp.Status)
		resp.Body.Close()
	}
}

func wantTotals(t *testing.T, tr *breakerhttp.Transport, key string, want breakerhttp.Totals) {
	t.Helper()
	s, ok := tr.Snapshot(key)
	if !ok {
		t.Fatalf("Snapshot(%q): there is no such circuit", key)
	}
	if s.Totals != want {
		t.Errorf("got totals %+v, want %+v", s.Totals, want)
	}
}
