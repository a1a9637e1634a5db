package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestContenders: each of them lives in a bubble, and refuses nothing while the
// host is healthy.
func TestContenders(t *testing.T) {
	prepare()
	sc := quiet()
	for _, c := range contenders {
		out := play(t, sc, 0, c)
		for i, want := range []bound{atLeast(1), atMost(0)} {
			if got := out.figures[i]; !want.holds(got, 0) {
				t.Errorf("%s: %s: got %v, want %s", c.title(), sc.measures[i].title, got, want.format(sc.measures[i].unit))
			}
		}
	}
}

// TestPolicyFile: a policy in JSON is judged, and a wrong one named.
func TestPolicyFile(t *testing.T) {
	for _, c := range []struct{ name, json, want string }{
		{"good.json", `{"open_for": "1s", "open_growth": 2}`, ""},
		{"unknown.json", `{"open_fro": "1s"}`, "open_fro"},
		{"invalid.json", `{"failure_ratio": 1.5}`, "FailureRatio is 1.5"},
	} {
		file := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(file, []byte(c.json), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := fromFile(file)
		switch {
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s: got error %v, want one about %s", c.name, err, c.want)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case got.name != c.name || got.policy.OpenGrowth != 2 || got.policy.OpenFor != time.Second:
			t.Errorf("%s: got %q with %+v", c.name, got.name, *got.policy)
		}
	}
}

// TestScoreboard plays once what breakerhttp must do well, and make judge plays
// with more seeds.
func TestScoreboard(t *testing.T) {
	adaptive, doubling, zero := find(contenders, adaptive), find(contenders, doubling), find(contenders, "zero Policy")
	classic := map[string]struct{ zero, doubling []bound }{
		"blip":        {nil, []bound{atMost(0.03)}},
		"dead-1m":     {[]bound{atMost(30), noBound}, []bound{atMost(35), atMost(0.05)}},
		"own-network": {nil, []bound{atMost(1000), atMost(0.15)}},
	}
	for _, sc := range scenarios {
		if sc.long || !slices.ContainsFunc(sc.measures, func(m measure) bool { return !m.bound.none }) {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			check(t, sc, zero, classic[sc.name].zero)
			compared := check(t, sc, doubling, classic[sc.name].doubling)
			var bounds []bound
			for i, m := range sc.measures {
				b := m.bound.loosened()
				if b.of != "" {
					b = atMost(b.limit * compared[i])
				}
				bounds = append(bounds, b)
			}
			check(t, sc, adaptive, bounds)
		})
	}
}

// check plays a scenario and returns its figures. Without bounds it does nothing.
func check(t *testing.T, sc *scenario, c *contender, bounds []bound) []float64 {
	if bounds == nil {
		return nil
	}
	figures := play(t, sc, 0, c).figures
	for i, b := range bounds {
		if m := sc.measures[i]; !b.holds(figures[i], 0) {
			t.Errorf("%s: %s: got %s, want %s", c.name, m.title, m.unit.format(figures[i]), b.format(m.unit))
		}
	}
	return figures
}

// TestPicture: the picture is XML, and has a strip for each column.
func TestPicture(t *testing.T) {
	sc := blip()
	columns := slices.DeleteFunc(slices.Clone(contenders), func(c *contender) bool { return !c.short })
	b := &board{
		scenarios: []*scenario{sc}, contenders: contenders, seeds: 1,
		outcomes: map[*scenario]map[*contender][]outcome{sc: {}},
	}
	for _, c := range columns {
		b.outcomes[sc][c] = []outcome{{
			plan:    &plan{length: time.Minute, from: 30 * time.Second, to: 31 * time.Second},
			figures: []float64{0.5},
			moments: make([]moment, moments),
		}}
	}
	strips := 0
	for d := xml.NewDecoder(strings.NewReader(b.picture())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" && e.Attr[0].Value == "answered" {
			strips++
		}
	}
	if strips != len(columns) {
		t.Errorf("got %d strips, want %d", strips, len(columns))
	}
}

// TestArea: the path around the area under a curve returns to where it begins.
func TestArea(t *testing.T) {
	all := []moment{{answered: 1}, {answered: 1}, {answered: 0.5}, {}}
	got := area(all, func(m moment) float64 { return m.answered })
	if want := "v-34h4v17h2v17h2v0z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
