package circuit

import "time"

// Elected is the end of what the decision [Elect] has begun. Until then, the
// process may probe without asking again; or it may not, and the circuit stays
// open. Whatever the user's code does afterwards, the election is over.
func (c *Circuit) Elected(by *Cause, call *Call, mayProbe bool, until time.Duration) (Refusal, Decision) {
	now := c.owner.Now()
	c.mu.Lock()
	c.electing = false
	c.wake()
	c.settle(by, now)
	switch {
	case c.evicted || c.State() == Closed: // meanwhile
	case mayProbe:
		c.elected = until
	default:
		c.adoptOpen(by, now, until)
	}
	r, d := c.decide(by, call, now, true)
	if d == Elect { // there is nothing to wait for: the next request asks
		c.electing = false
		c.past.Refused++
		r, d = Refusal{State: HalfOpen, Detail: c.detail}, Refused
	}
	c.unlock(by)
	return r, d
}

// mustElect reports whether the other processes are to be asked before a probe.
func (c *Circuit) mustElect(now time.Duration) bool {
	return c.cfg.Elect && c.State() != Closed && now >= c.elected
}

// AdoptOpen opens the circuit until then, because other processes have found its
// host down. It stays open for longer if it has its own reasons. A probe in
// flight, and force, count for more.
func (c *Circuit) AdoptOpen(by *Cause, until time.Duration) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptOpen(by, now, until)
}

func (c *Circuit) adoptOpen(by *Cause, now, until time.Duration) {
	if c.forced || c.evicted || c.probing() {
		return
	}
	if c.State() != Open {
		c.own = 0
		if c.State() == Closed {
			c.detail = "opened by other processes"
		}
		e := c.event(Open, now, Shared, c.detail)
		e.OpenFor = max(0, until-now)
		c.become(by, e)
	}
	c.stayOpen(max(c.own, until))
	c.wake()
}

// AdoptClosed closes the circuit, because other processes have found its host healthy.
// A probe in flight, and force, count for more.
func (c *Circuit) AdoptClosed(by *Cause) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.State() == Closed || c.forced || c.probing() {
		return
	}
	c.close(by, c.event(Closed, now, Shared, "healthy for other processes"))
}

// probing reports whether this process is about to find out for itself.
func (c *Circuit) probing() bool { return c.State() == HalfOpen && c.waiting.len > 0 }

// release gives up the right to probe when all probes have ended without a
// verdict.
func (c *Circuit) release(by *Cause) {
	if c.elected > 0 && c.State() == HalfOpen && c.waiting.len == 0 {
		c.elected = 0
		by.Released = true
	}
}
