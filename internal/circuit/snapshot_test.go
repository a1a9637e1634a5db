package circuit_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// clients is how many goroutines use a circuit at once.
const clients = 8

// together runs f on all clients, and returns when they have ended.
func together(f func(client int)) {
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// newTraffic returns a circuit in use, with a clock that goes on by the way.
func newTraffic(cfg *circuit.Config, record func(circuit.Event)) *circuit.Circuit {
	c := new(circuit.Circuit)
	c.Init(cfg, &owner{ticks: true, record: record})
	return c
}

// use is what the clients do with a circuit.
type use struct{ *circuit.Circuit }

// tally is what a client has seen.
type tally struct {
	success, ignored, failure, refused, timedOut uint64
}

func (n *tally) add(m tally) {
	n.success += m.success
	n.ignored += m.ignored
	n.failure += m.failure
	n.refused += m.refused
	n.timedOut += m.timedOut
}

func TestTotalsAddUp(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*circuit.Config)
	}{
		{"default", func(*circuit.Config) {}},
		{"growing and ramping", func(c *circuit.Config) { c.OpenGrowth, c.Jitter, c.Ramp = 2, 0.5, 200*ms }},
		{"failure ratio", func(c *circuit.Config) { c.FailureRatio, c.Window, c.MinRequests = 0.4, second, 10 }},
		{"slow", func(c *circuit.Config) { c.SlowRatio, c.SlowAfter, c.MinRequests = 0.2, 20*ms, 10 }},
		{"trip when", func(c *circuit.Config) {
			c.SlowAfter = 20 * ms
			c.TripWhen = func(n circuit.Counts) bool { return n.Failures+n.Slow > 9 }
		}},
		{"mostly half-open", func(c *circuit.Config) { c.Probes, c.ProbeSuccesses, c.OpenFor, c.ProbeTimeout = 3, 5, ms, 30*ms }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := with(func(c *circuit.Config) { c.OpenFor, c.MaxOpenFor, c.ProbeTimeout = 50*ms, 200*ms, 100*ms })
			test.change(&cfg)
			var events recorder
			tr := use{newTraffic(&cfg, events.add)}
			var mu sync.Mutex
			var want tally
			together(func(i int) {
				n := tr.sendRequests(uint64(i), 1500)
				mu.Lock()
				want.add(n)
				mu.Unlock()
			})
			s := tr.Snapshot(&circuit.Cause{})
			got := tally{s.Totals.Success, s.Totals.Ignored, s.Totals.Failure() - want.timedOut, s.Totals.Refused, want.timedOut}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(tally{})); diff != "" || s.InFlight != 0 {
				t.Errorf("%d in flight, want 0; totals (-want +got):\n%s", s.InFlight, diff)
			}
			checkHistory(t, &cfg, events)
		})
	}
}

// sendRequests sends requests of all fates, a few at a time.
func (tr use) sendRequests(seed uint64, requests int) (n tally) {
	random := rand.New(rand.NewPCG(seed, 1))
	by := circuit.Cause{Context: context.Background()}
	var pending []circuit.Call
	var bodies []circuit.Receipt
	for requests > 0 || len(pending) > 0 || len(bodies) > 0 {
		switch roll := random.IntN(16); {
		case roll < 6 && requests > 0 && len(pending) < 4:
			requests--
			call, decision := circuit.Call{}, circuit.Admitted
			if !tr.Enter(&call) {
				_, decision = tr.Admit(&by, &call, roll > 0)
			}
			if decision != circuit.Admitted {
				n.refused++
				continue
			}
			pending = append(pending, call)
		case roll < 12 && len(pending) > 0:
			i := random.IntN(len(pending))
			if outcome, counts := tr.finish(&by, random, &pending[i]); !counts {
				n.timedOut++
			} else if outcome == ignore {
				n.ignored++
			} else if outcome == bad {
				n.failure++
			} else {
				n.success++
				bodies = append(bodies, pending[i].Receipt)
			}
			pending = slices.Delete(pending, i, i+1)
		case roll < 14 && len(bodies) > 0:
			receipt := bodies[0]
			bodies = bodies[1:]
			if roll == 12 {
				n.failure++
				tr.Late(&by, receipt, circuit.Verdict{Outcome: bad, ErrorType: "body"})
				continue
			}
			tr.Ended(receipt)
		case roll == 14:
			tr.Ready(&by, true)
		case roll == 15:
			tr.Snapshot(&by)
		}
	}
	return n
}

func (tr use) finish(by *circuit.Cause, random *rand.Rand, call *circuit.Call) (outcome circuit.Outcome, counts bool) {
	outcome = []circuit.Outcome{ok, ok, ok, bad, bad, ignore}[random.IntN(6)]
	v := circuit.Verdict{Outcome: outcome, ErrorType: "500"}
	counts = outcome == ok && tr.Succeed(call, v.Whole) || tr.Done(by, call, v)
	return outcome, counts
}

