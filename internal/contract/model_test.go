package contract

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A model is a Transport by the book. It keeps every request for ever,
// and knows no lock, no queue and no fast path. Times are since the Transport
// was made.
type model struct {
	policyOf func(key string) breakerhttp.Policy // with every default filled in
	bound    int
	hosts    map[string]*host
	events   []event
}

type event struct {
	host *host
	at   time.Duration
	breakerhttp.Transition
}

type host struct {
	key      string
	policy   breakerhttp.Policy
	eras     []*era
	calls    []*call
	totals   breakerhttp.Totals
	failures []time.Duration // since the latest reset
	level    int             // failed probes in a row
	forced   bool
	gone     bool   // evicted
	detail   string // of the latest opening, as the Transport words it
}

// An era is a stay in one state.
type era struct {
	state        breakerhttp.State
	since, until time.Duration // until: the end of the open time, or of the ramp
	run          int           // failures in a row
	led          *era          // the closed one that this half-open one led to
}

// A call is an admitted request.
type call struct {
	host     *host
	era      *era // it was admitted in
	at       time.Duration
	over     bool // base has returned
	stale    bool // after the end of era
	timedOut bool // a probe that was given up
	slow     bool // it hung for SlowAfter
	failed   bool // at once or in its body
	outcome  breakerhttp.Outcome
	inWindow bool
	counted  time.Duration // when it came into the window
}

func (m *model) add(key string, now time.Duration) *host {
	h := &host{key: key, policy: m.policyOf(key), eras: []*era{{state: breakerhttp.StateClosed, since: now}}}
	m.hosts[key] = h
	return h
}

func (h *host) now() *era { return h.eras[len(h.eras)-1] }

func (h *host) windowed() bool { return h.policy.FailureRatio > 0 || h.policy.SlowRatio > 0 }

// patience is how long base may take to answer.
func (h *host) patience() time.Duration {
	switch {
	case h.now().state == breakerhttp.StateHalfOpen:
		return h.policy.ProbeTimeout
	case h.windowed() && h.policy.SlowAfter > 0:
		return h.policy.SlowAfter
	}
	return math.MaxInt64
}

// waits says that an answer to c would matter by when it comes.
func (c *call) waits() bool { return c.era == c.host.now() && !c.over && !c.slow }

// notice does what the passing of time has done to h, the oldest first.
func (m *model) notice(h *host, now time.Duration) {
	for {
		i := slices.IndexFunc(h.calls, (*call).waits) // calls are in the order of their beginning
		if i < 0 || now-h.calls[i].at < h.patience() {
			return
		}
		c := h.calls[i]
		at := c.at + h.patience()
		if h.now().state == breakerhttp.StateHalfOpen {
			for _, d := range h.calls {
				if d.waits() && d.at == c.at && d != c { // they hang together
					d.timedOut, d.failed = true, true
					h.totals.Failure++
					h.now().run++
				}
			}
			c.timedOut, c.failed = true, true
			h.totals.Failure++
			m.fail(h, at, "probe_timeout", 0)
			continue
		}
		c.slow, c.inWindow, c.counted = true, true, at
		m.askRules(h, at, 0)
	}
}

// isIn says that the bucket of c is one of the latest ten.
func (c *call) isIn(now time.Duration) bool {
	bucket := c.host.policy.Window / 10
	return c.inWindow && now/bucket-c.counted/bucket < 10
}

func (h *host) counts(now time.Duration) breakerhttp.Counts {
	n := breakerhttp.Counts{ConsecutiveFailures: h.now().run}
	window := h.windowed() && h.now().state == breakerhttp.StateClosed
	for _, c := range h.calls {
		judged := c.timedOut || c.over && c.outcome != breakerhttp.Ignored
		if c.era != h.now() || window && !c.isIn(now) || !window && !judged {
			continue
		}
		n.Requests++
		if c.failed {
			n.Failures++
		}
		if window && c.slow {
			n.Slow++
		}
	}
	return n
}

func (m *model) fail(h *host, at time.Duration, ofProbe breakerhttp.Reason, retryAfter time.Duration) {
	h.failures = append(h.failures, at)
	h.now().run++
	if h.now().state != breakerhttp.StateHalfOpen {
		m.askRules(h, at, retryAfter)
		return
	}
	if h.grown() < h.policy.MaxOpenFor {
		h.level++
	}
	m.open(h, at, ofProbe, retryAfter)
}

func (m *model) askRules(h *host, at, retryAfter time.Duration) {
	p, n := h.policy, h.counts(at)
	met := func(part int, ratio float64) bool {
		return ratio > 0 && n.Requests >= p.MinRequests && float64(part) >= ratio*float64(n.Requests)
	}
	var reason breakerhttp.Reason
	switch {
	case h.forced:
		return
	case p.ConsecutiveFailures > 0 && n.ConsecutiveFailures >= p.ConsecutiveFailures:
		reason = "consecutive_failures"
	case met(n.Failures, p.FailureRatio):
		reason = "failure_ratio"
	case met(n.Slow, p.SlowRatio):
		reason = "slow_ratio"
	default:
		return
	}
	h.level = max(0, h.level-int((at-h.now().since)/p.MaxOpenFor))
	m.open(h, at, reason, retryAfter)
}

func (h *host) grown() time.Duration {
	d := float64(h.policy.OpenFor)
	for range h.level {
		d *= h.policy.OpenGrowth
	}
	return min(time.Duration(d), h.policy.MaxOpenFor)
}

