package circuit_test

import (
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// admissible says whether a request would be admitted.
func (m *model) admissible(now time.Duration, mayProbe bool) (circuit.Refusal, bool) {
	s := m.current()
	r := circuit.Refusal{State: s.state}
	switch {
	case s.state == circuit.Closed:
		return r, s.until <= now || m.rand() < 0.1+0.9*float64(now-(s.until-m.cfg.Ramp))/float64(m.cfg.Ramp)
	case m.forced:
		return r, false
	case s.state == circuit.Open && now < s.until:
		r.RetryAfter = s.until - now
		return r, false
	case s.state == circuit.Open:
		r.State = circuit.HalfOpen
		return r, mayProbe
	}
	probes := 0
	for _, p := range m.requests {
		probes += one(p.in == s && !p.over)
	}
	return r, mayProbe && probes < m.cfg.Probes
}

func (m *model) begin(now time.Duration, mayProbe bool) (*request, circuit.Refusal, circuit.Decision) {
	m.notice(now)
	m.askTripWhen()
	if m.evicted {
		return nil, circuit.Refusal{}, circuit.Gone
	}
	if m.current().state != circuit.Closed {
		m.used = now
	}
	if r, ok := m.admissible(now, mayProbe); !ok {
		m.refused++
		return nil, r, circuit.Refused
	}
	if s := m.current(); s.state == circuit.Open {
		m.enter(&stay{state: circuit.HalfOpen, since: s.until, reason: circuit.OpenElapsed}, now)
	}
	r := &request{in: m.current(), at: now}
	m.requests = append(m.requests, r)
	return r, circuit.Refusal{}, circuit.Admitted
}

// ready is admissible, without chance, and when to ask again.
func (m *model) ready(now time.Duration, mayProbe bool) (r circuit.Refusal, wake time.Duration, ok bool) {
	m.notice(now)
	if m.current().state == circuit.Closed {
		return circuit.Refusal{}, 0, true
	}
	r, ok = m.admissible(now, mayProbe)
	if ok {
		return circuit.Refusal{}, 0, true
	}
	wake = r.RetryAfter
	for _, p := range m.requests {
		if left := m.cfg.ProbeTimeout - (now - p.at); p.in == m.current() && !p.over && (wake == 0 || left < wake) {
			wake = left
		}
	}
	return r, wake, false
}

func (m *model) finish(now time.Duration, r *request, v circuit.Verdict) bool {
	if r.over {
		return false
	}
	r.over = r.in == m.current() && now-r.at <= m.patience() // in time
	m.notice(now)
	r.over = true
	if r.timedOut {
		return false
	}
	r.outcome = v.Outcome
	r.failed = v.Outcome == circuit.Failure
	r.stale = r.in != m.current()
	if r.failed {
		m.types = append(m.types, v.ErrorType)
	}
	defer m.askTripWhen()
	if !r.stale && r.in.state == circuit.HalfOpen {
		m.used = now
	}
	switch {
	case r.stale:
	case r.failed:
		if !m.inWindow(r, now) { // else it is in already, as slow
			r.slow = false
			m.countIn(r, now)
		}
		if v.Broken && m.brokeTogether(r, now) {
			m.noted = append(m.noted, now)
			m.ask(now, v.RetryAfter)
			return true
		}
		m.failure(now, circuit.ProbeFailed, v.RetryAfter)
	case r.outcome == circuit.Success:
		m.success(now, r, v.Whole)
	}
	return true
}

func (m *model) success(now time.Duration, r *request, whole bool) {
	if r.in.state == circuit.HalfOpen {
		if m.cfg.SlowRatio > 0 && now-r.at > m.cfg.SlowAfter {
			r.failed = true
			m.failure(now, circuit.ProbeFailed, 0)
			return
		}
		if m.counts(now).Requests == m.cfg.ProbeSuccesses {
			closed := &stay{state: circuit.Closed, since: now, reason: circuit.ProbeSucceeded}
			if m.cfg.Ramp > 0 {
				closed.until = now + m.cfg.Ramp
			}
			m.enter(closed, now)
		}
		return
	}
	if !r.slow {
		m.countIn(r, now)
	}
	if whole {
		r.in.marks = append(r.in.marks, unmoved)
	}
}

// home is the stay in which the body of a response counts: that of the request,
// or the closed one that it led to as a probe. A stale one counts nowhere.
func (m *model) home(r *request) *stay {
	for i, s := range m.stays[1:] {
		if m.stays[i] == r.in && s.reason == circuit.ProbeSucceeded && !r.stale {
			return s
		}
	}
	return r.in
}

func (m *model) bodyEnded(r *request) {
	if s := m.home(r); !r.stale {
		s.marks = append(s.marks, unmoved)
	}
}

func (m *model) bodyFailed(now time.Duration, r *request, v circuit.Verdict) bool {
	if m.evicted {
		return false
	}
	m.notice(now)
	defer m.askTripWhen()
	m.types = append(m.types, v.ErrorType)
	if m.home(r) != m.current() || r.stale {
		return true
	}
	r.failed = true
	if v.Broken && m.brokeTogether(r, now) {
		m.noted = append(m.noted, now)
		m.ask(now, v.RetryAfter)
		return true
	}
	m.failure(now, circuit.ProbeFailed, v.RetryAfter)
	return true
}

// brokeTogether says that r was under way when a failure was last added to the
// run, within the last second.
func (m *model) brokeTogether(r *request, now time.Duration) bool {
	s, number := m.home(r), 0
	for i, other := range m.requests {
		if other.in == s && slices.Index(m.requests, r) >= i {
			number++
		}
	}
	if r.in != s {
		number = 0 // a probe began before
	}
	return s.last != nil && number <= s.last.begun && now-s.last.at < time.Second
}

func (m *model) force(now time.Duration, to circuit.State) (first, ok bool) {
	m.notice(now)
	if m.evicted {
		return false, false
	}
	if m.current().state != to {
		m.enter(&stay{state: to, since: now, reason: circuit.Forced}, now)
	}
	m.toAsk = nil
	if to == circuit.Closed {
		m.current().until = 0
	}
	first, m.forced = !m.forced, true
	return first, true
}

func (m *model) reset(now time.Duration) (wasForced bool) {
	m.notice(now)
	if m.evicted {
		return false
	}
	next := &stay{state: circuit.Closed, since: now, reason: circuit.WasReset}
	if m.current().state == circuit.Closed {
		m.stays, m.toAsk = append(m.stays, next), nil
	} else {
		m.enter(next, now)
	}
	wasForced, m.forced, m.noted = m.forced, false, nil
	return wasForced
}

func (m *model) evict(now time.Duration, lastResort bool) bool {
	if m.evicted || m.forced || m.inFlight() > 0 || !m.dispensable(now, lastResort) {
		return false
	}
	m.evicted = true
	return true
}

func (m *model) dispensable(now time.Duration, lastResort bool) bool {
	s := m.current()
	if s.state != circuit.Closed {
		opened := s
		if s.state == circuit.HalfOpen {
			opened = m.stays[len(m.stays)-2]
		}
		return saturated(float64(now)-float64(max(opened.until, m.used))) >= m.cfg.MaxOpenFor
	}
	for _, at := range m.noted {
		if now-at < m.cfg.Window || m.run() > 0 && now-at < m.cfg.OpenFor {
			return false
		}
	}
	return s.until <= now && (m.run() == 0 || lastResort)
}

func (m *model) snapshot(now time.Duration) circuit.Snapshot {
	m.notice(now)
	s := circuit.Snapshot{
		State:    m.current().state,
		Forced:   m.forced,
		Since:    m.current().since,
		Counts:   m.counts(now),
		Totals:   m.totals(),
		InFlight: m.inFlight(),
	}
	switch {
	case s.State != circuit.Open || s.Forced:
	case now < m.current().until:
		s.Until = m.current().until
	default:
		s.State, s.Since = circuit.HalfOpen, m.current().until
	}
	return s
}
