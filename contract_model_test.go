package breakerhttp_test

import (
	"math"
	"slices"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// A contractModel is a Transport by the book. It keeps every request for ever,
// and knows no lock, no queue and no fast path. Times are since the Transport
// was made.
type contractModel struct {
	policyOf func(key string) breakerhttp.Policy // with every default filled in
	bound    int
	hosts    map[string]*modelHost
	events   []modelEvent
}

type modelEvent struct {
	host *modelHost
	at   time.Duration
	breakerhttp.Transition
}

type modelHost struct {
	key      string
	policy   breakerhttp.Policy
	eras     []*era
	calls    []*modelCall
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

// A modelCall is an admitted request.
type modelCall struct {
	host     *modelHost
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

func (m *contractModel) add(key string, now time.Duration) *modelHost {
	h := &modelHost{key: key, policy: m.policyOf(key), eras: []*era{{state: breakerhttp.StateClosed, since: now}}}
	m.hosts[key] = h
	return h
}

func (h *modelHost) now() *era { return h.eras[len(h.eras)-1] }

func (h *modelHost) windowed() bool { return h.policy.FailureRatio > 0 || h.policy.SlowRatio > 0 }

// patience is how long base may take to answer.
func (h *modelHost) patience() time.Duration {
	switch {
	case h.now().state == breakerhttp.StateHalfOpen:
		return h.policy.ProbeTimeout
	case h.windowed() && h.policy.SlowAfter > 0:
		return h.policy.SlowAfter
	}
	return math.MaxInt64
}

// waits says that an answer to c would matter by when it comes.
func (c *modelCall) waits() bool { return c.era == c.host.now() && !c.over && !c.slow }

// notice does what the passing of time has done to h, the oldest first.
func (m *contractModel) notice(h *modelHost, now time.Duration) {
	for {
		i := slices.IndexFunc(h.calls, (*modelCall).waits) // calls are in the order of their beginning
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
func (c *modelCall) isIn(now time.Duration) bool {
	bucket := c.host.policy.Window / 10
	return c.inWindow && now/bucket-c.counted/bucket < 10
}

func (h *modelHost) counts(now time.Duration) breakerhttp.Counts {
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

func (m *contractModel) fail(h *modelHost, at time.Duration, ofProbe breakerhttp.Reason, retryAfter time.Duration) {
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

func (m *contractModel) askRules(h *modelHost, at, retryAfter time.Duration) {
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

func (h *modelHost) grown() time.Duration {
	d := float64(h.policy.OpenFor)
	for range h.level {
		d *= h.policy.OpenGrowth
	}
	return min(time.Duration(d), h.policy.MaxOpenFor)
}

func (m *contractModel) open(h *modelHost, at time.Duration, reason breakerhttp.Reason, retryAfter time.Duration) {
	d := min(max(h.grown(), retryAfter), h.policy.MaxOpenFor)
	m.enter(h, &era{state: breakerhttp.StateOpen, since: at, until: at + d}, at, reason)
	m.events[len(m.events)-1].OpenFor = d
}

func (m *contractModel) enter(h *modelHost, e *era, at time.Duration, reason breakerhttp.Reason) {
	m.events = append(m.events, modelEvent{h, at, breakerhttp.Transition{
		Key: h.key, From: h.now().state, To: e.state, Reason: reason, Counts: h.counts(at), Seq: uint64(len(m.events) + 1),
	}})
	h.eras = append(h.eras, e)
}

// admissible says what a request would be told. By chance says that it could as
// well be admitted.
func (h *modelHost) admissible(now time.Duration, mayProbe bool) (refusal *breakerhttp.OpenError, byChance bool) {
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
func (m *contractModel) admit(h *modelHost, now time.Duration) *modelCall {
	if e := h.now(); e.state == breakerhttp.StateOpen {
		m.enter(h, &era{state: breakerhttp.StateHalfOpen, since: e.until}, now, "open_elapsed")
	}
	c := &modelCall{host: h, era: h.now(), at: now}
	h.calls = append(h.calls, c)
	return c
}

// finish takes the verdict. It returns false if the body is not to be judged.
func (m *contractModel) finish(c *modelCall, now time.Duration, v verdict) bool {
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

func (m *contractModel) succeed(c *modelCall, now time.Duration, v verdict) {
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
