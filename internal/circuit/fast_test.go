package circuit_test

import (
	"context"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

func TestAGoodRequestCostsNeitherLockNorMemory(t *testing.T) {
	cfg := defaults()
	var locked *circuit.Circuit
	// The recorder is called with the lock held: to ask for it here would hang.
	locked = circuit.New(&cfg, recorderFunc(func(e circuit.Event) {
		if e.To != circuit.Closed {
			return
		}
		allocs := testing.AllocsPerRun(100, func() {
			var call circuit.Call
			if !locked.Enter(&call) || !locked.Succeed(&call, true) {
				t.Error("a good request needs the lock")
			}
		})
		if allocs != 0 {
			t.Errorf("a good request allocates %v times, want 0", allocs)
		}
	}), 0)
	by := circuit.Cause{Context: context.Background()}
	locked.ForceOpen(&by, 0)
	locked.Reset(&by, 0)
	if got := locked.Snapshot(&by, 0).Totals.Success; got == 0 {
		t.Error("no request was sent")
	}
}

type recorderFunc func(circuit.Event)

func (f recorderFunc) Record(_ context.Context, e circuit.Event) { f(e) }

// TestWhatNeedsTheTime says which requests Enter and Succeed leave to Admit and
// Done.
func TestWhatNeedsTheTime(t *testing.T) {
	for _, test := range []struct {
		name         string
		change       func(*circuit.Config)
		before       func(*rig) time.Duration
		enter        bool
		succeed      bool // of a response with a body
		succeedWhole bool
	}{
		{"closed", nil, nil, true, true, true},
		{"after a failure", nil, func(r *rig) time.Duration { r.send(0, bad); return 0 }, true, true, false},
		{"after the end of its run", nil, func(r *rig) time.Duration { r.send(0, bad); r.Ended(r.send(0, ok).Receipt); return 0 }, true, true, true},
		{"SlowAfter without a rule for it", func(c *circuit.Config) { c.SlowAfter = second }, nil, true, true, true},
		{"a ratio", func(c *circuit.Config) { c.FailureRatio = 1 }, nil, true, false, false},
		{"a ratio, and slow requests", func(c *circuit.Config) { c.FailureRatio, c.SlowAfter = 1, second }, nil, false, false, false},
		{"TripWhen", func(c *circuit.Config) { c.TripWhen = func(circuit.Counts) bool { return false } }, nil, true, false, false},
		{"half-open", func(c *circuit.Config) { c.ConsecutiveFailures, c.Probes = 1, 2 }, func(r *rig) time.Duration { r.send(0, bad); return time.Hour }, false, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			if test.change != nil {
				test.change(&cfg)
			}
			r := newRig(t, cfg)
			now := time.Duration(0)
			if test.before != nil {
				now = test.before(r)
			}
			begin := func() *circuit.Call {
				call := new(circuit.Call)
				entered := r.Enter(call)
				if entered != test.enter {
					t.Errorf("Enter admits: %v, want %v", entered, test.enter)
				}
				if !entered {
					call = r.begin(now)
				}
				return call
			}
			if got := r.Succeed(begin(), false); got != test.succeed {
				t.Errorf("Succeed counts a response with a body: %v, want %v", got, test.succeed)
			}
			if got := r.Succeed(begin(), true); got != test.succeedWhole {
				t.Errorf("Succeed counts a whole response: %v, want %v", got, test.succeedWhole)
			}
		})
	}
}

