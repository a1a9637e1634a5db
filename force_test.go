package breakerhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

const host = "http://a.test"

func TestForceAndReset(t *testing.T) {
	var status atomic.Int64
	status.Store(200)
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) { return respond(int(status.Load()))(req) })
	tr := newTransport(t, base)
	tr.ForceOpen("http://A.test:80") // as HostKey normalises it; there is no circuit yet
	s := snapshot(t, tr, host)
	if s.State != breakerhttp.StateOpen || !s.Forced || !s.Until.IsZero() {
		t.Errorf("forced open: got %+v", s)
	}
	_, err := get(tr, host)
	if refusal := wantRefused(t, err); refusal.RetryAfter != 0 || refusal.State != breakerhttp.StateOpen {
		t.Errorf("forced open: got refusal %+v, want open without RetryAfter", refusal)
	}

	tr.ForceClosed(host)
	status.Store(500)
	for range 20 {
		if _, err := get(tr, host); err != nil {
			t.Fatalf("forced closed: %v", err)
		}
	}
	s = snapshot(t, tr, host)
	if s.State != breakerhttp.StateClosed || !s.Forced || s.Counts.ConsecutiveFailures != 20 || s.Totals.Failure != 20 {
		t.Errorf("forced closed: got %+v, want closed with 20 failures", s)
	}

	tr.Reset(host)
	s = snapshot(t, tr, host)
	if s.State != breakerhttp.StateClosed || s.Forced || s.Counts != (breakerhttp.Counts{}) || s.Totals.Failure != 20 || s.Totals.Refused != 1 {
		t.Errorf("reset: got %+v, want closed, empty, with its totals", s)
	}
	var reasons []string
	for _, tr := range tr.Transitions() {
		reasons = append(reasons, tr.To.String()+":"+string(tr.Reason))
	}
	if got, want := fmt.Sprint(reasons), "[open:forced closed:forced]"; got != want {
		t.Errorf("transitions: got %s, want %s", got, want)
	}
	tr.Reset("http://unknown.test") // makes none
	if _, ok := tr.Snapshot("http://unknown.test"); ok {
		t.Error("Reset made a circuit")
	}
}

// TestHookOrder: the hook sees the transitions of a circuit in order and one at
// a time, may use the Transport, and gets the context of the cause.
func TestHookOrder(t *testing.T) {
	type ctxKey struct{}
	var tr *breakerhttp.Transport
	var seen []string
	var depth int
	tr = newTransport(t, respond(500), breakerhttp.WithTransitionHook(func(ctx context.Context, tn breakerhttp.Transition) {
		depth++
		if depth > 1 {
			t.Error("the hook was called within itself")
		}
		seen = append(seen, fmt.Sprint(tn.From, ">", tn.To, " ", ctx.Value(ctxKey{})))
		if tn.Reason == "consecutive_failures" {
			tr.ForceClosed(tn.Key)
			tr.Reset(tn.Key)
			if s, _ := tr.Snapshot(tn.Key); s.State != breakerhttp.StateClosed {
				t.Errorf("within the hook: got %v, want closed", s.State)
			}
		}
		depth--
	}))
	for i := range 5 {
		req, _ := http.NewRequestWithContext(context.WithValue(context.Background(), ctxKey{}, i), http.MethodGet, host, nil)
		_, _ = do(tr, req)
	}
	if got, want := fmt.Sprint(seen), "[closed>open 4 open>closed <nil>]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHookPanic: what waits for a hook that panics is handed over all the same.
func TestHookPanic(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var seen []breakerhttp.Reason
	tr := newTransport(t, respond(500), breakerhttp.WithTransitionHook(func(_ context.Context, tn breakerhttp.Transition) {
		if seen = append(seen, tn.Reason); len(seen) == 1 {
			close(entered)
			<-leave
			panic("hook")
		}
	}))
	ended := make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		for range 5 {
			_, _ = get(tr, host)
		}
	}()
	<-entered
	tr.Reset(host)
	close(leave)
	if got := <-ended; got != "hook" {
		t.Errorf("the request ended with %v, want the panic", got)
	}
	if want := []breakerhttp.Reason{"consecutive_failures", "reset"}; !slices.Equal(seen, want) {
		t.Errorf("the hook saw %v, want %v", seen, want)
	}
}

