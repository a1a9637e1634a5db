package breakerhttp_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

func TestWaitReady(t *testing.T) {
	send := func(tr *breakerhttp.Transport) { _, _ = get(tr, host) }
	wait := func(ctx context.Context, tr *breakerhttp.Transport) error {
		req := newRequest(t, ctx, host)
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
	t.Run("full until forced closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
				time.Sleep(time.Hour)
				return respond(200)(req)
			}), breakerhttp.WithPolicy(breakerhttp.Policy{MaxInFlight: 1}))
			go send(tr)
			synctest.Wait()
			time.AfterFunc(time.Second, func() { tr.ForceClosed(host) })
			began := time.Now()
			if err := wait(context.Background(), tr); err != nil || time.Since(began) != time.Second {
				t.Errorf("got %v after %v, want nil after 1s", err, time.Since(began))
			}
			time.Sleep(time.Hour)
		})
	})
	t.Run("not to probe, until its circuit is evicted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := open(t, breakerhttp.WithMaxCircuits(1), breakerhttp.WithProbeFilter(func(*http.Request) bool { return false }))
			const leftAlone = time.Minute + 5*time.Minute // the open time, and MaxOpenFor
			time.AfterFunc(leftAlone, func() { _, _ = get(tr, "http://newcomer.test") })
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			began := time.Now()
			if err := wait(ctx, tr); err != nil || time.Since(began) != leftAlone {
				t.Errorf("got %v after %v, want nil after %v", err, time.Since(began), leftAlone)
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
