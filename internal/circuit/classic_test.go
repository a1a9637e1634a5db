package circuit_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

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

// TestFlapping: a host that answers every probe and fails under traffic gets longer and longer open
// times.
func TestFlapping(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.OpenFor, c.OpenGrowth, c.MaxOpenFor = 5*second, 2, 60*second }))
	now := time.Duration(0)
	for _, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		r.send(now, bad, bad, bad, bad, bad)
		if got := r.lastEvent().OpenFor; got != want*second {
			t.Errorf("open for %v, want %v", got, want*second)
		}
		now = r.read(now).Until
		r.send(now, ok)
		r.wantState(now, circuit.Closed)
		now += second // which is less than it was open
	}
}

// TestSlowProbes: where slow requests open a circuit, a probe that is slow does not close it.
func TestSlowProbes(t *testing.T) {
	const slowAfter = 2 * second
	for _, test := range []struct {
		name      string
		slowRatio float64
		took      time.Duration
		want      circuit.State
		reason    string
		detail    string
	}{
		{"in time", 0.5, slowAfter, circuit.Closed, circuit.ProbeSucceeded, ""},
		{"too late", 0.5, slowAfter + 1, circuit.Open, circuit.ProbeFailed, "probe took longer than 2s"},
		{"far too late", 0.5, 10 * second, circuit.Open, circuit.ProbeFailed, "probe took longer than 2s"},
		{"without a rule for it", 0, 10 * second, circuit.Closed, circuit.ProbeSucceeded, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := opened(t, func(c *circuit.Config) { c.SlowRatio, c.SlowAfter = test.slowRatio, slowAfter })
			probe := r.begin(now)
			r.end(now+test.took, probe, ok)
			r.wantState(now+test.took, test.want)
			last := r.events[len(r.events)-1]
			if last.Reason != test.reason || test.detail != "" && last.Detail != test.detail {
				t.Errorf("got reason %s, %q, want %s, %q", last.Reason, last.Detail, test.reason, test.detail)
			}
		})
	}
}

// TestSlowProbesOfAdaptive: an Adaptive circuit that has a rule for slow requests too is not closed by a
// slow probe, whose body says nothing any more.
func TestSlowProbesOfAdaptive(t *testing.T) {
	const slowAfter = 2 * second
	for _, test := range []struct {
		name      string
		slowRatio float64
		took      time.Duration
		policy    func(*circuit.Config) // while the probe is out; nil: the same
		want      circuit.State
	}{
		{"in time", 0.5, slowAfter, nil, circuit.Closed},
		{"too late", 0.5, slowAfter + 1, nil, circuit.Open},
		{"without a rule for it", 0, 10 * second, nil, circuit.Closed},
		{"in time for another policy", 0.5, slowAfter, func(*circuit.Config) {}, circuit.Closed},
		{"too late for another policy", 0.5, slowAfter + 1, func(*circuit.Config) {}, circuit.Open},
	} {
		t.Run(test.name, func(t *testing.T) {
			slow := func(c *circuit.Config) { c.SlowRatio, c.SlowAfter = test.slowRatio, slowAfter }
			r := newRig(t, with(func(c *circuit.Config) { adaptive(c); slow(c) }))
			for range 12 {
				r.send(0, bad)
			}
			r.wantState(0, circuit.Open)
			now := r.read(0).Until
			probe := r.begin(now)
			if test.policy != nil {
				cfg := with(func(c *circuit.Config) { test.policy(c); slow(c) })
				r.at(now)
				r.SetConfig(&r.by, &cfg)
			}
			now += test.took
			r.end(now, probe, ok)
			if got := r.Circuit.State(); got != test.want {
				t.Errorf("the state is %v, want %v", got, test.want)
			}
			before := r.read(now).Counts
			r.late(now, probe)
			if got := r.read(now).Counts; test.want == circuit.Open && got != before {
				t.Errorf("its body counts again: %+v, want %+v", got, before)
			} else if test.want == circuit.Closed && got.ConsecutiveFailures != 1 {
				t.Errorf("its body does not count: %+v, want a run of 1", got)
			}
		})
	}
}

// opened returns a rig that has opened at 0, and the moment of its first probe.
func opened(t *testing.T, change func(*circuit.Config)) (*rig, time.Duration) {
	r := newRig(t, with(change))
	r.send(0, bad, bad, bad, bad, bad)
	r.wantState(0, circuit.Open)
	return r, r.read(0).Until
}

