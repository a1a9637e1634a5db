package circuit

import (
	"context"
	"time"
)

// Verdict is how a request ended.
type Verdict struct {
	Outcome    Outcome
	Whole      bool          // a success has no body that could still fail
	Broken     bool          // a failure of the connection, which other requests may share
	ErrorType  string        // of a failure, for its total
	Detail     string        // of a failure, for people
	RetryAfter time.Duration // that a failure asked for; 0 if it did not
}

// over replaces the generation of calls that ended after that generation, and of probes that were
// too slow: the ends of their bodies change no generation.
var over generation

// Succeed counts a success if there is nothing to decide. Otherwise it returns false, and the
// caller calls [Circuit.Done]. A whole response has no body that could still fail, so it ends a run
// of failures.
func (c *Circuit) Succeed(call *Call, whole bool) bool {
	g := call.gen
	switch {
	case g.has(plain):
		return c.TrySucceed(call, whole)
	case g.has(free):
		return c.succeedInWindow(call, g, c.owner.Now(), whole)
	}
	return false
}

// TrySucceed is Succeed for the circuits without a window. It returns false for the others, for
// which the caller calls Succeed. It is small enough to be inlined.
func (c *Circuit) TrySucceed(call *Call, whole bool) bool {
	g := call.gen
	if !g.has(plain) || whole && g.run.Load() != 0 {
		return false
	}
	_, ok := g.succeeded.add()
	return ok
}

func (c *Circuit) succeedInWindow(call *Call, g *generation, now time.Duration, whole bool) bool {
	c.mu.Lock()
	ok := g == c.gen.Load() && g.has(free) && !c.due(now) && len(c.asks) == 0
	if ok {
		c.success(now, call, c.waiting.end(call).bucket, whole)
	}
	c.mu.Unlock()
	return ok
}

// Done takes the verdict on a call and frees its slot. It returns false if the verdict does not
// count, because the call was a probe that had timed out, or has its verdict already.
func (c *Circuit) Done(by *Cause, call *Call, v Verdict) (counted bool) {
	now := c.owner.Now()
	c.mu.Lock()
	if call.done {
		c.mu.Unlock()
		return false
	}
	c.remember()
	if w := call.wait; w != nil && now-w.since <= c.patience() {
		c.waiting.remove(w) // it was answered in time, so settle must not time it out
	}
	c.settle(by.Context, now)
	counted = c.account(by.Context, now, call, v)
	c.unlock(by)
	return counted
}

func (c *Circuit) account(ctx context.Context, now time.Duration, call *Call, v Verdict) (counted bool) {
	call.done = true
	w := c.waiting.end(call)
	g := call.gen
	if g != c.gen.Load() {
		c.stale--
		call.gen = &over
		if !w.timedOut {
			c.past.count(v)
			c.judge.ended(ctx, now, ending{Verdict: v, stale: true})
		}
		c.wake()
		return !w.timedOut
	}
	if g.state != Closed {
		c.usedAt = now
	}
	e := ending{Verdict: v, took: now - w.since, in: c.inFlight(g)}
	switch v.Outcome {
	case Success:
		c.success(now, call, w.bucket, v.Whole)
		if g.state != Closed && c.probeFailed(e) != "" { // it was too slow
			call.gen = &over
			c.failed++
			c.failedAt = max(c.failedAt, now)
			g.addToRun(now)
		}
	case Failure:
		g.ended.Add(1)
		c.judged++
		c.failed++
		c.past.count(v)
		if c.window != nil && g.state == Closed {
			c.countFailure(now, w.bucket)
		}
		c.fail(now, call.number, v)
	default:
		g.ended.Add(1)
		c.past.count(v)
		c.release()
	}
	c.judge.ended(ctx, now, e)
	if v.Outcome == Limited {
		c.holdOff(ctx, now, v)
	}
	c.wake()
	return true
}

// success counts a success of the current generation.
func (c *Circuit) success(now time.Duration, call *Call, slow int64, whole bool) {
	g := call.gen
	g.ended.Add(1)
	c.judged++
	c.past.Success++
	switch {
	case slow != 0:
		call.bucket = slow // counted as slow, while it hung
	case c.window != nil && g.state == Closed:
		call.bucket = c.window.Add(now, windowCounts{Requests: 1})
	}
	if whole && g.run.Load() != 0 { // an atomic store costs as much as a lock
		g.run.Store(0)
	}
}

