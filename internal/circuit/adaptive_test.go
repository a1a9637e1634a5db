package circuit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// adaptive is the configuration of a policy that says only that.
func adaptive(c *circuit.Config) {
	c.Adaptive, c.ConsecutiveFailures, c.MaxOpenFor, c.MaxRetryAfter = true, 5, time.Minute, 5*time.Minute
	c.Rand = func() float64 { return 0.5 } // no jitter
}

// warm returns an adaptive circuit whose host has answered for a while, by now.
func warm(t *testing.T) (r *rig, now time.Duration) {
	r = newRig(t, with(adaptive))
	for range 100 {
		r.send(now, ok)
		now += 10 * ms
	}
	return r, now
}

// reasons are those of what was told.
func (r *rig) reasons() string {
	var all []string
	for _, e := range r.events {
		all = append(all, e.Reason)
	}
	return strings.Join(all, " ")
}

// changes are all of the cause's changes, told or not.
func (r *rig) changes() string {
	var all []string
	for _, e := range r.by.Events {
		if !e.Uncounted {
			all = append(all, e.Reason)
		}
	}
	return strings.Join(all, " ")
}

func TestAdaptiveRunOpens(t *testing.T) {
	for _, test := range []struct {
		name     string
		failures int
		apart    time.Duration
		want     circuit.State
	}{
		{"a burst", 11, 0, circuit.Closed},
		{"a longer burst", 12, 0, circuit.Open},
		{"five that last", 5, 38 * ms, circuit.Open},
		{"five that do not", 5, 37 * ms, circuit.Closed},
		{"four that last", 4, time.Minute, circuit.Closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := warm(t)
			for range test.failures {
				r.send(now, bad)
				now += test.apart
			}
			if got := r.Circuit.State(); got != test.want {
				t.Errorf("the state is %v, want %v", got, test.want)
			}
		})
	}
}

// TestAdaptiveOpensForAQuarterOfTheTrouble plays an outage of ten seconds.
func TestAdaptiveOpensForAQuarterOfTheTrouble(t *testing.T) {
	r, began := warm(t)
	for range 12 {
		r.send(began, bad)
	}
	if got := r.read(began).Until; got != began+20*ms {
		t.Errorf("open until %v, want the shortest time, 20ms", got-began)
	}
	if len(r.events) != 0 {
		t.Errorf("it is told at once: %+v", r.events)
	}
	now, probes := began, 0
	for now = r.read(began).Until; now < began+10*second; now = r.read(now).Until {
		r.send(now, bad)
		probes++
		left, lasted := r.read(now).Until-now, now-began
		if want := max(20*ms, lasted/4); left != want {
			t.Errorf("after %v it stays open for %v, want %v", lasted, left, want)
		}
	}
	if probes > 35 {
		t.Errorf("%d probes in ten seconds, want few", probes)
	}
	if got := r.reasons(); got != circuit.ConsecutiveFailures {
		t.Errorf("told: %q, want only the opening", got)
	}
	if e := r.lastEvent(); e.At != began || e.To != circuit.Open {
		t.Errorf("told: %+v, want the opening as of its own time", e)
	}
	r.send(now, ok)
	if got := r.reasons(); got != circuit.ConsecutiveFailures+" "+circuit.ProbeSucceeded {
		t.Errorf("told: %q, want the opening and the closing", got)
	}
	if e := r.lastEvent(); e.From != circuit.HalfOpen || e.To != circuit.Closed {
		t.Errorf("the closing is %+v, want half-open to closed", e)
	}
}

// TestAdaptiveProbeThatFailsLate: the next probe waits from the moment at which the last has failed.
func TestAdaptiveProbeThatFailsLate(t *testing.T) {
	r, began := warm(t)
	for range 12 {
		r.send(began, bad)
	}
	now := r.read(began).Until
	for ; now < began+10*second; now = r.read(now).Until {
		r.send(now, bad)
	}
	call := r.begin(now)
	now += second
	r.Done(&r.by, now, call, circuit.Verdict{Outcome: bad})
	if got, want := r.read(now).Until-now, (now-began)/4; got != want {
		t.Errorf("after the failure it stays open for %v, want %v", got, want)
	}
}

