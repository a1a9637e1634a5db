package circuit

import "time"

// SetConfig changes the policy. State, run, totals, force and probes in flight
// stay. A window stays if it is as long as before. It is no change of state.
func (c *Circuit) SetConfig(by *Cause, cfg *Config) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.remember()
	c.settle(by.Context, now)
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
	}
	if r := c.gen.Load().refusing.Load(); r != nil && cfg.MaxOpenFor < old.MaxOpenFor {
		c.shorten(*r, after(c.since, cfg.MaxOpenFor))
	}
	c.setRoad()
	c.wake()
}

// resize gives the circuit a window if the policy needs one, a new one if it is
// to be longer or shorter. What an earlier window has counted is in none of its buckets.
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

// shorten lets an open circuit probe no later than the policy allows.
func (c *Circuit) shorten(r refusing, most time.Duration) {
	if r.until <= most {
		return
	}
	r.until, r.decide = most, min(r.decide, most)
	c.until, c.own = most, min(c.own, most)
	c.refuseAll(r)
}
