package circuit

import "time"

// oneRecovery is how long others go on recovering from the same trouble.
const oneRecovery = 10 * time.Second

// Hasten lets an open circuit probe now, for the reason in detail: others that
// opened together with it have recovered. It does so once for all of their recoveries:
// the host may be down all the same. If that probe fails, the open time does not grow.
// It does nothing to a forced circuit, or while a host's Retry-After runs.
func (c *Circuit) Hasten(by *Cause, detail string) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	if c.evicted || c.State() != Open || c.limited || c.probing > 0 || now < c.spared {
		return
	}
	c.spared = after(now, oneRecovery)
	if now >= c.until {
		return // it is due already
	}
	c.hastened = true
	c.until, c.own = now, now
	c.refuseAll(refusing{until: now, decide: now, why: detail})
	c.wake()
}

// whyProbe says why an open circuit may probe.
func (c *Circuit) whyProbe() string {
	if r := c.gen.Load().refusing.Load(); r != nil && r.why != "" {
		return r.why
	}
	return "the open time is over"
}
