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
	Elect // ask the other processes whether this one may probe, then call Elected
)

// Enter admits a request as call, which must be new, if the circuit is closed
// and there is nothing to decide. Otherwise ask [Circuit.Admit].
func (c *Circuit) Enter(call *Call) bool {
	g := c.gen.Load()
	if !g.free.Load() {
		return false
	}
	if g.timed {
		return c.enterTimed(call, g, c.owner.Now())
	}
	n, ok := g.started.add()
	if ok {
		call.gen, call.number = g, n
	}
	return ok
}

// enterTimed takes the lock, for the request may count as slow while it hangs.
func (c *Circuit) enterTimed(call *Call, g *generation, now time.Duration) bool {
	c.mu.Lock()
	ok := g == c.gen.Load() && !c.evicted && !c.due(now) && len(c.asks) == 0
	if ok {
		c.enter(call, g, now)
	}
	c.mu.Unlock()
	return ok
}

// enter makes call a request of the current generation g.
func (c *Circuit) enter(call *Call, g *generation, now time.Duration) {
	call.number, _ = g.started.add()
	call.gen = g
	if g.timed || g.state == HalfOpen {
		call.wait = c.waiting.push(now)
	}
}

// Admit decides about a request, and fills in call if it is admitted. Only a
// request that mayProbe is admitted by a circuit that is not closed.
func (c *Circuit) Admit(by *Cause, call *Call, mayProbe bool) (Refusal, Decision) {
	now := c.owner.Now()
	if r, ok := c.refuse(now); ok {
		return r, Refused
	}
	c.lock(by, now)
	defer c.mu.Unlock()
	return c.decide(by, call, now, mayProbe)
}

// refuse refuses without the lock, if the circuit is open and its time is not up.
func (c *Circuit) refuse(now time.Duration) (Refusal, bool) {
	g := c.gen.Load()
	r := g.refusing.Load()
	if r == nil || now >= r.until {
		return Refusal{}, false
	}
	if _, ok := g.refused.add(); !ok {
		return Refusal{}, false
	}
	return Refusal{State: Open, RetryAfter: r.retryAfter(now), Detail: r.detail}, true
}

func (c *Circuit) decide(by *Cause, call *Call, now time.Duration, mayProbe bool) (Refusal, Decision) {
	if c.evicted {
		return Refusal{}, Gone
	}
	if c.State() != Closed {
		c.usedAt = now
	}
	r, ok := c.admissible(now, mayProbe)
	if !ok {
		c.past.Refused++
		return r, Refused
	}
	if c.mustElect(now) {
		c.electing = true
		return Refusal{}, Elect
	}
	if c.State() == Open {
		elapsed := c.until
		c.become(by, c.event(HalfOpen, now, OpenElapsed, "the open time is over"))
		c.since = elapsed
	}
	c.enter(call, c.gen.Load(), now)
	return Refusal{}, Admitted
}

// admissible reports whether a request would be admitted at now.
func (c *Circuit) admissible(now time.Duration, mayProbe bool) (Refusal, bool) {
	switch c.State() {
	case Open:
		switch {
		case c.forced:
			return Refusal{State: Open, Detail: c.detail}, false
		case now < c.until:
			return Refusal{State: Open, RetryAfter: c.gen.Load().refusing.Load().retryAfter(now), Detail: c.detail}, false
		case !mayProbe || c.electing:
			return Refusal{State: HalfOpen, Detail: c.detail}, false
		}
	case HalfOpen:
		if !mayProbe || c.electing || c.waiting.len >= c.cfg.Probes {
			return Refusal{State: HalfOpen, Detail: c.detail}, false
		}
	case Closed:
		if c.ramped > now && c.cfg.rand() >= c.rampShare(now) {
			return Refusal{State: Closed, Detail: c.detail}, false
		}
		if c.ramped > 0 && c.ramped <= now {
			c.endRamp()
		}
	}
	return Refusal{}, true
}

// rampShare is the share of the requests that a ramping circuit admits: a tenth
// at first, all in the end.
func (c *Circuit) rampShare(now time.Duration) float64 {
	left := float64(c.ramped-now) / float64(c.cfg.Ramp)
	return 1 - 0.9*left
}

func (c *Circuit) endRamp() {
	c.ramped = 0
	c.gen.Load().free.Store(true)
}

// Ready reports whether a request would be admitted now. If not, it may be after
// wake, unless that is 0, or when changed is closed. A ramping circuit counts as
// ready.
func (c *Circuit) Ready(by *Cause, mayProbe bool) (r Refusal, wake time.Duration, changed <-chan struct{}, ok bool) {
	now := c.owner.Now()
	c.lock(by, now)
	defer c.mu.Unlock()
	if c.State() == Closed {
		return Refusal{}, 0, nil, true
	}
	if r, ok = c.admissible(now, mayProbe); ok {
		return r, 0, nil, true
	}
	if c.State() == Open && !c.forced {
		wake = max(0, c.until-now)
	}
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