// checkHistory makes sure that each change followed from the one before, and
// was due neither too early nor too late.
func checkHistory(t *testing.T, cfg *circuit.Config, events []circuit.Event) {
	t.Helper()
	if len(events) < 10 {
		t.Fatalf("only %d events, want more to look at", len(events))
	}
	state, opened := circuit.Closed, openTimes{cfg: cfg}
	var until time.Duration
	for i, e := range events {
		if e.From != state {
			t.Fatalf("event %d is from %v, want %v: %+v", i, e.From, state, e)
		}
		switch e.Reason {
		case circuit.ConsecutiveFailures:
			if e.Counts.ConsecutiveFailures != cfg.ConsecutiveFailures {
				t.Errorf("event %d: opened by %d failures, want %d", i, e.Counts.ConsecutiveFailures, cfg.ConsecutiveFailures)
			}
		case circuit.OpenElapsed:
			if e.At < until {
				t.Errorf("event %d: half-open at %v, want not before %v", i, e.At, until)
			}
		case circuit.ProbeSucceeded:
			if want := (circuit.Counts{Requests: cfg.ProbeSuccesses}); e.Counts != want {
				t.Errorf("event %d: closed by %+v, want %+v", i, e.Counts, want)
			}
		}
		opened.check(t, i, e)
		state, until = e.To, e.At+e.OpenFor
	}
}

// An openTimes follows the open time of a circuit from event to event.
type openTimes struct {
	cfg         *circuit.Config
	level       int
	closedSince time.Duration
	lastOpen    time.Duration
}

func (g *openTimes) openFor() time.Duration {
	d := float64(g.cfg.OpenFor) * math.Pow(g.cfg.OpenGrowth, float64(g.level))
	return time.Duration(min(d, float64(g.cfg.MaxOpenFor)))
}

// check makes sure that a circuit that opens does so for as long as its history says.
func (g *openTimes) check(t *testing.T, i int, e circuit.Event) {
	t.Helper()
	if e.To == circuit.Closed {
		g.closedSince = e.At
	}
	if e.To != circuit.Open {
		return
	}
	grows := true // a probe has failed
	if e.From == circuit.Closed {
		closedFor := e.At - g.closedSince
		g.level = max(0, g.level-int(closedFor/g.cfg.MaxOpenFor))
		grows = closedFor < g.lastOpen
	}
	if grows && g.openFor() < g.cfg.MaxOpenFor {
		g.level++
	}
	least := g.openFor()
	most := least + time.Duration(float64(least)*g.cfg.Jitter)
	if e.OpenFor < least || e.OpenFor > most {
		t.Errorf("event %d: open for %v, want %v to %v", i, e.OpenFor, least, most)
	}
	g.lastOpen = e.OpenFor
}

func TestErrorTypesAreBounded(t *testing.T) {
	r := newRig(t, with(func(c *circuit.Config) { c.ConsecutiveFailures = -1 }))
	want := circuit.Totals{}
	for i := range 100 {
		errorType := fmt.Sprint(400 + i)
		r.Done(&r.by, 0, r.begin(0), circuit.Verdict{Outcome: bad, ErrorType: errorType})
		if i < 15 {
			want.Failures = append(want.Failures, circuit.ErrorTotal{Type: errorType, Count: 1})
		}
	}
	want.Failures = append(want.Failures, circuit.ErrorTotal{Type: "_OTHER", Count: 85})
	got := r.read(0).Totals
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	if got := got.Failure(); got != 100 {
		t.Errorf("%d failures in all, want 100", got)
	}
}

func TestTotalsAdd(t *testing.T) {
	total := circuit.Totals{Success: 1, Ignored: 2, Refused: 3, Failures: []circuit.ErrorTotal{{Type: "500", Count: 4}}}
	total.Add(circuit.Totals{Success: 10, Ignored: 20, Refused: 30, Failures: []circuit.ErrorTotal{{Type: "body", Count: 50}, {Type: "500", Count: 40}}})
	want := circuit.Totals{
		Success: 11, Ignored: 22, Refused: 33,
		Failures: []circuit.ErrorTotal{{Type: "500", Count: 44}, {Type: "body", Count: 50}},
	}
	if diff := cmp.Diff(want, total); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
}

func TestASnapshotIsACopy(t *testing.T) {
	r := newRig(t, with(func(*circuit.Config) {}))
	r.send(0, bad)
	before := r.read(0)
	r.send(0, bad)
	if got := before.Totals.Failure(); got != 1 {
		t.Errorf("an earlier snapshot has %d failures by now, want 1", got)
	}
}