func TestAnOpenCircuitTurnsHalfOpenWhenItsTimeIsUp(t *testing.T) {
	r, until := opened(t, func(*circuit.Config) {})
	r.wantState(until-1, circuit.Open)
	got := r.read(until + second)
	if got.State != circuit.HalfOpen || got.Since != until || got.Until != 0 {
		t.Errorf("unasked it is %v since %v until %v, want half-open since %v", got.State, got.Since, got.Until, until)
	}
	r.begin(until + second)
	if got := r.read(until + second).Since; got != until {
		t.Errorf("with a probe it is half-open since %v, want %v", got, until)
	}
	want := circuit.Event{From: circuit.Open, To: circuit.HalfOpen, At: until + second, Reason: circuit.OpenElapsed}
	if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestProbes(t *testing.T) {
	several := func(c *circuit.Config) { c.Probes, c.ProbeSuccesses = 2, 3 }
	for _, test := range []struct {
		name   string
		script string // o(k), f(ailed), i(gnored): one after the other
		want   circuit.State
	}{
		{"too few successes", "oo", circuit.HalfOpen},
		{"enough", "ooo", circuit.Closed},
		{"ignored ones say nothing", "oioii", circuit.HalfOpen},
		{"and break nothing", "oioio", circuit.Closed},
		{"one failure", "oof", circuit.Open},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := opened(t, several)
			for _, step := range test.script {
				r.send(now, map[rune]circuit.Outcome{'o': ok, 'f': bad, 'i': ignore}[step])
			}
			r.wantState(now, test.want)
		})
	}
}

func TestProbeSlots(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.Probes, c.ProbeSuccesses = 2, 9 })
	first, second := r.begin(now), r.begin(now)
	want := circuit.Refusal{State: circuit.HalfOpen, Detail: "5 failures in a row, last: 500"}
	if got := r.refuse(now); got != want {
		t.Errorf("a third probe is refused with %+v, want %+v", got, want)
	}
	r.end(now, first, ok)
	third := r.begin(now)
	r.refuse(now)
	r.end(now, second, ignore)
	fourth := r.begin(now)
	r.refuse(now)
	r.end(now, third, bad)
	r.wantState(now, circuit.Open)
	now = r.read(now).Until
	r.begin(now)
	r.end(now, fourth, ok) // stale: gives no slot back
	r.begin(now)
	r.refuse(now)
}

func TestOnlyRequestsThatMayProbe(t *testing.T) {
	r, now := opened(t, func(*circuit.Config) {})
	_, refusal, decision := r.Admit(&r.by, now, false)
	want := circuit.Refusal{State: circuit.HalfOpen, Detail: "5 failures in a row, last: 500"}
	if decision != circuit.Refused || refusal != want {
		t.Errorf("decision %v, %+v, want refused, %+v", decision, refusal, want)
	}
	probe := r.begin(now)
	r.end(now, probe, ok)
	if _, _, decision := r.Admit(&r.by, now, false); decision != circuit.Admitted {
		t.Errorf("decision of a closed circuit is %v, want admitted", decision)
	}
}

func TestAnUnansweredProbeFailsAtItsMoment(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.OpenGrowth = 2 })
	probe := r.begin(now)
	moment := now + 30*second
	r.wantState(moment-1, circuit.HalfOpen)
	before := r.read(moment - 1).Totals

	got := r.read(moment + 7*second) // noticed late
	if want := moment + 120*second; got.State != circuit.Open || got.Since != moment || got.Until != want {
		t.Errorf("it is %v since %v until %v, want open since %v until %v", got.State, got.Since, got.Until, moment, want)
	}
	want := circuit.Event{
		From: circuit.HalfOpen, To: circuit.Open, At: moment, Reason: circuit.ProbeTimedOut, OpenFor: 120 * second,
		Counts: circuit.Counts{Requests: 1, Failures: 1, ConsecutiveFailures: 1},
	}
	if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	before.Fail("timeout", 1)
	if diff := cmp.Diff(before, got.Totals); diff != "" || got.InFlight != 1 {
		t.Errorf("%d are in flight, want 1; totals (-want +got):\n%s", got.InFlight, diff)
	}

	verdict := circuit.Verdict{Outcome: bad, ErrorType: "500"}
	if r.Done(&r.by, moment+8*second, probe, verdict) {
		t.Errorf("the late verdict counts")
	}
	last := r.read(moment + 8*second)
	if diff := cmp.Diff(got.Totals, last.Totals); diff != "" || last.InFlight != 0 {
		t.Errorf("after the late verdict %d are in flight, want 0; totals (-want +got):\n%s", last.InFlight, diff)
	}
}

func TestProbesThatHangTogetherFailTogether(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.Probes, c.OpenGrowth = 3, 2 })
	together := []*circuit.Call{r.begin(now), r.begin(now)}
	later := r.begin(now + 1)
	before := r.read(now).Totals
	before.Fail("timeout", 2)
	got := r.read(now + time.Minute)
	if diff := cmp.Diff(before, got.Totals); diff != "" || got.InFlight != 3 || got.Until != now+30*second+120*second {
		t.Errorf("%d in flight, want 3; until %v; totals (-want +got):\n%s", got.InFlight, got.Until, diff)
	}
	if want := (circuit.Counts{Requests: 2, Failures: 2, ConsecutiveFailures: 2}); r.lastEvent().Counts != want {
		t.Errorf("counts are %+v, want %+v", r.lastEvent().Counts, want)
	}
	for _, probe := range together {
		if r.Done(&r.by, now+time.Minute, probe, circuit.Verdict{Outcome: ok}) {
			t.Error("a late verdict counts")
		}
	}
	r.end(now+time.Minute, later, ok) // of an older generation
	if got := r.read(now + time.Minute); got.InFlight != 0 || got.Totals.Success != before.Success+1 {
		t.Errorf("%d are in flight, want 0; totals are %+v", got.InFlight, got.Totals)
	}
}

