package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// played returns a show that has been played. In a bubble, time costs nothing.
func played(t *testing.T) *show {
	t.Helper()
	s, err := newShow(newPipes(), newScenario())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := s.play(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStory: a host that fails opens its circuit, and one that recovers closes
// it again.
func TestStory(t *testing.T) {
	for range 3 { // requests come at random times
		synctest.Test(t, func(t *testing.T) {
			s := played(t)
			story := s.take()
			checkOrder(t, story)
			if at := story[0].at; at > 5*time.Second {
				t.Errorf("the first failure is at %v, want it within 5 s", at)
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
