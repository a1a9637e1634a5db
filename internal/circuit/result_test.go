package circuit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

func TestALateFailureTurnsTheSuccessThatWasCounted(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
		at     time.Duration
		want   circuit.Counts
	}{
		{"without a window", func(*circuit.Config) {}, time.Hour, circuit.Counts{Requests: 1, Failures: 1, ConsecutiveFailures: 1}},
		{"in the window", slow, 10*second - 1, circuit.Counts{Requests: 1, Failures: 1, ConsecutiveFailures: 1}},
		{"after it has dropped out", slow, 10 * second, circuit.Counts{ConsecutiveFailures: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(test.change))
			r.late(test.at, r.send(0, ok))
			r.wantCounts(test.at, test.want)
			want := circuit.Totals{Success: 1, Failures: []circuit.ErrorTotal{{Type: "body", Count: 1}}}
			if diff := cmp.Diff(want, r.read(test.at).Totals); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALateFailureOfAnOlderGenerationIsOnlyATotal(t *testing.T) {
	r := newRig(t, defaults())
	call := r.send(0, ok)
	r.Reset(&r.by, 0)
	r.late(0, call)
	r.wantCounts(0, circuit.Counts{})
	if got := r.read(0).Totals.Failures; len(got) != 1 {
		t.Errorf("failures in total are %v, want 1 of a body", got)
	}
}

func TestTheBodyOfARunIsWhatBreaksIt(t *testing.T) {
	r := newRig(t, defaults())
	call := r.send(0, ok)
	r.send(0, bad, bad, bad)
	r.wantCounts(0, circuit.Counts{Requests: 4, Failures: 3, ConsecutiveFailures: 3})
	r.Ended(call.Receipt)
	r.wantCounts(0, circuit.Counts{Requests: 4, Failures: 3})
}

func TestLimited(t *testing.T) {
	limited := func(r *rig, now, retryAfter time.Duration) {
		r.Done(&r.by, now, r.begin(now), circuit.Verdict{Outcome: circuit.Limited, Detail: "429", RetryAfter: retryAfter})
	}
	for name, change := range map[string]func(*circuit.Config){"classic": func(c *circuit.Config) { c.MaxRetryAfter = c.MaxOpenFor }, "adaptive": adaptive} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, with(change))
			r.send(0, bad, bad, bad, bad)
			limited(r, 0, 0)
			r.wantCounts(0, circuit.Counts{Requests: 4, Failures: 4, ConsecutiveFailures: 4}) // breaks no run
			limited(r, 0, 7*second)
			if got := r.refuse(second); got.State != circuit.Open || got.RetryAfter != 6*second {
				t.Errorf("refused with %+v, want for the rest of what the host has asked for", got)
			}
			if got := r.lastEvent(); got.Reason != circuit.RateLimited || got.OpenFor != 7*second {
				t.Errorf("opened by %+v", got)
			}
			for range 20 {
				r.begin(7 * second) // all at once, without a probe
				if name == "adaptive" && r.read(7*second).InFlight == 16 {
					break // it comes back bounded
				}
			}
			if got := r.lastEvent(); got.From != circuit.Open || got.To != circuit.Closed || got.At != 7*second {
				t.Errorf("closed by %+v", got)
			}
			if got := r.read(7 * second).Totals; got.Limited != 2 || got.Failure() != 4 {
				t.Errorf("the totals are %+v, want 2 limited and 4 failures", got)
			}
		})
	}
}

// TestLimitedLate: what was in flight when the host asked for less changes nothing more.
func TestLimitedLate(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.MaxRetryAfter = time.Minute }))
	first, second := r.begin(0), r.begin(0)
	v := circuit.Verdict{Outcome: circuit.Limited, RetryAfter: 10 * time.Second}
	r.Done(&r.by, 0, first, v)
	r.Done(&r.by, time.Second, second, v)
	if got := r.read(time.Second).Until; got != 10*time.Second {
		t.Errorf("limited until %v, want 10s: a caller that waited must not be refused", got)
	}
}

// TestLimitedProbe gives its slot back.
func TestLimitedProbe(t *testing.T) {
	r, now := opened(t, func(*circuit.Config) {})
	probe := r.begin(now)
	r.refuse(now)
	r.Done(&r.by, now, probe, circuit.Verdict{Outcome: circuit.Limited})
	r.wantState(now, circuit.HalfOpen)
	r.begin(now)
}

// TestBreakingTogether: a broken connection adds to the run if its request was admitted after the
// previous one that did, or a second later. Everything else that counts them counts each.
func TestBreakingTogether(t *testing.T) {
	broken := circuit.Verdict{Outcome: bad, ErrorType: "connection", Broken: true}
	for _, test := range []struct {
		name  string
		apart time.Duration
		want  int
	}{
		{"at once", 0, 1},
		{"within a second", second - 1, 1},
		{"a second apart", second, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, with(func(c *circuit.Config) { c.ConsecutiveFailures = 10 }))
			var calls []*circuit.Call
			for range 6 {
				calls = append(calls, r.begin(0))
			}
			now := time.Duration(0)
			for i, call := range calls {
				if i > 0 && (test.apart == second || i == 1) {
					now += test.apart
				}
				r.Done(&r.by, now, call, broken)
			}
			r.wantCounts(now, circuit.Counts{Requests: 6, Failures: 6, ConsecutiveFailures: test.want})
		})
	}
	r := newRig(t, defaults())
	for range 5 { // one after another
		r.Done(&r.by, 0, r.begin(0), broken)
	}
	r.wantState(0, circuit.Open)
}
