package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// The faults of the scenario, as the metrics name them.
var errorTypes = map[string]string{"orders": "503", "billing": "connect", "reports": "body", "search": "timeout"}

// TestStory runs whole stories on a network where time costs nothing, and checks
// that they go as they are told.
func TestStory(t *testing.T) {
	for seed := range 5 {
		synctest.Test(t, func(t *testing.T) {
			records := runJSON(t, newPipes(), defaultLength, "-seed", strconv.Itoa(seed))
			checkOrder(t, records)
			end := records[len(records)-1]
			if len(end.Hosts) != 5 {
				t.Fatalf("got %d hosts, want 5", len(end.Hosts))
			}
			for _, h := range end.Hosts {
				var own []record
				for _, r := range records {
					if r.Host == h.Host {
						own = append(own, r)
					}
				}
				checkStory(t, h, own)
				checkTotals(t, h, own, end.Metrics)
			}
			checkTrace(t, end.Trace)
			if t.Failed() {
				t.Logf("with seed %d", seed)
			}
		})
	}
}

// checkStory checks what became of a host: one that fails opens its circuit, and
// one that recovers closes it again.
func checkStory(t *testing.T, h hostSummary, own []record) {
	t.Helper()
	var path []string
	for _, r := range own {
		if r.Type != transitionEvent {
			continue
		}
		path = append(path, r.Transition.To)
		if r.Text == "" {
			t.Errorf("%s: transition to %s has no text", h.Host, r.Transition.To)
		}
	}
	switch h.Host {
	case "catalog":
		if path != nil || h.With.Answered != h.With.Requests || h.With.Requests == 0 {
			t.Errorf("%s: got transitions %q and %d of %d requests answered, want none and all", h.Host, path, h.With.Answered, h.With.Requests)
		}
		return
	case "reports":
		if n := len(path); n < 3 || path[0] != "open" || slices.Contains(path, "closed") {
			t.Errorf("%s: got transitions %q, want open and half-open again and again", h.Host, path)
		}
	default:
		if n := len(path); n < 3 || path[0] != "open" || path[n-1] != "closed" || h.State != "closed" {
			t.Errorf("%s: got transitions %q and in the end %s, want open first and closed last", h.Host, path, h.State)
		}
	}
	if h.With.Refused == 0 || h.With.InVain >= h.Without.InVain {
		t.Errorf("%s: got %d refused and %d sent in vain, %d without breakers; want some, and fewer", h.Host, h.With.Refused, h.With.InVain, h.Without.InVain)
	}
}

// checkTotals checks that the requests, the transitions and the metrics of a
// host agree.
func checkTotals(t *testing.T, h hostSummary, own []record, metrics []sample) {
	t.Helper()
	want := map[string]int64{"circuit_breaker.status " + h.State: 1}
	var seen tally
	for _, r := range own {
		switch r.Type {
		case requestEvent:
			seen.add(&request{Outcome: outcome(r.Outcome), Sent: r.Sent, Seconds: r.Seconds})
		case transitionEvent:
			want["circuit_breaker.transitions "+r.Transition.From+" -> "+r.Transition.To]++
		}
	}
	if seen != h.With {
		t.Errorf("%s: the requests add up to %+v, the summary says %+v", h.Host, seen, h.With)
	}
	if seen.Refused > 0 {
		want["circuit_breaker.requests refused"] = int64(seen.Refused)
	}
	got := map[string]int64{}
	var sent int64
	for _, s := range metrics {
		if s.Attributes["server.address"] != h.Host || s.Value == 0 {
			continue
		}
		name := s.Metric + " " + s.label()
		switch {
		case name == "circuit_breaker.requests failure body":
			// comes on top of a success
		case name == "circuit_breaker.requests success", strings.HasPrefix(name, "circuit_breaker.requests failure"):
			sent += s.Value
		default:
			got[name] = s.Value
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: metrics are\n%v, want\n%v", h.Host, got, want)
	}
	if sent != int64(seen.Sent) {
		t.Errorf("%s: metrics count %d requests sent, want %d", h.Host, sent, seen.Sent)
	}
	if e := errorTypes[h.Host]; e != "" {
		ok := slices.ContainsFunc(metrics, func(s sample) bool {
			return s.Attributes["server.address"] == h.Host && s.Attributes["error.type"] == e && s.Value >= 2
		})
		if !ok {
			t.Errorf("%s: metrics have no failures of type %s", h.Host, e)
		}
	}
}

func checkTrace(t *testing.T, steps []step) {
	t.Helper()
	names := map[string]int{}
	for _, s := range steps {
		names[s.Name]++
	}
	for _, want := range []string{"HTTP GET", "circuit_breaker.state_change", "circuit_breaker.request.refused"} {
		if names[want] == 0 {
			t.Errorf("the trace has %v, want also %s", names, want)
		}
	}
}