func TestTransitionsKeeps256(t *testing.T) {
	tr := newTransport(t, respond(200))
	for i := range 200 {
		tr.ForceOpen(fmt.Sprintf("http://%d.test", i))
		tr.Reset(fmt.Sprintf("http://%d.test", i))
	}
	got := tr.Transitions()
	if len(got) != 256 {
		t.Fatalf("got %d transitions, want 256", len(got))
	}
	if first, last := got[0].Key, got[255].Key; first != "http://72.test" || last != "http://199.test" {
		t.Errorf("got %s to %s, want http://72.test to http://199.test", first, last)
	}
}

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, respond(500), breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 1500 * time.Millisecond}))
		for range 5 {
			_, _ = get(tr, host)
		}
		for _, tt := range []struct {
			v    any
			want string
		}{
			{tr.Transitions()[0], `{"key":"http://a.test","from":"closed","to":"open","at":"2000-01-01T00:00:00Z","reason":"consecutive_failures",` +
				`"detail":"5 failures in a row, last: 500 Internal Server Error",` +
				`"counts":{"requests":5,"failures":5,"slow":0,"consecutive_failures":5},"open_for":1.5}`},
			{snapshot(t, tr, host), `{"key":"http://a.test","state":"open","forced":false,"since":"2000-01-01T00:00:00Z","until":"2000-01-01T00:00:01.5Z",` +
				`"reason":"5 failures in a row, last: 500 Internal Server Error","counts":{"requests":0,"failures":0,"slow":0,"consecutive_failures":0},` +
				`"totals":{"success":0,"failure":5,"ignored":0,"refused":0},"in_flight":0}`},
		} {
			got, err := json.Marshal(tt.v)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		}
	})
}

func TestWaitReady(t *testing.T) {
	send := func(tr *breakerhttp.Transport) { _, _ = get(tr, host) }
	wait := func(ctx context.Context, tr *breakerhttp.Transport) error {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, host, nil)
		return tr.WaitReady(req)
	}
	open := func(t *testing.T, opts ...breakerhttp.Option) *breakerhttp.Transport {
		tr := newTransport(t, respond(500), opts...)
		for range 5 {
			send(tr)
		}
		wantState(t, tr, host, breakerhttp.StateOpen)
		return tr
	}
	t.Run("until the probe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := open(t)
			began := time.Now()
			if err := wait(context.Background(), tr); err != nil || time.Since(began) != time.Minute {
				t.Errorf("got %v after %v, want nil after 1m", err, time.Since(began))
			}
		})
	})
	t.Run("a deadline that is too early", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := open(t)
			ctx, cancel := context.WithTimeout(context.Background(), 59*time.Second)
			defer cancel()
			began := time.Now()
			if refusal := wantRefused(t, wait(ctx, tr)); refusal.RetryAfter != time.Minute || time.Since(began) != 0 {
				t.Errorf("got %+v after %v, want 1m at once", refusal, time.Since(began))
			}
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := open(t)
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			if err := wait(ctx, tr); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	})
	t.Run("forced open until reset", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := open(t)
			tr.ForceOpen(host)
			time.AfterFunc(time.Hour, func() { tr.Reset(host) })
			began := time.Now()
			if err := wait(context.Background(), tr); err != nil || time.Since(began) != time.Hour {
				t.Errorf("got %v after %v, want nil after 1h", err, time.Since(began))
			}
		})
	})
	t.Run("while the probe is out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var hang atomic.Bool
			tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if hang.Load() {
					time.Sleep(40 * time.Second)
				}
				return respond(500)(req)
			}))
			for range 5 {
				send(tr)
			}
			time.Sleep(time.Minute)
			hang.Store(true)
			go send(tr)
			synctest.Wait()
			began := time.Now()
			// The probe is given up after 30s, which opens for another 60s.
			if err := wait(context.Background(), tr); err != nil || time.Since(began) != 90*time.Second {
				t.Errorf("got %v after %v, want nil after 1m30s", err, time.Since(began))
			}
		})
	})
	t.Run("nothing to wait for", func(t *testing.T) {
		tr := newTransport(t, respond(200))
		if err := wait(context.Background(), tr); err != nil {
			t.Errorf("no circuit: got %v", err)
		}
		send(tr)
		if err := wait(context.Background(), tr); err != nil {
			t.Errorf("closed circuit: got %v", err)
		}
		if err := tr.WaitReady(nil); err != nil {
			t.Errorf("nil request: got %v", err)
		}
		if err := wait(context.Background(), open(t, breakerhttp.WithDryRun())); err != nil {
			t.Errorf("dry run: got %v", err)
		}
	})
}

func TestDryRun(t *testing.T) {
	var hits int
	tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		hits++
		return respond(500)(req)
	}), breakerhttp.WithDryRun())
	for range 12 {
		if status, err := get(tr, host); status != 500 || err != nil {
			t.Fatalf("got %d, %v; want the upstream's 500", status, err)
		}
	}
	want := breakerhttp.Totals{Failure: 5, Refused: 7}
	if s := snapshot(t, tr, host); hits != 12 || s.Totals != want || s.State != breakerhttp.StateOpen {
		t.Errorf("got %d hits, %v, %+v; want 12, open, %+v", hits, s.State, s.Totals, want)
	}
}
