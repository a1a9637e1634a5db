package circuit

import "time"

// Elected is the end of what the decision [Elect] has begun. A request that may
// not probe is refused, and the circuit stays open until then.
func (c *Circuit) Elected(by *Cause, now time.Duration, mayProbe bool, until time.Duration) (Call, Refusal, Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	c.electing = false
	c.wake()
	if !mayProbe {
		c.adoptOpen(by, now, until)
	}
	r, ok := c.admissible(now, true)
	if !ok || !mayProbe && c.State() != Closed {
		if ok { // until is now: there is nothing to tell
			r = Refusal{State: HalfOpen, Detail: c.detail}
		}
		c.past.Refused++
		return Call{}, r, Refused
	}
	c.elected = true
	return c.admit(by, now), Refusal{}, Admitted
}

// AdoptOpen opens the circuit until then, for other processes have found its
// host down. It stays open for longer if it has its own reasons. A probe in
// flight, and force, count for more.
func (c *Circuit) AdoptOpen(by *Cause, now, until time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	c.adoptOpen(by, now, until)
}

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
	c.until = max(c.own, until)
	c.wake()
}

// AdoptClosed closes the circuit, for other processes have found its host well.
// A probe in flight, and force, count for more.
func (c *Circuit) AdoptClosed(by *Cause, now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	if c.State() == Closed || c.forced || c.probing() {
		return
	}
	c.close(by, now, Shared, "well for other processes")
}

// probing reports whether this process is about to find out for itself.
func (c *Circuit) probing() bool { return c.State() == HalfOpen && c.waiting.len > 0 }

// Release ends the right to probe of a process whose probes have all ended
// without a verdict, and reports whether it had that.
func (c *Circuit) Release() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := c.elected && c.State() == HalfOpen && c.waiting.len == 0
	if had {
		c.elected = false
	}
	return had
}
