//go:build e2e && linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestChain shows each way that a circuit can go wrong to the whole chain, and
// waits for the one who must learn of it to be told.
func TestChain(t *testing.T) {
	s := startStack(t)
	t.Run("scenarios", func(t *testing.T) {
		t.Run("outage", s.parallel(s.outage))
		t.Run("blip", s.parallel(s.blip))
	})
}

func (s *stack) parallel(scenario func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		scenario(t)
	}
}

// outage: the upstream dies, and comes back when everybody knows.
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
	s.notices.waitFor(t, "on-call", "firing", "CircuitOpen", host)

	span := a.opening(t)
	s.waitForExemplar(t, opened, span, began)
	s.waitForEvent(t, span, "circuit_breaker.state_change",
		"circuit_breaker.name: Str(default)", "server.address: Str(127.0.0.1)", "server.port: Int("+host["server_port"]+")",
		"circuit_breaker.previous_state: Str(closed)", "circuit_breaker.state: Str(open)",
		"circuit_breaker.reason: Str(", "circuit_breaker.open_for: Double(2)")

	u.revive(t)
	s.prometheus.waitForValue(t, status("closed"), 1)
	s.notices.waitFor(t, "on-call", "resolved", "CircuitOpen", host)
}

// blip: a circuit opens and closes, and no sample of its status shows it.
func (s *stack) blip(t *testing.T) {
	u := startUpstream(t)
	a := s.startApp(t, "search", breakerhttp.WithPolicy(breakerhttp.Policy{OpenFor: 10 * time.Millisecond}))
	host := a.host(t, u)
	a.get(u)
	s.prometheus.waitForValue(t, `circuit_breaker_transitions_total{job="search",circuit_breaker_previous_state="closed",circuit_breaker_state="open"}`, 0)

	a.unseen(func() { a.openAndClose(t, u) })
	s.notices.waitFor(t, "chat", "firing", "CircuitOpenedRecently", host)
	s.prometheus.waitForValue(t, `max_over_time(circuit_breaker_status{job="search",circuit_breaker_state="open"}[10m])`, 0)
	if got := s.notices.of("CircuitOpen", host); len(got) > 0 {
		t.Errorf("got notices %v, want none of CircuitOpen", got)
	}
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
