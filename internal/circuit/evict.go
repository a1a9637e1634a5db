package circuit

import "time"

// Evict takes a circuit that nobody needs out of service, and returns its totals.
// It returns false, and changes nothing, if the circuit has been used since its
// number was seen, or must stay. That number changes with each use, except for
// rare coincidences.
//
// These must stay: one that is forced or ramping; one with a request in
// flight; one with a failure in the last Window; one that is open or
// half-open, until it has been left alone for MaxOpenFor after its time was up. A
// circuit with a run of failures goes only as a last resort, and not within
// OpenFor of the latest: without it the run would begin again.
func (c *Circuit) Evict(seen uint64, lastResort bool) (t Totals, used uint64, ok bool) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gen.Load()
	used = g.started.load() + uint64(c.judged) + c.past.Ignored
	if used != seen || c.evicted || c.forced || c.stale > 0 || !c.dispensable(g, now, lastResort) {
		return Totals{}, used, false
	}
	// Nobody may enter between the look at the requests in flight and the end.
	over := g.succeeded.load() + uint64(g.ended.Load())
	if !g.started.n.CompareAndSwap(over, over|counterClosed) {
		return Totals{}, used, false
	}
	c.evicted = true
	g.refused.close()
	return c.totals(), used, true
}

// dispensable reports whether a circuit without requests in flight could be replaced
// by a new one without a loss.
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