// TestWhatIsRefusedWithoutALock says which refusals Refuse leaves to Admit.
func TestWhatIsRefusedWithoutALock(t *testing.T) {
	const openFor = 10 * second
	for _, test := range []struct {
		name string
		now  time.Duration
		do   func(*rig)
		want time.Duration // until it may be admitted; 0 if it is left to Admit
	}{
		{"closed", 0, func(*rig) {}, 0},
		{"open", 3 * second, func(r *rig) { r.send(0, bad) }, 7 * second},
		{"at the end of the open time", openFor, func(r *rig) { r.send(0, bad) }, 0},
		{"half-open", openFor, func(r *rig) { r.send(0, bad); r.begin(openFor) }, 0},
		{"open again", openFor + second, func(r *rig) { r.send(0, bad); r.send(openFor, bad) }, 9 * second},
		{"closed again", openFor, func(r *rig) { r.send(0, bad); r.send(openFor, ok) }, 0},
		{"reset", 0, func(r *rig) { r.send(0, bad); r.Reset(&r.by, 0) }, 0},
		{"forced open", 0, func(r *rig) { r.ForceOpen(&r.by, 0) }, 0},
		{"forced open while it was open", 0, func(r *rig) { r.send(0, bad); r.ForceOpen(&r.by, 0) }, 0},
		{"open for others", second, func(r *rig) { r.AdoptOpen(&r.by, 0, 5*second) }, 4 * second},
		{"open for others, for longer", second, func(r *rig) { r.send(0, bad); r.AdoptOpen(&r.by, 0, time.Minute) }, 59 * second},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			cfg.ConsecutiveFailures, cfg.OpenFor = 1, openFor
			r := newRig(t, cfg)
			test.do(r)
			before := r.read(test.now).Totals.Refused
			got, refused := r.Refuse(test.now)
			if refused != (test.want > 0) || got.RetryAfter != test.want {
				t.Fatalf("Refuse returned %+v, %v, want %v", got, refused, test.want)
			}
			if !refused {
				return
			}
			if _, want, decision := r.Admit(&r.by, test.now, true); decision != circuit.Refused || got != want {
				t.Errorf("Refuse returned %+v, Admit %+v, %v", got, want, decision)
			}
			if got := r.read(test.now).Totals.Refused - before; got != 2 {
				t.Errorf("two refusals count as %d", got)
			}
			allocs := testing.AllocsPerRun(100, func() { r.Refuse(test.now) })
			if allocs != 0 {
				t.Errorf("a refusal allocates %v times, want 0", allocs)
			}
		})
	}
}

// TestWhatNeedsMoreThanTheTime says which requests EnterAt and SucceedAt leave to
// Admit and Done. One has begun at 0, before what the test does.
func TestWhatNeedsMoreThanTheTime(t *testing.T) {
	for _, test := range []struct {
		name           string
		change         func(*circuit.Config)
		now            time.Duration
		before         func(*rig)
		enter, succeed bool
	}{
		{"no slow rule", func(c *circuit.Config) { c.FailureRatio = 1 }, 0, nil, false, true},
		{"no window", func(*circuit.Config) {}, 0, nil, false, false},
		{"timed", timed, second - 1, nil, true, true},
		{"one has become slow", timed, second, nil, false, false},
		{"one has been counted as slow", timed, second, func(r *rig) { r.read(second) }, true, true},
		{"after a failure", timed, 0, func(r *rig) { r.send(0, bad) }, true, true},
		{"after a reset", timed, 0, func(r *rig) { r.Reset(&r.by, 0) }, true, false},
		{"forced closed", timed, 0, func(r *rig) { r.ForceClosed(&r.by, 0) }, true, true},
		{"forced open", timed, 0, func(r *rig) { r.ForceOpen(&r.by, 0) }, false, false},
		{"half-open", func(c *circuit.Config) { timed(c); c.ConsecutiveFailures, c.OpenFor, c.Probes = 1, second, 2 }, second, func(r *rig) { r.send(0, bad); r.begin(second) }, false, false},
		{"ramping", func(c *circuit.Config) { timed(c); c.ConsecutiveFailures, c.OpenFor, c.Ramp = 1, second, second }, second, func(r *rig) { r.send(0, bad); r.send(second, ok) }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(test.change))
			call := r.begin(0)
			if test.before != nil {
				test.before(r)
			}
			if got := r.EnterAt(new(circuit.Call), test.now); got != test.enter {
				t.Errorf("EnterAt admits: %v, want %v", got, test.enter)
			}
			if got := r.SucceedAt(call, test.now, true); got != test.succeed {
				t.Errorf("SucceedAt counts: %v, want %v", got, test.succeed)
			}
		})
	}
}

func TestWaitingCostsNoMemory(t *testing.T) {
	cfg := with(timed)
	c := circuit.New(&cfg, nil, 0)
	by := circuit.Cause{Context: context.Background()}
	var calls [3]circuit.Call
	allocs := testing.AllocsPerRun(100, func() {
		calls = [3]circuit.Call{}
		if !c.EnterAt(&calls[0], 0) || !c.EnterAt(&calls[1], 0) {
			t.Error("EnterAt does not admit")
		}
		calls[2], _, _ = c.Admit(&by, 0, true)
		c.Done(&by, 0, &calls[0], circuit.Verdict{Outcome: ok})
		if !c.SucceedAt(&calls[1], 0, true) || !c.SucceedAt(&calls[2], 0, true) {
			t.Error("SucceedAt does not count")
		}
	})
	if allocs != 0 {
		t.Errorf("requests that are timed allocate %v times, want 0", allocs)
	}
}
