package circuit

import "time"

// Elected is the end of what the decision [Elect] has begun. Until then, the
// process may probe without asking again; or it may not, and the circuit stays
// open.
func (c *Circuit) Elected(by *Cause, now time.Duration, mayProbe bool, until time.Duration) (Call, Refusal, Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	c.electing = false
	c.wake()
	switch {
	case c.evicted:
		return Call{}, Refusal{}, Gone
	case c.State() == Closed: // meanwhile
	case mayProbe:
		c.elected = until
	default:
		c.adoptOpen(by, now, until)
	}
	r, ok := c.admissible(now, true)
	if ok && c.mustElect(now) { // there is nothing to wait for: the next request asks
		r, ok = Refusal{State: HalfOpen, Detail: c.detail}, false
	}
	if !ok {
		c.past.Refused++
		return Call{}, r, Refused
	}
	return c.admit(by, now), Refusal{}, Admitted
}

// mustElect reports whether the other processes are to be asked before a probe.
func (c *Circuit) mustElect(now time.Duration) bool {
	return c.cfg.Elect && c.State() != Closed && now >= c.elected
}

// AdoptOpen opens the circuit until then, for other processes have found its
// host down. It stays open for longer if it has its own reasons. A probe in
// flight, and force, count for more.
func (c *Circuit) AdoptOpen(by *Cause, now, until time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptOpen(by, now, until)
}

// adoptOpen leaves what hangs to the next request: to notice it here could call
// the user's code, which the caller's lock forbids.
func (c *Circuit) adoptOpen(by *Cause, now, until time.Duration) {
	if c.forced || c.evicted || c.probing() {
		return
	}
	if c.State() != Open {
		c.own = 0
		if c.State() == Closed {
			c.detail = "open for other processes"
		}
		c.become(by, Open, now, Shared, c.detail, max(0, until-now))
	}
	c.stayOpen(max(c.own, until))
	c.wake()
}

// AdoptClosed closes the circuit, for other processes have found its host well.
// A probe in flight, and force, count for more.
func (c *Circuit) AdoptClosed(by *Cause, now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.State() == Closed || c.forced || c.probing() {
		return
	}
	c.close(by, now, Shared, "well for other processes")
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
