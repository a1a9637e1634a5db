package circuit

import "time"

// oneRecovery is the longest time between two recoveries that count as one.
const oneRecovery = 10 * time.Second

// Hasten lets an open circuit probe now, because others that opened together with it have
// recovered, as detail says. It does so only once for all of their recoveries, because the host may
// be down for a reason of its own. If the probe fails, the open time does not grow. Hasten does
// nothing to a circuit that is forced, or that is open because its host asked for less.
func (c *Circuit) Hasten(by *Cause, detail string) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	if c.evicted || c.forced || c.State() != Open || c.limited || c.probing != never || now < c.spared {
		return
	}
	c.spared = after(now, oneRecovery)
	if now >= c.until {
		return // it is due already
	}
	c.hastened = true
	c.until, c.own = now, now
	c.openFor = now - c.since
	c.refuseAll(refusing{until: now, decide: now, why: detail})
	c.wake()
}

// whyProbe returns why an open circuit may probe now.
func (c *Circuit) whyProbe() string {
	if r := c.gen.Load().refusing.Load(); r != nil && r.why != "" {
		return r.why
	}
	return "the open time is over"
}
