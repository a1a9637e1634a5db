package circuit

// ForceOpen makes the circuit refuse every request until [Circuit.Reset]. first reports whether it
// was not forced before. ok is false, and nothing has changed, if it has been evicted.
func (c *Circuit) ForceOpen(by *Cause) (first, ok bool) {
	return c.force(by, Open, "forced open")
}

// ForceClosed makes the circuit admit every request until [Circuit.Reset]. It returns what
// ForceOpen does.
func (c *Circuit) ForceClosed(by *Cause) (first, ok bool) {
	return c.force(by, Closed, "forced closed")
}

func (c *Circuit) force(by *Cause, to State, detail string) (first, ok bool) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	if c.evicted {
		return false, false
	}
	c.remember()
	c.judge.forget(by.Context)
	c.ramped = 0
	if c.State() != to {
		c.become(by.Context, c.event(to, now, Forced, detail))
		if to == Open {
			c.detail = detail
		}
	}
	c.gen.Load().refusing.Store(nil)
	c.asks = nil // the rules do not open a forced circuit
	first = !c.forced
	c.forced = true
	c.setRoad()
	c.wake()
	return first, true
}

// Reset closes the circuit, and forgets everything except the totals. It reports whether the
// circuit was forced.
func (c *Circuit) Reset(by *Cause) (wasForced bool) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	if c.evicted {
		return false
	}
	c.remember()
	wasForced = c.forced
	c.judge.forget(by.Context)
	c.forced, c.ramped, c.failedAt = false, 0, never
	if c.State() != Closed {
		c.become(by.Context, c.event(Closed, now, WasReset, "reset"))
	} else {
		c.renew(Closed, now)
	}
	return wasForced
}
