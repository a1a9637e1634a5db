package circuit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// elect is a policy by which others are asked before a probe.
func elect(c *circuit.Config) { c.Elect = true }

func (r *rig) wantDecision(now time.Duration, want circuit.Decision) circuit.Refusal {
	r.Helper()
	_, refusal, got := r.Admit(&r.by, now, true)
	if got != want {
		r.Fatalf("at %v the decision is %v (%+v), want %v", now, got, refusal, want)
	}
	return refusal
}

func TestOneRequestAsksWhetherItMayProbe(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { elect(c); c.Probes, c.ProbeSuccesses = 2, 9 })
	r.wantDecision(now, circuit.Elect)
	if got := r.wantDecision(now, circuit.Refused); got.State != circuit.HalfOpen || got.RetryAfter != 0 {
		t.Errorf("meanwhile another is refused with %+v, want half-open", got)
	}
	_, _, changed, ready := r.Ready(&r.by, now, true)
	if ready {
		t.Error("meanwhile it is ready")
	}
	call, _, decision := r.Elected(&r.by, now, true, now+second)
	if decision != circuit.Admitted {
		t.Fatalf("the elected one gets %v, want admitted", decision)
	}
	r.wantTold(changed)
	other := r.begin(now + second - 1) // no second election
	r.refuse(now)
	r.end(now, other, ok)
	r.wantDecision(now+second, circuit.Elect) // but then
	_, _, changed, _ = r.Ready(&r.by, now+second, true)
	r.Elected(&r.by, now+second, true, now+time.Hour)
	r.wantTold(changed)
	r.end(now+second, &call, bad)
	r.wantDecision(r.read(now+second).Until, circuit.Elect) // not by the right to an earlier probe
}

func TestARightThatIsOverIsNone(t *testing.T) {
	r, now := opened(t, elect)
	r.wantDecision(now, circuit.Elect)
	_, refusal, got := r.Elected(&r.by, now, true, now)
	if got != circuit.Refused || refusal.State != circuit.HalfOpen {
		t.Errorf("the decision is %v, %+v, want refused, half-open", got, refusal)
	}
	r.wantDecision(now, circuit.Elect)
}

func TestElectedOfAnEvictedCircuit(t *testing.T) {
	r, now := opened(t, elect)
	r.wantDecision(now, circuit.Elect)
	r.Reset(&r.by, now)
	r.evict(now)
	if _, _, got := r.Elected(&r.by, now, true, now+second); got != circuit.Gone {
		t.Errorf("the decision is %v, want gone", got)
	}
}

func TestOneMayNotProbe(t *testing.T) {
	for _, test := range []struct {
		name      string
		meanwhile func(*rig, time.Duration)
		until     time.Duration // from now
		want      circuit.Decision
		refusal   circuit.Refusal
	}{
		{"until the others' time is up", nil, second, circuit.Refused, circuit.Refusal{State: circuit.Open, RetryAfter: second}},
		{"and that is now", nil, 0, circuit.Refused, circuit.Refusal{State: circuit.HalfOpen}},
		{"but it has closed", func(r *rig, now time.Duration) { r.AdoptClosed(&r.by, now) }, second, circuit.Admitted, circuit.Refusal{}},
		{"and it is forced open", func(r *rig, now time.Duration) { r.ForceOpen(&r.by, now) }, second, circuit.Refused, circuit.Refusal{State: circuit.Open}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := opened(t, elect)
			r.wantDecision(now, circuit.Elect)
			if test.meanwhile != nil {
				test.meanwhile(r, now)
			}
			refused := r.read(now).Totals.Refused
			_, refusal, got := r.Elected(&r.by, now, false, now+test.until)
			refusal.Detail = ""
			if got != test.want || refusal != test.refusal {
				t.Fatalf("the decision is %v, %+v, want %v, %+v", got, refusal, test.want, test.refusal)
			}
			if got == circuit.Refused {
				refused++
			}
			if got := r.read(now).Totals.Refused; got != refused {
				t.Errorf("%d are refused in total, want %d", got, refused)
			}
		})
	}
}

