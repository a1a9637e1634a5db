package breakerhttp_test

import (
	"context"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// home is the era in which the end of a body counts, or nil.
func (c *modelCall) home() *era {
	switch {
	case c.stale || c.host.gone:
		return nil
	case c.era.led != nil:
		return c.era.led
	}
	return c.era
}

func (m *contractModel) bodyEnded(c *modelCall) {
	if e := c.home(); e != nil {
		e.run = 0
	}
}

func (m *contractModel) bodyFailed(c *modelCall, now time.Duration) {
	h := c.host
	m.notice(h, now)
	h.totals.Failure++
	if c.home() == h.now() {
		c.failed = true
		m.fail(h, now, "probe_failed", 0)
	}
}

func (m *contractModel) force(key string, now time.Duration, to breakerhttp.State) {
	h := m.hosts[key]
	if h == nil {
		h = m.add(key, now)
	}
	m.notice(h, now)
	if h.now().state != to {
		m.enter(h, &era{state: to, since: now}, now, "forced")
	}
	if to == breakerhttp.StateClosed {
		h.now().until = 0 // no ramp
	}
	h.forced = true
}

func (m *contractModel) reset(h *modelHost, now time.Duration) {
	m.notice(h, now)
	next := &era{state: breakerhttp.StateClosed, since: now}
	if h.now().state == breakerhttp.StateClosed {
		h.eras = append(h.eras, next)
	} else {
		m.enter(h, next, now, "reset")
	}
	h.forced, h.level, h.failures = false, 0, nil
}

func (h *modelHost) inFlight() (n int) {
	for _, c := range h.calls {
		if !c.over {
			n++
		}
	}
	return n
}

// mayGo says that h may make room for another host.
func (h *modelHost) mayGo(now time.Duration) bool {
	e := h.now()
	if e.state != breakerhttp.StateClosed || now < e.until || h.forced || h.inFlight() > 0 {
		return false
	}
	for _, at := range h.failures {
		if now-at < h.policy.Window {
			return false
		}
	}
	return true
}

// unforced is the number of hosts that count towards the bound.
func (m *contractModel) unforced() (n int) {
	for _, h := range m.hosts {
		if !h.forced {
			n++
		}
	}
	return n
}

// waitReady says what WaitReady returns for a context with this deadline, when,
// and whether any other answer will do, for something happens just then.
func (m *contractModel) waitReady(h *modelHost, now, deadline time.Duration, mayProbe bool) (at time.Duration, tie bool, err error) {
	for {
		m.notice(h, now)
		refusal, byChance := h.admissible(now, mayProbe)
		switch {
		case refusal == nil || byChance:
			return now, false, nil
		case refusal.RetryAfter > 0 && deadline < now+refusal.RetryAfter:
			return now, false, refusal
		}
		next := now + refusal.RetryAfter
		if next == now {
			next = deadline + 1
			for _, c := range h.calls {
				if c.waits() && h.now().state == breakerhttp.StateHalfOpen {
					next = min(next, c.at+h.policy.ProbeTimeout)
				}
			}
		}
		if next >= deadline {
			return deadline, next == deadline, context.DeadlineExceeded
		}
		now = next
	}
}

func (m *contractModel) snapshot(h *modelHost, epoch time.Time, now time.Duration) breakerhttp.Snapshot {
	m.notice(h, now)
	e := h.now()
	s := breakerhttp.Snapshot{
		Key:      h.key,
		State:    e.state,
		Forced:   h.forced,
		Since:    epoch.Add(e.since),
		Reason:   h.detail,
		Counts:   h.counts(now),
		Totals:   h.totals,
		InFlight: h.inFlight(),
	}
	switch {
	case e.state != breakerhttp.StateOpen || h.forced:
	case now < e.until:
		s.Until = epoch.Add(e.until)
	default:
		s.State, s.Since = breakerhttp.StateHalfOpen, epoch.Add(e.until)
	}
	return s
}
