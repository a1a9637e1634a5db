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
