package circuit

import (
	"math"
	"time"
)

// ForceOpen refuses every request until [Circuit.Reset]. It reports whether the
// circuit was not forced before, and false for gone if it has been evicted.
func (c *Circuit) ForceOpen(by *Cause, now time.Duration) (first, ok bool) {
	return c.force(by, now, Open, "forced open")
}

// ForceClosed admits every request until [Circuit.Reset].
func (c *Circuit) ForceClosed(by *Cause, now time.Duration) (first, ok bool) {
	return c.force(by, now, Closed, "forced closed")
}

func (c *Circuit) force(by *Cause, now time.Duration, to State, detail string) (first, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	if c.evicted {
		return false, false
	}
	if to == Closed && c.ramped > 0 {
		c.endRamp()
	}
	if c.State() != to {
		c.become(by, to, now, Forced, detail, 0)
		if to == Open {
			c.detail = detail
		}
	}
	c.gen.Load().refusing.Store(nil)
	first = !c.forced
	c.forced = true
	return first, true
}

// Reset closes the circuit and forgets all but the totals. It reports whether
// the circuit was forced.
func (c *Circuit) Reset(by *Cause, now time.Duration) (wasForced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	if c.evicted {
		return false
	}
	wasForced = c.forced
	c.forced, c.level, c.ramped, c.failedUntil = false, 0, 0, 0
	if c.State() != Closed {
		c.become(by, Closed, now, WasReset, "reset", 0)
	} else {
		c.renew(Closed, now)
	}
	return wasForced
}

// trip opens a closed circuit. The growth of the open time has fallen by a step
// for each MaxOpenFor that the circuit was closed.
func (c *Circuit) trip(by *Cause, at time.Duration, reason, detail string, v Verdict) {
	if v.Detail != "" {
		detail += ", last: " + v.Detail
	}
	c.level = max(0, c.level-int((at-c.since)/c.cfg.MaxOpenFor))
	c.open(by, at, reason, detail, v.RetryAfter)
}

// reopen opens a half-open circuit whose probe has failed.
func (c *Circuit) reopen(by *Cause, at time.Duration, reason, detail string, retryAfter time.Duration) {
	if c.grown() < c.cfg.MaxOpenFor {
		c.level++
	}
	c.open(by, at, reason, detail, retryAfter)
}

func (c *Circuit) open(by *Cause, at time.Duration, reason, detail string, retryAfter time.Duration) {
	d := min(max(c.grown(), retryAfter), c.cfg.MaxOpenFor)
	if c.cfg.Jitter > 0 {
		d = seconds(float64(d) * (1 + c.cfg.Jitter*c.cfg.rand()))
	}
	c.detail = detail
	c.become(by, Open, at, reason, detail, d)
	c.stayOpen(at + min(d, math.MaxInt64-at))
	c.own = c.until
}

// stayOpen says until when an open circuit stays so.
func (c *Circuit) stayOpen(until time.Duration) {
	c.until = until
	c.gen.Load().refusing.Store(&refusing{until, c.detail})
}

// grown is the open time after the failed probes so far, without a bound.
func (c *Circuit) grown() time.Duration {
	return seconds(float64(c.cfg.OpenFor) * math.Pow(c.cfg.OpenGrowth, float64(c.level)))
}

func (c *Circuit) close(by *Cause, at time.Duration, reason, detail string) {
	if c.cfg.Ramp > 0 {
		c.ramped = at + min(c.cfg.Ramp, math.MaxInt64-at)
	}
	c.become(by, Closed, at, reason, detail, 0)
}

// become changes the state, and tells.
func (c *Circuit) become(by *Cause, to State, at time.Duration, reason, detail string, openFor time.Duration) {
	e := Event{From: c.State(), To: to, At: at, Reason: reason, Detail: detail, OpenFor: openFor, Counts: c.counts(at)}
	if to != Closed {
		c.ramped = 0
	}
	c.renew(to, at)
	by.Events = append(by.Events, e)
	if c.rec != nil {
		c.rec.Record(by.Context, e)
	}
}

// renew starts a generation. What is in flight of the one before is stale.
func (c *Circuit) renew(s State, at time.Duration) {
	g := c.gen.Load()
	started := g.started.end()
	succeeded := g.succeeded.end()
	c.past.Success += succeeded
	c.past.Refused += g.refused.end()
	c.stale += c.held + int(started-succeeded)
	c.held, c.judged, c.failed = 0, 0, 0
	if s != HalfOpen {
		c.elected = 0
	}
	if c.window != nil {
		c.window.Reset()
	}
	c.waiting.clear()
	c.since = at
	c.start(new(generation), s)
	c.wake()
}

// seconds turns nanoseconds into a Duration, saturating.
func seconds(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}
