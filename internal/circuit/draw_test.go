package circuit_test

import (
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// policy is what two configurations are made of, that share no state.
type policy struct {
	circuit.Config
	eighths []int // the random numbers, in eighths: exact, so that no rounding can differ
}

func drawPolicy(t *rapid.T) policy {
	const ms = time.Millisecond
	duration := func(name string, from ...time.Duration) time.Duration { return rapid.SampledFrom(from).Draw(t, name) }
	ratio := func(name string) float64 { return rapid.SampledFrom([]float64{0, 0, 0.25, 0.5, 1}).Draw(t, name) }
	p := policy{Config: circuit.Config{
		ConsecutiveFailures: rapid.SampledFrom([]int{-1, 1, 2, 3, 5}).Draw(t, "consecutive failures"),
		FailureRatio:        ratio("failure ratio"),
		SlowRatio:           ratio("slow ratio"),
		SlowAfter:           duration("slow after", 0, 3*ms, 10*ms, 95*ms, math.MaxInt64),
		MinRequests:         rapid.IntRange(1, 6).Draw(t, "min requests"),
		Window:              duration("window", 5, 95, 10*ms, 99*ms, 100*ms, 1000*ms, math.MaxInt64),
		OpenFor:             duration("open for", 1, ms, 10*ms, 50*ms, 1000*ms),
		OpenGrowth:          rapid.SampledFrom([]float64{1, 1.5, 2, 10}).Draw(t, "growth"),
		Jitter:              rapid.SampledFrom([]float64{0, 0, 0.25, 1}).Draw(t, "jitter"),
		Probes:              rapid.IntRange(1, 3).Draw(t, "probes"),
		ProbeSuccesses:      rapid.IntRange(1, 3).Draw(t, "successes"),
		ProbeTimeout:        duration("probe timeout", 1, 5*ms, 20*ms, 100*ms, math.MaxInt64),
		Ramp:                duration("ramp", 0, 0, 10*ms, 100*ms),
	}}
	p.MaxOpenFor = math.MaxInt64
	if n := rapid.SampledFrom([]time.Duration{1, 3, 8, 0}).Draw(t, "max open for"); n > 0 {
		p.MaxOpenFor = n * p.OpenFor
	}
	if rapid.IntRange(0, 2).Draw(t, "trip when") == 0 {
		atLeast := func(name string) int { return rapid.IntRange(0, 4).Draw(t, name) }
		requests, failures, slow, run := atLeast("requests"), atLeast("failures"), atLeast("slow"), atLeast("run")
		p.TripWhen = func(n circuit.Counts) bool {
			return n.Requests >= requests && n.Failures >= failures && n.Slow >= slow && n.ConsecutiveFailures >= run
		}
	}
	p.eighths = rapid.SliceOfN(rapid.IntRange(0, 7), 1, 5).Draw(t, "random eighths")
	return p
}

func (p policy) config() circuit.Config { return p.Config }

// chance returns the random numbers in turn, and counts them.
func (p policy) chance(drawn *int) func() float64 {
	return func() float64 {
		*drawn++
		return float64(p.eighths[*drawn%len(p.eighths)]) / 8
	}
}

// turn changes the mood of the host.
func (mc *machine) turn(t *rapid.T) { mc.mood = rapid.IntRange(0, len(moods)-1).Draw(t, "mood") }

// moods are what a host answers.
var moods = [][]circuit.Outcome{
	{circuit.Success, circuit.Failure, circuit.Ignored, 7},
	{circuit.Success, circuit.Success, circuit.Success, circuit.Success, circuit.Success, circuit.Ignored},
	{circuit.Failure, circuit.Failure, circuit.Failure, circuit.Failure, circuit.Failure, circuit.Ignored},
}

func (mc *machine) drawVerdict(t *rapid.T) circuit.Verdict {
	v := circuit.Verdict{
		Outcome: rapid.SampledFrom(moods[mc.mood]).Draw(t, "outcome"),
		Whole:   rapid.Bool().Draw(t, "whole"),
	}
	if v.Outcome != circuit.Success {
		v.ErrorType = rapid.SampledFrom([]string{"500", "body", "timeout"}).Draw(t, "error type")
		v.Detail = v.ErrorType
		v.Broken = rapid.Bool().Draw(t, "broken")
		v.RetryAfter = rapid.SampledFrom([]time.Duration{0, 0, 0, 1, 20 * time.Millisecond, math.MaxInt64}).Draw(t, "retry after")
	}
	return v
}

// pass lets time pass: some, or up to a moment at which something happens, or
// the one next to it.
func (mc *machine) pass(t *rapid.T) {
	moment := rapid.SampledFrom(mc.moments()).Draw(t, "moment") + time.Duration(rapid.IntRange(-1, 1).Draw(t, "next to"))
	mc.now = max(mc.now, moment)
}

func (mc *machine) moments() []time.Duration {
	cfg, m := mc.model.cfg, mc.model
	width := max(1, cfg.Window/10)
	moments := []time.Duration{
		mc.now + 1,
		mc.now + width,
		(mc.now/width + 1) * width, // the next bucket
		mc.now + 10*width,
		mc.now + cfg.Window,
		mc.now + cfg.OpenFor,
		mc.now + cfg.MaxOpenFor,
		mc.now + cfg.Ramp/3,
		m.current().until,
	}
	for _, patience := range []time.Duration{cfg.SlowAfter, cfg.ProbeTimeout} {
		moments = append(moments, mc.now+patience)
		for _, r := range m.requests {
			if r.in == m.current() && !r.over {
				moments = append(moments, r.at+patience)
				break
			}
		}
	}
	if m.current().state == circuit.Open {
		moments = append(moments, m.current().until, m.current().until, m.current().until, m.current().until)
	}
	return slices.DeleteFunc(moments, func(at time.Duration) bool { return at < mc.now || at > mc.now+time.Hour })
}

func (mc *machine) ready(t *rapid.T) {
	mayProbe := rapid.IntRange(0, 4).Draw(t, "may probe") > 0
	want, wantWake, wantOK := mc.model.ready(mc.now, mayProbe)
	mc.act(func(by *circuit.Cause) {
		got, wake, changed, ok := mc.circuit.Ready(by, mc.now, mayProbe)
		want.Detail = mc.detail(!wantOK)
		if got != want || wake != wantWake || ok != wantOK || ok != (changed == nil) {
			t.Fatalf("at %v Ready returned %+v, %v, %v, %v, want %+v, %v, %v", mc.now, got, wake, changed, ok, want, wantWake, wantOK)
		}
		mc.changed, mc.probing = changed, mayProbe
	})
}

// read compares what the two say of themselves.
func (mc *machine) read(t *rapid.T) {
	if mc.model.evicted {
		return
	}
	want := mc.model.snapshot(mc.now)
	mc.act(func(by *circuit.Cause) {
		got := mc.circuit.Snapshot(by, mc.now)
		want.Detail, want.Config = mc.detail(true), got.Config
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("snapshot at %v (-want +got):\n%s", mc.now, cmp.Diff(want, got))
		}
	})
}

