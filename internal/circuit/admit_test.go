package circuit_test

import (
	"context"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

func TestAGoodRequestCostsNeitherLockNorClockNorMemory(t *testing.T) {
	for name, change := range map[string]func(*circuit.Config){"classic": func(*circuit.Config) {}, "adaptive": adaptive} {
		t.Run(name, func(t *testing.T) {
			cfg := with(change)
			var c clocked
			// Record is called with the lock held: to ask for it here would hang.
			c = newClocked(&cfg, func(e circuit.Event) {
				if e.To != circuit.Closed {
					return
				}
				c.owner.ticks = true
				before := c.owner.clock.Load()
				allocs := testing.AllocsPerRun(100, func() {
					var call circuit.Call
					if !c.Circuit.Enter(&call) || !c.Circuit.Succeed(&call, true) {
						t.Error("a good request needs the lock")
					}
				})
				if allocs != 0 {
					t.Errorf("a good request allocates %v times, want 0", allocs)
				}
				if c.owner.clock.Load() != before {
					t.Error("a good request reads the clock")
				}
			}, 0)
			by := circuit.Cause{Context: context.Background()}
			c.ForceOpen(&by, 0)
			c.Reset(&by, 0)
			if got := c.Snapshot(&by, 0).Totals.Success; got == 0 {
				t.Error("no request was sent")
			}
		})
	}
}

// TestWhatNeedsADecision says which requests Enter and Succeed leave to Admit and
// Done. Calls that are to end have begun at 0, before what the test does.
func TestWhatNeedsADecision(t *testing.T) {
	ratio := func(c *circuit.Config) { c.FailureRatio = 1 }
	quick := func(c *circuit.Config) { c.ConsecutiveFailures, c.OpenFor, c.Probes = 1, second, 2 }
	for _, test := range []struct {
		name         string
		change       func(*circuit.Config)
		now          time.Duration
		before       func(*rig)
		enter        bool
		succeed      bool // of a response with a body
		succeedWhole bool
	}{
		{"closed", nil, 0, nil, true, true, true},
		{"after a failure", nil, 0, func(r *rig) { r.send(0, bad) }, true, true, false},
		{"after the end of its run", nil, 0, func(r *rig) { r.send(0, bad); r.Ended(r.send(0, ok).Receipt) }, true, true, true},
		{"SlowAfter without a rule for it", func(c *circuit.Config) { c.SlowAfter = second }, 0, nil, true, true, true},
		{"SlowAfter beside another rule", func(c *circuit.Config) { ratio(c); c.SlowAfter = second }, second, nil, true, true, true},
		{"after a reset", nil, 0, func(r *rig) { r.Reset(&r.by, 0) }, true, false, false},
		{"a ratio", ratio, 0, nil, true, true, true},
		{"a ratio, after a failure", ratio, 0, func(r *rig) { r.send(0, bad) }, true, true, true},
		{"a ratio, after a reset", ratio, 0, func(r *rig) { r.Reset(&r.by, 0) }, true, false, false},
		{"TripWhen", func(c *circuit.Config) { c.TripWhen = func(circuit.Counts) bool { return false } }, 0, nil, true, true, true},
		{"timed", timed, second - 1, nil, true, true, true},
		{"one has become slow", timed, second, nil, false, false, false},
		{"one has been counted as slow", timed, second, func(r *rig) { r.read(second) }, true, true, true},
		{"TripWhen is to be asked about one", func(c *circuit.Config) { c.SlowAfter, c.TripWhen = second, func(circuit.Counts) bool { return false } }, second, func(r *rig) { r.read(second) }, false, false, false},
		{"forced closed", timed, 0, func(r *rig) { r.ForceClosed(&r.by, 0) }, true, true, true},
		{"forced open", timed, 0, func(r *rig) { r.ForceOpen(&r.by, 0) }, false, false, false},
		{"open", quick, 0, func(r *rig) { r.send(0, bad) }, false, false, false},
		{"half-open", quick, second, func(r *rig) { r.send(0, bad); r.begin(second) }, false, false, false},
		{"ramping", func(c *circuit.Config) { quick(c); c.Ramp = second }, second, func(r *rig) { r.send(0, bad); r.send(second, ok) }, false, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, whole := range []bool{false, true} {
				cfg := defaults()
				if test.change != nil {
					test.change(&cfg)
				}
				r := newRig(t, cfg)
				call := r.begin(0)
				if test.before != nil {
					test.before(r)
				}
				if got := r.Enter(test.now, new(circuit.Call)); got != test.enter {
					t.Errorf("Enter admits: %v, want %v", got, test.enter)
				}
				want := test.succeed
				if whole {
					want = test.succeedWhole
				}
				if got := r.Succeed(test.now, call, whole); got != want {
					t.Errorf("Succeed counts, whole %v: %v, want %v", whole, got, want)
				}
			}
		})
	}
}

