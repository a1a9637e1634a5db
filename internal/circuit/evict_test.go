package circuit_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// used is the number that Evict wants to have been seen.
func (r *rig) used() uint64 {
	_, used, _ := r.Evict(0, math.MaxUint64)
	return used
}

func (r *rig) evict(now time.Duration) (circuit.Totals, bool) {
	totals, _, ok := r.Evict(now, r.used())
	return totals, ok
}

func TestEvict(t *testing.T) {
	probed := func(r *rig) time.Duration {
		r.send(0, bad, bad, bad, bad, bad)
		until := r.read(0).Until
		r.send(until, ok)
		return until
	}
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
		before func(*rig) (now time.Duration)
		want   bool
	}{
		{"new", nil, func(*rig) time.Duration { return 0 }, true},
		{"idle", nil, func(r *rig) time.Duration { r.send(0, ok, ignore); return 0 }, true},
		{"idle, timed", timed, func(r *rig) time.Duration { r.send(0, ok, ignore); return 0 }, true},
		{"in flight, timed", timed, func(r *rig) time.Duration { r.begin(0); return 0 }, false},
		{"in flight", nil, func(r *rig) time.Duration { r.begin(0); return time.Hour }, false},
		{"in flight since before a reset", nil, func(r *rig) time.Duration { r.begin(0); r.Reset(&r.by, 0); return time.Hour }, false},
		{"failed just now", nil, func(r *rig) time.Duration { r.send(second, bad); return 11*second - 1 }, false},
		{"failed long ago", nil, func(r *rig) time.Duration {
			r.send(second, bad)
			r.Ended(r.send(second, ok).Receipt)
			return 11 * second
		}, true},
		{"in a run that began long ago", nil, func(r *rig) time.Duration { r.send(second, bad); return time.Hour }, false},
		{"failed in a window without end", func(c *circuit.Config) { c.Window = math.MaxInt64 }, func(r *rig) time.Duration { r.send(0, bad); return time.Hour }, false},
		{"new, with a window without end", func(c *circuit.Config) { c.Window = math.MaxInt64 }, func(*rig) time.Duration { return time.Hour }, true},
		{"failed in the body just now", nil, func(r *rig) time.Duration { r.late(second, r.send(0, ok)); return 11*second - 1 }, false},
		{"failed before a reset", nil, func(r *rig) time.Duration { r.send(second, bad); r.Reset(&r.by, second); return second }, true},
		{"open", nil, func(r *rig) time.Duration { r.send(0, bad, bad, bad, bad, bad); return 59 * second }, false},
		{"open, its time up for less than MaxOpenFor", nil, func(r *rig) time.Duration { r.send(0, bad, bad, bad, bad, bad); return 6*time.Minute - 1 }, false},
		{"open, its time up for MaxOpenFor", nil, func(r *rig) time.Duration { r.send(0, bad, bad, bad, bad, bad); return 6 * time.Minute }, true},
		{"open, its time up, and a request refused since", nil, func(r *rig) time.Duration {
			r.send(0, bad, bad, bad, bad, bad)
			r.Admit(&r.by, 6*time.Minute-1, false)
			return 11*time.Minute - 2
		}, false},
		{"half-open", func(c *circuit.Config) { c.ProbeSuccesses = 2 }, func(r *rig) time.Duration { return probed(r) + 5*time.Minute - 1 }, false},
		{"half-open, left alone for MaxOpenFor", func(c *circuit.Config) { c.ProbeSuccesses = 2 }, func(r *rig) time.Duration { return probed(r) + 5*time.Minute }, true},
		{"half-open, with a probe in flight", func(c *circuit.Config) { c.ProbeTimeout = math.MaxInt64 }, func(r *rig) time.Duration {
			r.send(0, bad, bad, bad, bad, bad)
			r.begin(time.Minute)
			return time.Hour
		}, false},
		{"ramping", func(c *circuit.Config) { c.Ramp = second }, func(r *rig) time.Duration { return probed(r) + second - 1 }, false},
		{"has ramped", func(c *circuit.Config) { c.Ramp = second }, func(r *rig) time.Duration { return probed(r) + second }, true},
		{"forced", nil, func(r *rig) time.Duration { r.ForceClosed(&r.by, 0); return time.Hour }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			if test.change != nil {
				test.change(&cfg)
			}
			r := newRig(t, cfg)
			now := test.before(r)
			totals, got := r.evict(now)
			if got != test.want {
				t.Fatalf("evicted: %v, want %v", got, test.want)
			}
			if !got {
				return
			}
			if diff := cmp.Diff(r.read(now).Totals, totals); diff != "" {
				t.Errorf("its totals (-want +got):\n%s", diff)
			}
			if _, _, got := r.Admit(&r.by, now, true); got != circuit.Gone {
				t.Errorf("then the decision is %v, want gone", got)
			}
			if r.Enter(now, new(circuit.Call)) {
				t.Errorf("then it still admits")
			}
		})
	}
}

