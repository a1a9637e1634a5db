package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestQueue: a host with a queue answers as many requests as its capacity, in
// their order, and turns away those for whom the queue is too long.
func TestQueue(t *testing.T) {
	host := queue(10 * time.Millisecond)
	for i, want := range []fate{
		{after: 4 * time.Millisecond},
		{after: 8 * time.Millisecond},
		{after: 12 * time.Millisecond},
		{status: 503},
	} {
		if got := host(arrival{}); got != want {
			t.Errorf("request %d got %+v, want %+v", i, got, want)
		}
	}
	if got, want := host(arrival{at: time.Second}), (fate{after: 4 * time.Millisecond}); got != want {
		t.Errorf("a second later got %+v, want %+v", got, want)
	}
}

// TestLedger: what the figures count, on requests that are easy to count.
func TestLedger(t *testing.T) {
	l := &ledger{}
	for n := range 100 { // a second apart; every fourth is refused, every second answered
		at := time.Duration(n) * time.Second
		l.requests = append(l.requests, &request{n: n, at: at, refused: n%4 == 3, answered: n%2 == 0})
		if n%4 != 3 {
			l.visits = append(l.visits, visit{at, at + 2500*time.Millisecond})
		}
	}
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"refused", l.refused(40*time.Second, 60*time.Second), 0.25},
		{"answered", l.answered(40*time.Second, 60*time.Second), 10},
		{"hits", l.hits(40*time.Second, 60*time.Second), 15},
		{"first refusal", l.firstRefusal(40 * time.Second), 3},
		{"hits before the first refusal", l.hitsBeforeRefusal(40 * time.Second), 3},
		{"stuck", l.stuck(40*time.Second, 60*time.Second), 3},
		{"none refused", l.firstRefusal(100 * time.Second), math.Inf(1)},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

// TestArrivals: as many requests come as the rate says, the same for a seed.
func TestArrivals(t *testing.T) {
	arrivals := func(seed uint64) []time.Duration {
		w := &world{
			plan:   &plan{length: 20 * time.Second, rate: steps(100, step{10 * time.Second, 400}), peak: 400},
			arrive: rand.New(rand.NewPCG(seed, 1)),
		}
		var all []time.Duration
		for at := w.next(0); at < w.length; at = w.next(at) {
			all = append(all, at)
		}
		return all
	}
	first, again := arrivals(1), arrivals(1)
	if len(first) != len(again) || first[0] != again[0] {
		t.Error("the same seed brings other arrivals")
	}
	early := 0
	for _, at := range first {
		if at < 10*time.Second {
			early++
		}
	}
	if late := len(first) - early; early < 900 || early > 1100 || late < 3800 || late > 4200 {
		t.Errorf("got %d arrivals and %d, want about 1000 and 4000", early, late)
	}
}

// TestScoreboard plays what takes little time, once.
func TestScoreboard(t *testing.T) {
	var short []*scenario
	for _, sc := range scenarios {
		if sc.name == "blip" || sc.name == "dead-1m" || sc.name == "failing-10" {
			short = append(short, sc)
		}
	}
	b := newBoard(t, short, contenders[7:], 1, t.Output())
	t.Log("\n" + b.String())
	for _, sc := range b.scenarios {
		for i, m := range sc.measures {
			if got := b.mean(sc, i, contenders[8]); !m.bound.holds(got, got) {
				t.Errorf("%s: %s: got %v, want %s", sc.title, m.title, got, m.bound.format(m.unit))
			}
		}
	}
}
