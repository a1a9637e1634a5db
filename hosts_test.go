package breakerhttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func circuits(tr *breakerhttp.Transport) (n int) {
	for range tr.Snapshots() {
		n++
	}
	return n
}

// statusByHost answers 500 to hosts that begin with "bad", else 200.
func statusByHost(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Host, "bad") {
		return respond(500)(req)
	}
	return respond(200)(req)
}

// TestMaxCircuits: idle circuits go for new ones; those that know something
// stay.
func TestMaxCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, roundTripFunc(statusByHost), breakerhttp.WithMaxCircuits(3))
		send := func(host string) error {
			_, err := get(tr, "http://"+host)
			return err
		}
		for range 5 {
			_ = send("bad.test") // opens
		}
		_ = send("bad-once.test") // a recent failure
		for i := range 1000 {
			if err := send(fmt.Sprintf("ok%d.test", i)); err != nil {
				t.Fatal(err)
			}
			if n := circuits(tr); n > 3 {
				t.Fatalf("got %d circuits, want at most 3", n)
			}
		}
		wantRefused(t, send("bad.test"))
		if s := snapshot(t, tr, "http://bad-once.test"); s.Totals.Failure != 1 {
			t.Errorf("the circuit with a recent failure: got totals %+v, want 1 failure", s.Totals)
		}
		if _, ok := tr.Snapshot("http://ok999.test"); !ok {
			t.Error("the newest host has no circuit")
		}

		time.Sleep(10 * time.Second) // the failure leaves its window
		for i := range 4 {
			_ = send(fmt.Sprintf("later%d.test", i))
		}
		if _, ok := tr.Snapshot("http://bad-once.test"); ok {
			t.Error("the circuit with an old failure is still there")
		}
		wantRefused(t, send("bad.test"))
	})
}

// TestNoRoom: where no circuit can go, newcomers are sent unguarded; forced
// circuits come on top.
func TestNoRoom(t *testing.T) {
	tr := newTransport(t, roundTripFunc(statusByHost), breakerhttp.WithMaxCircuits(2))
	for i := range 2 {
		for range 5 {
			_, _ = get(tr, fmt.Sprintf("http://bad%d.test", i))
		}
	}
	for range 10 {
		if status, err := get(tr, "http://bad2.test"); status != 500 || err != nil {
			t.Fatalf("got %d, %v; want 500 from the upstream", status, err)
		}
	}
	if _, ok := tr.Snapshot("http://bad2.test"); ok || circuits(tr) != 2 {
		t.Errorf("got %d circuits, want 2", circuits(tr))
	}
	tr.ForceOpen("http://forced.test")
	_, err := get(tr, "http://forced.test")
	wantRefused(t, err)
	if n := circuits(tr); n != 3 {
		t.Errorf("got %d circuits, want 2 and a forced one", n)
	}
	tr.Reset("http://forced.test") // it counts now, and is idle
	tr.Reset("http://bad0.test")
	for i := range 5 {
		_, _ = get(tr, fmt.Sprintf("http://ok%d.test", i))
	}
	if n := circuits(tr); n != 2 {
		t.Errorf("got %d circuits after the reset, want 2", n)
	}
}

// TestInFlightStays: a circuit whose request is in flight is not thrown out.
func TestInFlightStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "slow.test" {
				time.Sleep(time.Minute)
			}
			return respond(200)(req)
		}), breakerhttp.WithMaxCircuits(2))
		done := make(chan error)
		go func() {
			_, err := get(tr, "http://slow.test")
			done <- err
		}()
		synctest.Wait()
		for i := range 10 {
			_, _ = get(tr, fmt.Sprintf("http://ok%d.test", i))
		}
		if s := snapshot(t, tr, "http://slow.test"); s.InFlight != 1 {
			t.Errorf("got %d in flight, want 1", s.InFlight)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := snapshot(t, tr, "http://slow.test"); s.InFlight != 0 || s.Totals.Success != 1 {
			t.Errorf("got %+v, want one success", s)
		}
	})
}

// TestEvictionRace sends to more hosts than there is room for, from many
// goroutines: no request is lost, and none counted twice.
func TestEvictionRace(t *testing.T) {
	var sent atomic.Int64
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		sent.Add(1)
		return respond(200)(req)
	}), breakerhttp.WithMaxCircuits(4))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if _, err := get(tr, fmt.Sprintf("http://h%d.test", (g+i)%16)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := sent.Load(); got != 8*500 {
		t.Errorf("got %d requests sent, want %d", got, 8*500)
	}
	for s := range tr.Snapshots() {
		if s.InFlight != 0 {
			t.Errorf("%s: got %d in flight, want 0", s.Key, s.InFlight)
		}
	}
}

// TestNothingIsAllocated: a request without a body that succeeds on a closed
// circuit costs no allocation, whatever rules are on.
func TestNothingIsAllocated(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool allocate")
	}
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripFunc(func(*http.Request) (*http.Response, error) { return resp, nil })
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for name, p := range map[string]breakerhttp.Policy{
		"default": {},
		"ratio":   {FailureRatio: 0.5},
		"slow":    {SlowRatio: 0.5, SlowAfter: time.Second},
	} {
		tr := newTransport(t, base, breakerhttp.WithPolicy(p))
		for _, ctx := range []context.Context{context.Background(), ctx} {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.a.test/x", nil)
			if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != 0 {
				t.Errorf("%s: got %v allocations, want 0", name, n)
			}
		}
	}
	tr := newTransport(t, base)
	tr.ForceOpen("https://api.a.test")
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.a.test/x", nil)
	if n := testing.AllocsPerRun(1000, func() { _, _ = tr.RoundTrip(req) }); n != 1 {
		t.Errorf("refusing: got %v allocations, want 1", n)
	}
}

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

func TestLogTransitions(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	tr := newTransport(t, respond(500), breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(logger)))
	for range 5 {
		_, _ = get(tr, host)
	}
	tr.Reset(host)
	want := `level=WARN msg="circuit open" key=http://a.test from=closed to=open reason=consecutive_failures ` +
		`detail="5 failures in a row, last: 500 Internal Server Error" open_for=1m0s
level=INFO msg="circuit closed" key=http://a.test from=open to=closed reason=reset detail=reset
`
	if got := log.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestFallback(t *testing.T) {
	for name, tt := range map[string]struct {
		fallback breakerhttp.Fallback
		status   int
		err      string
	}{
		"503":     {breakerhttp.ServiceUnavailable, 503, ""},
		"error":   {func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) { return nil, errors.New("mine") }, 0, "mine"},
		"neither": {func(*http.Request, *breakerhttp.OpenError) (*http.Response, error) { return nil, nil }, 0, "breakerhttp: Fallback must return"},
		"both": {func(req *http.Request, _ *breakerhttp.OpenError) (*http.Response, error) {
			resp, _ := respond(200)(req)
			return resp, errors.New("and this")
		}, 0, "breakerhttp: Fallback must return"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, respond(500), breakerhttp.WithFallback(tt.fallback))
			for range 5 {
				_, _ = get(tr, host)
			}
			req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, host, nil)
			resp, err := tr.RoundTrip(req)
			if tt.err != "" {
				if resp != nil || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, %v; want no response and error %q", resp, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tt.status || resp.Header.Get("Retry-After") != "60" {
				t.Errorf("got %d, Retry-After %q; want %d, 60", resp.StatusCode, resp.Header.Get("Retry-After"), tt.status)
			}
		})
	}
}