func (m *model) open(h *host, at time.Duration, reason breakerhttp.Reason, retryAfter time.Duration) {
	d := min(max(h.grown(), retryAfter), h.policy.MaxOpenFor)
	m.enter(h, &era{state: breakerhttp.StateOpen, since: at, until: at + d}, at, reason)
	m.events[len(m.events)-1].OpenFor = d
}

func (m *model) enter(h *host, e *era, at time.Duration, reason breakerhttp.Reason) {
	m.events = append(m.events, event{h, at, breakerhttp.Transition{
		Key: h.key, From: h.now().state, To: e.state, Reason: reason, Counts: h.counts(at), Seq: uint64(len(m.events) + 1),
	}})
	h.eras = append(h.eras, e)
}

// admissible says what a request would be told. By chance says that it could as
// well be admitted.
func (h *host) admissible(now time.Duration, mayProbe bool) (refusal *breakerhttp.OpenError, byChance bool) {
	e := h.now()
	refusal = &breakerhttp.OpenError{Key: h.key, State: e.state, Reason: h.detail}
	switch {
	case e.state == breakerhttp.StateClosed && now < e.until:
		return refusal, true
	case e.state == breakerhttp.StateClosed:
		return nil, false
	case h.forced:
		return refusal, false
	case e.state == breakerhttp.StateOpen && now < e.until:
		refusal.RetryAfter = e.until - now
		return refusal, false
	}
	refusal.State = breakerhttp.StateHalfOpen
	probes := 0
	for _, c := range h.calls {
		if c.era == e && !c.over {
			probes++
		}
	}
	if mayProbe && (e.state == breakerhttp.StateOpen || probes < h.policy.Probes) {
		return nil, false
	}
	return refusal, false
}

// admit begins a request that admissible has let through.
func (m *model) admit(h *host, now time.Duration) *call {
	if e := h.now(); e.state == breakerhttp.StateOpen {
		m.enter(h, &era{state: breakerhttp.StateHalfOpen, since: e.until}, now, "open_elapsed")
	}
	c := &call{host: h, era: h.now(), at: now}
	h.calls = append(h.calls, c)
	return c
}

// finish takes the verdict. It returns false if the body is not to be judged.
func (m *model) finish(c *call, now time.Duration, v verdict) bool {
	h := c.host
	c.over = c.waits() && now-c.at <= h.patience() // in time
	m.notice(h, now)
	c.over = true
	if c.timedOut {
		return false
	}
	c.outcome, c.stale = v.outcome, c.era != h.now()
	switch v.outcome {
	case breakerhttp.Ignored:
		h.totals.Ignored++
	case breakerhttp.Failure:
		h.totals.Failure++
		if c.stale {
			break
		}
		c.failed = true
		if !c.isIn(now) {
			c.slow, c.inWindow, c.counted = false, true, now
		}
		m.fail(h, now, "probe_failed", v.retryAfter)
	case breakerhttp.Success:
		h.totals.Success++
		if !c.stale {
			m.succeed(c, now, v)
		}
	}
	return v.outcome == breakerhttp.Success && !v.whole
}

func (m *model) succeed(c *call, now time.Duration, v verdict) {
	h := c.host
	if c.era.state == breakerhttp.StateHalfOpen {
		if h.counts(now).Requests == h.policy.ProbeSuccesses {
			c.era.led = &era{state: breakerhttp.StateClosed, since: now}
			if h.policy.Ramp > 0 {
				c.era.led.until = now + h.policy.Ramp
			}
			m.enter(h, c.era.led, now, "probe_succeeded")
		}
		return
	}
	if !c.slow {
		c.inWindow, c.counted = true, now
	}
	if v.whole {
		c.era.run = 0
	}
}

// home is the era in which the end of a body counts, or nil.
func (c *call) home() *era {
	switch {
	case c.stale || c.host.gone:
		return nil
	case c.era.led != nil:
		return c.era.led
	}
	return c.era
}

func (m *model) bodyEnded(c *call) {
	if e := c.home(); e != nil {
		e.run = 0
	}
}

func (m *model) bodyFailed(c *call, now time.Duration, v verdict) {
	h := c.host
	m.notice(h, now)
	h.totals.Failure++
	if c.home() == h.now() {
		c.failed = true
		m.fail(h, now, "probe_failed", 0)
	}
}

func (m *model) force(key string, now time.Duration, to breakerhttp.State) {
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

func (m *model) reset(h *host, now time.Duration) {
	m.notice(h, now)
	next := &era{state: breakerhttp.StateClosed, since: now}
	if h.now().state == breakerhttp.StateClosed {
		h.eras = append(h.eras, next)
	} else {
		m.enter(h, next, now, "reset")
	}
	h.forced, h.level, h.failures = false, 0, nil
}

func (h *host) inFlight() (n int) {
	for _, c := range h.calls {
		if !c.over {
			n++
		}
	}
	return n
}

// mayGo says that h may make room for another host.
func (h *host) mayGo(now time.Duration) bool {
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
func (m *model) unforced() (n int) {
	for _, h := range m.hosts {
		if !h.forced {
			n++
		}
	}
	return n
}

// waitReady says what WaitReady returns for a context with this deadline, when,
// and whether any other answer will do, for something happens just then.
func (m *model) waitReady(h *host, now, deadline time.Duration, mayProbe bool) (at time.Duration, tie bool, err error) {
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

func (m *model) snapshot(h *host, epoch time.Time, now time.Duration) breakerhttp.Snapshot {
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
