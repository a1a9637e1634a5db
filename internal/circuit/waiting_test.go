package circuit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// slow is a policy by which requests are slow after a second, in a window of
// ten, and no rule is met early.
func slow(c *circuit.Config) { c.SlowRatio, c.SlowAfter, c.MinRequests = 0.5, second, 1000 }

func TestAHungRequestIsSlowBeforeItEnds(t *testing.T) {
	r := newRig(t, with(slow))
	r.begin(500 * ms)
	r.wantCounts(1500*ms-1, circuit.Counts{})
	r.wantCounts(1500*ms, circuit.Counts{Requests: 1, Slow: 1})
	r.wantCounts(2500*ms, circuit.Counts{Requests: 1, Slow: 1})
}

func TestAHungRequestCountsInTheBucketOfItsMoment(t *testing.T) {
	r := newRig(t, with(slow))
	r.begin(500 * ms)
	r.wantCounts(10*second+999*ms, circuit.Counts{Requests: 1, Slow: 1}) // noticed 9.5 s late
	r.wantCounts(11*second, circuit.Counts{})                            // ten buckets after that of 1.5 s
}

func TestASlowRequestCountsOnce(t *testing.T) {
	for _, test := range []struct {
		name    string
		outcome circuit.Outcome
		at      time.Duration // of the answer
		late    bool          // the body fails then
		read    time.Duration
		want    circuit.Counts
	}{
		{"in time", ok, second, false, second, circuit.Counts{Requests: 1}},
		{"success", ok, second + 1, false, 2 * second, circuit.Counts{Requests: 1, Slow: 1}},
		{"success whose body fails", ok, 2 * second, true, 2 * second, circuit.Counts{Requests: 1, Failures: 1, Slow: 1, ConsecutiveFailures: 1}},
		{"failure", bad, 2 * second, false, 2 * second, circuit.Counts{Requests: 1, Failures: 1, Slow: 1, ConsecutiveFailures: 1}},
		{"ignored", ignore, 2 * second, false, 2 * second, circuit.Counts{Requests: 1, Slow: 1}},
		{"ignored in time", ignore, second, false, 2 * second, circuit.Counts{}},
		{"success, long after", ok, 20 * second, false, 20 * second, circuit.Counts{}},
		{"failure, long after", bad, 20 * second, false, 20 * second, circuit.Counts{Requests: 1, Failures: 1, ConsecutiveFailures: 1}},
		{"body, long after", ok, 20 * second, true, 20 * second, circuit.Counts{ConsecutiveFailures: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(slow))
			call := r.begin(0)
			r.end(test.at, call, test.outcome)
			if test.late {
				r.late(test.at, call)
			}
			r.wantCounts(test.read, test.want)
		})
	}
}

func TestHungRequestsOpenTheCircuitWhileTheyHang(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { slow(c); c.MinRequests = 3 }))
	for i := range time.Duration(4) {
		r.begin(i * 100 * ms)
	}
	got := r.read(5 * second)
	want := circuit.Event{
		To: circuit.Open, At: 1200 * ms, Reason: circuit.SlowRatio, OpenFor: 60 * second,
		Counts: circuit.Counts{Requests: 3, Slow: 3},
	}
	if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if got.State != circuit.Open || got.Since != 1200*ms || got.InFlight != 4 {
		t.Errorf("it is %v since %v with %d in flight, want open since 1.2s with 4", got.State, got.Since, got.InFlight)
	}
}
