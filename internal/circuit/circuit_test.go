package circuit_test

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// TestMemoryOfHealthyHosts: a circuit whose host only succeeds keeps nothing beside
// itself, and an adaptive one at most 64 bytes, however many requests it has had.
func TestMemoryOfHealthyHosts(t *testing.T) {
	cfg, owned := defaults(), &owner{}
	unused := allocated(func() { new(circuit.Circuit).Init(&cfg, owned) })
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
		most   uint64
	}{
		{"classic", func(*circuit.Config) {}, 0},
		{"adaptive", adaptive, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := with(test.change)
			least := allocated(func() {
				c := new(circuit.Circuit)
				c.Init(&cfg, owned)
				succeed(t, c, 40, 2)     // more at once than an adaptive circuit lets pass without a look
				succeed(t, c, 1, 70_000) // so many that it forgets that
			})
			if most := unused + test.most; least > most {
				t.Errorf("the circuit of a healthy host takes %d bytes, want at most %d", least, most)
			}
		})
	}
}

// succeed sends so many requests at once, in so many rounds.
func succeed(t *testing.T, c *circuit.Circuit, atOnce, rounds int) {
	by := circuit.Cause{Context: context.Background()}
	var calls [40]circuit.Call
	for range rounds {
		for i := range atOnce {
			calls[i] = circuit.Call{}
			if !c.Enter(&calls[i]) {
				if _, d := c.Admit(&by, &calls[i], true); d != circuit.Admitted {
					t.Fatal("a healthy circuit refuses")
				}
			}
		}
		for i := range atOnce {
			if !c.Succeed(&calls[i], true) {
				t.Fatal("a success needed a decision")
			}
		}
	}
}

// allocated returns how many bytes use allocates. The least of some tries has nothing
// of what others allocate meanwhile.
func allocated(use func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		use()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

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
