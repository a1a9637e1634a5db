package contract

import (
	"fmt"
	"math"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// adaptive is what a model knows of a host whose policy is Adaptive, by the rules of
// docs/judgement.md.
type adaptive struct {
	answers int     // ever: successes, failures that were no timeouts, and Limited
	alert   float64 // requests in flight from which on silence is looked for
	mark    mark    // from which silence is counted

	since      time.Duration // the trouble began, if known
	known      bool
	opened     time.Duration // since, as it was at the latest opening
	everOpen   bool          // there was one
	due        span          // when the next probe may go
	notBefore  time.Duration // the host asked for that
	probing    bool          // a probe has been sent, and none has been answered
	probedAt   span          // when it was due
	unrecorded *event        // the opening, until the outage has lasted a second
	silent     bool          // opened by silence, and no probe has been answered
	alarm      bool          // opened by silence: late answers may come
	waiting    int           // requests in flight when silence opened the circuit
	late       int           // answers to requests of older generations since

	limit    float64       // requests in flight while it recovers; 0 means no bound
	ssthresh float64       // up to which the limit grows fast
	held     time.Duration // the limit last refused a request
}

// A mark is a moment at which the host was not silent.
type mark struct {
	at      time.Duration
	started int // requests of the generation
	answers int
}

// A span is a time that chance moves, until the Transport shows which it is.
type span struct{ from, to time.Duration }

func exactly(at time.Duration) span { return span{at, at} }

func (s span) contains(at time.Duration) bool { return s.from <= at && at <= s.to }

func (s span) atLeast(at time.Duration) span { return span{max(s.from, at), max(s.to, at)} }

func newAdaptive(now time.Duration) *adaptive {
	return &adaptive{alert: 16, mark: mark{at: now}, ssthresh: math.Inf(1)}
}

// requests returns how many requests of a generation there were, and are in flight.
func (h *host) requests(g *generation) (started, in int) {
	for _, c := range h.calls {
		if c.gen == g {
			started++
			if !c.over {
				in++
			}
		}
	}
	return started, in
}

// wait is how long to keep clear of the host.
func (a *adaptive) wait(now time.Duration, p breakerhttp.Policy) span {
	lasted := now - a.since
	d := min(max(lasted/4, 20*time.Millisecond), p.MaxOpenFor)
	if a.silent {
		most := 10 * time.Second
		if lasted < time.Minute {
			most = time.Second
		}
		d = min(max(d, 150*time.Millisecond), most)
	}
	return span{now + d*9/10, now + d*11/10}
}

// A request asks.

// admissibleAdaptive says what a request with that time to its deadline is told now.
func (m *model) admissibleAdaptive(h *host, now time.Duration, mayProbe bool, left time.Duration) (refusal *breakerhttp.OpenError, byChance bool) {
	a, g := h.adaptive, h.now()
	if g.state == breakerhttp.StateOpen {
		refusal = h.refusal(breakerhttp.StateOpen)
		switch {
		case now < a.due.from:
			refusal.RetryAfter = a.due.from - now
			return refusal, false
		case now < a.due.to:
			return refusal, true
		case mayProbe:
			return nil, false
		}
		return h.refusal(breakerhttp.StateHalfOpen), false
	}
	started, in := h.requests(g)
	if a.limit > 0 && float64(in) >= a.limit {
		a.held = now
		refusal = h.refusal(breakerhttp.StateClosed)
		refusal.Reason = fmt.Sprintf("recovering: at most %d in flight", int(a.limit))
		return refusal, false
	}
	if float64(in) < a.alert {
		return nil, false
	}
	asked, answered := started-a.mark.started, a.answers-a.mark.answers
	if 4*answered >= asked || a.mark.answers < 16 {
		a.mark = mark{now, started, a.answers}
		a.alert = max(a.alert, math.Floor(1.25*float64(in)))
		return nil, false
	}
	if s := silence(h.policy, left); s < 0 || asked < 16 || now-a.mark.at < s {
		return nil, false
	}
	a.since, a.known, a.waiting, a.late, a.alarm, a.silent = a.mark.at, true, in, 0, true, true
	m.openAdaptive(h, now, "silence", h.counts(now), 0)
	h.fall = fall{}
	return h.refusal(breakerhttp.StateOpen), false
}

func silence(p breakerhttp.Policy, left time.Duration) time.Duration {
	switch {
	case p.Silence != 0:
		return p.Silence
	case left == never:
		return time.Second
	}
	return max(150*time.Millisecond, left/64)
}

// admitAdaptive begins a request that may be sent.
func (m *model) admitAdaptive(h *host, now time.Duration) {
	a := h.adaptive
	if h.now().state != breakerhttp.StateOpen {
		return
	}
	if !a.probing {
		a.probing, a.probedAt = true, a.due
	}
	a.due = a.wait(now, h.policy)
}

// A request ends.

func (m *model) endAdaptive(c *call, now time.Duration, v verdict) {
	h := c.host
	a := h.adaptive
	timeout := v.outcome == breakerhttp.Failure && v.timeout
	if v.outcome != breakerhttp.Ignored && !timeout {
		a.answers++
	}
	switch {
	case h.forced:
	case c.stale:
		if v.outcome == breakerhttp.Success {
			m.answeredLate(h, now)
		}
	case c.gen.state == breakerhttp.StateOpen:
		m.probeEnded(c, now, v)
	case v.outcome == breakerhttp.Success:
		a.widen(now, c)
	}
}

func (m *model) probeEnded(c *call, now time.Duration, v verdict) {
	h := c.host
	a := h.adaptive
	if v.outcome == breakerhttp.Success && h.tooSlow(now-c.at) {
		v = verdict{outcome: breakerhttp.Failure}
	}
	switch {
	case v.outcome == breakerhttp.Success || v.outcome == breakerhttp.Limited:
		fell := h.fall.by
		m.recover(h, now, "probe_succeeded")
		c.gen.led = h.now()
		if fell {
			m.sympathize(h, now)
		}
	case v.outcome == breakerhttp.Ignored:
	case v.timeout: // the schedule goes on
		if _, in := h.requests(c.gen); in == 0 {
			a.probing = false
		}
	default:
		a.silent, a.probing = false, false
		a.notBefore = max(a.notBefore, now+min(v.retryAfter, h.maxRetryAfter()))
		w := a.wait(now, h.policy)
		a.due = span{max(a.due.from, w.from), max(a.due.to, w.to)}.atLeast(a.notBefore)
	}
}

func (m *model) answeredLate(h *host, now time.Duration) {
	a := h.adaptive
	if !a.everOpen && !a.alarm || h.limited {
		return
	}
	a.late++
	switch {
	case a.alarm && 4*a.late >= a.waiting:
		a.alarm = false
		a.alert = max(a.alert, 2*float64(a.waiting))
		if h.now().state == breakerhttp.StateOpen {
			m.closeAdaptive(h, now, "late_answers", 0)
		} else {
			a.limit, a.ssthresh = 0, math.Inf(1)
		}
	case h.now().state == breakerhttp.StateOpen: // one has been answered, another may go
		a.due = span{min(a.due.from, now), min(a.due.to, now)}.atLeast(a.notBefore)
	}
}

// widen lets the limit grow, and in the end go. in is counted before c ended.
func (a *adaptive) widen(now time.Duration, c *call) {
	if a.limit == 0 {
		return
	}
	_, in := c.host.requests(c.gen)
	if in++; 2*float64(in) >= a.limit {
		if a.limit < a.ssthresh {
			a.limit++
		} else {
			a.limit += 1 / a.limit
		}
	}
	if now-a.held >= 10*time.Second {
		a.limit, a.ssthresh = 0, math.Inf(1)
	}
}

// runGrew asks the rule about failures in a row.
func (m *model) runGrew(h *host, now time.Duration, grew bool, v verdict) (trips bool) {
	a, run, n := h.adaptive, h.now().run, h.policy.ConsecutiveFailures
	if grew && run == 1 || !a.known {
		a.since, a.known = now, true
	}
	if h.forced || run < max(12, n) && (run < n || now-a.since < 150*time.Millisecond) {
		return false
	}
	m.tripAdaptive(h, now, "consecutive_failures", h.counts(now), v)
	return true
}

func (m *model) tripAdaptive(h *host, at time.Duration, reason breakerhttp.Reason, counts breakerhttp.Counts, v verdict) {
	a := h.adaptive
	if h.now().run == 0 || !a.known {
		a.since, a.known = at, true
	}
	if _, in := h.requests(h.now()); a.limit > 0 {
		a.ssthresh = min(a.limit, float64(in)) / 2
		if !v.timeout {
			a.ssthresh = max(a.ssthresh, 16)
		}
		if answered, succeeded := h.sinceClose(); 3*succeeded < answered {
			a.since = a.opened // the trouble goes on
		}
	}
	a.alarm, a.silent = false, false
	m.openAdaptive(h, at, reason, counts, v.retryAfter)
	h.fall = fall{v.network, at}
}

// sinceClose counts the answers of the present generation.
func (h *host) sinceClose() (answered, succeeded int) {
	for _, c := range h.calls {
		if c.gen == h.now() && c.over && c.outcome != breakerhttp.Ignored && c.outcome != breakerhttp.Limited {
			answered++
			if !c.failed {
				succeeded++
			}
		}
	}
	return answered, succeeded
}

// The circuit opens and closes.

func (h *host) maxRetryAfter() time.Duration {
	if h.policy.Adaptive && h.given.MaxOpenFor == 0 {
		return 5 * time.Minute
	}
	return h.policy.MaxOpenFor
}

func (m *model) openAdaptive(h *host, at time.Duration, reason breakerhttp.Reason, counts breakerhttp.Counts, retryAfter time.Duration) {
	a := h.adaptive
	a.opened, a.everOpen, a.limit, a.alert = a.since, true, 0, 16
	a.notBefore = at + min(retryAfter, h.maxRetryAfter())
	a.due = a.wait(at, h.policy).atLeast(a.notBefore)
	a.unrecorded = &event{host: h, at: at, openFor: span{a.due.from - at, a.due.to - at}, Transition: breakerhttp.Transition{
		Key: h.key, From: breakerhttp.StateClosed, To: breakerhttp.StateOpen, Reason: reason, Counts: counts,
	}}
	a.probing = false
	h.stay(&generation{state: breakerhttp.StateOpen, since: at})
	h.detailUnknown = true
}

// tell tells of an outage that has lasted a second.
func (m *model) tell(h *host, now time.Duration) {
	if a := h.adaptive; a != nil && a.unrecorded != nil && now-a.unrecorded.at >= time.Second {
		m.record(*a.unrecorded)
		a.unrecorded = nil
	}
}

// recover closes the circuit, and lets a few requests in.
func (m *model) recover(h *host, at time.Duration, reason breakerhttp.Reason) {
	m.closeAdaptive(h, at, reason, max(1, min(16, h.adaptive.ssthresh)))
}

func (m *model) closeAdaptive(h *host, at time.Duration, reason breakerhttp.Reason, limit float64) {
	a, from := h.adaptive, breakerhttp.StateOpen
	if a.probing {
		from = breakerhttp.StateHalfOpen
	}
	if a.unrecorded == nil {
		m.record(event{host: h, at: at, Transition: breakerhttp.Transition{
			Key: h.key, From: from, To: breakerhttp.StateClosed, Reason: reason, Counts: h.counts(at),
		}})
	}
	h.stay(&generation{state: breakerhttp.StateClosed, since: at})
	a.unrecorded, a.probing = nil, false
	a.limit, a.held = limit, at
	a.mark = mark{at: at, answers: a.answers}
}

// forget is what a person does to all that is remembered.
func (m *model) forget(h *host, now time.Duration) {
	if h.adaptive == nil {
		return
	}
	if u := h.adaptive.unrecorded; u != nil {
		m.record(*u)
	}
	answers := h.adaptive.answers
	h.adaptive = newAdaptive(now)
	h.adaptive.answers = answers
}

// What the Transport shows of chance.

// learn narrows what the Transport shows of a circuit, if it can be so.
func (h *host) learn(s breakerhttp.Snapshot, now time.Duration, epoch time.Time) {
	if h.detailUnknown && s.Reason != "" {
		h.detail, h.detailUnknown = s.Reason, false
	}
	a := h.adaptive
	if a == nil || h.now().state != breakerhttp.StateOpen || h.forced || h.limited {
		return
	}
	switch since := s.Since.Sub(epoch); {
	case a.probing && a.probedAt.contains(since):
		a.probedAt = exactly(since)
	case s.State == breakerhttp.StateOpen && s.Until.Sub(epoch) > now:
		h.learnDue(s.Until.Sub(epoch))
	case s.State == breakerhttp.StateHalfOpen && since <= now:
		h.learnDue(since)
	}
}

func (h *host) learnDue(at time.Duration) {
	if h.adaptive.due.contains(at) {
		h.adaptive.due = exactly(at)
	}
}
