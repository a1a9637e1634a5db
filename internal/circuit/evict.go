package circuit

import "time"

// Evict takes a circuit that is not needed out of service, and returns its totals. It also returns
// a number that each use of the circuit changes, except in rare cases. Evict returns false, and
// changes nothing, if that number is no longer equal to seen, or if the circuit must stay. A
// circuit must stay while
//   - it is forced or ramping,
//   - it has a request in flight,
//   - it has had a failure in the last Window,
//   - it is open or half-open, until MaxOpenFor has passed after its open time without a request,
//   - it has a run of failures, which would begin again without it, unless lastResort is true and
//     the latest failure was more than OpenFor ago.
func (c *Circuit) Evict(seen uint64, lastResort bool) (t Totals, used uint64, ok bool) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gen.Load()
	used = g.started.load() + uint64(c.judged) + c.past.Ignored
	if used != seen || c.evicted || c.forced || c.stale > 0 || !c.dispensable(g, now, lastResort) {
		return Totals{}, used, false
	}
	// No request may enter after it has been seen that none is in flight.
	over := g.succeeded.load() + uint64(g.ended.Load())
	if !g.started.n.CompareAndSwap(over, over|counterClosed) {
		return Totals{}, used, false
	}
	c.evicted = true
	g.refused.close()
	c.wake()
	return c.totals(), used, true
}

// dispensable reports whether nothing would be lost if a new circuit replaced this one, which has
// no requests in flight.
func (c *Circuit) dispensable(g *generation, now time.Duration, lastResort bool) bool {
	if g.state != Closed {
		return now >= after(max(c.until, c.usedAt), c.cfg.MaxOpenFor)
	}
	if c.ramped > now || c.failedWithin(c.cfg.Window, now) {
		return false
	}
	return g.run.Load() == 0 || lastResort && !c.failedWithin(c.cfg.OpenFor, now)
}

func (c *Circuit) failedWithin(d, now time.Duration) bool {
	return c.failedAt != never && now < after(c.failedAt, d)
}
