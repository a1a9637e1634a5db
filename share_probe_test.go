package breakerhttp_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestPublished: what a request finds out is in the store when RoundTrip
// returns.
func TestPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.status.Store(http.StatusServiceUnavailable)
		for i, want := range []string{"suspect", "open"} {
			for range 5 {
				_, _ = get(f.processes[i], host)
			}
			if got := f.record(); got.State != want {
				t.Errorf("after trip %d the record is %+v, want %s", i+1, got, want)
			}
		}
		time.Sleep(time.Minute)
		_, _ = get(f.processes[0], host)
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 1 {
			t.Errorf("after a failed probe the record is %+v", got)
		}
		f.status.Store(http.StatusOK)
		_, _ = get(f.processes[1], host)
		if got := f.record(); got.State != "closed" {
			t.Errorf("after a good probe the record is %+v", got)
		}
	})
}

// TestOneProbe: when the time is up, one of all requests of all processes goes
// out.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		var wg sync.WaitGroup
		var admitted atomic.Int64
		for _, p := range f.processes {
			for range 5 {
				wg.Go(func() {
					if _, err := get(p, host); err == nil {
						admitted.Add(1)
					}
				})
			}
		}
		wg.Wait()
		if hits, admitted := f.hits.Load(), admitted.Load(); hits != 1 || admitted != 1 {
			t.Errorf("got %d hits and %d admitted requests, want one", hits, admitted)
		}
		f.run(4 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}

// TestManyProbes: with more probes and successes than one, the process with the
// lease sends them all.
func TestManyProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithPolicy(breakerhttp.Policy{Probes: 2, ProbeSuccesses: 3}))
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		for range 2 {
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() { _, _ = get(f.processes[0], host) })
			}
			wg.Wait()
			if _, err := get(f.processes[1], host); !errors.Is(err, breakerhttp.ErrOpen) && f.hits.Load() < 3 {
				t.Errorf("the other process got %v, want a refusal", err)
			}
		}
		if got := f.record(); got.State != "closed" {
			t.Errorf("after %d probes the record is %+v, want closed", f.hits.Load(), got)
		}
		// The first asked alone for the lease, then two and two at a time.
		if hits := f.hits.Load(); hits < 3 || hits > 5 {
			t.Errorf("got %d probes, want 3", hits)
		}
	})
}

// TestRareProbes: probes that come so seldom that each lease runs out before the
// next close the circuit all the same.
func TestRareProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, breakerhttp.WithPolicy(breakerhttp.Policy{ProbeSuccesses: 3}))
		f.open()
		f.status.Store(http.StatusOK)
		for range 3 {
			time.Sleep(time.Minute)
			if _, err := get(f.processes[0], host); err != nil {
				t.Errorf("a probe: %v", err)
			}
		}
		if got := f.record(); got.State != "closed" {
			t.Errorf("after three probes the record is %+v, want closed", got)
		}
		wantState(t, f.processes[0], host, breakerhttp.StateClosed)
	})
}

// TestIgnoredProbe: a probe without a verdict leaves the next to anybody, at
// once.
func TestIgnoredProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.open()
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, host, nil)
		time.AfterFunc(5*time.Millisecond, cancel)
		_, _ = f.processes[0].RoundTrip(req)
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 0 {
			t.Errorf("after an ignored probe the record is %+v", got)
		}
		f.status.Store(http.StatusOK)
		for _, p := range []int{1, 0} {
			if _, err := get(f.processes[p], host); err != nil {
				t.Errorf("process %d got %v, want to probe", p, err)
			}
		}
		f.wantStates(breakerhttp.StateClosed)
	})
}

// A switchable RoundTripper is a process's own way to the host.
type switchable struct{ atomic.Pointer[roundTripFunc] }

func (s *switchable) RoundTrip(req *http.Request) (*http.Response, error) { return (*s.Load())(req) }

func (s *switchable) to(f roundTripFunc) { s.Store(&f) }