func TestAProbeMayBeGivenAllTheTimeThereIs(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.ProbeTimeout = math.MaxInt64 })
	r.begin(now)
	r.wantState(now+time.Hour, circuit.HalfOpen)
	if _, wake, _, _ := r.Ready(&r.by, now+time.Hour, true); wake != math.MaxInt64-time.Hour {
		t.Errorf("ready after %v, want %v", wake, math.MaxInt64-time.Hour)
	}
}

func TestAnAnswerInTimeIsNoTimeout(t *testing.T) {
	r, now := opened(t, func(*circuit.Config) {})
	r.end(now+30*second, r.begin(now), ok)
	r.wantState(now+30*second, circuit.Closed)
}

func TestLateFailureOfAProbe(t *testing.T) {
	t.Run("in half-open", func(t *testing.T) {
		r, now := opened(t, func(c *circuit.Config) { c.ProbeSuccesses = 2 })
		probe := r.send(now, ok)
		r.late(now+second, probe)
		want := circuit.Event{
			From: circuit.HalfOpen, To: circuit.Open, At: now + second, Reason: circuit.ProbeFailed, OpenFor: 60 * second,
			Counts: circuit.Counts{Requests: 1, Failures: 1, ConsecutiveFailures: 1},
		}
		if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	})
	t.Run("in the closed state it led to", func(t *testing.T) {
		r, now := opened(t, func(c *circuit.Config) { c.ProbeSuccesses = 2 })
		first, second := r.send(now, ok), r.send(now, ok)
		r.late(now, first)
		r.late(now, second)
		r.wantCounts(now, circuit.Counts{ConsecutiveFailures: 2})
		r.send(now, bad, bad)
		r.wantState(now, circuit.Closed)
		r.send(now, bad)
		r.wantState(now, circuit.Open)
	})
	t.Run("and its good end breaks the run there", func(t *testing.T) {
		r, now := opened(t, func(*circuit.Config) {})
		probe := r.send(now, ok)
		r.send(now, bad, bad, bad, bad)
		r.Ended(probe.Receipt)
		r.wantCounts(now, circuit.Counts{Requests: 4, Failures: 4})
	})
	t.Run("nowhere if its headers came after the circuit had closed", func(t *testing.T) {
		r, now := opened(t, func(c *circuit.Config) { c.Probes = 2 })
		stale := r.begin(now)
		r.send(now, ok)
		r.end(now, stale, ok)
		r.late(now, stale)
		r.wantCounts(now, circuit.Counts{})
		r.send(now, bad)
		r.Ended(stale.Receipt)
		r.wantCounts(now, circuit.Counts{Requests: 1, Failures: 1, ConsecutiveFailures: 1})
	})
	t.Run("nowhere after the next transition", func(t *testing.T) {
		r, now := opened(t, func(*circuit.Config) {})
		probe := r.send(now, ok)
		r.send(now, bad, bad, bad, bad, bad)
		until := r.read(now).Until
		r.begin(until)
		r.late(until, probe)
		r.wantState(until, circuit.HalfOpen)
	})
}

func TestRamp(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.Ramp = 10 * second })
	random := 0.0
	r.cfg.Rand = func() float64 { return random }
	r.send(now, ok)
	for _, test := range []struct {
		at    time.Duration
		share float64
	}{{0, 0.1}, {second, 0.19}, {5 * second, 0.55}, {10*second - 1, 1}} {
		random = test.share - 1e-6
		r.send(now+test.at, ignore)
		random = test.share + 1e-6
		if test.share == 1 {
			continue
		}
		want := circuit.Refusal{State: circuit.Closed, Detail: "5 failures in a row, last: 500"}
		if got := r.refuse(now + test.at); got != want {
			t.Errorf("%v into the ramp the refusal is %+v, want %+v", test.at, got, want)
		}
	}
	if r.Enter(now, new(circuit.Call)) {
		t.Error("a ramping circuit admits without a look at the time")
	}
	r.cfg.Rand = func() float64 { t.Error("chance is asked after the ramp"); return 1 }
	r.send(now+10*second, ok)
	if !r.Enter(now, new(circuit.Call)) {
		t.Error("after the ramp the circuit still needs the time")
	}
}

func TestARuleOpensARampingCircuit(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.Ramp, c.Rand = 10*second, func() float64 { return 0 } })
	r.send(now, ok, bad, bad, bad, bad, bad)
	r.wantState(now, circuit.Open)
	r.send(r.read(now).Until, ok) // ramps again
	r.Reset(&r.by, now+time.Hour)
	if !r.Enter(now, new(circuit.Call)) {
		t.Error("a circuit ramps after Reset")
	}
}
