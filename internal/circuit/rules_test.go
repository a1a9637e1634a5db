package circuit_test

import (
	"context"
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
		{"nor one more request before they end", func(c *circuit.Config) { ratio(c); c.SlowAfter = second }, "fffs", ""},
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