func TestElectedTooLate(t *testing.T) {
	r, now := opened(t, elect)
	r.wantDecision(now, circuit.Elect)
	r.AdoptOpen(&r.by, now, now+time.Minute)
	if _, refusal, got := r.Elected(&r.by, now, true, now+second); got != circuit.Refused || refusal.RetryAfter != time.Minute {
		t.Errorf("the decision is %v, %+v, want refused for 1m0s", got, refusal)
	}
}

func TestAdoptOpen(t *testing.T) {
	r := newRig(t, defaults())
	r.AdoptOpen(&r.by, second, 10*second)
	want := circuit.Event{To: circuit.Open, At: second, Reason: circuit.Shared, OpenFor: 9 * second}
	if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	for _, until := range []time.Duration{10 * second, 20 * second, 5 * second} {
		r.AdoptOpen(&r.by, second, until)
		if got := r.read(second).Until; got != until {
			t.Errorf("open until %v, want %v", got, until)
		}
	}
	if len(r.events) != 1 {
		t.Errorf("to be told again is a change: %+v", r.events)
	}
	if got := r.refuse(second).Detail; got == "" {
		t.Error("the refusal does not say why")
	}
}

func TestAdoptOpenBesidesItsOwnReasons(t *testing.T) {
	r, own := opened(t, func(*circuit.Config) {})
	for _, test := range []struct{ until, want time.Duration }{{own - second, own}, {own + second, own + second}, {0, own}} {
		_, _, changed, _ := r.Ready(&r.by, 0, true)
		r.AdoptOpen(&r.by, 0, test.until)
		if got := r.read(0).Until; got != test.want {
			t.Errorf("told of %v it is open until %v, want %v", test.until, got, test.want)
		}
		r.wantTold(changed)
	}
}

func TestReasonsOfAnEarlierOpeningAreForgotten(t *testing.T) {
	r, own := opened(t, func(*circuit.Config) {})
	r.Reset(&r.by, 0)
	r.AdoptOpen(&r.by, 0, second)
	if got := r.read(0).Until; got != second {
		t.Errorf("open until %v, want 1s (%v was before)", got, own)
	}
}

func TestWhatCountsForMoreThanOthers(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(*rig, time.Duration)
		opens  bool // by others
		closes bool
	}{
		{"open", func(*rig, time.Duration) {}, false, true},
		{"a probe in flight", func(r *rig, now time.Duration) { r.begin(now) }, false, false},
		{"a probe that said nothing", func(r *rig, now time.Duration) { r.send(now, ignore) }, true, true},
		{"forced open", func(r *rig, now time.Duration) { r.ForceOpen(&r.by, now) }, false, false},
		{"forced closed", func(r *rig, now time.Duration) { r.ForceClosed(&r.by, now) }, false, false},
		{"closed", func(r *rig, now time.Duration) { r.Reset(&r.by, now) }, true, false},
		{"evicted", func(r *rig, now time.Duration) { r.Reset(&r.by, now); r.evict(now) }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, adopt := range []struct {
				want bool
				do   func(*rig, time.Duration)
			}{
				{test.opens, func(r *rig, now time.Duration) { r.AdoptOpen(&r.by, now, now+second) }},
				{test.closes, func(r *rig, now time.Duration) { r.AdoptClosed(&r.by, now) }},
			} {
				r, now := opened(t, func(*circuit.Config) {})
				test.before(r, now)
				n := len(r.events)
				adopt.do(r, now)
				if got := len(r.events) > n; got != adopt.want {
					t.Errorf("others change it: %v, want %v: %+v", got, adopt.want, r.events[n:])
				}
			}
		})
	}
}

func TestAdoptClosedRamps(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.Ramp, c.Rand = second, func() float64 { return 1 } })
	r.AdoptClosed(&r.by, now)
	want := circuit.Event{From: circuit.Open, At: now, Reason: circuit.Shared}
	if diff := cmp.Diff(want, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	r.refuse(now)
}