// countFailure counts a failure in the window. A call that the window has counted as slow does not
// count as a second request.
func (c *Circuit) countFailure(now time.Duration, slow int64) {
	if !c.window.Fail(now, slow) {
		c.window.Add(now, windowCounts{Requests: 1, Failures: 1})
	}
}

// Ended is called when the body of a successful response has ended without an error. It ends the
// run of failures.
func (c *Circuit) Ended(r Receipt) {
	if g := r.gen; g.state == Closed && g.run.Load() == 0 {
		return
	}
	c.mu.Lock()
	r.heir().run.Store(0)
	c.mu.Unlock()
}

// Late is called when the body of a successful response has failed. It counts a failure. If the
// circuit has been evicted meanwhile, it returns false and counts nothing.
func (c *Circuit) Late(by *Cause, r Receipt, v Verdict) bool {
	now := c.owner.Now()
	c.mu.Lock()
	if c.evicted {
		c.mu.Unlock()
		return false // Evict has returned its totals
	}
	c.remember()
	c.settle(by.Context, now)
	c.past.count(v)
	g, number := r.heir(), r.number
	if g != r.gen {
		number = 0 // a probe was admitted before the closed state began
	}
	if g == c.gen.Load() {
		if c.window != nil && g.state == Closed {
			c.window.Fail(now, r.bucket)
		}
		if g == r.gen {
			c.failed++ // the counts of a closed state do not have the successes of its probes
		}
		c.fail(now, number, v)
		c.judge.ended(by.Context, now, ending{Verdict: v, late: true})
	}
	c.unlock(by)
	return true
}

// probeFailed returns why a probe has failed, or "" if it has not. With a SlowRatio, a slow success is
// a failure too, because a circuit that opened because its host is slow must not be closed by a slow
// answer.
func (c *Circuit) probeFailed(e ending) string {
	switch {
	case e.Outcome == Failure:
		return "probe failed: " + e.Detail
	case e.Outcome == Success && c.cfg.SlowRatio > 0 && e.took > c.cfg.SlowAfter:
		return "probe took longer than " + c.cfg.SlowAfter.String()
	}
	return ""
}

// closeByProbe closes the circuit because a probe has succeeded. If the body of a probe fails later,
// that is a failure of the closed state.
func (c *Circuit) closeByProbe(ctx context.Context, e Event) {
	probes := c.gen.Load()
	c.judge.recovered(ctx, e)
	probes.led = c.gen.Load()
}

// heir returns the generation that a late result belongs to. For a probe that closed the circuit,
// that is the closed generation.
func (r Receipt) heir() *generation {
	if r.gen.led != nil {
		return r.gen.led
	}
	return r.gen
}

// fail adds a failure of the current generation to the run, unless the run has grown by the same
// event already. number is that of the request.
func (c *Circuit) fail(now time.Duration, number uint64, v Verdict) {
	c.failedAt = max(c.failedAt, now)
	g := c.gen.Load()
	if !v.Broken || !g.brokeTogether(number, now) {
		g.addToRun(now)
	}
}

// holdOff opens the circuit for as long as its host has asked for by Retry-After. The host is
// healthy, so the open time does not grow, and the circuit closes without a probe.
func (c *Circuit) holdOff(ctx context.Context, now time.Duration, v Verdict) {
	d := min(v.RetryAfter, c.cfg.MaxRetryAfter)
	if d <= 0 || c.forced || c.State() == Open {
		return
	}
	e := c.event(Open, now, RateLimited, "limited, "+v.Detail)
	e.OpenFor = d
	c.detail, c.openedAt = e.Detail, now
	openFor := c.openFor
	c.become(ctx, e)
	c.stayOpen(refusing{until: after(now, d)})
	c.own, c.openFor, c.limited = c.until, openFor, true
}

// addToRun adds a failure to the run.
func (g *generation) addToRun(now time.Duration) {
	g.run.Add(1)
	g.runAt, g.runNumber = now, g.started.load()
}

// together is the longest time between broken connections that count as one event: a restart of the
// host, or the loss of an HTTP/2 connection.
const together = time.Second

// brokeTogether reports whether the request was already in flight when the run last grew, and that
// was less than together ago. Then both failures are the same event.
func (g *generation) brokeTogether(number uint64, now time.Duration) bool {
	return number <= g.runNumber && g.runAt != never && now-g.runAt < together
}
