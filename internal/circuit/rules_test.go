package circuit_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

const (
	ms     = time.Millisecond
	second = time.Second
)

// defaults are those of a policy that says nothing.
func defaults() circuit.Config {
	return circuit.Config{
		ConsecutiveFailures: 5,
		MinRequests:         20,
		Window:              10 * second,
		OpenFor:             60 * second,
		OpenGrowth:          1,
		MaxOpenFor:          5 * time.Minute,
		Probes:              1,
		ProbeSuccesses:      1,
		ProbeTimeout:        30 * second,
	}
}

// with returns the defaults with changes.
func with(change func(*circuit.Config)) circuit.Config {
	cfg := defaults()
	change(&cfg)
	return cfg
}

// timed makes a circuit time its requests.
func timed(c *circuit.Config) { c.SlowRatio, c.SlowAfter = 1, second }

// rig is a circuit whose answers are as the test expects, or it fails.
type rig struct {
	*testing.T
	clocked
	cfg    *circuit.Config
	by     circuit.Cause
	events recorder
}

func newRig(t *testing.T, cfg circuit.Config) *rig {
	r := &rig{T: t, cfg: &cfg, by: circuit.Cause{Context: context.Background()}}
	r.clocked = newClocked(r.cfg, r.events.add, 0)
	return r
}

func (r *rig) begin(now time.Duration) *circuit.Call {
	r.Helper()
	call, refusal, decision := r.Admit(&r.by, now, true)
	if decision != circuit.Admitted {
		r.Fatalf("at %v a request is refused: %+v", now, refusal)
	}
	return &call
}

func (r *rig) refuse(now time.Duration) circuit.Refusal {
	r.Helper()
	_, refusal, decision := r.Admit(&r.by, now, true)
	if decision != circuit.Refused {
		r.Fatalf("at %v the decision is %v, want a refusal", now, decision)
	}
	return refusal
}

func (r *rig) end(now time.Duration, call *circuit.Call, outcome circuit.Outcome) {
	r.Helper()
	if !r.Done(&r.by, now, call, circuit.Verdict{Outcome: outcome, ErrorType: "500", Detail: "500"}) {
		r.Fatalf("at %v a verdict does not count", now)
	}
}

func (r *rig) send(now time.Duration, outcomes ...circuit.Outcome) *circuit.Call {
	r.Helper()
	var call *circuit.Call
	for _, outcome := range outcomes {
		call = r.begin(now)
		r.end(now, call, outcome)
	}
	return call
}

func (r *rig) late(now time.Duration, call *circuit.Call) {
	r.Helper()
	if !r.Late(&r.by, now, call.Receipt, circuit.Verdict{Outcome: circuit.Failure, ErrorType: "body"}) {
		r.Fatalf("at %v the circuit is said to be gone", now)
	}
}

func (r *rig) read(now time.Duration) circuit.Snapshot { return r.Snapshot(&r.by, now) }

func (r *rig) wantState(now time.Duration, want circuit.State) {
	r.Helper()
	if got := r.read(now).State; got != want {
		r.Fatalf("at %v the state is %v, want %v", now, got, want)
	}
}

func (r *rig) wantCounts(now time.Duration, want circuit.Counts) {
	r.Helper()
	if got := r.read(now).Counts; got != want {
		r.Fatalf("counts at %v are %+v, want %+v", now, got, want)
	}
}

// wantTold checks that one who waits for Ready is told to ask again.
func (r *rig) wantTold(changed <-chan struct{}) {
	r.Helper()
	select {
	case <-changed:
	default:
		r.Error("who waits is not told of a change")
	}
}

// lastEvent returns the latest event without its detail and its error type.
func (r *rig) lastEvent() circuit.Event {
	r.Helper()
	if len(r.events) == 0 {
		r.Fatal("there was no event")
	}
	e := r.events[len(r.events)-1]
	e.Detail, e.ErrorType = "", ""
	return e
}

const (
	ok     = circuit.Success
	bad    = circuit.Failure
	ignore = circuit.Ignored
)

func TestDefaultsOpenAtTheFifthFailure(t *testing.T) {
	r := newRig(t, defaults())
	r.send(1*second, bad, bad, bad, ignore, bad)
	r.wantState(1*second, circuit.Closed)
	r.send(2*second, bad)
	want := circuit.Event{
		To: circuit.Open, At: 2 * second, Reason: circuit.ConsecutiveFailures, OpenFor: 60 * second,
		Counts: circuit.Counts{Requests: 5, Failures: 5, ConsecutiveFailures: 5},
	}
	if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	wantRefusal := circuit.Refusal{State: circuit.Open, RetryAfter: 60*second - 1, Detail: "5 failures in a row, last: 500"}
	if got := r.refuse(2*second + 1); got != wantRefusal {
		t.Errorf("refusal is %+v, want %+v", got, wantRefusal)
	}
}

