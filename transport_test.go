package breakerhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/internal/pipetest"
)

// TestTransportIsCollected: it owns nothing that keeps it alive.
func TestTransportIsCollected(t *testing.T) {
	collected := make(chan bool)
	func() {
		tr := newTransport(t, respond(500))
		for range 6 {
			_, _ = get(tr, host)
		}
		runtime.AddCleanup(tr, func(c chan bool) { close(c) }, collected)
	}()
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("the Transport is still alive")
}

// TestDefaults drives the default policy through all states with a real client
// and server: exactly the fifth failure opens, for a minute, and one probe
// closes.
func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := newUpstream(http.StatusServiceUnavailable)
		srv := pipetest.NewServer(t, up)
		tr := newTransport(t, srv.Transport)
		client := &http.Client{Transport: tr}
		call := func() (int, error) {
			resp, err := client.Get(srv.URL)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			return resp.StatusCode, nil
		}
		for i := range 5 {
			wantStateBefore := breakerhttp.StateClosed
			if i > 0 {
				wantState(t, tr, srv.URL, wantStateBefore)
			}
			if status, err := call(); status != 503 || err != nil {
				t.Fatalf("call %d: got %d, %v; want 503", i+1, status, err)
			}
		}
		wantState(t, tr, srv.URL, breakerhttp.StateOpen)
		opened := time.Now()

		time.Sleep(20 * time.Second)
		_, err := call()
		refusal := wantRefused(t, err)
		want := breakerhttp.OpenError{
			Key:        srv.URL,
			State:      breakerhttp.StateOpen,
			RetryAfter: 40 * time.Second,
			Reason:     "5 failures in a row, last: 503 Service Unavailable",
		}
		if *refusal != want {
			t.Errorf("got refusal %+v, want %+v", *refusal, want)
		}
		if got := up.hits.Load(); got != 5 {
			t.Errorf("upstream got %d requests, want 5", got)
		}

		time.Sleep(time.Until(opened.Add(time.Minute)) - time.Nanosecond)
		if _, err := call(); err == nil {
			t.Error("a nanosecond before its time, the circuit admitted a request")
		}
		time.Sleep(time.Nanosecond)
		wantState(t, tr, srv.URL, breakerhttp.StateHalfOpen)
		up.status.Store(http.StatusOK)
		if status, err := call(); status != 200 || err != nil {
			t.Errorf("probe: got %d, %v; want 200", status, err)
		}
		wantState(t, tr, srv.URL, breakerhttp.StateClosed)

		var steps []string
		for _, tr := range tr.Transitions() {
			steps = append(steps, tr.From.String()+">"+tr.To.String()+":"+string(tr.Reason))
		}
		got := strings.Join(steps, " ")
		if want := "closed>open:consecutive_failures open>half_open:open_elapsed half_open>closed:probe_succeeded"; got != want {
			t.Errorf("transitions:\n got %s\nwant %s", got, want)
		}
	})
}

// TestHostsAreApart: one dead host does not touch another.
func TestHostsAreApart(t *testing.T) {
	dead := httptest.NewServer(newUpstream(http.StatusInternalServerError))
	defer dead.Close()
	well := httptest.NewServer(newUpstream(http.StatusOK))
	defer well.Close()
	tr := newTransport(t, nil)
	defer tr.CloseIdleConnections()
	for range 10 {
		_, _ = get(tr, dead.URL)
		if status, err := get(tr, well.URL); status != 200 || err != nil {
			t.Fatalf("healthy host: got %d, %v; want 200", status, err)
		}
	}
	wantState(t, tr, dead.URL, breakerhttp.StateOpen)
	wantState(t, tr, well.URL, breakerhttp.StateClosed)
	want := breakerhttp.Totals{Failure: 5, Refused: 5}
	if got := snapshot(t, tr, dead.URL).Totals; got != want {
		t.Errorf("dead host: got totals %+v, want %+v", got, want)
	}
}

func TestName(t *testing.T) {
	for _, tt := range []struct {
		want string
		opts []breakerhttp.Option
	}{
		{"default", nil},
		{"shop", []breakerhttp.Option{breakerhttp.WithName("shop")}},
	} {
		if got := newTransport(t, respond(200), tt.opts...).Name(); got != tt.want {
			t.Errorf("got name %q, want %q", got, tt.want)
		}
	}
}

// TestWrappedRoundTripper: client-go looks for the base by this method.
func TestWrappedRoundTripper(t *testing.T) {
	base := newBase(t)
	if got := newTransport(t, base).WrappedRoundTripper(); got != http.RoundTripper(base) {
		t.Errorf("got %v, want the base, %v", got, base)
	}
	if got := newTransport(t, nil).WrappedRoundTripper(); got != http.DefaultTransport {
		t.Errorf("got %v, want http.DefaultTransport", got)
	}
}

// TestUnmadeTransport: a Transport that was not made by New says so.
func TestUnmadeTransport(t *testing.T) {
	body := &closeRecorder{Reader: strings.NewReader("x")}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, host, body)
	var tr breakerhttp.Transport
	if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "must be made by New") {
		t.Errorf("got error %v", err)
	}
	if !body.closed.Load() {
		t.Error("the request body is not closed")
	}
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "must be made by New") {
			t.Errorf("Snapshot panics with %v", v)
		}
	}()
	tr.Snapshot(host)
}
