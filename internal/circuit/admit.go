package circuit

import "time"

// Refusal says why a request was not admitted.
type Refusal struct {
	State      State
	RetryAfter time.Duration // until the circuit may admit a request; 0 if unknown
	Detail     string        // what opened the circuit, for people
}

// Decision is the answer to a request.
type Decision uint8

const (
	Admitted Decision = iota
	Refused
	Gone  // the circuit has been evicted: look for another
	Elect // ask the others whether this process may probe, then call Elected
)

// Admit decides about a request at now. Only a request that mayProbe is
// admitted by a circuit that is not closed.
func (c *Circuit) Admit(by *Cause, now time.Duration, mayProbe bool) (Call, Refusal, Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	if c.evicted {
		return Call{}, Refusal{}, Gone
	}
	r, ok := c.admissible(now, mayProbe)
	if !ok {
		c.past.Refused++
		return Call{}, r, Refused
	}
	if c.mustElect(now) {
		c.electing = true
		return Call{}, Refusal{}, Elect
	}
	return c.admit(by, now), Refusal{}, Admitted
}

// admit admits what is admissible.
func (c *Circuit) admit(by *Cause, now time.Duration) Call {
	if c.State() == Open {
		elapsed := c.until
		c.become(by, HalfOpen, now, OpenElapsed, "the open time is over", 0)
		c.since = elapsed
	}
	g := c.gen.Load()
	call := Call{Receipt: Receipt{gen: g}}
	if g.timed || g.state == HalfOpen {
		call.wait = c.waiting.push(now)
	}
	c.held++
	return call
}

// admissible reports whether a request would be admitted at now.
func (c *Circuit) admissible(now time.Duration, mayProbe bool) (Refusal, bool) {
	switch c.State() {
	case Open:
		switch {
		case c.forced:
			return Refusal{State: Open, Detail: c.detail}, false
		case now < c.until:
			return Refusal{State: Open, RetryAfter: c.until - now, Detail: c.detail}, false
		case !mayProbe || c.electing:
			return Refusal{State: HalfOpen, Detail: c.detail}, false
		}
	case HalfOpen:
		if !mayProbe || c.electing || c.waiting.len >= c.cfg.Probes {
			return Refusal{State: HalfOpen, Detail: c.detail}, false
		}
	case Closed:
		if c.ramped > now && c.cfg.rand() >= c.share(now) {
			return Refusal{State: Closed, Detail: c.detail}, false
		}
		if c.ramped > 0 && c.ramped <= now {
			c.endRamp()
		}
	}
	return Refusal{}, true
}

// share is the part of the requests that a ramping circuit admits: a tenth at
// first, all in the end.
func (c *Circuit) share(now time.Duration) float64 {
	left := float64(c.ramped-now) / float64(c.cfg.Ramp)
	return 1 - 0.9*left
}

func (c *Circuit) endRamp() {
	c.ramped = 0
	g := c.gen.Load()
	g.free.Store(!g.timed)
}

// Ready reports whether a request would be admitted at now. If not, it may be
// after wake, unless that is 0, or when changed is closed. A ramping circuit
// counts as ready.
func (c *Circuit) Ready(by *Cause, now time.Duration, mayProbe bool) (r Refusal, wake time.Duration, changed <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(by, now)
	if c.State() == Closed {
		return Refusal{}, 0, nil, true
	}
	if r, ok = c.admissible(now, mayProbe); ok {
		return r, 0, nil, true
	}
	wake = r.RetryAfter
	if first := c.waiting.first; first != nil {
		wake = c.cfg.ProbeTimeout - (now - first.since)
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return r, wake, c.changed, false
}

// wake lets those who wait for [Circuit.Ready] ask again.
func (c *Circuit) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Evict takes an idle circuit out of service, and returns its totals: one that
// is closed, not forced or ramping, without a request in flight and without a
// failure in the last Window. Otherwise, or if the circuit has been used since its
// number was seen, it returns false, and changes nothing. That number changes with
// each use, but for rare coincidences.
func (c *Circuit) Evict(now time.Duration, seen uint64) (t Totals, used uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gen.Load()
	used = g.started.load() + uint64(c.judged) + c.past.Ignored
	if used != seen || g.state != Closed || c.forced || c.ramped > now || c.stale > 0 || now < c.failedUntil {
		return Totals{}, used, false
	}
	// Nobody may enter between the look at the requests in flight and the end.
	started := g.succeeded.load() - uint64(c.held)
	c.evicted = g.started.n.CompareAndSwap(started, started|ended)
	return c.totals(), used, c.evicted
}
