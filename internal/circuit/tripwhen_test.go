package circuit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

func TestTripWhenIsAskedAfterFailuresAndSlowRequests(t *testing.T) {
	var asked []circuit.Counts
	r := newRig(t, with(func(c *circuit.Config) {
		c.SlowAfter = second
		c.TripWhen = func(n circuit.Counts) bool {
			asked = append(asked, n)
			return n.Failures == 1 && n.Slow == 1
		}
	}))
	hung := r.begin(0)
	r.send(500*ms, ok, ignore)
	r.send(2*second, bad)
	want := []circuit.Counts{{Requests: 2, Slow: 1}, {Requests: 3, Failures: 1, Slow: 1, ConsecutiveFailures: 1}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked about (-want +got):\n%s", diff)
	}
	wantEvent := circuit.Event{To: circuit.Open, At: 2 * second, Reason: circuit.TripWhen, OpenFor: 60 * second, Counts: want[1]}
	if diff := cmp.Diff(wantEvent, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	r.end(2*second, hung, bad)
	if len(asked) != 2 {
		t.Errorf("TripWhen is asked about a stale failure: %+v", asked[2:])
	}
}

func TestTripWhenMayUseTheCircuit(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(*rig)
		want circuit.State
	}{
		{"a read", func(r *rig) { r.read(0) }, circuit.Open},
		{"a request", func(r *rig) { r.begin(0) }, circuit.Open},
		{"forced closed: that counts for more", func(r *rig) { r.ForceClosed(&circuit.Cause{}, 0) }, circuit.Closed},
		{"an eviction, long after: nobody sees it", func(r *rig) { used := r.used(); r.at(time.Hour); r.Circuit.Evict(used, true) }, circuit.Closed},
		{"a reset: the answer is about an older generation", func(r *rig) { r.Reset(&circuit.Cause{}, 0) }, circuit.Closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r *rig
			r = newRig(t, with(func(c *circuit.Config) {
				c.TripWhen = func(circuit.Counts) bool { test.use(r); return true }
			}))
			r.send(0, bad)
			r.wantState(0, test.want)
		})
	}
}

func TestTripWhenThatPanics(t *testing.T) {
	panics := false
	tripWhen := func(circuit.Counts) bool {
		if panics {
			panic("TripWhen")
		}
		return false
	}
	for _, test := range []struct {
		name         string
		hang         time.Duration
		wantInFlight int
		wantTotals   circuit.Totals
		wantAgain    bool // the second verdict counts
	}{
		{"about the failure itself", 0, 0, circuit.Totals{Failures: []circuit.ErrorTotal{{Type: "500", Count: 1}}}, false},
		{"about a slow request, noticed by the verdict", 2 * second, 0, circuit.Totals{Failures: []circuit.ErrorTotal{{Type: "500", Count: 1}}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(func(c *circuit.Config) { c.TripWhen, c.SlowAfter = tripWhen, second }))
			call := r.begin(0)
			panics = true
			func() {
				defer func() {
					if got := recover(); got != "TripWhen" {
						t.Errorf("recovered %v, want the panic of TripWhen", got)
					}
				}()
				r.end(test.hang, call, bad)
			}()
			panics = false
			if got := r.read(test.hang).InFlight; got != test.wantInFlight { // hangs if the lock is left locked
				t.Errorf("%d are in flight, want %d", got, test.wantInFlight)
			}
			if got := r.Done(&r.by, test.hang, call, circuit.Verdict{}); got != test.wantAgain {
				t.Errorf("a second verdict counts: %v, want %v", got, test.wantAgain)
			}
			got := r.read(test.hang)
			if diff := cmp.Diff(test.wantTotals, got.Totals); diff != "" || got.InFlight != 0 {
				t.Errorf("in the end %d are in flight, want 0; totals (-want +got):\n%s", got.InFlight, diff)
			}
		})
	}
}