func TestRules(t *testing.T) {
	ratio := func(c *circuit.Config) { c.ConsecutiveFailures, c.FailureRatio, c.MinRequests = -1, 0.5, 4 }
	slow := func(c *circuit.Config) {
		c.ConsecutiveFailures, c.SlowRatio, c.SlowAfter, c.MinRequests = -1, 0.5, second, 4
	}
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
		script string // f(ailed), s(low), o(k), with a body _, i(gnored)
		want   string
	}{
		{"a whole response breaks the run", func(*circuit.Config) {}, "ffffoffff", ""},
		{"one with a body does not", func(*circuit.Config) {}, "ffff_f", circuit.ConsecutiveFailures},
		{"an ignored one does not", func(*circuit.Config) {}, "ffffif", circuit.ConsecutiveFailures},
		{"no run counts if the rule is off", func(c *circuit.Config) { ratio(c); c.MinRequests = 100 }, "ffffffffff", ""},
		{"a ratio is not met below it", ratio, "oo_ff", ""},
		{"but at it", ratio, "ooff", circuit.FailureRatio},
		{"not below the least number of requests", ratio, "fff", ""},
		{"not by a success that makes up the number", ratio, "fffo", ""},
		{"but by the next failure", ratio, "fffof", circuit.FailureRatio},
		{"ignored ones do not count", ratio, "ffiiii", ""},
		{"slow ones are slow", slow, "ooss", circuit.SlowRatio},
		{"and no failures", func(c *circuit.Config) { ratio(c); c.SlowAfter = second }, "ssss", ""},
		{"failures are not slow", slow, "oofff", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := defaults()
			test.change(&cfg)
			r := newRig(t, cfg)
			now := time.Duration(0)
			for _, step := range test.script {
				call, v := r.begin(now), circuit.Verdict{Outcome: ok, Whole: true}
				switch step {
				case 'f':
					v = circuit.Verdict{Outcome: bad}
				case 'i':
					v = circuit.Verdict{Outcome: ignore}
				case '_':
					v.Whole = false
				}
				if step == 's' {
					now += second + 1
				}
				r.Done(&r.by, now, call, v)
			}
			got := ""
			if len(r.events) > 0 {
				got = r.events[0].Reason
			}
			if got != test.want {
				t.Errorf("%q opens by %q, want %q", test.script, got, test.want)
			}
		})
	}
}

func TestOpenTime(t *testing.T) {
	growing := func(c *circuit.Config) { c.OpenGrowth, c.MaxOpenFor = 2, 4*60*second }
	for _, test := range []struct {
		name       string
		change     func(*circuit.Config)
		probes     int // that have failed before
		retryAfter time.Duration
		random     float64
		want       time.Duration
	}{
		{"as set", func(*circuit.Config) {}, 0, 0, 0, 60 * second},
		{"no growth", func(*circuit.Config) {}, 3, 0, 0, 60 * second},
		{"growth begins with the first failed probe", growing, 0, 0, 0, 60 * second},
		{"growth", growing, 1, 0, 0, 120 * second},
		{"growth to the bound", growing, 2, 0, 0, 240 * second},
		{"growth is bounded", growing, 9, 0, 0, 240 * second},
		{"growth is bounded between its steps", func(c *circuit.Config) { c.OpenGrowth, c.MaxOpenFor = 2, 200*second }, 2, 0, 0, 200 * second},
		{"Retry-After is longer", growing, 0, 61 * second, 0, 61 * second},
		{"Retry-After is shorter", growing, 1, 119 * second, 0, 120 * second},
		{"Retry-After is bounded", growing, 0, math.MaxInt64, 0, 240 * second},
		{"jitter at its least", func(c *circuit.Config) { c.Jitter = 0.5 }, 0, 0, 0, 60 * second},
		{"jitter", func(c *circuit.Config) { c.Jitter = 0.5 }, 0, 0, 0.5, 75 * second},
		{"jitter comes on top of the bound", func(c *circuit.Config) { growing(c); c.Jitter = 1 }, 0, time.Hour, 0.75, 7 * 60 * second},
		{"the longest", func(c *circuit.Config) { c.OpenFor, c.MaxOpenFor = math.MaxInt64, math.MaxInt64 }, 0, 0, 0, math.MaxInt64},
		{"jitter saturates", func(c *circuit.Config) { c.MaxOpenFor, c.Jitter = math.MaxInt64, 1 }, 0, math.MaxInt64 - 1, 0.9, math.MaxInt64},
		{"growth saturates", func(c *circuit.Config) { c.OpenGrowth, c.MaxOpenFor = math.MaxFloat64, math.MaxInt64 }, 1, 0, 0, math.MaxInt64},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := with(func(c *circuit.Config) { c.ConsecutiveFailures, c.Rand = 1, func() float64 { return 0 } })
			test.change(&cfg)
			r := newRig(t, cfg)
			now := time.Duration(1)
			for range test.probes {
				r.send(now, bad)
				now = r.read(now).Until
			}
			r.cfg.Rand = func() float64 { return test.random }
			r.Done(&r.by, now, r.begin(now), circuit.Verdict{Outcome: bad, RetryAfter: test.retryAfter})
			if got := r.lastEvent().OpenFor; got != test.want {
				t.Errorf("open for %v, want %v", got, test.want)
			}
			wantUntil := now + min(test.want, math.MaxInt64-now)
			if got := r.read(now).Until; got != wantUntil {
				t.Errorf("open until %v, want %v", got, wantUntil)
			}
		})
	}
}

func TestGrowthHasMemory(t *testing.T) {
	const bound = 480 * second // three failed probes
	for _, test := range []struct {
		closedFor time.Duration
		want      time.Duration
	}{
		{0, 480 * second},
		{bound - 1, 480 * second},
		{bound, 240 * second},
		{2*bound - 1, 240 * second},
		{2 * bound, 120 * second},
		{3 * bound, 60 * second},
		{99 * bound, 60 * second},
	} {
		cfg := with(func(c *circuit.Config) { c.ConsecutiveFailures, c.OpenGrowth, c.MaxOpenFor = 1, 2, bound })
		r := newRig(t, cfg)
		r.send(0, bad)
		now := r.read(0).Until
		for range 10 { // the count stops at three
			r.send(now, bad)
			now = r.read(now).Until
		}
		r.send(now, ok)
		r.send(now+test.closedFor, bad)
		if got := r.lastEvent().OpenFor; got != test.want {
			t.Errorf("closed for %v, then open for %v, want %v", test.closedFor, got, test.want)
		}
	}
}