// TestAdaptiveTimesVary by a tenth, so that many processes do not probe at once.
func TestAdaptiveTimesVary(t *testing.T) {
	for _, test := range []struct {
		chance float64
		want   time.Duration
	}{{0, 18 * ms}, {1, 22 * ms}} {
		r, now := warm(t)
		r.cfg.Rand = func() float64 { return test.chance }
		for range 12 {
			r.send(now, bad)
		}
		if got := r.read(now).Until - now; got != test.want {
			t.Errorf("with the chance %v it is open for %v, want %v", test.chance, got, test.want)
		}
	}
}

// TestAdaptiveShortOutagesAreOnlyCounted: an outage of less than a second is told to nobody.
func TestAdaptiveShortOutagesAreOnlyCounted(t *testing.T) {
	r, now := warm(t)
	for range 12 {
		r.send(now, bad)
	}
	r.send(now+20*ms, ok)
	r.read(now + time.Hour)
	if len(r.events) != 0 {
		t.Errorf("told: %+v, want nothing", r.events)
	}
	if got, want := r.changes(), circuit.ConsecutiveFailures+" "+circuit.OpenElapsed+" "+circuit.ProbeSucceeded; got != want {
		t.Errorf("counted: %q, want %q", got, want)
	}
}

func TestAdaptiveRecoversWithABound(t *testing.T) {
	r, now := warm(t)
	for range 12 {
		r.send(now, bad)
	}
	now = r.read(now).Until
	r.send(now, ok)
	if got := r.read(now).Limit; got != 16 {
		t.Fatalf("the limit is %d, want 16", got)
	}
	var calls []*circuit.Call
	for range 16 {
		calls = append(calls, r.begin(now))
	}
	if got := r.refuse(now); got.State != circuit.Closed || got.RetryAfter != 0 || got.Detail != "recovering: at most 16 in flight" {
		t.Errorf("the 17th is refused with %+v", got)
	}
	_, _, changed, ready := r.Ready(&r.by, now, true)
	if ready {
		t.Error("it is ready, though it is full")
	}
	r.end(now, calls[0], ok)
	r.wantTold(changed)
	if got := r.read(now).Limit; got != 17 {
		t.Errorf("after a success the limit is %d, want 17", got)
	}
	for _, call := range calls[1:] {
		r.end(now, call, ok)
	}
	if got := r.read(now).Limit; got <= 17 || got > 32 {
		t.Errorf("after a round the limit is %d, want more, as long as half of it was used", got)
	}
	r.send(now+10*second, ok)
	if got := r.read(now + 10*second).Limit; got != 0 {
		t.Errorf("after ten seconds without a refusal the limit is %d, want none", got)
	}
}

func TestAdaptiveSilence(t *testing.T) {
	for _, test := range []struct {
		name     string
		left     time.Duration // of each request; 0 means no deadline
		silence  time.Duration // of the policy
		waits    time.Duration // between requests
		requests int
		want     circuit.State
	}{
		{"a host that hangs", 10 * second, 0, 2 * ms, 120, circuit.Open},
		{"few requests", 10 * second, 0, 2 * ms, 15, circuit.Closed},
		{"not for long", 10 * second, 0, 2 * ms, 80, circuit.Closed},
		{"callers with long patience", 10 * time.Minute, 0, 2 * ms, 120, circuit.Closed},
		{"without a deadline, for a second", 0, 0, 10 * ms, 150, circuit.Open},
		{"without a deadline, for less", 0, 0, 2 * ms, 120, circuit.Closed},
		{"turned off", 10 * second, -1, 2 * ms, 500, circuit.Closed},
		{"as the policy says", 10 * second, 50 * ms, 2 * ms, 60, circuit.Open},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := warm(t)
			r.cfg.Silence = test.silence
			if test.left > 0 {
				r.by.Context = context.WithValue(context.Background(), timeLeftKey{}, test.left)
			}
			var calls []circuit.Call
			for range test.requests {
				call := circuit.Call{}
				if !r.Enter(now, &call) {
					call, _, _ = r.Admit(&r.by, now, true)
				}
				if call.Admitted() {
					calls = append(calls, call)
				}
				now += test.waits
			}
			if got := r.Circuit.State(); got != test.want {
				t.Fatalf("the state is %v with %d in flight, want %v", got, len(calls), test.want)
			}
			if test.want != circuit.Open {
				return
			}
			for i := range calls { // they were late, not lost
				r.Done(&r.by, now, &calls[i], circuit.Verdict{Outcome: ok})
			}
			if got := r.Circuit.State(); got != circuit.Closed {
				t.Errorf("after the late answers the state is %v, want closed", got)
			}
			if got := r.read(now).Limit; got != 0 {
				t.Errorf("after the late answers the limit is %d, want none", got)
			}
			for range len(calls) * 3 / 2 { // so may others be
				var call circuit.Call
				if !r.Enter(now, &call) {
					_, _, _ = r.Admit(&r.by, now, true)
				}
				now += test.waits
			}
			if got := r.Circuit.State(); got != circuit.Closed {
				t.Errorf("as many that wait again make the state %v, want closed", got)
			}
		})
	}
}

