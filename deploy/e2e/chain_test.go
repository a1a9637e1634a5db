//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestChain shows each way that a circuit can go wrong to the whole chain, and waits until
// Alertmanager has sent the notice to the right receiver.
func TestChain(t *testing.T) {
	s, began := startStack(t), time.Now()
	byRoute := breakerhttp.WithKey(func(*http.Request) string { return "newsletter" })
	s.startApp(t, "bystander", byRoute).get(startUpstream(t))
	t.Run("scenarios", func(t *testing.T) {
		t.Run("outage", s.parallel(s.outage))
		t.Run("blip", s.parallel(s.blip))
		t.Run("birth", s.parallel(s.birth))
		t.Run("flapping", s.parallel(s.flapping))
		t.Run("store", s.parallel(s.storeFails))
		t.Run("dry run", s.parallel(s.dryRun))
	})
	t.Run("nobody wakes up", func(t *testing.T) { s.dryRunIsQuiet(t, began) })
	t.Run("rules", func(t *testing.T) { s.everyRule(t, began) })
	t.Run("dashboard", func(t *testing.T) { s.everyPanel(t, began) })
}

func (s *stack) parallel(scenario func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		scenario(t)
	}
}

// outage: the upstream dies, and recovers once the alerts have fired.
func (s *stack) outage(t *testing.T) {
	u := startUpstream(t)
	a := s.startApp(t, "checkout", breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: time.Minute / speed}))
	host := a.host(t, u)
	began := time.Now()
	a.every(t, 20*time.Millisecond, func() { a.get(u) })
	status := func(state string) string {
		return fmt.Sprintf(`circuit_breaker_status{job="checkout",instance="checkout-1",circuit_breaker_name="default",`+
			`server_address="127.0.0.1",server_port=%q,circuit_breaker_state=%q}`, host["server_port"], state)
	}
	opened := `circuit_breaker_transitions_total{job="checkout",circuit_breaker_previous_state="closed",circuit_breaker_state="open"}`
	s.prometheus.waitForValue(t, status("closed"), 1)
	s.prometheus.waitForValue(t, opened, 0)

	u.die()
	s.prometheus.waitForValue(t, status("open"), 1)
	s.prometheus.waitFor(t, "increase("+opened+"[5m])", "about 1", func(got float64) bool { return got >= 1 && got < 2 })
	notice := s.notices.waitFor(t, "on-call", "firing", "CircuitOpen", host)
	if got, want := notice.Annotations["summary"], "checkout has an open circuit for "+u.addr; got != want {
		t.Errorf("got summary %q, want %q", got, want)
	}
	if notice.Annotations["runbook"] == "" {
		t.Error("got no runbook")
	}
	s.refusing(t, host)
	opening := a.spanOf(t, "circuit_breaker.state_change")
	s.waitForExemplar(t, opened, opening, began)
	address := []string{"circuit_breaker.name: Str(default)", "server.address: Str(127.0.0.1)", "server.port: Int(" + host["server_port"] + ")"}
	s.waitForEvent(t, opening, "circuit_breaker.state_change", append(address,
		"circuit_breaker.previous_state: Str(closed)", "circuit_breaker.state: Str(open)",
		"circuit_breaker.reason: Str(", "circuit_breaker.open_for: Double(2)")...)
	s.waitForEvent(t, a.spanOf(t, "circuit_breaker.request.refused"), "circuit_breaker.request.refused", append(address,
		"circuit_breaker.state: Str(open)", "error.type: Str(circuit_open)", "circuit_breaker.retry_after: Double(")...)

	u.revive(t)
	s.prometheus.waitForValue(t, status("closed"), 1)
	s.notices.waitFor(t, "on-call", "resolved", "CircuitOpen", host)
}

// refusing: an open circuit causes one notice, and not a second one for the requests that it
// refuses.
func (s *stack) refusing(t *testing.T, host labels) {
	t.Helper()
	eventually(t, fmt.Sprintf("CircuitOpen to inhibit CircuitRefusing for %v", host), func() error {
		all, err := s.alerts()
		for _, a := range all {
			if a.Labels["alertname"] == "CircuitRefusing" && host.in(a.Labels) && len(a.Status.InhibitedBy) > 0 {
				return nil
			}
		}
		return fmt.Errorf("got alerts %v, %v", all, err)
	})
	if got := s.notices.of("CircuitRefusing", host); len(got) > 0 {
		t.Errorf("got notices %v, want none of CircuitRefusing", got)
	}
}

// blip: a circuit opens and closes between two samples of its status. Then it refuses a part of the
// requests while it brings traffic back.
func (s *stack) blip(t *testing.T) {
	u := startUpstream(t)
	a := s.startApp(t, "search", breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: blink, Ramp: time.Minute}))
	host := a.host(t, u)
	a.get(u)
	s.prometheus.waitForValue(t, `circuit_breaker_transitions_total{job="search",circuit_breaker_previous_state="closed",circuit_breaker_state="open"}`, 0)

	a.unseen(func() { a.openAndClose(t, u) })
	s.notices.waitFor(t, "chat", "firing", "CircuitOpenedRecently", host)

	a.every(t, 20*time.Millisecond, func() { a.get(u) })
	s.notices.waitFor(t, "on-call", "firing", "CircuitRefusing", host)
	s.neverSeenOpen(t, host)
}

