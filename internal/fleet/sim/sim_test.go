package sim

import (
	"fmt"
	"testing"
	"time"
)

// A limit is what a fleet may do in an outage.
type limit struct {
	hits, probes, reads, writes int
	back                        time.Duration // until the last process has recovered
}

func (r result) check(t *testing.T, l limit) {
	t.Helper()
	for _, c := range []struct {
		what      string
		got, most int
	}{
		{"hits on the dead host", len(r.hits), l.hits},
		{"probes", r.probes, l.probes},
		{"reads", r.reads, l.reads},
		{"writes", r.writes, l.writes},
	} {
		if c.got > c.most {
			t.Errorf("got %d %s, want at most %d", c.got, c.what, c.most)
		}
	}
	if got := r.recovery[len(r.recovery)-1]; got > l.back {
		t.Errorf("the last process recovered after %v, want at most %v", got, l.back)
	}
}

// TestOutage: sharing saves most hits of an outage's first seconds, and all probes except two for
// each open time. Soon after one process has recovered, all others have.
func TestOutage(t *testing.T) {
	t.Run("whole", func(t *testing.T) {
		r := run(t, outage(100, 1))
		r.check(t, limit{hits: 400, probes: 45, reads: 6500, writes: 100, back: soon})
		if first, last := r.recovery[0], r.recovery[len(r.recovery)-1]; last-first > 10*time.Second {
			t.Errorf("the first process recovered after %v, the last after %v, want them 10s apart at most", first, last)
		}
	})
	for _, seed := range []uint64{4, 5} {
		t.Run(fmt.Sprint("onset/", seed), func(t *testing.T) {
			sc := outage(1000, seed)
			sc.before, sc.outage, sc.after = 15*time.Second, 20*time.Second, 0
			run(t, sc).check(t, limit{hits: 2600, reads: 5000, writes: 10, back: never})
		})
	}
	t.Run("local only", func(t *testing.T) { // shows that the host is as dead as it should be
		r := run(t, outage(10, 1).onItsOwn())
		if got, want := len(r.hits), 10*(5+19); got < want || got > want+10 || r.reads+r.writes > 0 {
			t.Errorf("without a store got %d hits and %d calls of one, want some %d and none", got, r.reads+r.writes, want)
		}
	})
}

// adaptiveMost is what a hundred processes with adaptive circuits may do. On their own they send
// 2,900 requests to the dead host, 2,400 of them probes.
var adaptiveMost = limit{hits: 900, probes: 150, reads: 9000, writes: 160, back: 45 * time.Second}

// TestAdaptive: adaptive circuits, which open for about a second at first, share what they find
// out.
func TestAdaptive(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			run(t, outage(100, seed).adapting()).check(t, adaptiveMost)
		})
	}
}

// TestSetPolicies: half of a fleet gets a shorter open time during an outage. The process whose
// failed probe ends a round decides when the next one begins. So the fleet probes more often than
// before, but not as often as if all had changed.
func TestSetPolicies(t *testing.T) {
	t.Parallel()
	var probes []int
	for _, changed := range []int{0, 10, 20} {
		r := run(t, outage(20, 1).changing(changed))
		r.check(t, limit{hits: 250, probes: 90, reads: 2500, writes: 200, back: soon})
		probes = append(probes, r.probes)
	}
	if !(probes[0] < probes[1] && probes[1] < probes[2]) {
		t.Errorf("got %v probes if none, half or all of the fleet change, want more each time", probes)
	}
}

// changedMost is what a hundred processes may do if some of them get a shorter open time.
var changedMost = limit{hits: 450, probes: 90, reads: 8000, writes: 200, back: soon}

func oneBrokenMost(processes int) limit {
	return limit{hits: 15 * processes, probes: 20, reads: 100 * processes, writes: 60, back: soon}
}

// TestOneBroken: a process that cannot reach the host keeps the others out for no longer than one
// open time and a few seconds.
func TestOneBroken(t *testing.T) {
	for _, processes := range []int{3, 5, 20} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(processes, "/", seed), func(t *testing.T) {
				t.Parallel()
				run(t, oneBroken(processes, seed)).check(t, oneBrokenMost(processes))
			})
		}
	}
	t.Run("quorum", func(t *testing.T) {
		if r := run(t, noOutage(20, 2)); r.refused > 0 {
			t.Errorf("for one broken process, the others had %d requests refused, want none", r.refused)
		}
		if r := run(t, noOutage(20, 1)); r.refused < r.sent/2 {
			t.Errorf("with Quorum 1, the others had %d of %d requests refused, want most of them: one process decides", r.refused, r.sent)
		}
	})
}

// TestHandicaps: whatever happens to its store and its processes, a fleet that shares is no worse
// off than one that does not. It is better off as soon as the store works.
func TestHandicaps(t *testing.T) {
	for _, h := range handicaps {
		for seed := range uint64(2) {
			t.Run(fmt.Sprint(h.title, "/", seed), func(t *testing.T) {
				t.Parallel()
				run(t, h.of(outage(10, seed))).check(t, h.most)
			})
		}
	}
}