// TestAdaptiveForgetsPeaks: once forty requests were in flight on a healthy host, forty
// that hang are nothing unusual, until some hundred thousand requests or an outage later.
func TestAdaptiveForgetsPeaks(t *testing.T) {
	for _, test := range []struct {
		name string
		then func(r *rig, now time.Duration) (later time.Duration)
		want circuit.State
	}{
		{"soon after", func(_ *rig, now time.Duration) time.Duration { return now }, circuit.Closed},
		{"long after", func(r *rig, now time.Duration) time.Duration {
			succeed(r.T, r.Circuit, 1, 8<<16)
			return now
		}, circuit.Open},
		{"after an outage", func(r *rig, now time.Duration) time.Duration {
			for range 12 {
				r.send(now, bad)
			}
			now = r.read(now).Until
			for range 20 {
				r.send(now, ok)
			}
			r.send(now+10*second, ok) // the bound goes
			return now + 10*second
		}, circuit.Open},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := warm(t)
			r.by.Context = context.WithValue(context.Background(), timeLeftKey{}, 10*second)
			succeed(t, r.Circuit, 40, 2)
			now = test.then(r, now)
			for range 40 {
				var call circuit.Call
				if !r.Enter(now, &call) {
					_, _, _ = r.Admit(&r.by, now, true)
				}
				now += 20 * ms
			}
			if got := r.Circuit.State(); got != test.want {
				t.Errorf("the state is %v, want %v", got, test.want)
			}
		})
	}
}

// TestAdaptiveAsksSilentHosts: a host that hangs is asked each second, and after a
// minute each ten. That probes time out changes nothing.
func TestAdaptiveAsksSilentHosts(t *testing.T) {
	r, began := warm(t)
	r.by.Context = context.WithValue(context.Background(), timeLeftKey{}, 10*second)
	now := began
	for r.Circuit.State() == circuit.Closed {
		var call circuit.Call
		if !r.Enter(now, &call) {
			_, _, _ = r.Admit(&r.by, now, true)
		}
		now += 10 * ms
	}
	for now = r.read(now).Until; now < began+5*time.Minute; now += r.refuse(now).RetryAfter {
		r.Done(&r.by, now, r.begin(now), circuit.Verdict{Outcome: bad, ErrorType: "timeout"})
		want := second
		if now-began > time.Minute {
			want = 10 * second
		}
		if got := r.refuse(now).RetryAfter; now-began > 5*second && got != want {
			t.Fatalf("after %v of silence the next probe goes in %v, want %v", now-began, got, want)
		}
	}
}

// recovering returns an adaptive circuit that has just closed with a bound of 16.
func recovering(t *testing.T) (r *rig, now time.Duration) {
	r, now = warm(t)
	for range 12 {
		r.send(now, bad)
	}
	now = r.read(now).Until
	r.send(now, ok)
	return r, now
}

