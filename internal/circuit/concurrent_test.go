package circuit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

func TestAtMostAsManyProbesAsAllowed(t *testing.T) {
	cfg := with(func(c *circuit.Config) { c.Probes, c.ProbeSuccesses = 3, 1<<30 })
	r := newRig(t, cfg)
	r.send(0, bad, bad, bad, bad, bad)
	now := r.read(0).Until
	var inFlight, admitted atomic.Int64
	together(func(i int) {
		by := circuit.Cause{Context: context.Background()}
		for n := range 2000 {
			call, _, decision := r.Admit(&by, now, true)
			if decision != circuit.Admitted {
				continue
			}
			admitted.Add(1)
			if got := inFlight.Add(1); got > 3 {
				t.Errorf("%d probes in flight, want 3 at most", got)
			}
			inFlight.Add(-1)
			r.Done(&by, now, &call, circuit.Verdict{Outcome: []circuit.Outcome{ok, ignore}[n%2]})
		}
	})
	if admitted.Load() < 100 {
		t.Errorf("only %d probes were admitted, want more to look at", admitted.Load())
	}
	if got := r.read(now); got.InFlight != 0 || got.Totals.Success+got.Totals.Ignored != uint64(admitted.Load()) {
		t.Errorf("in the end %d are in flight, totals are %+v, want 0 and %d", got.InFlight, got.Totals, admitted.Load())
	}
}

func TestNoAdmissionWhileForcedOpen(t *testing.T) {
	for _, cfg := range []circuit.Config{defaults(), with(func(c *circuit.Config) { c.FailureRatio = 1 }), with(timed)} {
		tr := newTraffic(&cfg, nil)
		by := circuit.Cause{Context: context.Background()}
		var stop atomic.Bool
		var forced atomic.Int64 // odd while it is forced open for sure
		var all sync.WaitGroup
		all.Go(func() {
			for range 1000 {
				tr.ForceOpen(&by)
				forced.Add(1)
				forced.Add(1)
				tr.Reset(&by)
			}
			stop.Store(true)
		})
		all.Go(func() {
			together(func(int) {
				by := circuit.Cause{Context: context.Background()}
				for !stop.Load() {
					before := forced.Load()
					call, decision := circuit.Call{}, circuit.Admitted
					if !tr.Enter(&call) {
						_, decision = tr.Admit(&by, &call, true)
					}
					if decision != circuit.Admitted {
						continue
					}
					if forced.Load() == before && before%2 == 1 {
						t.Errorf("a request was admitted while the circuit was forced open")
					}
					if !tr.Succeed(&call, true) {
						tr.Done(&by, &call, circuit.Verdict{Outcome: ok})
					}
				}
			})
		})
		all.Wait()
		if got := tr.Snapshot(&by); got.InFlight != 0 {
			t.Errorf("in the end %d are in flight, want 0", got.InFlight)
		}
	}
}

// TestNoVerdictOfAnOlderGeneration lets requests end while a Reset makes them
// stale: what counted before is forgotten, what comes after does not count.
func TestNoVerdictOfAnOlderGeneration(t *testing.T) {
	for _, change := range []func(*circuit.Config){func(*circuit.Config) {}, func(c *circuit.Config) { c.FailureRatio = 1 }, timed} {
		cfg := with(func(c *circuit.Config) { change(c); c.ConsecutiveFailures = -1 })
		r := newRig(t, cfg)
		for round := range uint64(300) {
			calls := make([]*circuit.Call, clients)
			for i := range calls {
				calls[i] = r.begin(0)
			}
			together(func(i int) {
				by := circuit.Cause{Context: context.Background()}
				if i == 0 {
					r.Reset(&by, 0)
				}
				if i%2 == 1 || !r.Succeed(0, calls[i], false) {
					r.Done(&by, 0, calls[i], circuit.Verdict{Outcome: []circuit.Outcome{ok, bad}[i%2], ErrorType: "500"})
				}
			})
			got := r.read(0)
			if got.Counts != (circuit.Counts{}) || got.InFlight != 0 {
				t.Fatalf("after a Reset %d are in flight, counts are %+v, want none", got.InFlight, got.Counts)
			}
			if want := (round + 1) * clients / 2; got.Totals.Success != want || got.Totals.Failure() != want {
				t.Fatalf("after %d rounds totals are %+v, want %d of each", round+1, got.Totals, want)
			}
		}
	}
}

func TestNobodyEntersAnEvictedCircuit(t *testing.T) {
	plain, slow := defaults(), with(timed)
	for i := range 600 {
		c := newClocked([]*circuit.Config{&plain, &slow}[i%2], nil, 0).Circuit // for which time stands still
		var succeeded atomic.Uint64
		var evicted circuit.Totals
		together(func(i int) {
			if i == 0 {
				for used, ok := uint64(0), false; !ok; {
					evicted, used, ok = c.Evict(used, false)
				}
				return
			}
			for range 20 {
				if call := new(circuit.Call); c.Enter(call) && c.Succeed(call, true) {
					succeeded.Add(1)
				}
			}
		})
		if got := evicted.Success; got != succeeded.Load() {
			t.Fatalf("it was evicted with %d successes, want all %d", got, succeeded.Load())
		}
	}
}

// TestNobodyIsInFlightTwice reads a circuit in use: no more requests can be in
// flight than there are clients, nor any once it has been evicted.
func TestNobodyIsInFlightTwice(t *testing.T) {
	r := newRig(t, defaults())
	var ended atomic.Int64
	together(func(i int) {
		by := circuit.Cause{Context: context.Background()}
		for i == 0 && ended.Load() < clients-1 {
			if got := r.Snapshot(&by, 0).InFlight; got < 0 || got > clients-1 {
				t.Errorf("%d are in flight, want at most %d", got, clients-1)
			}
		}
		for range 30_000 {
			if call := new(circuit.Call); i > 0 && r.Enter(0, call) {
				r.Succeed(0, call, true)
			}
		}
		ended.Add(1)
	})
	if _, ok := r.evict(0); !ok || r.Enter(0, new(circuit.Call)) {
		t.Fatal("it is in use, though nobody uses it")
	}
	if got := r.read(0).InFlight; got != 0 {
		t.Errorf("%d are in flight of an evicted circuit, want 0", got)
	}
}

// TestEveryoneWhoWaitsGetsATurn would deadlock in its bubble if a wake-up got
// lost.
func TestEveryoneWhoWaitsGetsATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, with(func(c *circuit.Config) { c.ProbeSuccesses = 10 * clients }))
		r.send(0, bad, bad, bad, bad, bad)
		now := r.read(0).Until
		together(func(i int) {
			by := circuit.Cause{Context: context.Background()}
			for turns := 0; turns < 10; {
				if _, _, changed, ready := r.Ready(&by, now, true); !ready {
					<-changed
					continue
				}
				if call, _, decision := r.Admit(&by, now, true); decision == circuit.Admitted {
					turns++
					synctest.Wait()
					r.Done(&by, now, &call, circuit.Verdict{Outcome: ok})
				}
			}
		})
		r.wantState(now, circuit.Closed)
	})
}
