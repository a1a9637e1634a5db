package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// played returns a show that has been played. In a bubble, time costs nothing.
func played(t *testing.T, sc scenario) *show {
	t.Helper()
	s, err := newShow(newPipes(), sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := s.play(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestComparison: the zero Policy lets many requests wait for a host that hangs, and
// refuses those that a host could answer.
func TestComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := played(t, comparison())
		lanes := map[string]tally{}
		for _, l := range s.lanes {
			lanes[l.host+" "+l.policy] = l.tally
		}
		for host, most := range map[string]int{"hang": 100, "overload": 2000} {
			zero, adaptive, without := lanes[host+" zero"].count, lanes[host+" adaptive"].count, lanes[host+" "].count
			if zero[answered] > without[answered]/2 || adaptive[answered] < without[answered]*9/10 {
				t.Errorf("%s: got %v with the zero Policy, %v with an Adaptive one, %v without circuit breakers; "+
					"want few, many and many answers", host, zero, adaptive, without)
			}
			if adaptive[failed] > most {
				t.Errorf("%s: got %v with the Adaptive policy, want %d failures at most", host, adaptive, most)
			}
		}
		checkOrder(t, s.take())
	})
}

// TestStory: a host that fails opens its circuit, and one that recovers closes
// it again.
func TestStory(t *testing.T) {
	for range 3 { // requests come at random times
		synctest.Test(t, func(t *testing.T) {
			s := played(t, faults())
			story := s.take()
			checkOrder(t, story)
			if first := story[1]; first.host == "" || first.at > 5*time.Second {
				t.Errorf("got %+v first, want a failure within 5 s", first)
			}
			for i := 0; i < len(s.lanes); i += 2 {
				with, without := s.lanes[i], s.lanes[i+1]
				if with.host != without.host || with.breaker == nil || without.breaker != nil {
					t.Fatalf("lanes %d and %d are of %s and %s, want one host with breakers and without", i, i+1, with.host, without.host)
				}
				checkStates(t, with.host, states(story, with.host))
				checkTallies(t, with, without)
			}
		})
	}
}

// checkOrder: no line tells of a moment before the last one.
func checkOrder(t *testing.T, story []event) {
	t.Helper()
	for i, e := range story[1:] {
		if before := story[i]; e.at < before.at {
			t.Errorf("%q of %v comes after %q of %v", e.text, e.at, before.text, before.at)
		}
	}
}

// states returns those that the circuit of a host was in after the first.
func states(story []event, host string) []breakerhttp.State {
	var states []breakerhttp.State
	for _, e := range story {
		if e.host == host && e.state != nil {
			states = append(states, *e.state)
		}
	}
	return states
}

func checkStates(t *testing.T, host string, got []breakerhttp.State) {
	t.Helper()
	n := len(got)
	switch host {
	case "catalog":
		if n > 0 {
			t.Errorf("%s: got the states %v, want closed all the time", host, got)
		}
	case "reports":
		if n < 3 || got[0] != breakerhttp.StateOpen || slices.Contains(got, breakerhttp.StateClosed) {
			t.Errorf("%s: got the states %v, want open and half-open again and again", host, got)
		}
	default:
		if n < 3 || got[0] != breakerhttp.StateOpen || got[n-1] != breakerhttp.StateClosed {
			t.Errorf("%s: got the states %v, want open first and closed last", host, got)
		}
	}
}

// checkTallies: both clients make the same requests, and circuit breakers keep
// those that would fail from being sent.
func checkTallies(t *testing.T, with, without *lane) {
	t.Helper()
	a, b := with.tally.count, without.tally.count
	if sum := a[answered] + a[failed] + a[refused]; sum < 100 || sum != b[answered]+b[failed] || b[refused] > 0 {
		t.Errorf("%s: got %+v with breakers and %+v without, want as many requests", with.host, with.tally, without.tally)
	}
	if with.host == "catalog" {
		if a[failed]+a[refused]+b[failed] > 0 {
			t.Errorf("%s: got %+v with breakers and %+v without, want all answered", with.host, with.tally, without.tally)
		}
		return
	}
	if a[refused] < 20 || a[failed] < 5 || a[failed] > 10 || b[failed] < 20 {
		t.Errorf("%s: got %+v with breakers and %+v without, want few that failed instead of many", with.host, with.tally, without.tally)
	}
}