// TestAdaptiveBoundStays: the bound goes ten seconds after it was last in the way.
func TestAdaptiveBoundStays(t *testing.T) {
	r, now := recovering(t)
	now += 9 * second
	var calls []*circuit.Call
	for range 16 {
		calls = append(calls, r.begin(now))
	}
	r.refuse(now)
	for _, call := range calls {
		r.end(now, call, ignore)
	}
	r.send(now+9*second, ok)
	if got := r.read(now + 9*second).Limit; got == 0 {
		t.Error("nine seconds after it was in the way the bound is gone")
	}
	r.send(now+10*second, ok)
	if got := r.read(now + 10*second).Limit; got != 0 {
		t.Errorf("ten seconds after it was in the way the limit is %d, want none", got)
	}
}

// TestAdaptiveNextBound: a host that a bound of 16 has drowned starts at half of what
// was in flight. One that fails otherwise can bear 16.
func TestAdaptiveNextBound(t *testing.T) {
	for _, test := range []struct {
		errorType string
		want      int
	}{
		{"timeout", 2},
		{"503", 16},
	} {
		t.Run(test.errorType, func(t *testing.T) {
			r, now := recovering(t)
			var calls []*circuit.Call
			for range 16 {
				calls = append(calls, r.begin(now))
			}
			for _, call := range calls[:12] { // 4 are still in flight
				r.Done(&r.by, now, call, circuit.Verdict{Outcome: bad, ErrorType: test.errorType})
			}
			r.wantState(now, circuit.Open)
			now = r.read(now).Until
			r.send(now, ok)
			if got := r.read(now).Limit; got != test.want {
				t.Errorf("the next limit is %d, want %d", got, test.want)
			}
			first := r.begin(now)
			for range test.want - 1 {
				r.begin(now)
			}
			r.end(now, first, ok)
			if got := r.read(now).Limit; got != test.want {
				t.Errorf("after a success the limit is %d, want %d still: it grows slowly", got, test.want)
			}
			now += 10 * second // the bound goes
			for range 13 {
				r.send(now, ok)
			}
			for range 12 {
				r.send(now, bad)
			}
			now = r.read(now).Until
			r.send(now, ok)
			if got := r.read(now).Limit; got != 16 {
				t.Errorf("after the next outage the limit is %d, want 16 again", got)
			}
		})
	}
}

// TestAdaptiveHostThatHasNeverAnswered: silence proves nothing about it.
func TestAdaptiveHostThatHasNeverAnswered(t *testing.T) {
	r := newRig(t, with(adaptive))
	now := time.Duration(0)
	for range 200 {
		r.begin(now)
		now += 10 * ms
	}
	r.wantState(now, circuit.Closed)
}

// TestAdaptiveTroubleGoesOn: a host that answers probes and fails under traffic is not new trouble.
func TestAdaptiveTroubleGoesOn(t *testing.T) {
	r, now := warm(t)
	began := now
	for range 12 {
		r.send(now, bad)
	}
	for now < began+30*second {
		now = r.read(now).Until
		r.send(now, ok)
		for range 12 {
			r.send(now, bad)
		}
	}
	if got := r.read(now).Until - now; got < 7*second {
		t.Errorf("after %v of trouble it opens for %v, want a quarter of that", now-began, got)
	}
}

// TestAdaptiveNewTrouble: trouble is new after a false alarm, and after the host has asked for less,
// even if no request has succeeded since.
func TestAdaptiveNewTrouble(t *testing.T) {
	for _, test := range []struct {
		name  string
		first func(r *rig, now time.Duration) (later time.Duration)
	}{
		{"after late answers", func(r *rig, now time.Duration) time.Duration {
			var calls []*circuit.Call
			for range 40 {
				calls = append(calls, r.begin(now))
			}
			now += 2 * second
			r.refuse(now)
			for _, call := range calls {
				r.end(now, call, ok)
			}
			return now + time.Hour
		}},
		{"after an outage and a limit", func(r *rig, now time.Duration) time.Duration {
			for range 12 {
				r.send(now, bad)
			}
			now = r.read(now).Until
			r.send(now, ok)
			r.Done(&r.by, now, r.begin(now), circuit.Verdict{Outcome: circuit.Limited, RetryAfter: time.Minute})
			return r.read(now).Until
		}},
		{"after a limit", func(r *rig, now time.Duration) time.Duration {
			r.send(now, bad) // what has failed before is no outage
			r.Done(&r.by, now, r.begin(now), circuit.Verdict{Outcome: circuit.Limited, RetryAfter: time.Minute})
			return r.read(now).Until
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := warm(t)
			now = test.first(r, now)
			r.wantState(now, circuit.Closed)
			for range 12 {
				r.send(now, bad)
			}
			if got := r.read(now).Until - now; got != 20*ms {
				t.Errorf("it opens for %v, want 20ms", got)
			}
		})
	}
}

