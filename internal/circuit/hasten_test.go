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
