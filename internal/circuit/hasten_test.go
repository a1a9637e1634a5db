package circuit_test

import (
	"context"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// TestHastenWhileProbing: an Adaptive circuit that has a probe out already does not send another one.
func TestHastenWhileProbing(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	c := newClocked(&circuit.Config{Adaptive: true, ConsecutiveFailures: 1, MaxOpenFor: time.Minute}, nil, 0)
	for range 12 {
		var call circuit.Call
		c.Enter(0, &call)
		c.Done(by, 0, &call, circuit.Verdict{Outcome: circuit.Failure})
	}
	const due = time.Second // by then
	if _, r, d := c.Admit(by, due, true); d != circuit.Admitted {
		t.Fatalf("the probe: %v, %+v", d, r)
	}
	c.Hasten(by, "recovered with another")
	if _, r, d := c.Admit(by, due, true); d != circuit.Refused {
		t.Errorf("a second probe: %v, %+v, want refused", d, r)
	}
}

func (r *rig) hasten(now time.Duration) (until time.Duration) {
	r.at(now)
	r.Hasten(&r.by, "others have recovered")
	return r.read(now).Until
}

// TestHastenOnce: the recovery of many others brings one extra probe.
func TestHastenOnce(t *testing.T) {
	r := newRig(t, defaults())
	r.send(0, bad, bad, bad, bad, bad)
	if got := r.hasten(10 * second); got != 0 {
		t.Errorf("hastened, it is open until %v, want it due", got)
	}
	r.send(10*second, bad)
	if got := r.hasten(12 * second); got != 70*second {
		t.Errorf("hastened twice in a recovery, it is open until %v, want 70s", got)
	}
	if got := r.hasten(20 * second); got != 0 {
		t.Errorf("hastened in the next recovery, it is open until %v, want it due", got)
	}
	r.send(20*second, ok)
	r.send(21*second, bad, bad, bad, bad, bad)
	if got := r.hasten(22 * second); got != 0 {
		t.Errorf("hastened after another fall, it is open until %v, want it due", got)
	}
}

// TestHastenGrowth: growth remembers how long the circuit was open, and not how long it was to be.
func TestHastenGrowth(t *testing.T) {
	for closedFor, want := range map[time.Duration]time.Duration{10*second - 1: 120 * second, 10 * second: 60 * second} {
		r := newRig(t, with(func(c *circuit.Config) { c.OpenGrowth = 2 }))
		r.send(0, bad, bad, bad, bad, bad)
		r.hasten(10 * second)
		r.send(10*second, ok)
		r.send(10*second+closedFor, bad, bad, bad, bad, bad)
		if got := r.lastEvent().OpenFor; got != want {
			t.Errorf("open for %v after 10s open and %v closed, want %v", got, closedFor, want)
		}
	}
}

// TestHastenDue: a circuit that was due already has its probe, and gets no other.
func TestHastenDue(t *testing.T) {
	r := newRig(t, defaults())
	r.send(0, bad, bad, bad, bad, bad)
	r.hasten(61 * second)
	r.send(62*second, bad)
	if got := r.hasten(63 * second); got != 122*second {
		t.Errorf("it is open until %v, want 122s", got)
	}
}