// TestAdaptiveTroubleOfAnotherPolicy goes on too: the circuit was open when the policy changed.
func TestAdaptiveTroubleOfAnotherPolicy(t *testing.T) {
	r := newRig(t, defaults())
	r.send(time.Hour, bad, bad, bad, bad, bad)
	cfg := with(adaptive)
	r.SetConfig(&r.by, &cfg)
	now := r.read(time.Hour).Until
	r.send(now, ok)
	for range 12 {
		r.send(now, bad)
	}
	if got := r.read(now).Until - now; got != 15*second {
		t.Errorf("after a minute of trouble it opens for %v, want a quarter of that", got)
	}
}

// TestAdaptiveAtTheOrigin: a probe that is due at the time 0 is one like any other.
func TestAdaptiveAtTheOrigin(t *testing.T) {
	r := newRig(t, with(adaptive))
	late := r.begin(0)
	for range 12 {
		r.send(0, bad)
	}
	r.end(0, late, ok) // so another may go
	r.send(0, bad)
	r.send(r.read(0).Until, ok)
	want := strings.Join([]string{circuit.ConsecutiveFailures, circuit.OpenElapsed, circuit.ProbeFailed, circuit.OpenElapsed, circuit.ProbeSucceeded}, " ")
	if got := r.changes(); got != want {
		t.Errorf("counted: %q, want %q", got, want)
	}
}

func TestAdaptiveRetryAfter(t *testing.T) {
	r, now := warm(t)
	for range 12 {
		r.Done(&r.by, now, r.begin(now), circuit.Verdict{Outcome: bad, ErrorType: "503", Detail: "503", RetryAfter: 7 * second})
	}
	if got := r.read(now).Until - now; got != 7*second {
		t.Errorf("open for %v, want as long as the host has asked for, 7s", got)
	}
}

// TestLimitedDoesNotGrow: a circuit that opens again soon after its host asked for less has not been
// closed by a probe that proved nothing.
func TestLimitedDoesNotGrow(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.MaxRetryAfter, c.OpenGrowth = time.Hour, 2 }))
	const asked = 100 * second
	r.Done(&r.by, 0, r.begin(0), circuit.Verdict{Outcome: circuit.Limited, RetryAfter: asked})
	r.send(asked, bad, bad, bad, bad, bad)
	if got := r.lastEvent(); got.To != circuit.Open || got.OpenFor != r.cfg.OpenFor {
		t.Errorf("opened by %+v, want for %v", got, r.cfg.OpenFor)
	}
}

// TestSilenceBesideBodies: the failure of a body is no answer of a host that has fallen silent.
func TestSilenceBesideBodies(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	c := newClocked(&circuit.Config{Adaptive: true, ConsecutiveFailures: 100, MaxOpenFor: time.Minute, Silence: 100 * ms}, nil, 0)
	var answered [20]circuit.Call
	for i := range answered {
		c.Enter(0, &answered[i])
		c.Succeed(0, &answered[i], false)
	}
	for range 40 { // these hang
		c.Admit(by, 0, true)
	}
	for i := range answered {
		c.Late(by, 50*ms, answered[i].Receipt, circuit.Verdict{Outcome: circuit.Failure})
	}
	if _, r, d := c.Admit(by, 100*ms, true); d != circuit.Refused {
		t.Errorf("the circuit of a silent host: %v, %+v, want refused", d, r)
	}
}