// birth: a host is dead when it is first called, and its circuit has closed again before the first
// export.
func (s *stack) birth(t *testing.T) {
	u := startUpstream(t)
	a := s.startApp(t, "mail", breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: blink}))
	s.waitUntilOld(t)
	a.unseen(func() {
		a.get(u)
		a.openAndClose(t, u)
	})
	s.notices.waitFor(t, "chat", "firing", "CircuitOpenedRecently", a.host(t, u))
	s.neverSeenOpen(t, a.host(t, u))
}

// flapping: a circuit opens again each time that it has closed.
func (s *stack) flapping(t *testing.T) {
	u := startUpstream(t)
	a := s.startApp(t, "billing", breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: blink}))
	a.get(u)
	opened := `circuit_breaker_transitions_total{job="billing",circuit_breaker_previous_state="closed",circuit_breaker_state="open"}`
	for n := range 3 {
		s.prometheus.waitForValue(t, opened, float64(n))
		if got := s.notices.of("CircuitFlapping", a.host(t, u)); len(got) > 0 {
			t.Fatalf("opened %d times: got notices %v, want none", n, got)
		}
		a.openAndClose(t, u)
	}
	s.notices.waitFor(t, "chat", "firing", "CircuitFlapping", a.host(t, u))
}

// storeFails: the store that circuits are shared through is down from the beginning.
func (s *stack) storeFails(t *testing.T) {
	u := startUpstream(t)
	s.waitUntilOld(t)
	shared := func(*http.Request) string { return "http://stock.example.com" } // loopback addresses are never shared
	a := s.startApp(t, "stock", breakerhttp.WithKey(shared), breakerhttp.WithStore(deadStore{}, breakerhttp.Sharing{
		Refresh: time.Second,
		OnError: func(error) {},
	}))
	a.every(t, 20*time.Millisecond, func() { a.get(u) })
	s.notices.waitFor(t, "chat", "firing", "StoreFailing", labels{"job": "stock", "circuit_breaker_name": "default"})
}

// dryRun: a circuit that only says what it would do opens, and its store is down.
func (s *stack) dryRun(t *testing.T) {
	u := startUpstream(t)
	u.die()
	key := func(*http.Request) string { return "http://trial.example.com" }
	a := s.startApp(t, "trial", breakerhttp.WithDryRun(), breakerhttp.WithKey(key), breakerhttp.WithStore(deadStore{}, breakerhttp.Sharing{
		Refresh: time.Second,
		OnError: func(error) {},
	}))
	a.every(t, 20*time.Millisecond, func() { a.get(u) })
	s.prometheus.waitForValue(t, `circuit_breaker_status{job="trial",circuit_breaker_dry_run="true",circuit_breaker_state="open"}`, 1)
	for _, counter := range []string{
		`circuit_breaker_requests_total{job="trial",circuit_breaker_outcome="refused"}`,
		`circuit_breaker_store_errors_total{job="trial",circuit_breaker_store_operation="load"}`,
	} {
		s.prometheus.waitFor(t, counter, "3 or more", func(got float64) bool { return got >= 3 })
	}
}

// dryRunIsQuiet: no alert was about the dry run.
func (s *stack) dryRunIsQuiet(t *testing.T, since time.Time) {
	got, err := s.prometheus.queryRange(`ALERTS{job="trial"}`, since)
	if err != nil || len(got) > 0 {
		t.Errorf("got alerts %v, %v, want none", got, err)
	}
}

// waitUntilOld waits until the monitoring is older than the window of the rules: only then do they
// count a new series from 0.
func (s *stack) waitUntilOld(t *testing.T) {
	t.Helper()
	s.prometheus.waitForValue(t, fmt.Sprintf("group(circuit_breaker_status offset %s)", lookback), 1)
}

// blink is an open time that is over before the next sample.
const blink = 10 * time.Millisecond

func (s *stack) neverSeenOpen(t *testing.T, host labels) {
	t.Helper()
	s.prometheus.waitForValue(t, fmt.Sprintf(`max_over_time(circuit_breaker_status{job=%q,circuit_breaker_state="open"}[10m])`, host["job"]), 0)
	if got := s.notices.of("CircuitOpen", host); len(got) > 0 {
		t.Errorf("got notices %v, want none of CircuitOpen", got)
	}
}

// deadStore is a store that is down.
type deadStore struct{}

var errDead = errors.New("the store is dead")

func (deadStore) Load(context.Context, []string) ([]breakerhttp.Item, error) { return nil, errDead }

func (deadStore) CompareAndSwap(context.Context, string, uint64, []byte, time.Duration) (breakerhttp.Item, bool, error) {
	return breakerhttp.Item{}, false, errDead
}

// openAndClose opens the circuit of u, and lets it close.
func (a *app) openAndClose(t *testing.T, u *upstream) {
	t.Helper()
	u.die()
	for a.state(t, u) == breakerhttp.StateClosed {
		a.get(u)
	}
	u.revive(t)
	for a.state(t, u) != breakerhttp.StateClosed {
		a.get(u)
	}
}

func (a *app) state(t *testing.T, u *upstream) breakerhttp.State {
	t.Helper()
	s, ok := a.transport.Snapshot("http://" + u.addr)
	if !ok {
		t.Fatalf("%s has no circuit for %s", a.service, u.addr)
	}
	return s.State
}
