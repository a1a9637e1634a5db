package circuit

import (
	"context"
	"fmt"
	"time"
)

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
	Gone  // the circuit has been evicted: the caller looks for another one
	Elect // the caller asks the other processes whether this one may probe, and then calls Elected
)

// Enter admits a request as call, which must be new, if the circuit is closed and there is nothing
// to decide. Otherwise it returns false, and the caller calls [Circuit.Admit].
func (c *Circuit) Enter(call *Call) bool {
	g := c.gen.Load()
	if !g.has(free) {
		return false
	}
	if room := g.room.Load(); room != 0 && !g.hasRoom(room) {
		return false
	}
	if g.has(timed) {
		return c.enterTimed(call, g, c.owner.Now())
	}
	return g.enter(call)
}

// TryEnter is Enter for the circuits that neither bound nor time their requests. It returns false
// for the others, for which the caller calls Enter. It is small enough to be inlined.
func (c *Circuit) TryEnter(call *Call) bool {
	g := c.gen.Load()
	return g.has(quick) && g.enter(call)
}

// enter makes call a request of g, unless g is over.
func (g *generation) enter(call *Call) bool {
	n, ok := g.started.add()
	if ok {
		call.gen, call.number = g, n
	}
	return ok
}

// decisive: one in so many requests takes the lock even if there is room, so that the judgement can
// forget an old peak.
const decisive = 1 << 16

// hasRoom reports whether fewer than room requests are in flight, which leaves nothing to decide.
func (g *generation) hasRoom(room uint64) bool {
	started := g.started.load()
	return started-g.succeeded.load()-uint64(g.ended.Load()) < room && started%decisive != decisive-1
}

// enterTimed is Enter for a request that may count as slow while it hangs. It takes the lock.
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
	if g.has(timed) || g.state != Closed {
		call.wait = c.waiting.push(now)
	}
}

// Admit decides about a request, and fills in call if it is admitted. A circuit that is not closed
// admits only requests with mayProbe.
func (c *Circuit) Admit(by *Cause, call *Call, mayProbe bool) (Refusal, Decision) {
	now := c.owner.Now()
	c.lock(by, now)
	defer c.unlock(by)
	return c.decide(by.Context, call, now, mayProbe)
}

// Refusing reports whether Refuse may refuse a request. Only then does the caller need the time.
func (c *Circuit) Refusing() bool { return c.gen.Load().refusing.Load() != nil }

// Refuse refuses a request without the lock, if the circuit is open and its open time is not over.
// Otherwise it returns false, and the caller calls [Circuit.Admit].
func (c *Circuit) Refuse(now time.Duration) (Refusal, bool) {
	g := c.gen.Load()
	r := g.refusing.Load()
	if r == nil || now >= r.decide {
		return Refusal{}, false
	}
	if _, ok := g.refused.add(); !ok {
		return Refusal{}, false
	}
	return Refusal{State: Open, RetryAfter: r.retryAfter(now), Detail: r.detail}, true
}

func (c *Circuit) decide(ctx context.Context, call *Call, now time.Duration, mayProbe bool) (Refusal, Decision) {
	if c.evicted {
		return Refusal{}, Gone
	}
	if c.State() != Closed {
		c.usedAt = now
	}
	r, ok := c.admissible(ctx, now, mayProbe, true)
	if !ok {
		c.remember()
		c.past.Refused++
		return r, Refused
	}
	if c.mustElect(now) {
		c.electing = true
		return Refusal{}, Elect
	}
	c.judge.admitted(ctx, now)
	c.enter(call, c.gen.Load(), now)
	return Refusal{}, Admitted
}

// admissible reports whether a request would be admitted. If asks is false, the request only wants
// to know that, and changes nothing.
func (c *Circuit) admissible(ctx context.Context, now time.Duration, mayProbe, asks bool) (Refusal, bool) {
	if c.forced {
		return Refusal{State: c.State(), Detail: c.detail}, c.State() == Closed
	}
	if n := c.cfg.MaxInFlight; n > 0 && c.State() == Closed && c.stale+c.inFlight(c.gen.Load()) >= n {
		return Refusal{State: Closed, Detail: fmt.Sprintf("%d in flight", n)}, false
	}
	return c.judge.admissible(ctx, now, mayProbe, asks)
}

// Ready reports whether a request would be admitted now. If not, the caller may ask again after
// wake, unless that is 0, and when changed is closed. A ramping circuit counts as ready, and so does
// an evicted one, because a new circuit would admit the request. Ready never calls TripWhen.
func (c *Circuit) Ready(by *Cause, mayProbe bool) (r Refusal, wake time.Duration, changed <-chan struct{}, ok bool) {
	now := c.owner.Now()
	c.mu.Lock()
	defer c.leave(by)
	c.settle(by.Context, now)
	if r, ok = c.admissible(by.Context, now, mayProbe, false); ok || c.evicted {
		return Refusal{}, 0, nil, true
	}
	if c.State() != Closed && !c.forced {
		wake = max(0, c.until-now)
	}
	if first := c.waiting.first; first != nil && c.State() == HalfOpen && !c.cfg.Adaptive {
		wake = c.cfg.ProbeTimeout - (now - first.since)
	}
	if c.changed == nil {
		c.remember()
		c.changed = make(chan struct{})
	}
	return r, wake, c.changed, false
}

// wake lets the callers that wait ask [Circuit.Ready] again.
func (c *Circuit) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}
