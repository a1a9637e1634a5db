package circuit

import (
	"context"
	"time"
)

// An Election says whether this process may probe. It is good until then.
type Election struct {
	MayProbe bool
	Until    time.Duration
	Probed   bool // another process probes, or is about to: it may be over sooner
}

// An Opening is that of a circuit which other processes have opened.
type Opening struct {
	At     time.Duration // when they opened it
	Until  time.Duration // when its open time or the lease of the prober is over
	Probed bool          // another process probes, or is about to: it may be over sooner
	Detail string        // for people
}

// Elected is the end of what the decision [Elect] has begun. Until then, the
// process may probe without asking again; or it may not, and the circuit stays
// open. Whatever the user's code does afterwards, the election is over.
func (c *Circuit) Elected(by *Cause, call *Call, e Election) (Refusal, Decision) {
	now := c.owner.Now()
	c.mu.Lock()
	c.electing = false
	c.wake()
	c.settle(by.Context, now)
	switch {
	case c.evicted || c.State() == Closed: // meanwhile
	case e.MayProbe:
		c.elected = e.Until
	default:
		c.adoptOpen(by.Context, now, Opening{At: c.openedAt, Until: e.Until, Probed: e.Probed, Detail: c.detail})
	}
	r, d := c.decide(by.Context, call, now, true)
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
	return c.cfg.Elect && c.State() != Closed && !c.untold && now >= c.elected
}

// AdoptOpen opens the circuit, because other processes have found its
// host down. It stays open for longer if it has its own reasons. A probe in
// flight, and force, count for more.
func (c *Circuit) AdoptOpen(by *Cause, o Opening) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.adoptOpen(by.Context, now, o)
}

func (c *Circuit) adoptOpen(ctx context.Context, now time.Duration, o Opening) {
	if c.forced || c.evicted || c.isProbing() {
		return
	}
	c.remember()
	if c.State() != Open {
		c.own = 0
		if c.State() == Closed {
			c.detail, c.openedAt = o.Detail, o.At
		}
		e := c.event(Open, now, Shared, c.detail)
		e.OpenFor = max(0, o.Until-now)
		c.judge.adopted(ctx, e)
	}
	c.openedAt = max(c.openedAt, o.At)
	c.stayOpen(refusing{until: max(c.own, o.Until), unknown: o.Probed && o.Until > c.own})
	c.wake()
}

// AdoptClosed closes the circuit if it was opened before closedAt, because other processes have found
// its host healthy then. A probe in flight, and force, count for more.
func (c *Circuit) AdoptClosed(by *Cause, closedAt time.Duration) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	if c.State() == Closed || c.openedAt >= closedAt || c.forced || c.isProbing() {
		return
	}
	c.judge.recovered(by.Context, c.event(Closed, now, Shared, "healthy for other processes"))
}

// isProbing reports whether this process is about to find out for itself.
func (c *Circuit) isProbing() bool {
	g := c.gen.Load()
	return g.state != Closed && c.inFlight(g) > 0
}

// release gives up the right to probe when all probes have ended without a
// verdict.
func (c *Circuit) release() {
	if c.elected > 0 && !c.isProbing() {
		c.elected = 0
		c.released = true
	}
}
