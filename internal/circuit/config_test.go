package circuit_test

import (
	"context"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// TestAdaptiveWhileHalfOpen: a policy becomes Adaptive while the probe of another is in flight. A
// request that asked for the time before that probe did, and is decided now, is refused.
func TestAdaptiveWhileHalfOpen(t *testing.T) {
	const openFor = time.Second
	by := &circuit.Cause{Context: context.Background()}
	c := newClocked(&circuit.Config{
		ConsecutiveFailures: 1, OpenFor: openFor, OpenGrowth: 1, MaxOpenFor: openFor,
		Probes: 1, ProbeSuccesses: 1, ProbeTimeout: time.Second,
	}, nil, 0)
	var call circuit.Call
	c.Enter(0, &call)
	c.Done(by, 0, &call, circuit.Verdict{Outcome: circuit.Failure})
	if _, r, d := c.Admit(by, openFor, true); d != circuit.Admitted {
		t.Fatalf("the probe: %v, %+v", d, r)
	}
	c.SetConfig(by, &circuit.Config{Adaptive: true, ConsecutiveFailures: 5, MaxOpenFor: time.Minute})
	if _, r, d := c.Admit(by, openFor-1, true); d != circuit.Refused || r.RetryAfter != 0 {
		t.Errorf("before its time: %v, %+v, want refused, for a time unknown", d, r)
	}
	if _, r, d := c.Admit(by, openFor, true); d != circuit.Admitted {
		t.Errorf("in time: %v, %+v, want admitted", d, r)
	}
}

// TestNewWindow: what an earlier window counted is not in a new one, also where there was a policy
// without a window between the two.
func TestNewWindow(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	ratio := &circuit.Config{FailureRatio: 0.5, MinRequests: 1, Window: 10 * time.Second, OpenFor: time.Second, MaxOpenFor: time.Second}
	c := newClocked(ratio, nil, 0)
	var call circuit.Call
	c.Enter(0, &call)
	c.Succeed(0, &call, false)
	c.SetConfig(by, &circuit.Config{ConsecutiveFailures: 5})
	c.SetConfig(by, ratio)
	c.Late(by, 0, call.Receipt, circuit.Verdict{Outcome: circuit.Failure})
	if got, want := c.Snapshot(by, 0).Counts, (circuit.Counts{ConsecutiveFailures: 1}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// TestShorterRamp: a ramp lasts no longer than a new policy says.
func TestShorterRamp(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	ramping := func(ramp time.Duration) *circuit.Config {
		return &circuit.Config{
			ConsecutiveFailures: 1, OpenFor: time.Second, OpenGrowth: 1, MaxOpenFor: time.Second, Probes: 1, ProbeSuccesses: 1,
			ProbeTimeout: time.Second, Ramp: ramp, Rand: func() float64 { return 0.999 },
		}
	}
	c := newClocked(ramping(time.Hour), nil, 0)
	var call circuit.Call
	c.Enter(0, &call)
	c.Done(by, 0, &call, circuit.Verdict{Outcome: circuit.Failure})
	probe, _, _ := c.Admit(by, time.Second, true)
	c.Done(by, time.Second, &probe, circuit.Verdict{Outcome: circuit.Success, Whole: true})
	c.SetConfig(by, ramping(time.Minute))
	if _, r, d := c.Admit(by, 51*time.Second, true); d != circuit.Refused {
		t.Errorf("towards the end of the ramp: %v, %+v, want refused", d, r)
	}
	if _, r, d := c.Admit(by, 61*time.Second, true); d != circuit.Admitted {
		t.Errorf("after the ramp: %v, %+v, want admitted", d, r)
	}
}

// TestNoTripWhenAnyMore: what a TripWhen was to be asked goes with it.
func TestNoTripWhenAnyMore(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	asked := false
	c := newClocked(&circuit.Config{
		TripWhen: func(circuit.Counts) bool { asked = true; return true }, SlowAfter: time.Second, Window: 10 * time.Second,
	}, nil, 0)
	var call circuit.Call
	c.Enter(0, &call)
	c.Snapshot(by, time.Second) // it has become slow, and a read asks nothing
	c.SetConfig(by, &circuit.Config{ConsecutiveFailures: 5})
	if _, r, d := c.Admit(by, time.Second, true); d != circuit.Admitted || asked {
		t.Errorf("a request: %v, %+v; TripWhen was asked: %t", d, r, asked)
	}
}

// TestSamePolicy: a circuit whose policy is the same as before is not touched, and needs no memory.
func TestSamePolicy(t *testing.T) {
	for name, cfg := range map[string]*circuit.Config{
		"classic":  {ConsecutiveFailures: 5, MaxOpenFor: time.Minute},
		"adaptive": {ConsecutiveFailures: 5, MaxOpenFor: time.Minute, Adaptive: true},
	} {
		t.Run(name, func(t *testing.T) {
			circuits := make([]circuit.Circuit, 1000)
			for i := range circuits {
				circuits[i].Init(cfg, new(owner))
			}
			i := 0
			allocated := testing.AllocsPerRun(len(circuits)-1, func() {
				same := *cfg
				circuits[i].SetConfig(&circuit.Cause{Context: t.Context()}, &same)
				i++
			})
			if allocated > 1 { // the policy
				t.Errorf("got %v allocations, want 1", allocated)
			}
		})
	}
}

// TestOldPolicyJudges: what was due before a new policy is judged by the old one.
func TestOldPolicyJudges(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	c := newClocked(&circuit.Config{
		SlowRatio: 0.5, SlowAfter: time.Second, MinRequests: 1, Window: 10 * time.Second, OpenFor: time.Minute, OpenGrowth: 1, MaxOpenFor: time.Minute,
	}, nil, 0)
	var hung, next circuit.Call
	c.Enter(0, &hung)
	if c.Enter(3*time.Second, &next) { // it only tells the time
		t.Fatal("admitted without a decision")
	}
	c.SetConfig(by, &circuit.Config{ConsecutiveFailures: 5, OpenFor: time.Minute, MaxOpenFor: time.Minute})
	if got := c.Snapshot(by, 3*time.Second); got.State != circuit.Open || got.Since != time.Second {
		t.Errorf("%v since %v, want open since the request was slow", got.State, got.Since)
	}
}