// Most requests go the short way. No other test would fail if they went the long one.
func TestShortWay(t *testing.T) {
	for _, test := range []struct {
		name           string
		change         func(*circuit.Config)
		enter, succeed bool
	}{
		{"default", func(*circuit.Config) {}, true, true},
		{"ratio", func(c *circuit.Config) { c.FailureRatio, c.MinRequests, c.Window = 0.5, 1, second }, true, false},
		{"slow ratio", func(c *circuit.Config) { c.SlowRatio, c.SlowAfter, c.Window = 0.5, second, second }, false, false},
		{"adaptive", func(c *circuit.Config) { c.Adaptive = true }, false, true},
		{"MaxInFlight", func(c *circuit.Config) { c.MaxInFlight = 1 }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			test.change(&cfg)
			r := newRig(t, cfg)
			call := new(circuit.Call)
			if got := r.TryEnter(call); got != test.enter {
				t.Errorf("TryEnter admits: %v, want %v", got, test.enter)
			}
			if !call.Admitted() {
				call = r.begin(0)
			}
			if got := r.TrySucceed(call, true); got != test.succeed {
				t.Errorf("TrySucceed counts: %v, want %v", got, test.succeed)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const openFor = 10 * second
	for _, test := range []struct {
		name string
		now  time.Duration
		do   func(*rig)
		want circuit.Refusal
	}{
		{"open", 3 * second, func(r *rig) { r.send(0, bad) }, circuit.Refusal{State: circuit.Open, RetryAfter: 7 * second}},
		{"half-open", openFor, func(r *rig) { r.send(0, bad); r.begin(openFor) }, circuit.Refusal{State: circuit.HalfOpen}},
		{"open again", openFor + second, func(r *rig) { r.send(0, bad); r.send(openFor, bad) }, circuit.Refusal{State: circuit.Open, RetryAfter: 9 * second}},
		{"forced open", 0, func(r *rig) { r.ForceOpen(&r.by, 0) }, circuit.Refusal{State: circuit.Open}},
		{"forced open while it was open", 0, func(r *rig) { r.send(0, bad); r.ForceOpen(&r.by, 0) }, circuit.Refusal{State: circuit.Open}},
		{"opened by others", second, func(r *rig) { r.AdoptOpen(&r.by, 0, 5*second) }, circuit.Refusal{State: circuit.Open, RetryAfter: 4 * second}},
		{"opened by others, for longer", second, func(r *rig) { r.send(0, bad); r.AdoptOpen(&r.by, 0, time.Minute) }, circuit.Refusal{State: circuit.Open, RetryAfter: 59 * second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(func(c *circuit.Config) { c.ConsecutiveFailures, c.OpenFor = 1, openFor }))
			test.do(r)
			got := r.refuse(test.now)
			if got.Detail == "" {
				t.Error("the refusal has no detail")
			}
			if got.Detail = ""; got != test.want {
				t.Errorf("refused with %+v, want %+v", got, test.want)
			}
			before := r.read(test.now).Totals.Refused
			allocs := testing.AllocsPerRun(100, func() { r.refuse(test.now) })
			if allocs != 0 {
				t.Errorf("a refusal allocates %v times, want 0", allocs)
			}
			if got := r.read(test.now).Totals.Refused - before; got != 101 { // AllocsPerRun warms up
				t.Errorf("101 refusals count as %d", got)
			}
		})
	}
}

func TestWaitingCostsNoMemory(t *testing.T) {
	cfg := with(timed)
	c := newClocked(&cfg, nil, 0)
	by := circuit.Cause{Context: context.Background()}
	var calls [3]circuit.Call
	allocs := testing.AllocsPerRun(100, func() {
		calls = [3]circuit.Call{}
		if !c.Enter(0, &calls[0]) || !c.Enter(0, &calls[1]) {
			t.Error("Enter does not admit")
		}
		calls[2], _, _ = c.Admit(&by, 0, true)
		c.Done(&by, 0, &calls[0], circuit.Verdict{Outcome: ok})
		if !c.Succeed(0, &calls[1], true) || !c.Succeed(0, &calls[2], true) {
			t.Error("Succeed does not count")
		}
	})
	if allocs != 0 {
		t.Errorf("requests that are timed allocate %v times, want 0", allocs)
	}
}

func TestMaxInFlight(t *testing.T) {
	for name, change := range map[string]func(*circuit.Config){"classic": func(*circuit.Config) {}, "adaptive": adaptive} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, with(func(c *circuit.Config) { change(c); c.MaxInFlight = 3 }))
			calls := []*circuit.Call{r.begin(0), r.begin(0), r.begin(0)}
			if got, want := r.refuse(0), (circuit.Refusal{State: circuit.Closed, Detail: "3 in flight"}); got != want {
				t.Errorf("refused with %+v, want %+v", got, want)
			}
			_, _, changed, ready := r.Ready(&r.by, 0, true)
			if ready {
				t.Error("it is ready, though it is full")
			}
			r.Reset(&r.by, 0)
			r.refuse(0) // those of older generations count too
			r.end(0, calls[0], ok)
			r.wantTold(changed)
			r.begin(0)
			r.ForceClosed(&r.by, 0)
			r.begin(0) // has no bound
		})
	}
}