// newProberFleet returns a fleet whose record is open and over, and the way of
// its first process to the host.
func newProberFleet(t *testing.T, opts ...breakerhttp.Option) (*fleetUnderTest, *switchable) {
	f := newFleet(t, 0)
	way := &switchable{}
	way.to(f.RoundTrip)
	f.add(way, opts...)
	for range 3 {
		f.add(f, opts...)
	}
	f.open()
	time.Sleep(time.Minute)
	f.status.Store(http.StatusOK)
	return f, way
}

// TestDyingProber: a process that dies with the lease keeps the others out for
// no longer than that.
func TestDyingProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t)
		dead := make(chan struct{})
		defer close(dead)
		way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
		go get(f.processes[0], host)
		synctest.Wait()
		f.processes = f.processes[1:]
		f.run(30 * time.Second)
		f.wantStates(breakerhttp.StateOpen)
		f.run(5 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}

var errNet500 = errors.New("late")

// TestFrozenProber: what a process says whose lease is over, and another's by
// now, counts for nobody, itself included.
func TestFrozenProber(t *testing.T) {
	for name, status := range map[string]int{"success": 200, "failure": 500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, way := newProberFleet(t, breakerhttp.WithPolicy(breakerhttp.Policy{ProbeTimeout: 10 * time.Second}))
				way.to(func(req *http.Request) (*http.Response, error) {
					time.Sleep(20 * time.Second)
					return respond(status)(req)
				})
				go get(f.processes[0], host)
				synctest.Wait()
				all := f.processes
				f.processes = all[1:]
				f.status.Store(http.StatusServiceUnavailable)
				f.run(15 * time.Second)
				before := f.record()
				if before.State != "open" || before.Millis != 60000 {
					t.Fatalf("after two failed probes the record is %+v", before)
				}
				time.Sleep(10 * time.Second)
				if got := f.record(); got.State != before.State || got.Millis != before.Millis {
					t.Errorf("after the late answer the record is %+v, want %+v", got, before)
				}
				f.processes = all
				f.run(10 * time.Second)
				f.wantStates(breakerhttp.StateOpen)
			})
		})
	}
}

// TestTimedOutProbe: a probe that hangs is a failed one when somebody notices.
// Who only looks does not wait for the store.
func TestTimedOutProbe(t *testing.T) {
	for name, look := range map[string]func(*breakerhttp.Transport){
		"request":  func(p *breakerhttp.Transport) { _, _ = get(p, host) },
		"Snapshot": func(p *breakerhttp.Transport) { p.Snapshot(host) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, way := newProberFleet(t)
				dead := make(chan struct{})
				defer close(dead)
				way.to(func(*http.Request) (*http.Response, error) { <-dead; return nil, errNet500 })
				go get(f.processes[0], host)
				synctest.Wait()
				time.Sleep(30500 * time.Millisecond)
				f.store.misbehave(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil })
				before := time.Now()
				look(f.processes[0])
				if waited := time.Since(before); name == "Snapshot" && waited > 0 {
					t.Errorf("waited for %v", waited)
				}
				time.Sleep(time.Second)
				if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 1 {
					t.Errorf("the record is %+v, want one failed", got)
				}
			})
		})
	}
}

// TestPanickingProbe: a probe that panics is a failed one, and says so to all.
func TestPanickingProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, way := newProberFleet(t)
		way.to(func(*http.Request) (*http.Response, error) { panic("base") })
		func() {
			defer func() { _ = recover() }()
			_, _ = get(f.processes[0], host)
		}()
		if got := f.record(); got.State != "open" || got.Millis != 0 || len(got.Failed) != 1 {
			t.Errorf("the record is %+v, want one failed", got)
		}
	})
}

// TestSharedProbeFilter: a process whose requests may not be probes leaves that
// to others, and comes back with them.
func TestSharedProbeFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		f.add(f, breakerhttp.WithProbeFilter(func(*http.Request) bool { return false }))
		f.open()
		time.Sleep(time.Minute)
		f.status.Store(http.StatusOK)
		writes := f.store.writes.Load()
		_, err := get(f.processes[2], host)
		if r := wantRefused(t, err); r.State != breakerhttp.StateHalfOpen || f.store.writes.Load() != writes {
			t.Errorf("got %+v, want half-open and no election", r)
		}
		_, _ = get(f.processes[0], host)
		f.run(4 * time.Second)
		f.wantStates(breakerhttp.StateClosed)
	})
}
