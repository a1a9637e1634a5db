package circuit

import (
	"context"
	"time"
)

// An Election says whether this process may probe.
type Election struct {
	MayProbe bool
	Until    time.Duration // how long that holds
	Probed   bool          // another process probes, or is about to, so the circuit may close sooner
}

// An Opening says how other processes have opened a circuit.
type Opening struct {
	At     time.Duration // when they opened it
	Until  time.Duration // when its open time or the lease of the prober is over
	Probed bool          // another process probes, or is about to, so the circuit may close sooner
	Detail string        // for people
}

// Elected ends the election that the decision [Elect] has begun, and decides about the request. If
// the process may probe, it may do so until e.Until without another election. Otherwise the circuit
// stays open until then. mayProbe says whether the request itself may be the probe.
func (c *Circuit) Elected(by *Cause, call *Call, e Election, mayProbe bool) (Refusal, Decision) {
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
	r, d := c.decide(by.Context, call, now, mayProbe)
	if d == Elect { // the time is over already: the next request begins another election
		c.electing = false
		c.past.Refused++
		r, d = Refusal{State: HalfOpen, Detail: c.detail}, Refused
	}
	c.unlock(by)
	return r, d
}

// mustElect reports whether the other processes are to be asked before a probe.
func (c *Circuit) mustElect(now time.Duration) bool {
	return c.cfg.Elect && c.State() != Closed && !c.unrecorded && now >= c.elected
}

// AdoptOpen opens the circuit because other processes have found its host down. If this process has
// opened the circuit for longer, it stays open for that long. AdoptOpen does nothing to a circuit
// that is forced or has a probe in flight.
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

// AdoptClosed closes the circuit if it was opened before closedAt, because other processes found
// its host healthy then. It does nothing to a circuit that is forced or has a probe in flight.
func (c *Circuit) AdoptClosed(by *Cause, closedAt time.Duration) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	if c.evicted || c.State() == Closed || c.openedAt >= closedAt || c.forced || c.isProbing() {
		return
	}
	c.judge.recovered(by.Context, c.event(Closed, now, Shared, "healthy for other processes"))
}

// isProbing reports whether a probe of this process is in flight.
func (c *Circuit) isProbing() bool {
	g := c.gen.Load()
	return g.state != Closed && c.inFlight(g) > 0
}

// release gives up the right to probe if no probe is in flight. It is called when a request has
// ended without a verdict.
func (c *Circuit) release() {
	if c.elected > 0 && !c.isProbing() {
		c.elected = 0
		c.released = true
	}
}
