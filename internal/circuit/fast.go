package circuit

import "time"

// Enter admits a request as call, which must be new, without a lock or the time,
// if the circuit is closed and its policy allows that. Otherwise ask
// [Circuit.Admit].
func (c *Circuit) Enter(call *Call) bool {
	call.gen = c.gen.Load()
	return call.gen.free.Load() && call.gen.started.add()
}

// EnterAt admits a request as call, which must be new, if the circuit is closed,
// times its requests, and has nothing to notice at now. Otherwise ask
// [Circuit.Admit].
func (c *Circuit) EnterAt(call *Call, now time.Duration) bool {
	g := c.gen.Load()
	if !g.timed {
		return false
	}
	c.mu.Lock()
	ok := g == c.gen.Load() && c.ramped == 0 && !c.evicted && !c.due(now)
	if ok {
		call.gen, call.wait = g, c.waiting.push(now)
		c.held++
	}
	c.mu.Unlock()
	return ok
}

// Refuse refuses a request without a lock, if the circuit is open and its time is
// not up. Otherwise ask [Circuit.Admit].
func (c *Circuit) Refuse(now time.Duration) (Refusal, bool) {
	g := c.gen.Load()
	r := g.refusing.Load()
	if r == nil || now >= r.until || !g.refused.add() {
		return Refusal{}, false
	}
	return Refusal{State: Open, RetryAfter: r.until - now, Detail: r.detail}, true
}

// Succeed counts a success without a lock or the time, if the circuit's policy
// allows that. Otherwise tell [Circuit.Done]. A whole response has no body that
// could still fail, and so breaks a run of failures.
func (c *Circuit) Succeed(call *Call, whole bool) bool {
	g := call.gen
	return g.plain && (!whole || g.run.Load() == 0) && g.succeeded.add()
}

// SucceedAt counts a success in the window, if the circuit has nothing else to
// notice at now. Otherwise tell [Circuit.Done].
func (c *Circuit) SucceedAt(call *Call, now time.Duration, whole bool) bool {
	g := call.gen
	if g.state != Closed || g.plain {
		return false
	}
	c.mu.Lock()
	ok := g == c.gen.Load() && !c.due(now)
	if ok {
		c.success(now, call, c.waiting.end(call).bucket, whole)
	}
	c.mu.Unlock()
	return ok
}