// check compares after each action what can be seen without being noticed.
func (mc *machine) check(t *rapid.T) {
	if mc.watchful && !mc.model.evicted {
		mc.read(t)
	}
	withoutDetail := func(want, got circuit.Event) bool {
		hasDetail := got.Detail != ""
		got.Detail, got.ErrorType, got.RetryAfter = "", "", 0
		return hasDetail && want == got
	}
	if !slices.EqualFunc(mc.model.events, mc.told, withoutDetail) {
		t.Fatalf("events by %v (-want +got; each must have a detail):\n%s", mc.now, cmp.Diff(mc.model.events, []circuit.Event(mc.told)))
	}
	if !slices.Equal(mc.told, mc.caused) {
		t.Fatalf("events of the causes differ from those recorded (-recorded +caused):\n%s", cmp.Diff([]circuit.Event(mc.told), mc.caused))
	}
	if !slices.Equal(mc.model.asked, mc.asked) {
		t.Fatalf("what TripWhen was asked (-want +got):\n%s", cmp.Diff(mc.model.asked, mc.asked))
	}
	if mc.drawn.got != mc.drawn.want {
		t.Fatalf("%d random numbers were used, want %d", mc.drawn.got, mc.drawn.want)
	}
	if want := mc.model.current().state; mc.circuit.State() != want {
		t.Fatalf("State is %v, want %v", mc.circuit.State(), want)
	}
	mc.checkWaiting(t)
}

// checkWaiting makes sure that nobody waits forever: what time alone does not
// change must be told.
func (mc *machine) checkWaiting(t *rapid.T) {
	if mc.changed == nil {
		return
	}
	select {
	case <-mc.changed:
		mc.changed = nil
		return
	default:
	}
	s := mc.model.current()
	if s.state == circuit.Open && !mc.model.forced && s.until <= mc.now {
		return // by time
	}
	if s.state == circuit.Closed {
		t.Fatalf("who waits is not told that the circuit has closed")
	}
	if _, ok := mc.model.admissible(mc.now, mc.probing); ok {
		t.Fatalf("who waits is not told that a request would be admitted")
	}
}