func TestAProbeWithoutAVerdictReleasesTheRight(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { elect(c); c.Probes = 2 })
	r.wantDecision(now, circuit.Elect)
	call, _, _ := r.Elected(&r.by, now, true, now+time.Hour)
	r.end(now, r.begin(now), ignore)
	if r.by.Released {
		t.Error("the right is taken from a probe in flight")
	}
	r.end(now, &call, ignore)
	if !r.by.Released {
		t.Error("a probe without a verdict keeps the right")
	}
	r.wantDecision(now, circuit.Elect)
}

func TestAnOnlookerIsToldNothingOfTheTime(t *testing.T) {
	for _, test := range []struct {
		name  string
		until time.Duration // of others
		want  time.Duration // to wait
	}{
		{"longer than its own open time", 10 * time.Minute, 0},
		{"within its own open time", second, 60 * second},
	} {
		r, own := opened(t, func(*circuit.Config) {})
		opened := own - 60*second
		r.Circuit.AdoptOpen(&r.by, circuit.Opening{Until: test.until, Probed: true})
		if got := r.refuse(opened).RetryAfter; got != test.want {
			t.Errorf("%s: told to wait for %v, want %v", test.name, got, test.want)
		}
		if got := r.read(opened).Until; (got > 0) != (test.want > 0) {
			t.Errorf("%s: open until %v", test.name, got)
		}
		_, wake, _, _ := r.Ready(&r.by, opened, true)
		if want := max(test.until, own) - opened; wake != want {
			t.Errorf("%s: WaitReady looks again in %v, want %v", test.name, wake, want)
		}
	}
	r, now := opened(t, elect)
	r.wantDecision(now, circuit.Elect)
	var call circuit.Call
	refusal, _ := r.Circuit.Elected(&r.by, &call, circuit.Election{Until: now + second, Probed: true}, true)
	if refusal.State != circuit.Open || refusal.RetryAfter != 0 {
		t.Errorf("after an election the refusal is %+v, want open for an unknown time", refusal)
	}
}

func TestOnlyAnEarlierOpeningIsClosedByOthers(t *testing.T) {
	for _, test := range []struct {
		name     string
		open     func(*rig)
		closedAt time.Duration
		want     bool
	}{
		{"its own, before", func(r *rig) { r.trip(5 * second) }, 6 * second, true},
		{"its own, after", func(r *rig) { r.trip(5 * second) }, 5 * second, false},
		{"that of others, before", func(r *rig) { r.adopt(9*second, 5*second) }, 6 * second, true},
		{"that of others, after", func(r *rig) { r.adopt(9*second, 5*second) }, 5 * second, false},
		{"both", func(r *rig) { r.trip(5 * second); r.adopt(9*second, 7*second) }, 6 * second, false},
		{"an older one of others", func(r *rig) { r.trip(5 * second); r.adopt(9*second, 2*second) }, 4 * second, false},
		{"one that was reset", func(r *rig) { r.trip(8 * second); r.Reset(&r.by, 8*second); r.adopt(9*second, 5*second) }, 6 * second, true},
	} {
		r := newRig(t, defaults())
		test.open(r)
		r.at(10 * second)
		r.Circuit.AdoptClosed(&r.by, test.closedAt)
		if got := r.State() == circuit.Closed; got != test.want {
			t.Errorf("%s: it is closed: %v, want %v", test.name, got, test.want)
		}
	}
}

// trip opens the circuit by its own rules.
func (r *rig) trip(now time.Duration) {
	for r.State() == circuit.Closed {
		r.send(now, bad)
	}
}

// adopt opens the circuit by a record that others wrote then.
func (r *rig) adopt(now, written time.Duration) {
	r.at(now)
	r.Circuit.AdoptOpen(&r.by, circuit.Opening{At: written, Until: time.Minute})
}

func TestTheOpeningCarriesRetryAfter(t *testing.T) {
	r, now := opened(t, func(*circuit.Config) {})
	call := r.begin(now)
	r.Done(&r.by, now, call, circuit.Verdict{Outcome: circuit.Failure, RetryAfter: 7 * second})
	if got := r.lastEvent().RetryAfter; got != 7*second {
		t.Errorf("the event has Retry-After %v, want 7s", got)
	}
}