func TestEvictAsLastResort(t *testing.T) {
	const openFor = 60 * second
	for now, want := range map[time.Duration]bool{openFor - 1: false, openFor: true} {
		r := newRig(t, defaults())
		r.send(0, bad)
		used := r.used()
		r.at(now)
		if _, _, got := r.Circuit.Evict(used, false); got {
			t.Errorf("%v after the failure of a run, it is evicted without need", now)
		}
		if _, _, got := r.Circuit.Evict(used, true); got != want {
			t.Errorf("%v after the failure of a run, it is evicted as a last resort: %v, want %v", now, got, want)
		}
	}
}

func TestAnEvictedCircuitDoesNothingMore(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.ConsecutiveFailures = 1 }))
	call := r.send(0, ok)
	if _, ok := r.evict(0); !ok {
		t.Fatal("it is not evicted")
	}
	if r.Late(&r.by, 0, call.Receipt, circuit.Verdict{Outcome: bad}) {
		t.Errorf("Late does not say that it is gone")
	}
	if _, ok := r.ForceOpen(&r.by, 0); ok {
		t.Errorf("it can be forced")
	}
	if r.Reset(&r.by, 0) {
		t.Errorf("it is said to have been forced")
	}
	if len(r.events) > 0 {
		t.Errorf("it has changed: %+v", r.events)
	}
}

// TestNobodyWaitsForAnEvictedCircuit: who does learns that a new circuit would admit the request.
func TestNobodyWaitsForAnEvictedCircuit(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.ConsecutiveFailures = 1 }))
	r.send(0, bad)
	const leftAlone = 6 * time.Minute
	_, _, changed, ready := r.Ready(&r.by, leftAlone, false)
	if ready {
		t.Fatal("a request that may not probe is told that it would be admitted")
	}
	if _, ok := r.evict(leftAlone); !ok {
		t.Fatal("it is not evicted")
	}
	r.wantTold(changed)
	if _, _, _, ready := r.Ready(&r.by, leftAlone, false); !ready {
		t.Error("then a request is told to wait")
	}
}

// TestNothingIsDueAfterEviction: a circuit that is not in service any more changes no more, because its
// successor may have done so already.
func TestNothingIsDueAfterEviction(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.MaxRetryAfter = c.MaxOpenFor }))
	r.Done(&r.by, 0, r.begin(0), circuit.Verdict{Outcome: circuit.Limited, RetryAfter: second})
	if _, ok := r.evict(second + 5*time.Minute); !ok {
		t.Fatal("it is not evicted")
	}
	r.AdoptClosed(&r.by, time.Hour) // the answer to a call that was under way
	if r.read(time.Hour); len(r.events) != 1 {
		t.Errorf("it changed after its eviction: %+v", r.events)
	}
}

func TestWhatIsInUseIsNotEvicted(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
	}{
		{"plain", func(*circuit.Config) {}},
		{"windowed", func(c *circuit.Config) { c.FailureRatio = 1 }},
		{"timed", timed},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(test.change))
			for _, use := range []func(){
				func() { r.send(0, ok) },
				func() { r.send(0, ignore) },
				func() {
					if call := new(circuit.Call); !r.Enter(0, call) || !r.Succeed(0, call, true) {
						t.Error("a request to a well host does not go the short way")
					}
				},
			} {
				before := r.used()
				r.read(0)
				if got := r.used(); got != before {
					t.Errorf("a read counts as use: %d, want %d", got, before)
				}
				use()
				if _, used, evicted := r.Evict(0, before); evicted || used == before {
					t.Errorf("evicted: %v, used: %d, want no and another number", evicted, used)
				}
			}
			if _, evicted := r.evict(0); !evicted {
				t.Error("it is not evicted once it is not used any more")
			}
		})
	}
}

// TestEvictedRefusesNobody: a request that asked for the time long ago finds the circuit gone, though
// it was open then.
func TestEvictedRefusesNobody(t *testing.T) {
	r := newRig(t, with(func(*circuit.Config) {}))
	r.send(0, bad, bad, bad, bad, bad)
	if _, ok := r.evict(6 * time.Minute); !ok {
		t.Fatal("the circuit has not been evicted")
	}
	if _, refusal, d := r.Admit(&r.by, second, true); d != circuit.Gone {
		t.Errorf("a request: %v, %+v, want gone", d, refusal)
	}
}
