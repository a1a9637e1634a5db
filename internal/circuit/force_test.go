package circuit_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

func TestForcedOpen(t *testing.T) {
	r := newRig(t, defaults())
	stale := r.begin(0)
	if first, done := r.ForceOpen(&r.by, second); !first || !done {
		t.Errorf("ForceOpen returned %v, %v, want true, true", first, done)
	}
	if diff := cmp.Diff(circuit.Event{To: circuit.Open, At: second, Reason: circuit.Forced}, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	want := circuit.Refusal{State: circuit.Open, Detail: "forced open"}
	if got := r.refuse(time.Hour); got != want {
		t.Errorf("refused with %+v, want %+v", got, want)
	}
	r.end(time.Hour, stale, ok)
	got := r.read(time.Hour)
	got.Detail, got.Config = "", nil
	wantSnapshot := circuit.Snapshot{State: circuit.Open, Forced: true, Since: second, Totals: circuit.Totals{Success: 1, Refused: 1}}
	if diff := cmp.Diff(wantSnapshot, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if first, _ := r.ForceOpen(&r.by, time.Hour); first || len(r.events) != 1 {
		t.Errorf("to force it again is a change: %v, %+v", first, r.events)
	}
}

func TestForcedClosed(t *testing.T) {
	r, _ := opened(t, func(c *circuit.Config) { c.Ramp = second })
	r.ForceClosed(&r.by, second)
	r.send(second, bad, bad, bad, bad, bad, bad)
	r.wantState(second, circuit.Closed)
	r.wantCounts(second, circuit.Counts{Requests: 6, Failures: 6, ConsecutiveFailures: 6})
	if !r.Reset(&r.by, second) {
		t.Error("Reset does not say that it was forced")
	}
	r.wantCounts(second, circuit.Counts{})
	r.send(second, bad, bad, bad, bad)
	r.wantState(second, circuit.Closed)
	r.send(second, bad)
	r.wantState(second, circuit.Open)
}

func TestForcedClosedEndsARamp(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.Ramp = second })
	r.cfg.Rand = func() float64 { return 1 }
	r.send(now, ok)
	r.refuse(now)
	r.ForceClosed(&r.by, now)
	r.send(now, ok)
	if !r.Enter(now, new(circuit.Call)) {
		t.Error("it still needs the time")
	}
}

func TestReset(t *testing.T) {
	r, now := opened(t, func(c *circuit.Config) { c.OpenGrowth = 2 })
	r.send(now, bad)
	stale := r.read(now).Totals
	r.Reset(&r.by, now)
	if diff := cmp.Diff(circuit.Event{From: circuit.Open, At: now, Reason: circuit.WasReset}, r.lastEvent()); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	got := r.read(now)
	if diff := cmp.Diff(stale, got.Totals); diff != "" {
		t.Errorf("totals after Reset (-want +got):\n%s", diff)
	}
	call := r.begin(now)
	r.send(now, bad, bad)
	n := len(r.events)
	r.Reset(&r.by, now)
	if len(r.events) != n {
		t.Errorf("to reset a closed circuit is a change: %+v", r.events[n:])
	}
	r.end(now, call, bad) // stale
	r.wantCounts(now, circuit.Counts{})
	r.send(now, bad, bad, bad, bad, bad)
	if got := r.lastEvent().OpenFor; got != 60*second {
		t.Errorf("after Reset it opens for %v, want 1m0s", got)
	}
}

func TestReadyWakes(t *testing.T) {
	once := func(c *circuit.Config) { c.ProbeSuccesses = 2 }
	for _, test := range []struct {
		name string
		wake func(r *rig, probe *circuit.Call, now time.Duration)
	}{
		{"a probe has succeeded", func(r *rig, probe *circuit.Call, now time.Duration) { r.end(now, probe, ok) }},
		{"a probe was ignored", func(r *rig, probe *circuit.Call, now time.Duration) { r.end(now, probe, ignore) }},
		{"a probe has failed", func(r *rig, probe *circuit.Call, now time.Duration) { r.end(now, probe, bad) }},
		{"forced closed", func(r *rig, _ *circuit.Call, now time.Duration) { r.ForceClosed(&r.by, now) }},
		{"forced open", func(r *rig, _ *circuit.Call, now time.Duration) { r.ForceOpen(&r.by, now) }},
		{"reset", func(r *rig, _ *circuit.Call, now time.Duration) { r.Reset(&r.by, now) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, now := opened(t, once)
			probe := r.begin(now)
			_, wake, changed, ok := r.Ready(&r.by, now+second, true)
			if ok || wake != 29*second {
				t.Errorf("ready: %v, wake after %v, want false, 29s", ok, wake)
			}
			_, _, same, _ := r.Ready(&r.by, now+second, true)
			test.wake(r, probe, now+second)
			for _, changed := range []<-chan struct{}{changed, same} {
				r.wantTold(changed)
			}
		})
	}
}

func TestReady(t *testing.T) {
	r, until := opened(t, func(*circuit.Config) {})
	for _, test := range []struct {
		name     string
		now      time.Duration
		mayProbe bool
		want     circuit.Refusal
		wantWake time.Duration
		wantOK   bool
	}{
		{"open", until - second, true, circuit.Refusal{State: circuit.Open, RetryAfter: second}, second, false},
		{"its time is up", until, true, circuit.Refusal{}, 0, true},
		{"its time is up, for others", until, false, circuit.Refusal{State: circuit.HalfOpen}, 0, false},
	} {
		got, wake, _, ok := r.Ready(&r.by, test.now, test.mayProbe)
		got.Detail = ""
		if got != test.want || wake != test.wantWake || ok != test.wantOK {
			t.Errorf("%s: got %+v, %v, %v, want %+v, %v, %v", test.name, got, wake, ok, test.want, test.wantWake, test.wantOK)
		}
	}
	r.ForceOpen(&r.by, until)
	if _, wake, changed, ok := r.Ready(&r.by, until, true); ok || wake != 0 || changed == nil {
		t.Errorf("forced open: got %v, %v, %v, want false, 0 and a channel", ok, wake, changed)
	}
}

// TestForcedWhileLimited: a circuit that is forced open stays so when the time is over that its host
// had asked for.
func TestForcedWhileLimited(t *testing.T) {
	by := &circuit.Cause{Context: context.Background()}
	c := newClocked(&circuit.Config{ConsecutiveFailures: 5, MaxRetryAfter: time.Minute}, nil, 0)
	var call circuit.Call
	c.Enter(0, &call)
	c.Done(by, 0, &call, circuit.Verdict{Outcome: circuit.Limited, RetryAfter: 10 * time.Second})
	c.ForceOpen(by, time.Second)
	if _, r, d := c.Admit(by, 11*time.Second, true); d != circuit.Refused || r.State != circuit.Open {
		t.Errorf("a request: %v, %+v, want refused by an open circuit", d, r)
	}
}
