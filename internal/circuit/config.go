package circuit

import (
	"reflect"
	"time"
)

// SetConfig changes the policy. The state, the run of failures, the totals, force and the probes in
// flight stay, and so does the window if the new one is as long. If the policy is the same as before,
// SetConfig only settles what is due.
func (c *Circuit) SetConfig(by *Cause, cfg *Config) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	if reflect.DeepEqual(c.cfg, cfg) { // never if there is a TripWhen
		return
	}
	c.remember()
	old := c.cfg
	c.cfg = cfg
	c.resize(old, now)
	if !cfg.timed() && c.State() == Closed {
		c.waiting.clear()
	}
	if cfg.TripWhen == nil {
		c.asks = nil
	}
	if c.ramped > 0 {
		c.ramped = min(c.ramped, after(now, cfg.Ramp))
	}
	if cfg.Adaptive != old.Adaptive {
		c.judge.forget(by.Context)
		c.judge = c.newJudgement()
		if c.State() == HalfOpen {
			c.gen.Load().refusing.Store(nil)
		}
	}
	if r := c.gen.Load().refusing.Load(); r != nil && cfg.MaxOpenFor < old.MaxOpenFor {
		c.shorten(*r, after(c.since, cfg.MaxOpenFor))
	}
	c.setRoad()
	c.wake()
}

// resize gives the circuit the window that the policy needs, if any. It keeps a window of the same
// length. The buckets of a new window have other numbers than those of earlier windows, because
// calls in flight remember the numbers of earlier buckets.
func (c *Circuit) resize(old *Config, now time.Duration) {
	if c.window != nil {
		if c.cfg.windowed() && c.cfg.Window == old.Window {
			return
		}
		c.expired = c.window.newest
		c.window = nil
	}
	if c.cfg.windowed() {
		c.window = newWindowAfter(c.expired, c.cfg.Window, now)
	}
}

// shorten makes an open circuit probe by most, the latest time that the policy allows.
func (c *Circuit) shorten(r refusing, most time.Duration) {
	if r.until <= most {
		return
	}
	r.until, r.decide = most, min(r.decide, most)
	c.until, c.own = most, min(c.own, most)
	if !c.limited {
		c.openFor = most - c.since
	}
	c.refuseAll(r)
}
